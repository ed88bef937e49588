//! Which building blocks there are, and how each is made of its engine's address.

use isa_config::{Endpoints, ServiceKind};
use isa_server::{Mount, Upstream};

use crate::{duckdb, loki, minio, mqtt, nats, neo4j, postgres, qdrant, redis};

/// The building blocks that there are.
pub const AVAILABLE: [ServiceKind; 9] = ServiceKind::ALL;

/// Why a service cannot be started, whatever its engine does: its settings are wrong.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the service {0} is not built yet; there are {names}", names = AVAILABLE.map(ServiceKind::name).join(", "))]
    NotBuilt(ServiceKind),
    #[error("{kind} has no engine: set engines.{engine}.url, or run `isa up` here", kind = .0, engine = .0.engine())]
    NoEngine(ServiceKind),
    #[error("engines.{engine}.url: {why}", engine = .0.engine(), why = .1)]
    Address(ServiceKind, String),
}

/// The service over its engine among `endpoints`, ready to be mounted. Engines need not answer yet. Must be called in a
/// tokio runtime.
///
/// # Errors
/// Its engine has no address, or one that cannot be this engine's.
pub fn mount(kind: ServiceKind, endpoints: &Endpoints) -> Result<(Mount, Upstream), StartError> {
    let endpoint = endpoints.get(&kind.engine()).ok_or(StartError::NoEngine(kind))?;
    match kind {
        ServiceKind::Minio => minio::mount(endpoint),
        ServiceKind::Duckdb => duckdb::mount(endpoint, endpoints),
        ServiceKind::Mqtt => mqtt::mount(endpoint, endpoints),
        ServiceKind::Loki => loki::mount(endpoint),
        ServiceKind::Redis => redis::mount(endpoint),
        ServiceKind::Nats => nats::mount(endpoint),
        ServiceKind::Postgres => postgres::mount(endpoint),
        ServiceKind::Qdrant => qdrant::mount(endpoint),
        ServiceKind::Neo4j => neo4j::mount(endpoint),
    }
}
