//! What is measured: one file for each service, one case for each class of methods.

mod duckdb;
mod loki;
mod minio;
mod mqtt;
mod nats;
mod neo4j;
mod postgres;
mod qdrant;
mod redis;

use isa_config::ServiceKind;

use crate::{measure::Operation, platform::Platform};

pub(crate) const SERVICES: [ServiceKind; 9] = [
    ServiceKind::Redis,
    ServiceKind::Postgres,
    ServiceKind::Minio,
    ServiceKind::Nats,
    ServiceKind::Qdrant,
    ServiceKind::Neo4j,
    ServiceKind::Mqtt,
    ServiceKind::Loki,
    ServiceKind::Duckdb,
];

/// One operation, both ways.
pub(crate) struct Case {
    pub(crate) kind: ServiceKind,
    pub(crate) name: String,
    /// Processor time of the server that a call may take.
    pub(crate) budget_us: Option<f64>,
    /// Callers at once, at most: streams fill the machine with few.
    most: usize,
    pub(crate) native: Operation,
    pub(crate) service: Operation,
}

impl Case {
    fn new(
        kind: ServiceKind,
        name: &str,
        budget_us: Option<f64>,
        native: Operation,
        service: Operation,
    ) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            budget_us,
            most: usize::MAX,
            native,
            service,
        }
    }

    fn at_most(mut self, callers: usize) -> Self {
        self.most = callers;
        self
    }

    /// The numbers of callers that it is measured with.
    pub(crate) fn callers(&self, wanted: &[usize]) -> Vec<usize> {
        let mut callers: Vec<_> = wanted.iter().map(|count| (*count).min(self.most)).collect();
        callers.dedup();
        callers
    }
}

/// The cases of a service, ready to run.
pub(crate) async fn of(kind: ServiceKind, platform: &Platform) -> anyhow::Result<Vec<Case>> {
    match kind {
        ServiceKind::Redis => redis::cases(platform).await,
        ServiceKind::Postgres => postgres::cases(platform).await,
        ServiceKind::Minio => minio::cases(platform).await,
        ServiceKind::Nats => nats::cases(platform).await,
        ServiceKind::Qdrant => qdrant::cases(platform).await,
        ServiceKind::Neo4j => neo4j::cases(platform).await,
        ServiceKind::Mqtt => mqtt::cases(platform).await,
        ServiceKind::Loki => loki::cases(platform).await,
        ServiceKind::Duckdb => duckdb::cases(platform).await,
    }
}
