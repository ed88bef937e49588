use std::collections::BTreeMap;

use super::*;

fn data<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

async fn create(test: &Test, entries: [(&str, &str); 1]) -> String {
    done!(test, create_session, CreateSessionRequest { data: data(entries) }).session_id
}

async fn get(test: &Test, id: &str) -> Option<pb::SessionInfo> {
    let got = done!(test, get_session, GetSessionRequest { session_id: id });
    assert_eq!(got.found, got.session.is_some());
    got.session
}

#[tokio::test]
async fn sessions_live_and_end() {
    let test = Test::start().await;
    let created = done!(
        test,
        create_session,
        CreateSessionRequest {
            // Sessions belong to the user, whatever organization is named.
            organization_id: "acme",
            data: data([("a", "1"), ("user", "x")]),
            ttl: milliseconds(60_000),
        }
    );
    let id = created.session_id;
    assert_eq!(id.len(), 32);
    let session = get(&test, &id).await.expect("a session");
    assert_eq!((&session.session_id, &session.user_id), (&id, &test.user));
    assert_eq!(session.data, data([("a", "1"), ("user", "x")]));
    let seconds = |time: Option<prost_types::Timestamp>| time.expect("a time").seconds;
    let (start, end) = (seconds(session.created_at), seconds(session.expires_at));
    assert!((58..=61).contains(&(end - start)), "{session:?}");
    assert!(seconds(session.last_accessed) >= start);

    let updated = done!(
        test,
        update_session,
        UpdateSessionRequest {
            session_id: id.clone(),
            data: data([("a", ""), ("b", "2")]),
        }
    );
    assert!(updated.success);
    assert_eq!(
        get(&test, &id).await.expect("a session").data,
        data([("b", "2"), ("user", "x")])
    );

    assert!(
        done!(
            test,
            delete_session,
            DeleteSessionRequest {
                session_id: id.clone()
            }
        )
        .success
    );
    assert!(
        !done!(
            test,
            delete_session,
            DeleteSessionRequest {
                session_id: id.clone()
            }
        )
        .success
    );
    assert!(
        !done!(
            test,
            update_session,
            UpdateSessionRequest {
                session_id: id.clone()
            }
        )
        .success
    );
    assert_eq!(get(&test, &id).await, None);
    assert!(
        done!(test, list_sessions, ListSessionsRequest {})
            .sessions
            .is_empty()
    );
}

#[tokio::test]
async fn updates_prolong_if_asked() {
    let test = Test::start().await;
    let id = done!(
        test,
        create_session,
        CreateSessionRequest {
            ttl: milliseconds(60_000)
        }
    )
    .session_id;
    let key = format!("{{{}}}/session:{id}", Tenant::user(&test.user).slug());
    let left = async || -> i64 { test.raw(redis::cmd("PTTL").arg(&key)).await };
    let () = test.raw(redis::cmd("PEXPIRE").arg(&key).arg(30_000)).await;
    done!(
        test,
        update_session,
        UpdateSessionRequest {
            session_id: id.clone(),
            data: data([("a", "1")])
        }
    );
    get(&test, &id).await.expect("a session");
    assert!(left().await <= 30_000, "neither reading nor writing prolongs it");
    done!(
        test,
        update_session,
        UpdateSessionRequest {
            session_id: id.clone(),
            extend_ttl: true
        }
    );
    assert!(left().await > 50_000);

    let () = test.raw(redis::cmd("PEXPIRE").arg(&key).arg(1)).await;
    eventually("the session is over", PATIENCE, async || {
        get(&test, &id).await.is_none()
    })
    .await;
    assert!(
        done!(test, list_sessions, ListSessionsRequest {})
            .sessions
            .is_empty()
    );
    let default = done!(test, create_session, CreateSessionRequest {});
    let found = get(&test, &default.session_id).await.expect("a session");
    let seconds = |time: Option<prost_types::Timestamp>| time.expect("a time").seconds;
    assert!((3598..=3601).contains(&(seconds(found.expires_at) - seconds(found.created_at))));
}

#[tokio::test]
async fn sessions_are_listed_newest_first() {
    let test = Test::start().await;
    let mut ids = Vec::new();
    for number in 0..70 {
        ids.push(create(&test, [("n", &number.to_string())]).await);
    }
    let listed = done!(test, list_sessions, ListSessionsRequest {}).sessions;
    assert_eq!(listed.len(), 70);
    let starts: Vec<_> = listed
        .iter()
        .map(|it| it.created_at.map(|time| (time.seconds, time.nanos)))
        .collect();
    assert!(starts.is_sorted_by(|a, b| a >= b), "{starts:?}");
    assert_eq!(
        sorted(listed.into_iter().map(|it| it.session_id).collect()),
        sorted(ids)
    );
}

#[tokio::test]
async fn a_session_is_its_users_alone() {
    let (test, mut other) = (Test::start().await, Test::start().await);
    let id = create(&test, [("a", "1")]).await;
    assert_eq!(get(&other, &id).await, None);
    assert!(
        !done!(
            other,
            update_session,
            UpdateSessionRequest {
                session_id: id.clone(),
                data: data([("a", "2")])
            }
        )
        .success
    );
    assert!(
        !done!(
            other,
            delete_session,
            DeleteSessionRequest {
                session_id: id.clone()
            }
        )
        .success
    );
    assert!(
        done!(other, list_sessions, ListSessionsRequest {})
            .sessions
            .is_empty()
    );
    other.user.clone_from(&test.user);
    assert_eq!(
        get(&other, &id).await.expect("the session").data,
        data([("a", "1")])
    );
}

#[tokio::test]
async fn sessions_have_bounds() {
    let test = Test::start().await;
    let large = "x".repeat(1 << 20);
    refused!(
        InvalidArgument,
        "data",
        test,
        create_session,
        CreateSessionRequest {
            data: data([("a", &large)])
        }
    );
    for ttl in [0, -1, 30 * 24 * 3600 * 1000 + 1] {
        refused!(
            InvalidArgument,
            "ttl",
            test,
            create_session,
            CreateSessionRequest {
                ttl: milliseconds(ttl)
            }
        );
    }
    let id = create(&test, [("a", &large[..600_000])]).await;
    refused!(
        InvalidArgument,
        "data",
        test,
        update_session,
        UpdateSessionRequest {
            session_id: id.clone(),
            data: data([("b", &large[..600_000])]),
        }
    );
    assert_eq!(
        get(&test, &id).await.expect("a session").data.len(),
        1,
        "nothing was written"
    );
    let replaced = done!(
        test,
        update_session,
        UpdateSessionRequest {
            session_id: id.clone(),
            data: data([("a", ""), ("b", &large[..600_000])]),
        }
    );
    assert!(replaced.success);
    refused!(
        InvalidArgument,
        "session_id",
        test,
        get_session,
        GetSessionRequest {}
    );
    assert_eq!(get(&test, "no such id").await, None);
}
