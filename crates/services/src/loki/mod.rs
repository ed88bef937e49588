//! Loki: logs of tenants, each under an id of its own.

mod convert;
mod grpc;
mod names;
mod service;

use std::sync::Arc;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{
    grpc::{PATIENCE, Service},
    service::Loki,
};
use crate::StartError;

/// The service over Loki at `endpoint`, which need not answer yet.
pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let loki = Loki::open(endpoint).map_err(|why| StartError::Address(ServiceKind::Loki, why))?;
    let loki = Arc::new(loki);
    let watched = Arc::downgrade(&loki);
    let upstream = Upstream::watch(EngineKind::Loki, move || {
        let watched = watched.upgrade();
        async move {
            match watched {
                Some(loki) => loki.ready(PATIENCE).await,
                None => Ok(()),
            }
        }
    });
    let service = Service::new(loki, upstream.clone());
    Ok((api::loki::mount(service), upstream))
}
