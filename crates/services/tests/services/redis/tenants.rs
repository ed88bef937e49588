//! Two tenants, every kind of name: what one has, the other does not see.

use super::*;

#[tokio::test]
async fn names_of_one_are_not_names_of_the_other() {
    let (one, two) = (Test::start().await, Test::start().await);
    let slug = Tenant::user(&one.user).slug().to_owned();
    let crafted = [
        "plain".to_owned(),
        "../x".to_owned(),
        "*".to_owned(),
        ">".to_owned(),
        "{".to_owned(),
        "}:x".to_owned(),
        "ключ\u{0}\r\n".to_owned(),
        format!("{{{slug}}}:plain"),
        "x".repeat(8192),
    ];
    for key in &crafted {
        done!(
            one,
            set,
            SetRequest {
                key: key.clone(),
                value: "one"
            }
        );
    }
    for key in &crafted {
        let got = done!(two, get, GetRequest { key: key.clone() });
        assert!(!got.found, "{key:?}");
        assert_eq!(
            done!(two, delete, DeleteRequest { key: key.clone() }).deleted_count,
            0
        );
        done!(
            two,
            set,
            SetRequest {
                key: key.clone(),
                value: "two"
            }
        );
        assert_eq!(done!(one, get, GetRequest { key: key.clone() }).value, "one");
    }
    let listed = done!(one, list_keys, ListKeysRequest {}).keys;
    assert_eq!(
        sorted(listed),
        sorted(crafted.to_vec()),
        "names come back as given"
    );
    assert_eq!(
        done!(
            two,
            delete_multiple,
            DeleteMultipleRequest {
                keys: crafted.to_vec()
            }
        )
        .deleted_count,
        9
    );
    assert_eq!(done!(one, get_statistics, GetStatisticsRequest {}).total_keys, 9);
    assert_eq!(done!(two, get_statistics, GetStatisticsRequest {}).total_keys, 0);
}

#[tokio::test]
async fn patterns_do_not_leave_the_tenant() {
    let (one, two) = (Test::start().await, Test::start().await);
    done!(
        one,
        set,
        SetRequest {
            key: "secret",
            value: "v"
        }
    );
    let slug = Tenant::user(&one.user).slug().to_owned();
    for pattern in [
        "*",
        "**",
        "[^x]*",
        "*secret*",
        &format!("{{{slug}}}:*"),
        "}:*",
        r"\*",
        "?*",
        "]*",
        "*}*",
    ] {
        let listed = done!(
            two,
            list_keys,
            ListKeysRequest {
                pattern,
                limit: 10_000
            }
        );
        assert!(listed.keys.is_empty(), "{pattern}: {listed:?}");
    }
}

#[tokio::test]
async fn locks_and_channels_are_apart() {
    let (one, two) = (Test::start().await, Test::start().await);
    let held = done!(
        one,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    assert!(
        done!(
            two,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(60_000)
            }
        )
        .acquired
    );
    let stolen = done!(
        two,
        release_lock,
        ReleaseLockRequest {
            lock_key: "l",
            lock_id: held.lock_id.clone()
        }
    );
    assert!(!stolen.released);

    let mut stream = done!(
        one,
        subscribe,
        SubscribeRequest {
            channels: texts(["c"])
        }
    );
    assert_eq!(
        done!(
            two,
            publish,
            PublishRequest {
                channel: "c",
                message: "x"
            }
        )
        .subscriber_count,
        0
    );
    done!(two, unsubscribe, UnsubscribeRequest {});
    assert_eq!(
        done!(
            one,
            publish,
            PublishRequest {
                channel: "c",
                message: "mine"
            }
        )
        .subscriber_count,
        1
    );
    let message = stream.message().await.expect("a stream").expect("a message");
    assert_eq!(
        (message.channel.as_str(), message.message.as_str()),
        ("c", "mine")
    );
}

#[tokio::test]
async fn an_organization_shares_its_keys() {
    let (one, two) = (Test::start().await, Test::start().await);
    let organization = uuid::Uuid::new_v4().to_string();
    let own = || organization.clone();
    done!(
        one,
        set,
        SetRequest {
            organization_id: own(),
            key: "a",
            value: "shared"
        }
    );
    assert_eq!(
        done!(
            two,
            get,
            GetRequest {
                organization_id: own(),
                key: "a"
            }
        )
        .value,
        "shared"
    );
    assert!(!done!(one, get, GetRequest { key: "a" }).found);
    let full = format!("{{{}}}:a", Tenant::organization(&organization).slug());
    assert_eq!(one.raw::<String>(redis::cmd("GET").arg(full)).await, "shared");
}
