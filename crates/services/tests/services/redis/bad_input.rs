use super::*;

#[tokio::test]
async fn names_have_bounds() {
    let test = Test::start().await;
    let long = "x".repeat(8193);
    for key in ["", &long] {
        refused!(InvalidArgument, "key: ", test, get, GetRequest { key });
        refused!(
            InvalidArgument,
            "key: ",
            test,
            set,
            SetRequest { key, value: "v" }
        );
        refused!(
            InvalidArgument,
            "key: ",
            test,
            h_set,
            HSetRequest {
                key,
                fields: vec![field("a", "b")]
            }
        );
        refused!(
            InvalidArgument,
            "key: ",
            test,
            get_key_info,
            GetKeyInfoRequest { key }
        );
        refused!(
            InvalidArgument,
            "keys[1]: ",
            test,
            get_multiple,
            GetMultipleRequest {
                keys: texts(["a", key])
            }
        );
        refused!(
            InvalidArgument,
            "keys[0]: ",
            test,
            s_union,
            SUnionRequest { keys: texts([key]) }
        );
        refused!(
            InvalidArgument,
            "channel: ",
            test,
            publish,
            PublishRequest { channel: key }
        );
        refused!(
            InvalidArgument,
            "channels[0]: ",
            test,
            subscribe,
            SubscribeRequest {
                channels: texts([key])
            }
        );
        refused!(
            InvalidArgument,
            "channels[0]: ",
            test,
            unsubscribe,
            UnsubscribeRequest {
                channels: texts([key])
            }
        );
        refused!(
            InvalidArgument,
            "lock_key: ",
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: key,
                ttl: milliseconds(1000),
            }
        );
    }
    refused!(
        InvalidArgument,
        "pattern: ",
        test,
        list_keys,
        ListKeysRequest {
            pattern: long.clone()
        }
    );
}

#[tokio::test]
async fn lists_have_bounds() {
    let test = Test::start().await;
    refused!(
        InvalidArgument,
        "keys: ",
        test,
        get_multiple,
        GetMultipleRequest {}
    );
    refused!(
        InvalidArgument,
        "keys: ",
        test,
        delete_multiple,
        DeleteMultipleRequest {}
    );
    refused!(InvalidArgument, "fields: ", test, h_set, HSetRequest { key: "k" });
    refused!(
        InvalidArgument,
        "fields: ",
        test,
        h_delete,
        HDeleteRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "values: ",
        test,
        l_push,
        LPushRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "values: ",
        test,
        r_push,
        RPushRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "members: ",
        test,
        s_add,
        SAddRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "members: ",
        test,
        s_remove,
        SRemoveRequest { key: "k" }
    );
    refused!(InvalidArgument, "keys: ", test, s_inter, SInterRequest {});
    refused!(InvalidArgument, "keys: ", test, s_diff, SDiffRequest {});
    refused!(
        InvalidArgument,
        "members: ",
        test,
        z_add,
        ZAddRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "members: ",
        test,
        z_remove,
        ZRemoveRequest { key: "k" }
    );
    refused!(
        InvalidArgument,
        "channels: ",
        test,
        subscribe,
        SubscribeRequest {}
    );
    refused!(
        InvalidArgument,
        "commands: ",
        test,
        execute_batch,
        RedisBatchRequest {}
    );

    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    refused!(
        InvalidArgument,
        "10001",
        test,
        s_add,
        SAddRequest {
            key: "k",
            members: many.clone()
        }
    );
    refused!(
        InvalidArgument,
        "10001",
        test,
        get_multiple,
        GetMultipleRequest { keys: many.clone() }
    );
    let commands = vec![pb::BatchCommand::default(); 10_001];
    refused!(
        InvalidArgument,
        "10001",
        test,
        execute_batch,
        RedisBatchRequest { commands }
    );
    let most = many[1..].to_vec();
    assert_eq!(
        done!(
            test,
            s_add,
            SAddRequest {
                key: "k",
                members: most.clone()
            }
        )
        .added_count,
        10_000
    );
    assert!(
        done!(test, get_multiple, GetMultipleRequest { keys: most })
            .values
            .is_empty()
    );
}

#[tokio::test]
async fn times_that_cannot_be_are_refused() {
    let test = Test::start().await;
    let length = |seconds, nanos| prost_types::Duration { seconds, nanos };
    for expiration in [
        length(0, 0),
        length(0, 999_999),
        length(-1, 0),
        length(i64::MAX, 0),
        length(i64::MIN, 0),
        length(1, -1),
        length(0, i32::MAX),
    ] {
        refused!(
            InvalidArgument,
            "expiration: ",
            test,
            set_with_expiration,
            SetWithExpirationRequest {
                key: "k",
                value: "v",
                expiration,
            }
        );
    }
    refused!(
        InvalidArgument,
        "expiration: is missing",
        test,
        set_with_expiration,
        SetWithExpirationRequest { key: "k", value: "v" }
    );
    done!(test, set, SetRequest { key: "k", value: "v" });
    for expiration in [length(i64::MAX, 0), length(i64::MIN, 0), length(1, -1)] {
        refused!(
            InvalidArgument,
            "expiration: ",
            test,
            expire,
            ExpireRequest { key: "k", expiration }
        );
    }
    assert_eq!(test.look::<i64>("PTTL", "k").await, -1);
}
