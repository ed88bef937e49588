use super::*;

#[tokio::test]
async fn hashes() {
    let test = Test::start().await;
    let fields = vec![field("a", "1"), field("b", ""), field("a", "2")];
    let set = done!(test, h_set, HSetRequest { key: "h", fields });
    assert!(set.success && set.fields_set == 2);
    let raw: String = test.raw(redis::cmd("HGET").arg(test.name("h")).arg("a")).await;
    assert_eq!(raw, "2", "the last counts");

    let got = done!(test, h_get, HGetRequest { key: "h", field: "b" });
    assert!(got.found && got.value.is_empty());
    assert!(!done!(test, h_get, HGetRequest { key: "h", field: "c" }).found);
    assert!(
        !done!(
            test,
            h_get,
            HGetRequest {
                key: "absent",
                field: "c"
            }
        )
        .found
    );
    assert!(done!(test, h_exists, HExistsRequest { key: "h", field: "a" }).exists);
    assert!(!done!(test, h_exists, HExistsRequest { key: "h", field: "c" }).exists);

    let mut all = done!(test, h_get_all, HGetAllRequest { key: "h" }).fields;
    all.sort_by(|a, b| a.field.cmp(&b.field));
    assert_eq!(all, [field("a", "2"), field("b", "")]);
    assert_eq!(
        sorted(done!(test, h_keys, HKeysRequest { key: "h" }).fields),
        ["a", "b"]
    );
    assert_eq!(
        sorted(done!(test, h_values, HValuesRequest { key: "h" }).values),
        ["", "2"]
    );
    assert!(
        done!(test, h_get_all, HGetAllRequest { key: "absent" })
            .fields
            .is_empty()
    );

    let request = |delta: i64| (String::from("a"), delta);
    let (name, delta) = request(40);
    assert_eq!(
        done!(
            test,
            h_increment,
            HIncrementRequest {
                key: "h",
                field: name,
                delta
            }
        )
        .value,
        42
    );
    refused!(
        FailedPrecondition,
        "integer",
        test,
        h_increment,
        HIncrementRequest {
            key: "h",
            field: "b",
            delta: 1
        }
    );
    refused!(
        OutOfRange,
        "64 bits",
        test,
        h_increment,
        HIncrementRequest {
            key: "h",
            field: "a",
            delta: i64::MAX
        }
    );

    let gone = done!(
        test,
        h_delete,
        HDeleteRequest {
            key: "h",
            fields: texts(["a", "c", "b"])
        }
    );
    assert!(gone.success && gone.deleted_count == 2);
    assert_eq!(
        test.look::<i64>("EXISTS", "h").await,
        0,
        "a hash without fields is gone"
    );
    let gone = done!(
        test,
        h_delete,
        HDeleteRequest {
            key: "h",
            fields: texts(["a"])
        }
    );
    assert!(gone.success && gone.deleted_count == 0);
}

#[tokio::test]
async fn lists() {
    let test = Test::start().await;
    assert_eq!(
        done!(
            test,
            r_push,
            RPushRequest {
                key: "l",
                values: texts(["c", "d"])
            }
        )
        .length,
        2
    );
    assert_eq!(
        done!(
            test,
            l_push,
            LPushRequest {
                key: "l",
                values: texts(["b", "a"])
            }
        )
        .length,
        4
    );
    let all: Vec<String> = test
        .raw(redis::cmd("LRANGE").arg(test.name("l")).arg(0).arg(-1))
        .await;
    assert_eq!(all, ["a", "b", "c", "d"]);
    let range = done!(
        test,
        l_range,
        LRangeRequest {
            key: "l",
            start: 1,
            stop: -2
        }
    );
    assert_eq!(range.values, ["b", "c"]);
    assert_eq!(
        done!(
            test,
            l_range,
            LRangeRequest {
                key: "l",
                start: -100,
                stop: 100
            }
        )
        .values
        .len(),
        4
    );
    assert!(
        done!(
            test,
            l_range,
            LRangeRequest {
                key: "absent",
                stop: -1
            }
        )
        .values
        .is_empty()
    );
    assert_eq!(done!(test, l_len, LLenRequest { key: "l" }).length, 4);
    let found = done!(test, l_index, LIndexRequest { key: "l", index: -1 });
    assert!(found.found && found.value == "d");
    assert!(!done!(test, l_index, LIndexRequest { key: "l", index: 4 }).found);
    assert_eq!(done!(test, l_pop, LPopRequest { key: "l" }).value, "a");
    assert_eq!(done!(test, r_pop, RPopRequest { key: "l" }).value, "d");
    assert!(
        done!(
            test,
            l_trim,
            LTrimRequest {
                key: "l",
                start: 1,
                stop: 1
            }
        )
        .success
    );
    assert!(done!(test, l_trim, LTrimRequest { key: "absent" }).success);
    let last = done!(test, r_pop, RPopRequest { key: "l" });
    assert!(last.found && last.value == "c");
    assert!(!done!(test, l_pop, LPopRequest { key: "l" }).found);
    assert!(!done!(test, r_pop, RPopRequest { key: "l" }).found);
}

#[tokio::test]
async fn sets() {
    let test = Test::start().await;
    assert_eq!(
        done!(
            test,
            s_add,
            SAddRequest {
                key: "s",
                members: texts(["a", "b", "a"])
            }
        )
        .added_count,
        2
    );
    assert_eq!(
        done!(
            test,
            s_add,
            SAddRequest {
                key: "t",
                members: texts(["b", "c"])
            }
        )
        .added_count,
        2
    );
    assert_eq!(
        sorted(done!(test, s_members, SMembersRequest { key: "s" }).members),
        ["a", "b"]
    );
    assert_eq!(sorted(test.look("SMEMBERS", "s").await), ["a", "b"]);
    assert!(
        done!(
            test,
            s_is_member,
            SIsMemberRequest {
                key: "s",
                member: "a"
            }
        )
        .is_member
    );
    assert!(
        !done!(
            test,
            s_is_member,
            SIsMemberRequest {
                key: "s",
                member: "c"
            }
        )
        .is_member
    );
    assert_eq!(done!(test, s_card, SCardRequest { key: "s" }).count, 2);
    let union = done!(
        test,
        s_union,
        SUnionRequest {
            keys: texts(["s", "t", "absent"])
        }
    );
    assert_eq!(sorted(union.members), ["a", "b", "c"]);
    assert_eq!(
        done!(
            test,
            s_inter,
            SInterRequest {
                keys: texts(["s", "t"])
            }
        )
        .members,
        ["b"]
    );
    assert!(
        done!(
            test,
            s_inter,
            SInterRequest {
                keys: texts(["s", "absent"])
            }
        )
        .members
        .is_empty()
    );
    assert_eq!(
        done!(
            test,
            s_diff,
            SDiffRequest {
                keys: texts(["s", "t"])
            }
        )
        .members,
        ["a"]
    );
    done!(
        test,
        set,
        SetRequest {
            key: "text",
            value: "x"
        }
    );
    refused!(
        FailedPrecondition,
        "keys[1]: holds a string",
        test,
        s_union,
        SUnionRequest {
            keys: texts(["s", "text"]),
        }
    );
    assert_eq!(
        done!(
            test,
            s_remove,
            SRemoveRequest {
                key: "s",
                members: texts(["a", "x", "b"])
            }
        )
        .removed_count,
        2
    );
    assert_eq!(
        test.look::<i64>("EXISTS", "s").await,
        0,
        "a set without members is gone"
    );
}

fn member(member: &str, score: f64) -> pb::ZSetMember {
    pb::ZSetMember {
        member: member.into(),
        score,
    }
}

#[tokio::test]
async fn sorted_sets() {
    let test = Test::start().await;
    let members = vec![
        member("b", 2.0),
        member("a", 0.1),
        member("c", -1e300),
        member("b", 2.5),
    ];
    assert_eq!(
        done!(test, z_add, ZAddRequest { key: "z", members }).added_count,
        3
    );
    let raw: f64 = test.raw(redis::cmd("ZSCORE").arg(test.name("z")).arg("a")).await;
    assert_eq!(raw, 0.1);
    assert_eq!(
        done!(
            test,
            z_add,
            ZAddRequest {
                key: "z",
                members: vec![member("a", 0.2)]
            }
        )
        .added_count,
        0
    );

    let all = done!(
        test,
        z_range,
        ZRangeRequest {
            key: "z",
            stop: -1,
            with_scores: true
        }
    );
    assert_eq!(
        all.members,
        [member("c", -1e300), member("a", 0.2), member("b", 2.5)]
    );
    let bare = done!(
        test,
        z_range,
        ZRangeRequest {
            key: "z",
            start: 1,
            stop: 1
        }
    );
    assert_eq!(bare.members, [member("a", 0.0)]);

    let open = |offset: i32, count: i32| (f64::NEG_INFINITY, f64::INFINITY, offset, count);
    for ((min, max, offset, count), expected) in [
        (open(0, -1), vec!["c", "a", "b"]),
        (open(0, 0), vec!["c", "a", "b"]),
        (open(1, 1), vec!["a"]),
        ((0.2, 2.5, 0, -1), vec!["a", "b"]),
        ((3.0, 2.0, 0, -1), vec![]),
    ] {
        let found = done!(
            test,
            z_range_by_score,
            ZRangeByScoreRequest {
                key: "z",
                min_score: min,
                max_score: max,
                offset,
                count,
            }
        );
        let names: Vec<_> = found.members.iter().map(|it| it.member.as_str()).collect();
        assert_eq!(names, expected);
    }

    let rank = done!(
        test,
        z_rank,
        ZRankRequest {
            key: "z",
            member: "b"
        }
    );
    assert!(rank.found && rank.rank == 2);
    assert!(
        !done!(
            test,
            z_rank,
            ZRankRequest {
                key: "z",
                member: "x"
            }
        )
        .found
    );
    let score = done!(
        test,
        z_score,
        ZScoreRequest {
            key: "z",
            member: "b"
        }
    );
    assert!(score.found && score.score == 2.5);
    assert!(
        !done!(
            test,
            z_score,
            ZScoreRequest {
                key: "absent",
                member: "b"
            }
        )
        .found
    );
    assert_eq!(done!(test, z_card, ZCardRequest { key: "z" }).count, 3);
    let raised = done!(
        test,
        z_increment,
        ZIncrementRequest {
            key: "z",
            member: "b",
            delta: -0.5
        }
    );
    assert_eq!(raised.score, 2.0);
    let removed = done!(
        test,
        z_remove,
        ZRemoveRequest {
            key: "z",
            members: texts(["a", "b", "c", "d"])
        }
    );
    assert_eq!(removed.removed_count, 3);

    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused!(
            InvalidArgument,
            "members[0].score",
            test,
            z_add,
            ZAddRequest {
                key: "z",
                members: vec![member("a", bad)],
            }
        );
        refused!(
            InvalidArgument,
            "delta",
            test,
            z_increment,
            ZIncrementRequest {
                key: "z",
                member: "a",
                delta: bad,
            }
        );
    }
    refused!(
        InvalidArgument,
        "min_score",
        test,
        z_range_by_score,
        ZRangeByScoreRequest {
            key: "z",
            min_score: f64::NAN,
        }
    );
    refused!(
        InvalidArgument,
        "offset",
        test,
        z_range_by_score,
        ZRangeByScoreRequest { key: "z", offset: -1 }
    );
    refused!(
        InvalidArgument,
        "count",
        test,
        z_range_by_score,
        ZRangeByScoreRequest { key: "z", count: -2 }
    );
}

#[tokio::test]
async fn a_key_of_another_type_is_named() {
    let test = Test::start().await;
    done!(
        test,
        h_set,
        HSetRequest {
            key: "hash",
            fields: vec![field("a", "1")]
        }
    );
    refused!(
        FailedPrecondition,
        "key: holds a hash",
        test,
        get,
        GetRequest { key: "hash" }
    );
    refused!(
        FailedPrecondition,
        "key: holds a hash",
        test,
        r_push,
        RPushRequest {
            key: "hash",
            values: texts(["x"]),
        }
    );
    refused!(
        FailedPrecondition,
        "key: holds a hash",
        test,
        z_card,
        ZCardRequest { key: "hash" }
    );
    refused!(
        FailedPrecondition,
        "key: holds a hash",
        test,
        append,
        AppendRequest {
            key: "hash",
            value: "x"
        }
    );
    done!(
        test,
        set,
        SetRequest {
            key: "hash",
            value: "now a string"
        }
    );
    refused!(
        FailedPrecondition,
        "key: holds a string",
        test,
        h_get_all,
        HGetAllRequest { key: "hash" }
    );
}
