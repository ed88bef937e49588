//! Certificates: the server's, and clients' where they must have one.

use std::{fs, path::Path};

use isa_proto::{loki as pb, loki::loki_service_client::LokiServiceClient};
use isa_server::{ServiceKind, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

use crate::harness::{Node, open};

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
