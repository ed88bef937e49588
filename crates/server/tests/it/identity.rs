//! Who may call, and as whom.

use isa_config::{AuthMode, EngineKind, ServerConfig};
use isa_proto::loki as pb;
use isa_server::{ApiKey, ApiKeyFile, Server, ServerError, Upstream, api, new_api_key, rotate_keys};
use tokio::sync::Semaphore;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::{
    harness::{Node, bearing, claims, open, required, token},
    service::Odd,
};

fn labels(user: &str, organization: &str) -> pb::GetLabelsRequest {
    pb::GetLabelsRequest {
        user_id: user.into(),
        organization_id: organization.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_open_server_believes_what_it_is_told() {
    let node = Node::start(&open()).await;
    let mut client = node.client();
    for (request, expected) in [
        (labels("alice", "acme"), ["alice", "org:acme"]),
        (labels("alice", ""), ["alice", "user:alice"]),
        (labels("", ""), ["default_user", "user:default_user"]),
    ] {
        let answer = client.get_labels(request).await.unwrap().into_inner();
        assert_eq!(answer.labels[..2], expected);
    }
    let error = client.get_labels(labels("a\0b", "")).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let details = error.get_error_details();
    assert_eq!(
        details.bad_request().unwrap().field_violations[0].field,
        "user_id"
    );
}

#[tokio::test]
async fn an_open_server_listens_to_this_machine_only() {
    let mut server = Server::new(&open()).unwrap();
    let service = Odd {
        seen: Default::default(),
        gate: Semaphore::new(0).into(),
    };
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let refused = server.add(
        api::loki::mount(service),
        Upstream::in_process(EngineKind::Loki),
        listener,
    );
    assert!(
        matches!(refused, Err(ServerError::OpenToTheNetwork(_))),
        "{refused:?}"
    );
    let nobody = Server::new(&ServerConfig::default()).err().unwrap();
    assert!(nobody.to_string().contains("auth.keys_dir"), "{nobody}");
}

#[tokio::test]
async fn a_server_that_wants_tokens_believes_them_alone() {
    let keys = tempfile::tempdir().unwrap();
    let node = Node::start(&required(keys.path())).await;
    let mut client = node.client();
    let error = client.get_labels(labels("alice", "acme")).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    assert_eq!(
        error.get_error_details().error_info().unwrap().reason,
        "UNAUTHENTICATED"
    );

    let alice = token(keys.path(), claims("alice", Some("acme"), "loki:read"));
    // What the published client says when its user said nothing, is nothing.
    for request in [
        labels("", ""),
        labels("alice", "acme"),
        labels("default_user", "default-org"),
    ] {
        let answer = client
            .get_labels(bearing(&alice, request))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.labels, ["alice", "org:acme", "", "loki:read"]);
    }
    for (request, field) in [
        (labels("bob", ""), "user_id"),
        (labels("alice", "other"), "organization_id"),
    ] {
        let error = client.get_labels(bearing(&alice, request)).await.unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        assert!(error.message().starts_with(field), "{error}");
    }
    let gateway = token(keys.path(), claims("gateway", None, "act-as"));
    let answer = client
        .get_labels(bearing(&gateway, labels("bob", "acme")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.labels[..3], ["bob", "org:acme", "gateway"]);

    for wrong in ["", "nonsense", "isa_nonsense", &format!("{alice}x")] {
        let error = client
            .get_labels(bearing(wrong, labels("", "")))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{wrong}: {error}");
    }
    // Probes need none.
    assert!(
        client
            .health_check(pb::LokiHealthCheckRequest::default())
            .await
            .unwrap()
            .into_inner()
            .healthy
    );
}

#[tokio::test]
async fn streams_of_requests_are_of_one_caller() {
    let keys = tempfile::tempdir().unwrap();
    let node = Node::start(&required(keys.path())).await;
    let mut client = node.client();
    let alice = token(keys.path(), claims("alice", None, ""));
    let of = |users: &[&'static str]| {
        let users: Vec<_> = users.to_vec();
        futures::stream::iter(users.into_iter().map(|user| pb::PushLogRequest {
            user_id: user.into(),
            ..Default::default()
        }))
    };
    let answer = client
        .push_log_stream(bearing(&alice, of(&["alice", "", "alice"])))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().accepted_count, 3);
    let error = client
        .push_log_stream(bearing(&alice, of(&["bob"])))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let error = client
        .push_log_stream(bearing(&alice, of(&["alice", "bob"])))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let answer = client.push_log_stream(bearing(&alice, of(&[]))).await.unwrap();
    assert_eq!(answer.into_inner().accepted_count, 0);
}

#[tokio::test]
async fn keys_rotate_and_api_keys_are_hashed() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let mut config = required(&keys);
    let (api_key, sha256) = new_api_key();
    let file = ApiKeyFile {
        keys: vec![ApiKey {
            name: "ci".into(),
            sha256,
            subject: "ci".into(),
            organization: Some("acme".into()),
            roles: Default::default(),
            scopes: Default::default(),
            expires: None,
        }],
    };
    let path = folder.path().join("api-keys.toml");
    std::fs::write(&path, toml::to_string(&file).unwrap()).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains(&api_key));
    config.auth.api_keys_file = Some(path.clone());
    let mut node = Node::start(&config).await;
    let mut client = node.client();
    let mut request = Request::new(labels("", ""));
    request
        .metadata_mut()
        .insert("x-api-key", api_key.parse().unwrap());
    let answer = client.get_labels(request).await.unwrap().into_inner();
    assert_eq!(answer.labels[..2], ["ci", "org:acme"]);

    let old = token(&keys, claims("alice", None, ""));
    assert!(client.get_labels(bearing(&old, labels("", ""))).await.is_ok());
    rotate_keys(&keys, 1).unwrap();
    let new = token(&keys, claims("alice", None, ""));
    assert!(
        client.get_labels(bearing(&new, labels("", ""))).await.is_err(),
        "not read yet"
    );
    node.running.reload(&config).unwrap();
    for good in [&old, &new] {
        assert!(client.get_labels(bearing(good, labels("", ""))).await.is_ok());
    }
    rotate_keys(&keys, 0).unwrap();
    std::fs::write(&path, "").unwrap();
    node.running.reload(&config).unwrap();
    for gone in [&old, &new, &api_key] {
        let error = client
            .get_labels(bearing(gone, labels("", "")))
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "remembered from before");
    }
    let mut opened = config.clone();
    opened.auth.mode = AuthMode::Open;
    assert!(node.running.reload(&opened).is_err());
}
