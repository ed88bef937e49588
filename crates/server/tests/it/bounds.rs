//! What bounds a call: limits, deadlines, sizes; and what is recorded of it.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use futures::StreamExt;
use isa_proto::loki as pb;
use tonic::{Code, Request, codec::CompressionEncoding};
use tonic_types::StatusExt;

use crate::harness::{Node, bearing, claims, eventually, open, required, token};

fn query(text: impl Into<String>) -> pb::QueryLogsRequest {
    pb::QueryLogsRequest {
        user_id: "alice".into(),
        query: text.into(),
        ..Default::default()
    }
}

fn tail(text: &str) -> pb::TailLogsRequest {
    pb::TailLogsRequest {
        user_id: "alice".into(),
        query: text.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn rates_and_places_are_the_tenants() {
    let mut config = open();
    config.limits.default.calls_per_second = 1;
    config.limits.default.burst = 2;
    config.limits.default.concurrent_calls = 1;
    config
        .limits
        .tenants
        .insert("user:vip".into(), Default::default());
    let mut node = Node::start(&config).await;
    let mut client = node.client();
    for _ in 0..2 {
        client.query_logs(query("")).await.unwrap();
    }
    let error = client.query_logs(query("")).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted);
    let details = error.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "RATE_LIMITED");
    assert!(details.retry_info().unwrap().retry_delay.unwrap() <= Duration::from_secs(1));
    let mut vip = query("");
    vip.user_id = "vip".into();
    for _ in 0..10 {
        client.query_logs(vip.clone()).await.unwrap();
    }
    config.limits.default.calls_per_second = 0;
    node.running.reload(&config).unwrap();
    let mut other = node.client();
    let blocked = tokio::spawn(async move { other.query_logs(query("block")).await });
    eventually("it runs", || node.seen.running.load(SeqCst) == 1).await;
    let error = client.query_logs(query("")).await.unwrap_err();
    assert_eq!(
        error.get_error_details().error_info().unwrap().reason,
        "TOO_MANY_CALLS"
    );
    node.gate.add_permits(1);
    blocked.await.unwrap().unwrap();
    client.query_logs(query("")).await.unwrap();
}

#[tokio::test]
async fn deadlines_and_leaving_end_the_handler() {
    let node = Node::start(&open()).await;
    let mut client = node.client();
    let mut request = Request::new(query("hang"));
    request.set_timeout(Duration::from_millis(100));
    let started = Instant::now();
    // Of the raw channel: the client's own timer would answer first.
    let error = client.query_logs(request).await.unwrap_err();
    assert!(
        matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    eventually("the handler is dropped", || node.seen.dropped.load(SeqCst) == 1).await;

    let mut other = node.client();
    let call = tokio::spawn(async move { other.query_logs(query("hang")).await });
    eventually("it runs", || node.seen.running.load(SeqCst) == 1).await;
    call.abort();
    eventually("the handler is dropped", || node.seen.dropped.load(SeqCst) == 2).await;

    let mut stream = client.tail_logs(tail("forever")).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap().line, "first");
    drop(stream);
    eventually("the stream is dropped", || node.seen.running.load(SeqCst) == 0).await;
}

#[tokio::test]
async fn half_an_upload_is_not_taken_for_a_whole() {
    let node = Node::start(&open()).await;
    let mut client = node.client();
    let half = futures::stream::iter([pb::PushLogRequest::default(), pb::PushLogRequest::default()])
        .chain(futures::stream::pending());
    let call = tokio::spawn(async move { client.push_log_stream(half).await });
    eventually("half is there", || node.seen.received.load(SeqCst) == 2).await;
    call.abort();
    // Once the connection answers again, what came before is done.
    node.client().query_logs(query("")).await.unwrap();
    assert!(node.running.drain().await);
    assert_eq!(node.seen.whole.load(SeqCst), 0);
}

#[tokio::test]
async fn the_default_deadline_is_for_calls_and_not_for_streams() {
    let mut config = open();
    config.transport.default_deadline_seconds = 1;
    let node = Node::start(&config).await;
    let mut client = node.client();
    let mut stream = client.tail_logs(tail("forever")).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let error = client.query_logs(query("hang")).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(
        error.get_error_details().error_info().unwrap().reason,
        "DEADLINE_EXCEEDED"
    );
    let more = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(more.is_err(), "the stream goes on");
}

#[tokio::test]
async fn messages_too_large_are_so_packed_or_not_and_either_way() {
    let mut config = open();
    config.transport.max_message_mib = 1;
    let node = Node::start(&config).await;
    for packing in [
        None,
        Some(CompressionEncoding::Gzip),
        Some(CompressionEncoding::Zstd),
    ] {
        let mut client = node.client();
        if let Some(encoding) = packing {
            client = client.send_compressed(encoding).accept_compressed(encoding);
        }
        for request in [query("x".repeat(2 << 20)), query("large")] {
            let error = client.query_logs(request).await.unwrap_err();
            assert_eq!(error.code(), Code::ResourceExhausted, "{packing:?}: {error}");
            assert_eq!(
                error.get_error_details().error_info().unwrap().reason,
                "TOO_LARGE"
            );
        }
        let answer = client.query_logs(query("middling")).await.unwrap();
        let encoding = answer
            .metadata()
            .get("grpc-encoding")
            .map(|it| it.to_str().unwrap().to_owned());
        assert_eq!(encoding.is_some(), packing.is_some(), "{encoding:?}");
        assert_eq!(answer.into_inner().entries[0].line.len(), 64 << 10);
    }
}

#[tokio::test]
async fn panics_and_engines_words_stay_inside() {
    let node = Node::start(&open()).await;
    let mut client = node.client();
    for text in ["panic", "engine"] {
        let error = client.query_logs(query(text)).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let mut stream = client.tail_logs(tail("panic")).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::Internal);
    let mut stream = client.tail_logs(tail("fail")).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_ok());
    let error = stream.next().await.unwrap().unwrap_err();
    assert_eq!(
        error.get_error_details().error_info().unwrap().reason,
        "SLOW_CONSUMER"
    );
    client.query_logs(query("")).await.unwrap();
    assert_eq!(node.seen.running.load(SeqCst), 0);
}

#[tokio::test]
async fn what_may_change_something_is_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut config = required(&keys);
    let file = folder.path().join("audit.jsonl");
    config.audit.file = Some(file.clone());
    let node = Node::start(&config).await;
    let mut client = node.client();
    let gateway = token(&keys, claims("gateway", Some("acme"), "act-as"));
    let push = |message: &str| {
        let request = pb::PushSimpleLogRequest {
            user_id: "alice".into(),
            service: "billing".into(),
            message: message.into(),
            ..Default::default()
        };
        let mut request = bearing(&gateway, request);
        request
            .metadata_mut()
            .insert("x-request-id", "mine-1".parse().unwrap());
        request
    };
    let answer = client.push_simple_log(push("hello")).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-1");
    assert_eq!(answer.into_inner().message, "mine-1");
    client.push_simple_log(push("")).await.unwrap_err();
    let bob = token(&keys, claims("bob", None, ""));
    let denied = pb::PushSimpleLogRequest {
        user_id: "alice".into(),
        ..Default::default()
    };
    client.push_simple_log(bearing(&bob, denied)).await.unwrap_err();
    client.query_logs(bearing(&gateway, query(""))).await.unwrap();
    assert!(node.running.drain().await);

    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&file)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| {
            [
                &line["subject"],
                &line["tenant"],
                &line["method"],
                &line["status"],
            ]
            .map(|it| it.as_str().unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["alice", "org:acme", "PushSimpleLog", "OK"],
            ["alice", "org:acme", "PushSimpleLog", "INVALID_ARGUMENT"],
            ["bob", "user:bob", "PushSimpleLog", "PERMISSION_DENIED"],
        ]
    );
    assert_eq!(lines[0]["actor"], "gateway");
    assert_eq!(lines[0]["resource"], "billing");
    assert_eq!(lines[0]["request_id"], "mine-1");
}
