//! Object storage over any S3 engine: `names` maps a tenant to its buckets, `service` speaks S3, `grpc` speaks the
//! contract.

mod convert;
mod grpc;
mod names;
mod service;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::grpc::Minio;
// For services whose callers name objects in their buckets.
pub(crate) use self::{
    names::{Bucket, check_key},
    service::{At, Metadata, Missing, NewBucket, NewObject, Range, Store, StoreError},
};
use crate::StartError;

pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let store = Store::new(endpoint).map_err(|why| StartError::Address(ServiceKind::Minio, why))?;
    let probe = store.probe();
    let upstream = Upstream::watch(EngineKind::Minio, move || {
        let probe = probe.clone();
        async move { probe.run().await }
    });
    let service = Minio::new(store, upstream.clone());
    Ok((api::minio::mount(service), upstream))
}
