//! State that one of several replicas keeps.

use isa_config::{ReplicasConfig, ServerConfig, ServiceKind};
use isa_proto::loki as pb;
use isa_server::Upstream;
use tonic::Code;
use tonic_types::StatusExt;

use crate::harness::{Node, open};

/// Replicas stand at the same port of several addresses, as pods do. `localhost` is the name of ours.
fn config(ip: &str) -> ServerConfig {
    let mut config = open();
    config.replicas = Some(ReplicasConfig {
        advertise: ip.parse().unwrap(),
        dns: [(ServiceKind::Loki, "localhost".to_owned())].into(),
        tls_name: None,
        tls_ca: None,
    });
    config
}

async fn ask(node: &Node, id: &str) -> Result<String, tonic::Status> {
    let request = pb::GetStreamInfoRequest {
        user_id: "alice".into(),
        stream_id: id.into(),
    };
    let answer = node.client().get_stream_info(request).await?;
    Ok(answer.into_inner().stream.unwrap().stream_id)
}

#[tokio::test]
async fn calls_find_the_replica_that_keeps_their_state() {
    let upstream = || Upstream::in_process(isa_config::EngineKind::Loki);
    let first = Node::with(&config("127.0.0.1"), upstream(), crate::harness::listener()).await;
    let port = first.running.addresses()[&ServiceKind::Loki].port();
    let bind = |ip: &str| std::net::TcpListener::bind((ip, port)).unwrap();
    let second = Node::with(&config("127.0.0.2"), upstream(), bind("127.0.0.2")).await;

    let id = ask(&first, "").await.unwrap();
    assert_eq!(ask(&first, &id).await.unwrap(), "here");
    assert_eq!(ask(&second, &id).await.unwrap(), "forwarded for alice");

    // `localhost` does not resolve to the second: to the first, that one is gone.
    let id_of_second = ask(&second, "").await.unwrap();
    let lost = ask(&first, &id_of_second).await.unwrap_err();
    assert_eq!(lost.code(), Code::Aborted);
    assert_eq!(
        lost.get_error_details().error_info().unwrap().reason,
        "STATE_LOST"
    );
    let malformed = ask(&first, "../x").await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert!(malformed.message().starts_with("stream_id"), "{malformed}");

    // Another process at the same address has not what the one before it kept.
    assert!(first.running.drain().await);
    let down = ask(&second, &id).await.unwrap_err();
    assert_eq!(down.code(), Code::Unavailable);
    assert!(down.get_error_details().retry_info().is_none() || down.code() == Code::Unavailable);
    let _again = Node::with(&config("127.0.0.1"), upstream(), bind("127.0.0.1")).await;
    let mut lost = ask(&second, &id).await.unwrap_err();
    for _ in 0..100 {
        if lost.code() == Code::Aborted {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        lost = ask(&second, &id).await.unwrap_err();
    }
    assert_eq!(lost.code(), Code::Aborted, "{lost}");
}
