use isa_proto::loki as pb;
use tonic::Code;

use super::{SECOND, World, entry, fails, labels, nanoseconds, now, timestamp};

/// Ten entries, a second apart, of two services.
async fn ten(world: &World) -> i64 {
    let at = now() - 60 * SECOND;
    let entries = (0..10).map(|n| {
        let (service, level) = if n % 2 == 0 {
            ("api", "info")
        } else {
            ("web", "error")
        };
        let line = format!("{{\"n\":{n},\"user\":\"u{}\"}}", n % 3);
        entry(
            &line,
            &[("service", service), ("level", level)],
            Some(at + n * SECOND),
        )
    });
    let answer = world.batch(entries.collect()).await;
    assert!(answer.success, "{:?}", answer.errors);
    at
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_come_in_the_order_and_number_that_was_asked_for() {
    let world = World::start().await;
    let at = ten(&world).await;
    let ask = async |request: pb::QueryLogsRequest| world.client().query_logs(request).await;
    let found = ask(world.query("")).await.unwrap().into_inner();
    assert_eq!((found.entries.len(), found.total_count), (10, 10));
    let times: Vec<_> = found
        .entries
        .iter()
        .map(|entry| nanoseconds(entry.timestamp))
        .collect();
    assert_eq!(times, (0..10).map(|n| at + n * SECOND).collect::<Vec<_>>());
    assert!(found.stats.contains_key("bytes_processed") && found.stats.contains_key("exec_time_seconds"));
    assert!(found.entries[0].labels.keys().all(|name| !name.starts_with("__")));

    let request = pb::QueryLogsRequest {
        limit: 3,
        direction: String::new(),
        ..world.query("{service=~\".+\"}")
    };
    let found = ask(request).await.unwrap().into_inner().entries;
    let times: Vec<_> = found.iter().map(|entry| nanoseconds(entry.timestamp)).collect();
    assert_eq!(times, [at + 9 * SECOND, at + 8 * SECOND, at + 7 * SECOND]);

    // The start belongs to it, the end does not.
    let request = pb::QueryLogsRequest {
        start: Some(timestamp(at + 2 * SECOND)),
        end: Some(timestamp(at + 4 * SECOND)),
        direction: "FORWARD".into(),
        ..world.query("")
    };
    let found = ask(request).await.unwrap().into_inner().entries;
    assert_eq!(found.len(), 2);
    assert_eq!(nanoseconds(found[0].timestamp), at + 2 * SECOND);

    // What a query finds in a line is among the labels; the stream is the same.
    let found = ask(world.query("{service=\"api\"} | json | user=\"u1\""))
        .await
        .unwrap();
    let found = found.into_inner().entries;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].labels,
        labels(&[("service", "api"), ("level", "info"), ("n", "4"), ("user", "u1")])
    );
    let plain = ask(world.query("{service=\"api\"}"))
        .await
        .unwrap()
        .into_inner()
        .entries;
    assert_eq!(plain[0].stream_id, found[0].stream_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_loki_does_not_take_is_told_with_its_place() {
    let world = World::start().await;
    world.push("x", &[], None).await;
    let refused = async |request: pb::QueryLogsRequest| {
        fails(world.client().query_logs(request).await, Code::InvalidArgument)
    };
    for bad in [
        "{",
        "{service=\"x\"",
        "{service=}",
        "x",
        "{service=\"x\"} |= ",
        "{a=~\"(\"}",
        "{}",
    ] {
        let said = refused(world.query(bad)).await;
        assert!(
            said.starts_with("query: ") && said.contains("parse error"),
            "{bad}: {said}"
        );
    }
    let said = refused(world.query("{service=\"x\" ")).await;
    assert!(said.contains("line 1, col"), "{said}");
    let said = refused(world.query("rate({service=\"x\"}[1m])")).await;
    assert!(
        said.starts_with("query: ") && said.contains("QueryRange"),
        "{said}"
    );
    let said = refused(world.query(&"x".repeat(70_000))).await;
    assert!(said.starts_with("query: has "), "{said}");

    type Change = fn(&mut pb::QueryLogsRequest);
    let cases: [(&str, Change); 7] = [
        ("limit", |request| request.limit = 5001),
        ("limit", |request| request.limit = -1),
        ("direction", |request| request.direction = "sideways".into()),
        ("end", |request| {
            request.start = Some(timestamp(now()));
            request.end = request.start;
        }),
        ("start", |request| {
            request.start = Some(timestamp(now() - 31 * 24 * 3600 * SECOND))
        }),
        ("start", |request| {
            request.start = Some(isa_proto::prost_types::Timestamp {
                seconds: -1,
                nanos: 0,
            });
        }),
        ("end", |request| {
            request.end = Some(isa_proto::prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: -1,
            });
        }),
    ];
    for (field, spoil) in cases {
        let mut request = world.query("{service=\"x\"}");
        spoil(&mut request);
        let said = refused(request).await;
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_over_time_are_a_matrix_and_entries_streams() {
    let world = World::start().await;
    let at = ten(&world).await;
    let request = |query: &str| pb::QueryRangeRequest {
        organization_id: world.org.clone(),
        query: query.to_owned(),
        start: Some(timestamp(at)),
        end: Some(timestamp(at + 20 * SECOND)),
        step: 10,
        limit: 1000,
        ..Default::default()
    };
    let query = "sum by (service) (count_over_time({service=~\"api|web\"}[10s]))";
    let found = world
        .client()
        .query_range(request(query))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.result_type, "matrix");
    assert!(found.stream_results.is_empty() && !found.stats.is_empty());
    let mut sums: Vec<_> = found
        .matrix_results
        .iter()
        .map(|series| {
            let sum: f64 = series.values.iter().map(|point| point.value).sum();
            (series.metric["service"].as_str(), sum)
        })
        .collect();
    sums.sort_by_key(|(service, _)| *service);
    assert_eq!(sums, [("api", 5.0), ("web", 5.0)]);

    let found = world
        .client()
        .query_range(request("count_over_time({service=\"api\"}[10s])"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        found.matrix_results[0].metric,
        labels(&[("service", "api"), ("level", "info")])
    );

    let found = world
        .client()
        .query_range(request("{service=~\"api|web\"}"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(found.result_type, "streams");
    let mut streams: Vec<_> = found
        .stream_results
        .iter()
        .map(|stream| (stream.stream["service"].as_str(), stream.entries.len()))
        .collect();
    streams.sort_unstable();
    assert_eq!(streams, [("api", 5), ("web", 5)]);

    for (query, step, field) in [
        ("", 10, "query"),
        ("rate({", 10, "query"),
        ("vector(1)", -1, "step"),
    ] {
        let request = pb::QueryRangeRequest {
            step,
            ..request(query)
        };
        let said = fails(world.client().query_range(request).await, Code::InvalidArgument);
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
    let request = pb::QueryRangeRequest {
        start: Some(timestamp(at - 24 * 3600 * SECOND)),
        step: 1,
        ..request("vector(1)")
    };
    let said = fails(world.client().query_range(request).await, Code::InvalidArgument);
    assert!(said.starts_with("step: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_is_measured() {
    let world = World::start().await;
    let at = ten(&world).await;
    let measure = async |query: &str| {
        let request = pb::QueryStatsRequest {
            organization_id: world.org.clone(),
            query: query.to_owned(),
            start: Some(timestamp(at)),
            end: Some(timestamp(at + 9 * SECOND)),
            ..Default::default()
        };
        world
            .client()
            .query_stats(request)
            .await
            .map(tonic::Response::into_inner)
    };
    // The tenth is at the end, which does not belong to it.
    let all = measure("{service=~\".+\"}").await.unwrap();
    assert_eq!((all.total_entries, all.streams_count), (9, 2));
    assert_eq!(
        all.level_distribution,
        [("error".into(), 4), ("info".into(), 5)].into()
    );
    assert_eq!(all.total_bytes, 9 * 19);
    assert_eq!(all.top_labels, ["level", "service"]);
    assert!(all.query_time_ms > 0.0);
    assert_eq!(measure("").await.unwrap().total_entries, 9);
    let some = measure("{service=\"web\"} |= \"u1\"").await.unwrap();
    assert_eq!(
        (some.total_entries, some.total_bytes, some.streams_count),
        (2, 38, 1)
    );
    assert_eq!(some.level_distribution, [("error".into(), 2)].into());
    let none = measure("{service=\"absent\"}").await.unwrap();
    assert_eq!((none.total_entries, none.streams_count), (0, 0));
    for bad in ["{", "rate({a=\"b\"}[1m])", "{a=~\"(\"}"] {
        let said = fails(measure(bad).await, Code::InvalidArgument);
        assert!(said.starts_with("query: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_and_their_values_are_listed() {
    let world = World::start().await;
    ten(&world).await;
    let request = pb::GetLabelsRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let found = world.client().get_labels(request).await.unwrap().into_inner();
    assert_eq!(found.labels, ["level", "service"]);
    let values = async |label: &str, query: &str| {
        let request = pb::GetLabelValuesRequest {
            organization_id: world.org.clone(),
            label_name: label.to_owned(),
            query: query.to_owned(),
            ..Default::default()
        };
        let answer = world.client().get_label_values(request).await;
        answer.map(|answer| answer.into_inner().values)
    };
    assert_eq!(values("service", "").await.unwrap(), ["api", "web"]);
    assert_eq!(values("service", "{level=\"error\"}").await.unwrap(), ["web"]);
    assert!(values("absent", "").await.unwrap().is_empty());
    for bad in ["", "a b", "__isa__", "../x", "a/values?x=", &"x".repeat(10_240)] {
        let said = fails(values(bad, "").await, Code::InvalidArgument);
        assert!(said.starts_with("label_name: "), "{said}");
    }
    let said = fails(values("service", "{level=").await, Code::InvalidArgument);
    assert!(said.starts_with("query: "), "{said}");

    let request = pb::ValidateLabelsRequest {
        labels: labels(&[("good", "x"), ("bad-one", "x"), ("empty", "")]),
    };
    let found = world
        .client()
        .validate_labels(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!found.valid && found.violations.len() == 2, "{found:?}");
    let request = pb::ValidateLabelsRequest {
        labels: labels(&[("good", "x")]),
    };
    assert!(
        world
            .client()
            .validate_labels(request)
            .await
            .unwrap()
            .into_inner()
            .valid
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_see_their_own_alone() {
    let world = World::start().await;
    let other = World::start().await;
    ten(&world).await;
    other.push("theirs", &[("service", "api")], None).await;
    assert_eq!(other.lines("{service=~\".+\"}").await, ["theirs"]);
    assert_eq!(other.lines("").await, ["theirs"]);
    assert_eq!(world.lines("{service=\"api\"}").await.len(), 5);
    let request = pb::GetLabelsRequest {
        organization_id: other.org.clone(),
        ..Default::default()
    };
    assert_eq!(
        other
            .client()
            .get_labels(request)
            .await
            .unwrap()
            .into_inner()
            .labels,
        ["service"]
    );
}
