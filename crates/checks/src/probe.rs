use std::time::Duration;

use isa_config::{Endpoint, EngineKind};

use crate::{
    Error, address::Address, consul, duckdb, grafana, loki, minio, mosquitto, nats, neo4j, postgres, qdrant,
    redis,
};

/// What an engine said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The engine's version, where its protocol tells it along the way.
    pub version: Option<String>,
}

/// Asks an engine one cheap, authenticated question in its own protocol; success means that it serves.
pub async fn probe(kind: EngineKind, endpoint: &Endpoint, limit: Duration) -> Result<Probe, Error> {
    let ask = async {
        match kind {
            EngineKind::Consul => consul::probe(endpoint).await,
            EngineKind::Redis => redis::probe(endpoint).await,
            EngineKind::Minio => minio::probe(endpoint).await,
            EngineKind::Nats => nats::probe(endpoint).await,
            EngineKind::Mosquitto => mosquitto::probe(endpoint).await,
            EngineKind::Postgres => postgres::probe(endpoint).await,
            EngineKind::Qdrant => qdrant::probe(endpoint).await,
            EngineKind::Neo4j => neo4j::probe(endpoint).await,
            EngineKind::Loki => loki::probe(endpoint).await,
            EngineKind::Grafana => grafana::probe(endpoint).await,
            EngineKind::Duckdb => duckdb::probe(endpoint).await,
        }
    };
    let reserve = diagnosis_limit(limit);
    let outcome = match tokio::time::timeout(limit - reserve, Box::pin(ask)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::TimedOut(limit)),
    };
    match outcome {
        Ok(probe) => Ok(probe),
        Err(error) => Err(diagnose(kind, endpoint, error, reserve).await),
    }
}

/// The share of a limit that is kept for [`diagnose`].
pub(crate) fn diagnosis_limit(limit: Duration) -> Duration {
    Duration::from_millis(250).min(limit / 10)
}

/// Client libraries hide, retry or rename a refused connection, each in its own way. So when a request failed for no
/// reason that the engine gave, this looks whether anything listens at all; a request that succeeds pays nothing.
pub(crate) async fn diagnose(kind: EngineKind, endpoint: &Endpoint, error: Error, limit: Duration) -> Error {
    if matches!(error, Error::Protocol { .. } | Error::TimedOut(_)) {
        for address in Address::all(kind, endpoint) {
            if let Err(unreachable) = address.accepts(limit).await {
                return unreachable;
            }
        }
    }
    error.without_secrets(endpoint)
}
