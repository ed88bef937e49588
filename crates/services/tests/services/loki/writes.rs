use isa_config::ServiceKind;
use isa_proto::loki::{self as pb, loki_service_client::LokiServiceClient};
use tokio::task::JoinSet;
use tonic::Code;

use super::{SECOND, World, entry, fails, labels, now};
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_reaches_loki_under_the_tenants_id() {
    let world = World::start().await;
    let at = now() - 5;
    let text = "größe \"quoted\" \\ \n\t\u{0} 🦀";
    let value = "a \"b\" \\ \n{c=\"d\"} `e`";
    world
        .push(text, &[("service", "api"), ("odd", value)], Some(at))
        .await;
    let stored = world.stored("{service=\"api\"}").await;
    let expected = labels(&[("__isa__", "1"), ("service", "api"), ("odd", value)]);
    assert_eq!(stored, [(expected, at, text.to_owned())]);

    let found = world
        .client()
        .query_logs(world.query("{service=\"api\"}"))
        .await
        .unwrap();
    let found = found.into_inner().entries;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].labels, labels(&[("service", "api"), ("odd", value)]));
    assert_eq!(found[0].line, text);
    assert_eq!(super::nanoseconds(found[0].timestamp), at);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_without_labels_or_time_gets_them() {
    let world = World::start().await;
    let before = now();
    let id = world.push("alone", &[], None).await;
    let stored = world.stored("{service=\"unknown\"}").await;
    assert_eq!(stored.len(), 1);
    assert!(stored[0].1 >= before && stored[0].1 <= now());
    assert_eq!(stored[0].2, "alone");
    assert_eq!(world.push("again", &[("service", "unknown")], None).await, id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simple_entry_has_service_and_level() {
    let world = World::start().await;
    let request = |service: &str, level: i32| pb::PushSimpleLogRequest {
        organization_id: world.org.clone(),
        service: service.to_owned(),
        level,
        message: "hello".to_owned(),
        extra_labels: labels(&[("zone", "a")]),
        ..Default::default()
    };
    let answer = world
        .client()
        .push_simple_log(request("api", pb::LogLevel::Warn.into()))
        .await
        .unwrap()
        .into_inner();
    assert!(answer.success);
    world.client().push_simple_log(request("", 0)).await.unwrap();
    let stored = world.stored("{zone=\"a\"}").await;
    let found: Vec<_> = stored
        .iter()
        .map(|(labels, ..)| (labels["service"].as_str(), labels["level"].as_str()))
        .collect();
    assert_eq!(found, [("api", "warn"), ("unknown", "unknown")]);

    let said = fails(
        world.client().push_simple_log(request("api", 9)).await,
        Code::InvalidArgument,
    );
    assert!(said.starts_with("level: "), "{said}");
    for (name, value) in [("level", "x"), ("service", "x"), ("a-b", "x")] {
        let mut request = request("api", 1);
        request.extra_labels = labels(&[(name, value)]);
        let said = fails(
            world.client().push_simple_log(request).await,
            Code::InvalidArgument,
        );
        assert!(said.starts_with("extra_labels: "), "{said}");
    }
    for message in [String::new(), "x".repeat((256 << 10) + 1)] {
        let mut request = request("api", 1);
        request.message = message;
        let said = fails(
            world.client().push_simple_log(request).await,
            Code::InvalidArgument,
        );
        assert!(said.starts_with("message: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_right_is_refused_by_field() {
    let world = World::start().await;
    let missing = pb::PushLogRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let said = fails(world.client().push_log(missing).await, Code::InvalidArgument);
    assert!(said.starts_with("entry: "), "{said}");

    let long = "x".repeat(257);
    for (name, value) in [
        ("", "v"),
        ("9a", "v"),
        ("a b", "v"),
        ("a\"}", "v"),
        ("größe", "v"),
        ("__name__", "v"),
        ("__isa__", "2"),
        (&"n".repeat(65), "v"),
        ("a", ""),
        ("a", &long),
    ] {
        let request = world.push_request("x", &[(name, value)], None);
        let said = fails(world.client().push_log(request).await, Code::InvalidArgument);
        assert!(said.starts_with("entry.labels: "), "{said}");
    }
    let names: Vec<String> = (0..13).map(|n| format!("l{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let request = world.push_request("x", &many, None);
    fails(world.client().push_log(request).await, Code::InvalidArgument);
    world.push("x", &many[..12], None).await;

    let day = 24 * 3600 * SECOND;
    for at in [1, now() - 7 * day - 60 * SECOND, now() + 660 * SECOND] {
        let request = world.push_request("x", &[("age", "odd")], Some(at));
        let said = fails(world.client().push_log(request).await, Code::InvalidArgument);
        assert!(said.starts_with("entry.timestamp: "), "{said}");
    }
    for line in ["", &"x".repeat((256 << 10) + 1)] {
        let request = world.push_request(line, &[], None);
        let said = fails(world.client().push_log(request).await, Code::InvalidArgument);
        assert!(said.starts_with("entry.line: "), "{said}");
    }
    world
        .push(&"x".repeat(256 << 10), &[("size", "most")], None)
        .await;
    assert_eq!(world.lines("{size=\"most\"}").await[0].len(), 256 << 10);

    for own in ["", world.org.as_str()] {
        let request = pb::PushLogRequest {
            tenant_id: own.to_owned(),
            ..world.push_request("x", &[], None)
        };
        world.client().push_log(request).await.unwrap();
    }
    let request = pb::PushLogRequest {
        tenant_id: "another".to_owned(),
        ..world.push_request("x", &[], None)
    };
    let said = fails(world.client().push_log(request).await, Code::PermissionDenied);
    assert!(said.starts_with("tenant_id: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_entries_are_found_and_those_behind_are_told() {
    let world = World::start().await;
    let day = 24 * 3600 * SECOND;
    // A stream of its own for old ones: nothing newer is there.
    let old = now() - 6 * day;
    world.push("old", &[("age", "old")], Some(old)).await;
    assert_eq!(world.stored("{age=\"old\"}").await[0].1, old);

    world.push("new", &[("age", "new")], None).await;
    let behind = now() - 7200 * SECOND;
    let request = world.push_request("behind", &[("age", "new")], Some(behind));
    let said = fails(world.client().push_log(request).await, Code::InvalidArgument);
    assert!(
        said.starts_with("entry.timestamp: ") && said.contains("behind"),
        "{said}"
    );

    // A little out of order is no mistake.
    world
        .push("little", &[("age", "new")], Some(now() - 60 * SECOND))
        .await;
    assert_eq!(world.lines("{age=\"new\"}").await, ["little", "new"]);

    let answer = world
        .batch(vec![
            entry("b0", &[("age", "new")], None),
            entry("b1", &[("age", "new")], Some(behind)),
            entry("b2", &[("age", "other")], Some(behind)),
            entry("b3", &[("age", "new")], Some(behind - 5)),
            entry("b4", &[("age", "new")], None),
        ])
        .await;
    assert_eq!(
        (answer.success, answer.accepted_count, answer.rejected_count),
        (false, 3, 2)
    );
    let mut errors = answer.errors;
    errors.sort();
    assert!(
        errors[0].starts_with("1: timestamp: ") && errors[1].starts_with("3: timestamp: "),
        "{errors:?}"
    );
    assert_eq!(world.stored("{age=\"other\"}").await.len(), 1);
    assert_eq!(world.stored("{age=\"new\"}").await.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_writes_what_it_can() {
    let world = World::start().await;
    let at = now() - SECOND;
    let mut entries: Vec<_> = (0..3000)
        .map(|n| {
            let host = format!("h{}", n % 7);
            entry(
                &format!("line {n}"),
                &[("service", "batch"), ("host", &host)],
                Some(at + n),
            )
        })
        .collect();
    entries.insert(10, entry("x", &[("a b", "c")], None));
    entries.insert(20, entry(&"x".repeat(300_000), &[], None));
    let answer = world.batch(entries).await;
    assert_eq!(
        (answer.success, answer.accepted_count, answer.rejected_count),
        (false, 3000, 2)
    );
    assert!(
        answer.errors[0].starts_with("10: labels: "),
        "{:?}",
        answer.errors
    );
    assert!(answer.errors[1].starts_with("20: line: "), "{:?}", answer.errors);
    let lines = world.lines("{service=\"batch\"}").await;
    assert_eq!(lines.len(), 3000);
    assert_eq!((lines[0].as_str(), lines[2999].as_str()), ("line 0", "line 2999"));

    // Two alike are one.
    let twice = entry("twice", &[("service", "twice")], Some(at));
    let answer = world.batch(vec![twice.clone(), twice]).await;
    assert!(answer.success && answer.accepted_count == 2);
    assert_eq!(world.lines("{service=\"twice\"}").await.len(), 1);

    for count in [0, 10_001] {
        let request = pb::PushLogBatchRequest {
            organization_id: world.org.clone(),
            entries: vec![entry("x", &[], None); count],
            ..Default::default()
        };
        let said = fails(
            world.client().push_log_batch(request).await,
            Code::InvalidArgument,
        );
        assert!(said.starts_with("entries: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_entries_is_written() {
    let world = World::start().await;
    let at = now() - SECOND;
    let mut requests: Vec<_> = (0..2500)
        .map(|n| world.push_request(&format!("line {n}"), &[("service", "stream")], Some(at + n)))
        .collect();
    requests[7].entry = None;
    requests[8].entry = Some(entry("x", &[("__x", "y")], None));
    let answer = world
        .client()
        .push_log_stream(futures::stream::iter(requests))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.success, answer.accepted_count, answer.rejected_count),
        (false, 2498, 2)
    );
    assert!(answer.errors[0].starts_with("7: entry: ") && answer.errors[1].starts_with("8: labels: "));
    assert_eq!(world.lines("{service=\"stream\"}").await.len(), 2498);

    let none = futures::stream::iter(Vec::<pb::PushLogRequest>::new());
    let answer = world.client().push_log_stream(none).await.unwrap().into_inner();
    assert!(answer.success && answer.accepted_count == 0);

    let mut other = world.push_request("x", &[], None);
    other.organization_id = "another".to_owned();
    let both = futures::stream::iter([world.push_request("x", &[], None), other]);
    let said = fails(world.client().push_log_stream(both).await, Code::InvalidArgument);
    assert!(said.starts_with("organization_id: "), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_write_at_once_share_requests_and_lose_nothing() {
    let world = World::start().await;
    let mut callers = JoinSet::new();
    let at = now() - SECOND;
    for caller in 0..64_i64 {
        let mut client = world.client();
        let requests: Vec<_> = (0..20_i64)
            .map(|n| {
                let line = format!("{caller} {n}");
                world.push_request(&line, &[("service", "crowd")], Some(at + caller * 20 + n))
            })
            .collect();
        callers.spawn(async move {
            for request in requests {
                client.push_log(request).await.unwrap();
            }
        });
    }
    // One that is wrong is nobody else's business.
    world.push("new", &[("service", "crowd")], None).await;
    for _ in 0..5 {
        let request = world.push_request("behind", &[("service", "crowd")], Some(now() - 7200 * SECOND));
        let said = fails(world.client().push_log(request).await, Code::InvalidArgument);
        assert!(said.contains("behind"), "{said}");
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    assert_eq!(world.lines("{service=\"crowd\"}").await.len(), 64 * 20 + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_writes_to_so_many_streams() {
    let world = World::start().await;
    let number = |n: usize| entry("x", &[("id", &n.to_string())], None);
    let answer = world.batch((0..1000).map(number).collect()).await;
    assert_eq!(
        (answer.accepted_count, answer.success),
        (1000, true),
        "{:?}",
        answer.errors
    );
    let more = || pb::PushLogRequest {
        organization_id: world.org.clone(),
        entry: Some(number(1000)),
        ..Default::default()
    };
    let said = fails(world.client().push_log(more()).await, Code::ResourceExhausted);
    assert!(said.contains("1000 streams"), "{said}");
    // Those that are there go on.
    world.push("y", &[("id", "7")], None).await;
    // Another replica has it from Loki.
    let replica = Node::start(ServiceKind::Loki).await;
    let mut client = LokiServiceClient::new(replica.channel().await);
    fails(client.push_log(more()).await, Code::ResourceExhausted);
    // Another tenant has its own.
    let other = World::start().await;
    other.push("x", &[("id", "1000")], None).await;
    let answer = world.batch(vec![number(5), number(1001)]).await;
    assert_eq!((answer.accepted_count, answer.rejected_count), (1, 1));
    assert!(answer.errors[0].starts_with("1: "), "{:?}", answer.errors);
}
