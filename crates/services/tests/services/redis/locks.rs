use super::*;

#[tokio::test]
async fn a_lock_has_one_holder() {
    let test = Test::start().await;
    let first = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    assert!(
        first.acquired && first.lock_id.len() == 32 && first.expires_at.is_some(),
        "{first:?}"
    );
    let other = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    assert_eq!(other, pb::AcquireLockResponse::default());

    let id = || first.lock_id.clone();
    let renewed = done!(
        test,
        renew_lock,
        RenewLockRequest {
            lock_key: "l",
            lock_id: id(),
            ttl: milliseconds(3_600_000),
        }
    );
    assert!(renewed.renewed);
    let (before, after) = (
        first.expires_at.expect("a time"),
        renewed.expires_at.expect("a time"),
    );
    assert!(after.seconds - before.seconds > 3000, "{before:?} {after:?}");

    for lock_id in ["wrong", &"0".repeat(32)] {
        assert!(
            !done!(
                test,
                release_lock,
                ReleaseLockRequest {
                    lock_key: "l",
                    lock_id
                }
            )
            .released
        );
        let renewed = done!(
            test,
            renew_lock,
            RenewLockRequest {
                lock_key: "l",
                lock_id,
                ttl: milliseconds(10),
            }
        );
        assert!(!renewed.renewed && renewed.expires_at.is_none());
    }
    assert!(
        done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: id()
            }
        )
        .released
    );
    assert!(
        !done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: id()
            }
        )
        .released
    );
    let next = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    assert!(next.acquired && next.fencing_token > first.fencing_token);
}

#[tokio::test]
async fn a_lock_is_no_key() {
    let test = Test::start().await;
    done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "same",
            ttl: milliseconds(60_000)
        }
    );
    assert!(!done!(test, exists, ExistsRequest { key: "same" }).exists);
    assert!(done!(test, list_keys, ListKeysRequest {}).keys.is_empty());
    done!(
        test,
        set,
        SetRequest {
            key: "same",
            value: "v"
        }
    );
    assert!(
        !done!(
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "same",
                ttl: milliseconds(60_000)
            }
        )
        .acquired
    );
}

#[tokio::test]
async fn waiters_are_woken() {
    let test = Test::start().await;
    let first = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    let wait = async {
        done!(
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(60_000),
                wait_timeout: milliseconds(30_000),
            }
        )
    };
    let release = async {
        let channel = format!("{{{}}}/lock:l", Tenant::user(&test.user).slug());
        eventually("the waiter listens", PATIENCE, async || {
            let (_, count): (String, i64) = test.raw(redis::cmd("PUBSUB").arg("NUMSUB").arg(&channel)).await;
            count == 1
        })
        .await;
        done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: first.lock_id.clone()
            }
        );
        Instant::now()
    };
    let (second, released) = tokio::join!(wait, release);
    assert!(second.acquired && second.fencing_token > first.fencing_token);
    assert!(
        released.elapsed() < Duration::from_millis(900),
        "woken, and not found by looking"
    );
}

#[tokio::test]
async fn a_lock_ends_by_itself() {
    let test = Test::start().await;
    let first = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(100)
        }
    );
    let second = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000),
            wait_timeout: milliseconds(30_000),
        }
    );
    assert!(second.acquired && second.fencing_token > first.fencing_token);
    assert!(
        !done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: first.lock_id
            }
        )
        .released
    );
}

#[tokio::test]
async fn waiting_ends() {
    let test = Test::start().await;
    done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    let began = Instant::now();
    let waited = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000),
            wait_timeout: milliseconds(300),
        }
    );
    assert!(!waited.acquired);
    assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&began.elapsed()));

    let mut request = tonic::Request::new(pb::AcquireLockRequest {
        user_id: test.user.clone(),
        lock_key: "l".into(),
        ttl: Some(milliseconds(60_000)),
        wait_timeout: Some(milliseconds(60_000)),
        ..Default::default()
    });
    request.set_timeout(Duration::from_secs(1));
    let waited = test
        .client
        .clone()
        .acquire_lock(request)
        .await
        .expect("an answer within the deadline");
    assert!(!waited.into_inner().acquired);
}

#[tokio::test]
async fn who_goes_away_while_waiting_holds_nothing() {
    let test = Test::start().await;
    let first = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    let waiter = async {
        done!(
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(60_000),
                wait_timeout: milliseconds(60_000),
            }
        )
    };
    assert!(
        tokio::time::timeout(Duration::from_millis(200), waiter)
            .await
            .is_err()
    );
    done!(
        test,
        release_lock,
        ReleaseLockRequest {
            lock_key: "l",
            lock_id: first.lock_id
        }
    );
    let next = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000),
            wait_timeout: milliseconds(10_000),
        }
    );
    assert!(next.acquired);
}

#[tokio::test]
async fn fencing_grows_though_redis_forgets() {
    let test = Test::start().await;
    let acquire = async || {
        done!(
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(60_000)
            }
        )
    };
    let first = acquire().await;
    let slug = Tenant::user(&test.user).slug().to_owned();
    let gone: i64 = test
        .raw(
            redis::cmd("DEL")
                .arg(format!("{{{slug}}}/fence"))
                .arg(format!("{{{slug}}}/lock:l")),
        )
        .await;
    assert_eq!(gone, 2);
    assert!(acquire().await.fencing_token > first.fencing_token);
}

#[tokio::test]
async fn times_that_cannot_be_are_refused() {
    let test = Test::start().await;
    refused!(
        InvalidArgument,
        "ttl: is missing",
        test,
        acquire_lock,
        AcquireLockRequest { lock_key: "l" }
    );
    for ttl in [0, 9, -1000, 24 * 3600 * 1000 + 1] {
        refused!(
            InvalidArgument,
            "ttl: ",
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(ttl),
            }
        );
    }
    for wait in [-1, 5 * 60 * 1000 + 1] {
        refused!(
            InvalidArgument,
            "wait_timeout: ",
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(1000),
                wait_timeout: milliseconds(wait),
            }
        );
    }
    refused!(
        InvalidArgument,
        "lock_id",
        test,
        release_lock,
        ReleaseLockRequest { lock_key: "l" }
    );
    refused!(
        InvalidArgument,
        "lock_key",
        test,
        release_lock,
        ReleaseLockRequest { lock_id: "x" }
    );
}
