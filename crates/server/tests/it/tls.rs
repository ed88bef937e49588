//! Certificates: the server's, and clients' where they must have one.

use std::{fs, path::Path};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use isa_config::{ServiceKind, TlsConfig};
use isa_proto::{loki as pb, loki::loki_service_client::LokiServiceClient};
use isa_server::connect::{Connector, Credentials, authorization, server_address};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tonic::{
    Code,
    body::Body,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::harness::{Node, claims, open, required, token};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes a certificate and its key.
    fn issue(&self, folder: &Path, name: &str) -> TlsConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let config = TlsConfig {
            certificate: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
            client_ca: None,
        };
        fs::write(&config.certificate, certificate.pem()).unwrap();
        fs::write(&config.key, key.serialize_pem()).unwrap();
        config
    }
}

async fn ask(node: &Node, tls: ClientTlsConfig) -> Result<(), Box<dyn std::error::Error>> {
    let port = node.running.addresses()[&ServiceKind::Loki].port();
    let endpoint = Channel::from_shared(format!("https://localhost:{port}"))?.tls_config(tls)?;
    let mut client = LokiServiceClient::new(endpoint.connect().await?);
    client.get_labels(pb::GetLabelsRequest::default()).await?;
    Ok(())
}

#[tokio::test]
async fn certificates_are_shown_asked_for_and_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let (servers, clients) = (Authority::new(), Authority::new());
    let mut config = open();
    config.tls = Some(servers.issue(folder.path(), "server"));
    let node = Node::start(&config).await;
    let trusting = |authority: &Authority| {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.0.pem()))
    };
    ask(&node, trusting(&servers)).await.unwrap();
    ask(&node, trusting(&clients)).await.unwrap_err();

    let ca = folder.path().join("clients.crt");
    fs::write(&ca, clients.0.pem()).unwrap();
    config.tls.as_mut().unwrap().client_ca = Some(ca);
    let mut node = Node::start(&config).await;
    ask(&node, trusting(&servers)).await.unwrap_err();
    let identity = |authority: &Authority, name: &str| {
        let files = authority.issue(folder.path(), name);
        Identity::from_pem(fs::read(files.certificate).unwrap(), fs::read(files.key).unwrap())
    };
    ask(&node, trusting(&servers).identity(identity(&clients, "client")))
        .await
        .unwrap();
    ask(&node, trusting(&servers).identity(identity(&servers, "other")))
        .await
        .unwrap_err();

    let renewed = Authority::new();
    let client_ca = config.tls.as_ref().unwrap().client_ca.clone();
    config.tls = Some(TlsConfig {
        client_ca,
        ..renewed.issue(folder.path(), "server")
    });
    node.running.reload(&config).unwrap();
    ask(&node, trusting(&renewed).identity(identity(&clients, "client")))
        .await
        .unwrap();
}

#[tokio::test]
async fn clients_without_tls_and_tokens_go_through_connect() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (servers, clients) = (Authority::new(), Authority::new());
    let ca = folder.path().join("clients.crt");
    fs::write(&ca, clients.0.pem()).unwrap();
    let mut config = required(keys.path());
    config.tls = Some(TlsConfig {
        client_ca: Some(ca),
        ..servers.issue(folder.path(), "server")
    });
    let node = Node::start(&config).await;
    let own = clients.issue(folder.path(), "client");
    let credentials = Credentials {
        ca: Some(servers.0.pem().into()),
        certificate: Some((fs::read(own.certificate).unwrap(), fs::read(own.key).unwrap())),
    };
    let port = node.running.addresses()[&ServiceKind::Loki].port();
    let server = server_address("https://localhost", "loki", port).unwrap();
    let (credential, taken) = watch::channel(None);
    let connector = Connector::new(server, &credentials, taken).unwrap();
    connector.check(ServiceKind::Loki.grpc_service()).await.unwrap();
    assert!(connector.check("isa.none").await.is_err());

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(connector.serve(listener));
    let channel = Channel::from_shared(here).unwrap().connect().await.unwrap();
    let mut client = LokiServiceClient::new(channel);
    let refused = client
        .get_labels(pb::GetLabelsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let alice = token(keys.path(), claims("alice", None, ""));
    credential.send_replace(Some(authorization(&alice).unwrap()));
    client.get_labels(pb::GetLabelsRequest::default()).await.unwrap();

    // Streams pass as they come, and errors as they are.
    let tail = |query: &str| pb::TailLogsRequest {
        query: query.into(),
        ..Default::default()
    };
    let mut entries = client.tail_logs(tail("fail")).await.unwrap().into_inner();
    assert_eq!(entries.message().await.unwrap().unwrap().line, "first");
    let error = entries.message().await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::ResourceExhausted, "too slow")
    );

    // A server that is gone is said to be.
    node.running.drain().await;
    let gone = client
        .get_labels(pb::GetLabelsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(gone.code(), Code::Unavailable);
    assert!(gone.message().contains("isa connect"), "{gone}");
}

#[tokio::test]
async fn a_deadline_that_passes_on_the_way_is_said_to_have_passed() {
    // Takes connections, and answers nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let server = server_address(&format!("http://{address}"), "loki", address.port()).unwrap();
    let (_credential, taken) = watch::channel(None);
    let connector = Connector::new(server, &Credentials::default(), taken).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(connector.serve(listener));

    // A client of gRPC has a clock of its own, and would not wait for the answer.
    let stream = TokioIo::new(TcpStream::connect(here).await.unwrap());
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tasks.spawn(async move { connection.await.unwrap() });
    let request = http::Request::post(format!("http://{here}/isa.loki.LokiService/GetLabels"))
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "100m")
        .body(Body::empty())
        .unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "4");
}
