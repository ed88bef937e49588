use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::EngineKind;

/// A building block. Exhaustive on purpose: a new one does not compile until every `match` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    Minio,
    Duckdb,
    Mqtt,
    Loki,
    Redis,
    Nats,
    Postgres,
    Qdrant,
    Neo4j,
}

impl ServiceKind {
    /// Every building block, in the order of their ports.
    pub const ALL: [Self; 9] = [
        Self::Minio,
        Self::Duckdb,
        Self::Mqtt,
        Self::Loki,
        Self::Redis,
        Self::Nats,
        Self::Postgres,
        Self::Qdrant,
        Self::Neo4j,
    ];

    /// The name in commands and configuration, and the package: `isa.<name>`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Minio => "minio",
            Self::Duckdb => "duckdb",
            Self::Mqtt => "mqtt",
            Self::Loki => "loki",
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Postgres => "postgres",
            Self::Qdrant => "qdrant",
            Self::Neo4j => "neo4j",
        }
    }

    /// The port that clients know it by.
    pub const fn port(self) -> u16 {
        match self {
            Self::Minio => 50051,
            Self::Duckdb => 50052,
            Self::Mqtt => 50053,
            Self::Loki => 50054,
            Self::Redis => 50055,
            Self::Nats => 50056,
            Self::Postgres => 50061,
            Self::Qdrant => 50062,
            Self::Neo4j => 50063,
        }
    }

    /// The service's full name on the wire, as health and reflection show it.
    pub const fn grpc_service(self) -> &'static str {
        match self {
            Self::Minio => "isa.minio.MinIOService",
            Self::Duckdb => "isa.duckdb.DuckDBService",
            Self::Mqtt => "isa.mqtt.MQTTService",
            Self::Loki => "isa.loki.LokiService",
            Self::Redis => "isa.redis.RedisService",
            Self::Nats => "isa.nats.NATSService",
            Self::Postgres => "isa.postgres.PostgresService",
            Self::Qdrant => "isa.qdrant.QdrantService",
            Self::Neo4j => "isa.neo4j.Neo4jService",
        }
    }

    /// The names in Consul: the one that the published client's classes look up first, then the one that its other
    /// helpers and Kubernetes use.
    pub const fn consul_names(self) -> [&'static str; 2] {
        match self {
            Self::Minio => ["minio", "minio-grpc-service"],
            Self::Duckdb => ["duckdb", "duckdb-grpc-service"],
            Self::Mqtt => ["mqtt", "mqtt-grpc-service"],
            Self::Loki => ["loki", "loki-grpc-service"],
            Self::Redis => ["redis", "redis-grpc-service"],
            Self::Nats => ["nats", "nats-grpc-service"],
            Self::Postgres => ["postgresql", "postgres-grpc-service"],
            Self::Qdrant => ["qdrant", "qdrant-grpc-service"],
            Self::Neo4j => ["neo4j", "neo4j-grpc-service"],
        }
    }

    /// The engine behind it.
    pub const fn engine(self) -> EngineKind {
        match self {
            Self::Minio => EngineKind::Minio,
            Self::Duckdb => EngineKind::Duckdb,
            Self::Mqtt => EngineKind::Mosquitto,
            Self::Loki => EngineKind::Loki,
            Self::Redis => EngineKind::Redis,
            Self::Nats => EngineKind::Nats,
            Self::Postgres => EngineKind::Postgres,
            Self::Qdrant => EngineKind::Qdrant,
            Self::Neo4j => EngineKind::Neo4j,
        }
    }

    /// Engines that it uses beside its own where they are there: without them, some of its methods say what is missing.
    pub const fn also_uses(self) -> &'static [EngineKind] {
        match self {
            // Whose turn it is to write a database, and where databases are kept.
            Self::Duckdb => &[EngineKind::Minio, EngineKind::Nats],
            // Devices and webhooks.
            Self::Mqtt => &[EngineKind::Nats],
            Self::Minio
            | Self::Loki
            | Self::Redis
            | Self::Nats
            | Self::Postgres
            | Self::Qdrant
            | Self::Neo4j => &[],
        }
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of the building blocks.
#[derive(Debug, thiserror::Error)]
#[error("unknown service {0:?}; the services are {names}", names = ServiceKind::ALL.map(ServiceKind::name).join(", "))]
pub struct UnknownService(pub String);

impl FromStr for ServiceKind {
    type Err = UnknownService;

    fn from_str(s: &str) -> Result<Self, UnknownService> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == s)
            .ok_or_else(|| UnknownService(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_round_trip_and_ports_differ() {
        let ports: BTreeSet<_> = ServiceKind::ALL.map(ServiceKind::port).into();
        assert_eq!(ports.len(), ServiceKind::ALL.len());
        for kind in ServiceKind::ALL {
            assert_eq!(kind.name().parse::<ServiceKind>().unwrap(), kind);
        }
        assert!(
            "mongo"
                .parse::<ServiceKind>()
                .unwrap_err()
                .to_string()
                .contains("postgres")
        );
    }
}
