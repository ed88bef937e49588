use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::{Error, error::During};

/// TLS as the clients that bring none of their own need it: ring, and the certificates that this machine trusts
/// (`SSL_CERT_FILE` names others).
pub(crate) fn client_config() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // A machine without any certificates fails at the handshake, with a message that says so.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .during("set up TLS")?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
