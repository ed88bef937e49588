use std::time::Duration;

use futures::{StreamExt, stream::FuturesUnordered};
use isa_config::{Endpoint, Endpoints, EngineKind};

use crate::{
    Report, consul, duckdb, grafana, loki, minio, mosquitto, nats, neo4j, postgres, qdrant, redis, run::Run,
};

/// Checks every engine through its own protocol, all at once, and removes what the checks made. Each engine has
/// `limit` in all. `each` is called as each report is finished; the reports come back in the order of
/// [`EngineKind`].
pub async fn verify(endpoints: &Endpoints, limit: Duration, mut each: impl FnMut(&Report)) -> Vec<Report> {
    let mut running: FuturesUnordered<_> = endpoints
        .iter()
        .map(|(kind, endpoint)| check(*kind, endpoint, limit))
        .collect();
    let mut reports = Vec::with_capacity(endpoints.len());
    while let Some(report) = running.next().await {
        each(&report);
        reports.push(report);
    }
    reports.sort_by_key(|r| r.engine);
    reports
}

async fn check(kind: EngineKind, endpoint: &Endpoint, limit: Duration) -> Report {
    let mut run = Run::new(kind, endpoint, limit);
    let steps = async {
        match kind {
            EngineKind::Consul => consul::check(endpoint, &mut run).await,
            EngineKind::Redis => redis::check(endpoint, &mut run).await,
            EngineKind::Minio => minio::check(endpoint, &mut run).await,
            EngineKind::Nats => nats::check(endpoint, &mut run).await,
            EngineKind::Mosquitto => mosquitto::check(endpoint, &mut run).await,
            EngineKind::Postgres => postgres::check(endpoint, &mut run).await,
            EngineKind::Qdrant => qdrant::check(endpoint, &mut run).await,
            EngineKind::Neo4j => neo4j::check(endpoint, &mut run).await,
            EngineKind::Loki => loki::check(endpoint, &mut run).await,
            EngineKind::Grafana => grafana::check(endpoint, &mut run).await,
            EngineKind::Duckdb => duckdb::check(endpoint, &mut run).await,
        }
    };
    // What stopped it is in the report.
    let _ = Box::pin(steps).await;
    run.finish()
}
