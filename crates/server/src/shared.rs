//! What all services of a process share.

use std::{net::SocketAddr, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Readiness, ServerError, audit::Audit, auth::Auth, replica::Replicas};
use isa_config::{AuthMode, ServerConfig};

pub(crate) struct Shared {
    pub(crate) auth: Auth,
    pub(crate) audit: Audit,
    pub(crate) readiness: Readiness,
    pub(crate) replicas: Replicas,
    /// The server has been told to stop.
    pub(crate) stopping: CancellationToken,
    /// No new connections, and no new calls on those there are.
    pub(crate) closed: CancellationToken,
    /// What still runs is cut off.
    pub(crate) cut_off: CancellationToken,
    /// What services do last.
    pub(crate) leaving: TaskTracker,
    pub(crate) default_deadline: Duration,
    pub(crate) compress_from: usize,
    pub(crate) max_message: usize,
}

impl Shared {
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        Ok(Self {
            auth: Auth::new(&config.auth)?,
            audit: Audit::new(&config.audit).map_err(ServerError::Audit)?,
            readiness: Readiness::default(),
            replicas: Replicas::new(config)?,
            stopping: CancellationToken::new(),
            closed: CancellationToken::new(),
            cut_off: CancellationToken::new(),
            leaving: TaskTracker::new(),
            default_deadline: Duration::from_secs(config.transport.default_deadline_seconds),
            compress_from: config.transport.compress_from_bytes,
            max_message: config.transport.max_message_mib << 20,
        })
    }
}

/// An open server believes whatever it is told, so only this machine may tell it.
pub(crate) fn check_address(config: &ServerConfig, address: SocketAddr) -> Result<(), ServerError> {
    if config.auth.mode == AuthMode::Open && !address.ip().is_loopback() {
        return Err(ServerError::OpenToTheNetwork(address));
    }
    Ok(())
}
