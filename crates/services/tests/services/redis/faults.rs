//! What becomes of calls when Redis fails. Each test has a Redis of its own.

use tonic::Code;

use super::*;

async fn tell(test: &Test, command: &str, arguments: &[&str]) {
    let () = test.raw(redis::cmd(command).arg(arguments)).await;
}

#[tokio::test]
async fn a_full_redis_takes_no_writes() {
    let test = Test::alone().await;
    done!(test, set, SetRequest { key: "a", value: "v" });
    tell(&test, "CONFIG", &["SET", "maxmemory", "1"]).await;
    refused!(
        ResourceExhausted,
        "memory",
        test,
        set,
        SetRequest { key: "b", value: "v" }
    );
    refused!(
        ResourceExhausted,
        "memory",
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(1000),
        }
    );
    assert_eq!(
        done!(test, get, GetRequest { key: "a" }).value,
        "v",
        "reads go on"
    );
    assert_eq!(done!(test, delete, DeleteRequest { key: "a" }).deleted_count, 1);
    tell(&test, "CONFIG", &["SET", "maxmemory", "0"]).await;
    done!(test, set, SetRequest { key: "b", value: "v" });

    tell(&test, "REPLICAOF", &["127.0.0.1", "1"]).await;
    refused!(
        Unavailable,
        "redis",
        test,
        set,
        SetRequest { key: "c", value: "v" }
    );
    tell(&test, "REPLICAOF", &["NO", "ONE"]).await;
    eventually("it is written to again", PATIENCE, async || {
        ask!(test, set, SetRequest { key: "c", value: "v" }).is_ok()
    })
    .await;
}

#[tokio::test]
async fn connections_come_back() {
    let test = Test::alone().await;
    done!(test, set, SetRequest { key: "a", value: "v" });
    let mut stream = done!(
        test,
        subscribe,
        SubscribeRequest {
            channels: texts(["c"])
        }
    );
    tell(&test, "CLIENT", &["KILL", "TYPE", "pubsub"]).await;
    let status = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("in time")
        .expect_err("messages may have been missed");
    assert_eq!(status.code(), Code::Unavailable);
    let mut stream = done!(
        test,
        subscribe,
        SubscribeRequest {
            channels: texts(["c"])
        }
    );
    done!(
        test,
        publish,
        PublishRequest {
            channel: "c",
            message: "again"
        }
    );
    assert_eq!(
        stream
            .message()
            .await
            .expect("a stream")
            .expect("a message")
            .message,
        "again"
    );

    tell(&test, "CLIENT", &["KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    eventually("calls succeed again", PATIENCE, async || {
        ask!(test, get, GetRequest { key: "a" }).is_ok_and(|got| got.value == "v")
    })
    .await;
    let locked = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    tell(&test, "SCRIPT", &["FLUSH"]).await;
    assert!(
        done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: locked.lock_id
            }
        )
        .released
    );
}

#[tokio::test]
async fn answers_that_are_too_large_are_not_fetched() {
    let test = Test::alone().await;
    tell(&test, "CONFIG", &["SET", "appendonly", "no"]).await;
    let fill = "local v = string.rep('x', 1048576) for i = 1, 300 do redis.call('RPUSH', KEYS[1], v) end";
    tell(&test, "EVAL", &[fill, "1", &test.name("l")]).await;
    let fetched = async || {
        tell(&test, "CONFIG", &["RESETSTAT"]).await;
        refused!(
            ResourceExhausted,
            "100 MiB",
            test,
            l_range,
            LRangeRequest { key: "l", stop: -1 }
        );
        let stats: String = test.raw(redis::cmd("INFO").arg("commandstats")).await;
        stats.contains("cmdstat_lrange")
    };
    eventually("Redis is asked first", PATIENCE, async || !fetched().await).await;
    let some = done!(
        test,
        l_range,
        LRangeRequest {
            key: "l",
            start: -3,
            stop: -1
        }
    );
    assert_eq!(some.values.len(), 3);
}
