use super::*;

#[tokio::test]
async fn keys_come_and_go() {
    let test = Test::start().await;
    for key in ["a", "b", "c"] {
        done!(test, set, SetRequest { key, value: "v" });
    }
    assert!(done!(test, exists, ExistsRequest { key: "a" }).exists);
    let gone = done!(test, delete, DeleteRequest { key: "a" });
    assert!(gone.success && gone.deleted_count == 1);
    assert!(!done!(test, exists, ExistsRequest { key: "a" }).exists);
    let gone = done!(test, delete, DeleteRequest { key: "a" });
    assert!(gone.success && gone.deleted_count == 0);
    let gone = done!(
        test,
        delete_multiple,
        DeleteMultipleRequest {
            keys: texts(["a", "b", "c"])
        }
    );
    assert!(gone.success && gone.deleted_count == 2);
    assert_eq!(test.look::<i64>("EXISTS", "b").await, 0);
}

#[tokio::test]
async fn keys_expire() {
    let test = Test::start().await;
    let life = async |key: &str| done!(test, get_ttl, GetTtlRequest { key }).ttl_seconds;
    assert_eq!(life("a").await, -2);
    done!(test, set, SetRequest { key: "a", value: "v" });
    assert_eq!(life("a").await, -1);
    assert!(
        done!(
            test,
            expire,
            ExpireRequest {
                key: "a",
                expiration: milliseconds(59_999)
            }
        )
        .success
    );
    assert_eq!(life("a").await, 60, "rounded up");
    assert!(test.look::<i64>("PTTL", "a").await <= 59_999);
    assert!(
        !done!(
            test,
            expire,
            ExpireRequest {
                key: "absent",
                expiration: milliseconds(1000)
            }
        )
        .success
    );
    assert!(
        done!(
            test,
            expire,
            ExpireRequest {
                key: "a",
                expiration: milliseconds(-1)
            }
        )
        .success
    );
    assert_eq!(life("a").await, -2, "the past ends it at once");
    refused!(
        InvalidArgument,
        "expiration: is missing",
        test,
        expire,
        ExpireRequest { key: "a" }
    );
}

#[tokio::test]
async fn keys_are_renamed() {
    let test = Test::start().await;
    done!(
        test,
        set_with_expiration,
        SetWithExpirationRequest {
            key: "old",
            value: "v",
            expiration: milliseconds(60_000),
        }
    );
    done!(
        test,
        set,
        SetRequest {
            key: "new",
            value: "w"
        }
    );
    assert!(
        done!(
            test,
            rename,
            RenameRequest {
                old_key: "old",
                new_key: "new"
            }
        )
        .success
    );
    assert_eq!(test.look::<String>("GET", "new").await, "v");
    assert!(test.look::<i64>("PTTL", "new").await > 0);
    assert!(
        done!(
            test,
            rename,
            RenameRequest {
                old_key: "new",
                new_key: "new"
            }
        )
        .success
    );
    refused!(
        NotFound,
        "does not exist",
        test,
        rename,
        RenameRequest {
            old_key: "old",
            new_key: "x"
        }
    );
    refused!(
        InvalidArgument,
        "new_key",
        test,
        rename,
        RenameRequest { old_key: "new" }
    );
}

#[tokio::test]
async fn keys_are_listed_by_pattern() {
    let test = Test::start().await;
    for key in ["user:1", "user:2", "order:1", "a*b", "[x]", "ключ"] {
        done!(test, set, SetRequest { key, value: "v" });
    }
    for (pattern, expected) in [
        ("", vec!["[x]", "a*b", "order:1", "user:1", "user:2", "ключ"]),
        ("user:*", vec!["user:1", "user:2"]),
        ("*:1", vec!["order:1", "user:1"]),
        ("user:?", vec!["user:1", "user:2"]),
        ("user:[13]", vec!["user:1"]),
        (r"a\*b", vec!["a*b"]),
        (r"\[x\]", vec!["[x]"]),
        ("nothing*", vec![]),
        ("[", vec![]),
        (r"\", vec![]),
    ] {
        let listed = done!(test, list_keys, ListKeysRequest { pattern });
        assert_eq!(usize::try_from(listed.total_count), Ok(listed.keys.len()));
        assert_eq!(sorted(listed.keys), expected, "{pattern}");
    }
    assert_eq!(done!(test, list_keys, ListKeysRequest { limit: 2 }).keys.len(), 2);
    refused!(
        InvalidArgument,
        "limit",
        test,
        list_keys,
        ListKeysRequest { limit: -1 }
    );
    refused!(
        InvalidArgument,
        "limit",
        test,
        list_keys,
        ListKeysRequest { limit: 10_001 }
    );
}

#[tokio::test]
async fn long_lists_are_cut() {
    let test = Test::start().await;
    let mut fill = redis::pipe();
    for number in 0..2500 {
        fill.cmd("SET")
            .arg(test.name(&number.to_string()))
            .arg("v")
            .ignore();
    }
    fill.query_async::<()>(&mut test.raw.clone())
        .await
        .expect("written");
    assert_eq!(done!(test, list_keys, ListKeysRequest {}).keys.len(), 100);
    let all = done!(test, list_keys, ListKeysRequest { limit: 10_000 });
    assert_eq!(all.keys.len(), 2500);
    let counted = done!(test, get_statistics, GetStatisticsRequest {});
    assert_eq!(counted.total_keys, 2500);
}

#[tokio::test]
async fn figures_are_of_the_tenant() {
    let test = Test::start().await;
    done!(test, set, SetRequest { key: "s", value: "v" });
    done!(
        test,
        h_set,
        HSetRequest {
            key: "h",
            fields: vec![field("a", "1")]
        }
    );
    done!(
        test,
        r_push,
        RPushRequest {
            key: "l",
            values: texts(["x"])
        }
    );
    done!(
        test,
        s_add,
        SAddRequest {
            key: "t",
            members: texts(["x"])
        }
    );
    let members = vec![pb::ZSetMember {
        member: "m".into(),
        score: 1.0,
    }];
    done!(test, z_add, ZAddRequest { key: "z", members });
    let found = done!(test, get_statistics, GetStatisticsRequest {});
    assert_eq!(found.total_keys, 5);
    let kinds: Vec<_> = found
        .key_type_distribution
        .iter()
        .map(|(kind, count)| (kind.as_str(), *count))
        .collect();
    assert_eq!(
        kinds,
        [("hash", 1), ("list", 1), ("set", 1), ("string", 1), ("zset", 1)]
    );
    assert!(found.memory_used_bytes > 0 && found.commands_processed > 0 && found.connections_received > 0);
    assert!((0.0..=1.0).contains(&found.hit_rate));
}

#[tokio::test]
async fn keys_are_described() {
    let test = Test::start().await;
    let info = done!(test, get_key_info, GetKeyInfoRequest { key: "a" });
    assert_eq!(info, pb::GetKeyInfoResponse::default());
    done!(
        test,
        set_with_expiration,
        SetWithExpirationRequest {
            key: "a",
            value: "v",
            expiration: milliseconds(60_000),
        }
    );
    let info = done!(test, get_key_info, GetKeyInfoRequest { key: "a" });
    assert!(info.exists && info.created_at.is_none(), "{info:?}");
    assert_eq!((info.r#type(), info.ttl_seconds), (pb::ValueType::String, 60));
    let memory: i64 = test
        .raw(redis::cmd("MEMORY").arg("USAGE").arg(test.name("a")))
        .await;
    assert_eq!(info.size_bytes, memory);
    assert!(info.last_accessed.is_some());
    done!(
        test,
        s_add,
        SAddRequest {
            key: "set",
            members: texts(["x"])
        }
    );
    let info = done!(test, get_key_info, GetKeyInfoRequest { key: "set" });
    assert_eq!((info.r#type(), info.ttl_seconds), (pb::ValueType::Set, -1));
}

#[tokio::test]
async fn health_is_asked() {
    let test = Test::start().await;
    for deep in [false, true] {
        let request = pb::RedisHealthCheckRequest { deep_check: deep };
        let health = test
            .client
            .clone()
            .health_check(request)
            .await
            .expect("health")
            .into_inner();
        assert!(health.healthy && health.message.is_empty(), "{health:?}");
        assert_eq!(health.redis_status, "connected");
        assert!(health.connected_clients > 0 && health.used_memory_bytes > 0 && health.checked_at.is_some());
    }
}
