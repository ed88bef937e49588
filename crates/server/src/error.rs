//! Why a server cannot start.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{ServiceKind, auth::AuthError};

/// Why a server cannot start, or cannot take its new configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(
        "server.auth.mode is \"open\", so everybody would be whom they say: such a server listens on loopback only, and not on {0}; use 127.0.0.1, or server.auth.mode = \"required\""
    )]
    OpenToTheNetwork(SocketAddr),
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("TLS: {path}: {why}")]
    Tls { path: PathBuf, why: String },
    #[error("the audit record cannot be opened: {0}")]
    Audit(io::Error),
    #[error("{0} cannot be served: {1}")]
    Listen(ServiceKind, io::Error),
    #[error("metrics and probes cannot be served on {0}: {1}")]
    Admin(SocketAddr, io::Error),
    #[error("reflection: {0}")]
    Reflection(String),
    #[error("{0} cannot be changed while the server runs; start it anew")]
    Fixed(&'static str),
    #[error("with server.tls, server.replicas needs tls_name and tls_ca, to know the other replicas by")]
    ReplicasOverTls,
    #[error("no service was added")]
    Nothing,
}
