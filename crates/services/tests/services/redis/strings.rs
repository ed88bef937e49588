use super::*;

#[tokio::test]
async fn strings_are_written_and_read() {
    let test = Test::start().await;
    let set = done!(
        test,
        set,
        SetRequest {
            key: "a",
            value: "välue\0"
        }
    );
    assert!(set.success && set.message == "OK");
    assert_eq!(test.look::<String>("GET", "a").await, "välue\0");
    let got = done!(test, get, GetRequest { key: "a" });
    assert!(got.found && got.value == "välue\0");
    let got = done!(test, get, GetRequest { key: "absent" });
    assert!(!got.found && got.value.is_empty());

    done!(test, set, SetRequest { key: "empty" });
    let got = done!(test, get, GetRequest { key: "empty" });
    assert!(got.found && got.value.is_empty());

    let set = done!(
        test,
        set_with_expiration,
        SetWithExpirationRequest {
            key: "brief",
            value: "v",
            expiration: milliseconds(60_500),
        }
    );
    assert!(set.success);
    let left: i64 = test.look("PTTL", "brief").await;
    assert!((50_000..=60_500).contains(&left), "{left}");
    done!(
        test,
        set,
        SetRequest {
            key: "brief",
            value: "w"
        }
    );
    assert_eq!(
        test.look::<i64>("PTTL", "brief").await,
        -1,
        "Set removes the expiry"
    );
    done!(
        test,
        set_with_expiration,
        SetWithExpirationRequest {
            key: "brief",
            value: "v",
            expiration: milliseconds(1),
        }
    );
    eventually("the key is gone", PATIENCE, async || {
        !done!(test, get, GetRequest { key: "brief" }).found
    })
    .await;
}

#[tokio::test]
async fn many_strings_are_read_at_once() {
    let test = Test::start().await;
    done!(test, set, SetRequest { key: "a", value: "1" });
    done!(test, set, SetRequest { key: "b", value: "2" });
    done!(
        test,
        s_add,
        SAddRequest {
            key: "set",
            members: texts(["x"])
        }
    );
    let keys = texts(["b", "absent", "a", "set", "b"]);
    let got = done!(test, get_multiple, GetMultipleRequest { keys });
    let got: Vec<_> = got.values.into_iter().map(|it| (it.key, it.value)).collect();
    assert_eq!(got, [("b".into(), "2".into()), ("a".into(), "1".into())]);
}

#[tokio::test]
async fn counters_count() {
    let test = Test::start().await;
    assert_eq!(
        done!(test, increment, IncrementRequest { key: "n", delta: 5 }).value,
        5
    );
    assert_eq!(
        done!(test, decrement, DecrementRequest { key: "n", delta: 7 }).value,
        -2
    );
    assert_eq!(done!(test, increment, IncrementRequest { key: "n" }).value, -2);
    assert_eq!(test.look::<i64>("GET", "n").await, -2);
    done!(
        test,
        increment,
        IncrementRequest {
            key: "top",
            delta: i64::MAX
        }
    );
    refused!(
        OutOfRange,
        "64 bits",
        test,
        increment,
        IncrementRequest { key: "top", delta: 1 }
    );
    refused!(
        OutOfRange,
        "64 bits",
        test,
        decrement,
        DecrementRequest {
            key: "top",
            delta: i64::MIN
        }
    );
    done!(
        test,
        set,
        SetRequest {
            key: "text",
            value: "1.5"
        }
    );
    refused!(
        FailedPrecondition,
        "integer",
        test,
        increment,
        IncrementRequest {
            key: "text",
            delta: 1
        }
    );
    done!(
        test,
        r_push,
        RPushRequest {
            key: "list",
            values: texts(["x"])
        }
    );
    refused!(
        FailedPrecondition,
        "holds a list",
        test,
        increment,
        IncrementRequest {
            key: "list",
            delta: 1
        }
    );
}

#[tokio::test]
async fn append_tells_bytes() {
    let test = Test::start().await;
    assert_eq!(
        done!(
            test,
            append,
            AppendRequest {
                key: "a", value: "ä"
            }
        )
        .length,
        2
    );
    assert_eq!(
        done!(test, append, AppendRequest { key: "a", value: "b" }).length,
        3
    );
    assert_eq!(test.look::<String>("GET", "a").await, "äb");
}

#[tokio::test]
async fn large_values_pass() {
    let test = Test::start().await;
    let large = "x".repeat(10 << 20);
    done!(
        test,
        set,
        SetRequest {
            key: "large",
            value: large.clone()
        }
    );
    assert_eq!(test.look::<usize>("STRLEN", "large").await, large.len());
    assert!(done!(test, get, GetRequest { key: "large" }).value == large);
    let over = "x".repeat((64 << 20) + 1);
    refused!(
        InvalidArgument,
        "value",
        test,
        set,
        SetRequest {
            key: "over",
            value: over
        }
    );
}

#[tokio::test]
async fn bytes_of_others_are_told() {
    let test = Test::start().await;
    let () = test
        .raw(
            redis::cmd("SET")
                .arg(test.name("bytes"))
                .arg(&[0xff_u8, 0xfe][..]),
        )
        .await;
    refused!(
        FailedPrecondition,
        "not UTF-8",
        test,
        get,
        GetRequest { key: "bytes" }
    );
}

#[tokio::test]
async fn batches_run_in_one_go() {
    let test = Test::start().await;
    let command = |operation: &str, key: &str, value: &str| pb::BatchCommand {
        operation: operation.into(),
        key: key.into(),
        value: value.into(),
        expiration: None,
    };
    let brief = |operation: &str, key: &str| pb::BatchCommand {
        expiration: Some(milliseconds(60_000)),
        ..command(operation, key, "v")
    };
    let commands = vec![
        command("SET", "a", "1"),
        command("append", "a", "2"),
        command("INCR", "n", ""),
        command("INCR", "n", "41"),
        command("DECR", "n", "2"),
        command("LPUSH", "list", "x"),
        command("RPUSH", "list", "y"),
        command("SADD", "set", "m"),
        command("SADD", "set", "o"),
        command("SREM", "set", "o"),
        brief("set", "brief"),
        brief("EXPIRE", "a"),
        command("SET", "gone", "x"),
        command("DEL", "gone", ""),
    ];
    let count = commands.len();
    let ran = done!(test, execute_batch, RedisBatchRequest { commands });
    assert!(ran.success && ran.errors.is_empty(), "{ran:?}");
    assert_eq!(usize::try_from(ran.executed_count), Ok(count));
    assert_eq!(test.look::<String>("GET", "a").await, "12");
    assert_eq!(test.look::<i64>("GET", "n").await, 40);
    assert_eq!(test.look::<i64>("LLEN", "list").await, 2);
    assert_eq!(test.look::<Vec<String>>("SMEMBERS", "set").await, ["m"]);
    assert!(test.look::<i64>("PTTL", "brief").await > 0);
    assert!(test.look::<i64>("PTTL", "a").await > 0);
    assert_eq!(test.look::<i64>("EXISTS", "gone").await, 0);

    let commands = vec![command("INCR", "list", ""), command("SET", "after", "x")];
    let ran = done!(test, execute_batch, RedisBatchRequest { commands });
    assert!(!ran.success && ran.executed_count == 1, "{ran:?}");
    assert!(
        ran.errors.len() == 1 && ran.errors[0].starts_with("0: INCR: "),
        "{ran:?}"
    );
    assert_eq!(test.look::<String>("GET", "after").await, "x");

    for (bad, part) in [
        (command("GET", "a", ""), "commands[1].operation"),
        (command("INCR", "n", "1.0"), "commands[1].value"),
        (command("EXPIRE", "a", ""), "commands[1].expiration"),
        (brief("INCR", "n"), "commands[1].expiration"),
        (command("SET", "", "v"), "commands[1].key"),
    ] {
        let commands = vec![command("SET", "never", "x"), bad];
        refused!(
            InvalidArgument,
            part,
            test,
            execute_batch,
            RedisBatchRequest { commands }
        );
    }
    assert_eq!(test.look::<i64>("EXISTS", "never").await, 0, "nothing ran");
}
