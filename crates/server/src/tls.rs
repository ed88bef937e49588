//! Certificates of the server, and of clients where they must have one.

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::ServerError;
use isa_config::{ServerConfig, TlsConfig};

/// Reads the files.
pub(crate) fn server_config(config: &TlsConfig) -> Result<Arc<rustls::ServerConfig>, ServerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| tls_error(&config.certificate, e))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| tls_error(path, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|e| tls_error(path, e))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key = PrivateKeyDer::from_pem_file(&config.key).map_err(|e| tls_error(&config.key, e))?;
    let mut tls = builder
        .with_single_cert(certificates(&config.certificate)?, key)
        .map_err(|e| tls_error(&config.certificate, e))?;
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(tls))
}

/// How calls are sent on to other replicas, where these speak TLS: as they do, and with the same certificate.
pub(crate) fn replica_config(config: &ServerConfig) -> Result<Option<ClientTlsConfig>, ServerError> {
    let (Some(tls), Some(replicas)) = (&config.tls, &config.replicas) else {
        return Ok(None);
    };
    let read = |path: &Path| std::fs::read(path).map_err(|e| tls_error(path, e));
    let (Some(name), Some(ca)) = (&replicas.tls_name, &replicas.tls_ca) else {
        return Err(ServerError::ReplicasOverTls);
    };
    let identity = Identity::from_pem(read(&tls.certificate)?, read(&tls.key)?);
    let client = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(ca)?))
        .domain_name(name)
        .identity(identity);
    Ok(Some(client))
}

/// How a caller of ours speaks TLS.
pub(crate) fn client_config(credentials: &crate::connect::Credentials) -> ClientTlsConfig {
    let client = match &credentials.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match &credentials.certificate {
        Some((certificate, key)) => client.identity(Identity::from_pem(certificate, key)),
        None => client,
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServerError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|e| tls_error(path, e))?;
    if certificates.is_empty() {
        return Err(tls_error(path, "has no certificate in PEM"));
    }
    Ok(certificates)
}

fn tls_error(path: &Path, why: impl ToString) -> ServerError {
    ServerError::Tls {
        path: path.to_owned(),
        why: why.to_string(),
    }
}
