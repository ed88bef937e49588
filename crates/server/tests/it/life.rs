//! A server's life: starting, its engine gone and back, metrics, stopping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::StreamExt;
use isa_config::{EngineKind, ServiceKind};
use isa_proto::loki as pb;
use isa_server::Upstream;
use tokio::io::AsyncReadExt;
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};
use tonic_types::StatusExt;

use crate::harness::{Node, eventually, listener, open};

const NAME: &str = "isa.loki.LokiService";

async fn health(node: &Node, service: &str) -> ServingStatus {
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let answer = HealthClient::new(node.channel.clone())
        .check(request)
        .await
        .unwrap();
    answer.into_inner().status()
}

async fn becomes(node: &Node, service: &str, status: ServingStatus) {
    for _ in 0..500 {
        if health(node, service).await == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{service:?} does not become {status:?}");
}

fn query(text: &str) -> pb::QueryLogsRequest {
    pb::QueryLogsRequest {
        query: text.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn calls_wait_outside_until_the_server_is_ready() {
    let node = Node::start(&open()).await;
    let hold = node.running.readiness().hold("a test");
    becomes(&node, "", ServingStatus::NotServing).await;
    let error = node.client().query_logs(query("")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(error.get_error_details().error_info().unwrap().reason, "STARTING");
    assert!(error.get_error_details().retry_info().is_some());
    drop(hold);
    becomes(&node, NAME, ServingStatus::Serving).await;
    node.client().query_logs(query("")).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_down_is_said_to_be() {
    let alive = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&alive);
    let upstream = Upstream::watch(EngineKind::Loki, move || {
        let answers = asked.load(SeqCst);
        async move {
            if answers {
                Ok(())
            } else {
                Err("connection refused")
            }
        }
    });
    let node = Node::with(&open(), upstream.clone(), listener()).await;
    becomes(&node, NAME, ServingStatus::Serving).await;
    alive.store(false, SeqCst);
    becomes(&node, NAME, ServingStatus::NotServing).await;
    assert_eq!(
        health(&node, "").await,
        ServingStatus::Serving,
        "the process is well"
    );
    let error = node.client().query_logs(query("")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let details = error.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "ENGINE_DOWN");
    assert!(details.retry_info().is_some());
    node.client()
        .health_check(pb::LokiHealthCheckRequest::default())
        .await
        .unwrap();
    alive.store(true, SeqCst);
    becomes(&node, NAME, ServingStatus::Serving).await;
    node.client().query_logs(query("")).await.unwrap();
}

#[tokio::test]
async fn reflection_shows_this_service_in_both_versions() {
    let node = Node::start(&open()).await;
    let list = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(node.channel.clone());
    let mut answers = client
        .server_reflection_info(futures::stream::iter([list]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let v1::server_reflection_response::MessageResponse::ListServicesResponse(services) = answer else {
        panic!("not a list: {answer:?}");
    };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains(&NAME.to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("redis")), "{names:?}");

    let symbol = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(NAME.to_owned()),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(node.channel.clone());
    let mut answers = client
        .server_reflection_info(futures::stream::iter([symbol]))
        .await
        .unwrap()
        .into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let found = matches!(
        answer,
        v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(ref file)
            if !file.file_descriptor_proto.is_empty()
    );
    assert!(found, "{answer:?}");
}

#[tokio::test]
async fn numbers_and_probes_are_shown() {
    let mut config = open();
    config.admin = Some("127.0.0.1:0".parse().unwrap());
    let node = Node::start(&config).await;
    node.client()
        .get_statistics(pb::GetStatisticsRequest::default())
        .await
        .unwrap();
    node.client().query_logs(query("panic")).await.unwrap_err();
    let url = format!("http://{}", node.running.admin_address().unwrap());
    let get = |path: &str| {
        let url = format!("{url}{path}");
        async move { reqwest::get(url).await.unwrap() }
    };
    let text = get("/metrics").await.text().await.unwrap();
    for line in [
        "isa_calls_total{service=\"loki\",method=\"GetStatistics\",code=\"OK\"}",
        "isa_calls_total{service=\"loki\",method=\"QueryLogs\",code=\"INTERNAL\"}",
        "isa_call_seconds_bucket{service=\"loki\",method=\"GetStatistics\"",
        "isa_engine_up{service=\"loki\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    assert_eq!(get("/livez").await.status(), 200);
    assert_eq!(get("/readyz").await.status(), 200);
    let _hold = node.running.readiness().hold("a test");
    let answer = get("/readyz").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text().await.unwrap(), "waiting for a test\n");
}

#[tokio::test]
async fn a_drain_lets_accepted_calls_end() {
    let node = Node::start(&open()).await;
    let mut client = node.client();
    let call = tokio::spawn(async move { client.query_logs(query("block")).await });
    let seen = Arc::clone(&node.seen);
    eventually("it runs", || seen.running.load(SeqCst) == 1).await;
    let (gate, address) = (
        Arc::clone(&node.gate),
        *node.running.addresses().values().next().unwrap(),
    );
    let drain = tokio::spawn(node.running.drain());
    eventually("nobody else comes in", || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    assert!(!drain.is_finished());
    gate.add_permits(1);
    call.await.unwrap().unwrap();
    assert!(drain.await.unwrap(), "nothing was cut off");
}

#[tokio::test]
async fn those_who_watch_health_hear_of_it_and_hold_nothing_up() {
    let node = Node::start(&open()).await;
    let request = HealthCheckRequest { service: NAME.into() };
    let mut client = HealthClient::new(node.channel.clone());
    let mut watch = client.watch(request).await.unwrap().into_inner();
    assert_eq!(
        watch.next().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    assert!(node.running.drain().await, "nothing was cut off");
    let mut last = None;
    while let Some(Ok(answer)) = watch.next().await {
        last = Some(answer.status());
    }
    assert!(
        last.is_none_or(|status| status == ServingStatus::NotServing),
        "{last:?}"
    );
}

#[tokio::test]
async fn who_connects_and_says_nothing_holds_nothing_up() {
    let node = Node::start(&open()).await;
    let address = node.running.addresses()[&ServiceKind::Loki];
    let mut silent = tokio::net::TcpStream::connect(address).await.unwrap();
    node.client().query_logs(query("quick")).await.unwrap();
    assert!(node.running.drain().await, "nothing was cut off");
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_drain_ends() {
    let mut config = open();
    config.drain.timeout_seconds = 1;
    let node = Node::start(&config).await;
    let mut client = node.client();
    let tail = pb::TailLogsRequest {
        query: "forever".into(),
        ..Default::default()
    };
    let mut stream = client.tail_logs(tail).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let call = tokio::spawn(async move { client.query_logs(query("hang")).await });
    let seen = Arc::clone(&node.seen);
    eventually("both run", || seen.running.load(SeqCst) == 2).await;
    assert!(!node.running.drain().await, "something was cut off");
    let errors = [
        stream.next().await.unwrap().unwrap_err(),
        call.await.unwrap().unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::Unavailable);
        assert_eq!(error.get_error_details().error_info().unwrap().reason, "STOPPING");
    }
    assert_eq!(seen.running.load(SeqCst), 0);
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let node = Node::start(&open()).await;
    let mut grpc = tonic::client::Grpc::new(node.channel.clone());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let path = http::uri::PathAndQuery::from_static("/isa.redis.RedisService/Get");
    let error = grpc
        .unary(Request::new(HealthCheckRequest::default()), path, codec)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert!(error.message().contains(NAME), "{error}");
}
