//! Redis: one gRPC service over a server, a cluster, or what sentinels watch. `service` speaks to Redis, `grpc` to callers,
//! `names` keeps tenants apart.

mod grpc;
mod names;
mod service;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{grpc::Redis, service::Store};
use crate::StartError;

/// See `service/address.rs` for the forms of URL.
pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let wrong = |why| StartError::Address(ServiceKind::Redis, why);
    let store = Store::new(endpoint).map_err(wrong)?;
    let asked = store.clone();
    let upstream = Upstream::watch(EngineKind::Redis, move || {
        let store = asked.clone();
        async move { store.ping().await }
    });
    let redis = Redis::new(store, upstream.clone());
    Ok((api::redis::mount(redis), upstream))
}
