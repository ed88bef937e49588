//! Qdrant: collections of vectors with payloads, each tenant in collections of its own.

mod convert;
mod grpc;
mod names;
mod service;

use std::sync::Arc;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{
    grpc::{PATIENCE, Service},
    service::Qdrant,
};
use crate::StartError;

/// The service over Qdrant at `endpoint`, which need not answer yet.
pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let qdrant = Qdrant::open(endpoint).map_err(|why| StartError::Address(ServiceKind::Qdrant, why))?;
    let qdrant = Arc::new(qdrant);
    let watched = Arc::downgrade(&qdrant);
    let upstream = Upstream::watch(EngineKind::Qdrant, move || {
        let watched = watched.upgrade();
        async move {
            match watched {
                Some(qdrant) => qdrant.ping(PATIENCE).await,
                None => Ok(()),
            }
        }
    });
    let service = Service::new(qdrant, upstream.clone());
    Ok((api::qdrant::mount(service), upstream))
}
