//! Analytic databases over DuckDB in this process: `names` maps a tenant to its files, `service` runs DuckDB, `grpc` speaks
//! the contract.

mod convert;
mod grpc;
mod names;
mod service;

use std::path::PathBuf;

use isa_config::{Endpoint, Endpoints, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};
use url::Url;

use self::{grpc::Service, service::Duck};
use crate::{StartError, minio::Store};

/// The service over the folder at `endpoint`. Object storage and NATS among `endpoints` need not answer yet; without them
/// there are no copies, and no other replicas.
pub(crate) fn mount(endpoint: &Endpoint, endpoints: &Endpoints) -> Result<(Mount, Upstream), StartError> {
    let wrong = |why| StartError::Address(ServiceKind::Duckdb, why);
    let root = folder(&endpoint.url).map_err(wrong)?;
    let store = endpoints.get(&EngineKind::Minio).map(Store::new).transpose();
    let store = store.map_err(|why| StartError::Address(ServiceKind::Minio, why))?;
    let duck = Duck::new(root, store, endpoints.get(&EngineKind::Nats)).map_err(wrong)?;
    let service = Service::new(duck);
    Ok((
        api::duckdb::mount(service),
        Upstream::in_process(EngineKind::Duckdb),
    ))
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let url = Url::parse(text).map_err(|why| why.to_string())?;
    url.to_file_path()
        .map_err(|()| "must be file:///FOLDER".to_owned())
}
