//! NATS: messages, streams, key-value and object buckets, each tenant in subjects and names of its own.

mod convert;
mod grpc;
mod names;
mod service;

use std::sync::Arc;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{
    grpc::{PATIENCE, Service},
    service::Nats,
};
use crate::StartError;

/// The service over NATS at `endpoint`, which need not answer yet.
pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let nats = Nats::open(endpoint).map_err(|why| StartError::Address(ServiceKind::Nats, why))?;
    let nats = Arc::new(nats);
    let watched = Arc::downgrade(&nats);
    let upstream = Upstream::watch(EngineKind::Nats, move || {
        let watched = watched.upgrade();
        async move {
            match watched {
                Some(nats) => nats.ping(PATIENCE).await,
                None => Ok(()),
            }
        }
    });
    let service = Service::new(nats, upstream.clone());
    Ok((api::nats::mount(service), upstream))
}
