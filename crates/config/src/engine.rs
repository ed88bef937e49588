use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An engine of the platform. Exhaustive on purpose: a new engine does not compile until every `match` knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Consul,
    Redis,
    Minio,
    Nats,
    Mosquitto,
    Postgres,
    Qdrant,
    Neo4j,
    Loki,
    Grafana,
    Duckdb,
}

/// A port that an engine listens on, by its name in the configuration (`engines.<engine>.ports.<name>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortSpec {
    pub name: &'static str,
    pub default: u16,
    /// Whether the engine also (or only) uses UDP on it.
    pub udp: bool,
}

const fn port(name: &'static str, default: u16) -> PortSpec {
    PortSpec {
        name,
        default,
        udp: false,
    }
}

const fn port_udp(name: &'static str, default: u16) -> PortSpec {
    PortSpec {
        name,
        default,
        udp: true,
    }
}

impl EngineKind {
    /// Every engine, in the order of the status table.
    pub const ALL: [Self; 11] = [
        Self::Consul,
        Self::Redis,
        Self::Minio,
        Self::Nats,
        Self::Mosquitto,
        Self::Postgres,
        Self::Qdrant,
        Self::Neo4j,
        Self::Loki,
        Self::Grafana,
        Self::Duckdb,
    ];

    /// The name in configuration, commands, the state folder and Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Redis => "redis",
            Self::Minio => "minio",
            Self::Nats => "nats",
            Self::Mosquitto => "mosquitto",
            Self::Postgres => "postgres",
            Self::Qdrant => "qdrant",
            Self::Neo4j => "neo4j",
            Self::Loki => "loki",
            Self::Grafana => "grafana",
            Self::Duckdb => "duckdb",
        }
    }

    /// The ports of the engine; the first one is the engine's main port. DuckDB runs in process and has none.
    ///
    /// The numbers are those of the platform's contract. Two differ on one machine: Mosquitto's websockets
    /// listen on 9002, because 9001 is MinIO's console.
    pub const fn ports(self) -> &'static [PortSpec] {
        const CONSUL: &[PortSpec] = &[
            port("http", 8500),
            port_udp("dns", 8600),
            port("server", 8300),
            port_udp("serf_lan", 8301),
            port_udp("serf_wan", 8302),
            port("grpc", 8502),
        ];
        const REDIS: &[PortSpec] = &[port("client", 6379)];
        const MINIO: &[PortSpec] = &[port("api", 9000), port("console", 9001)];
        const NATS: &[PortSpec] = &[port("client", 4222), port("monitor", 8222)];
        const MOSQUITTO: &[PortSpec] = &[port("mqtt", 1883), port("websockets", 9002)];
        const POSTGRES: &[PortSpec] = &[port("client", 5432)];
        const QDRANT: &[PortSpec] = &[port("rest", 6333), port("grpc", 6334)];
        const NEO4J: &[PortSpec] = &[port("bolt", 7687), port("http", 7474)];
        const LOKI: &[PortSpec] = &[port("http", 3100), port("grpc", 9095)];
        const GRAFANA: &[PortSpec] = &[port("http", 3000)];
        match self {
            Self::Consul => CONSUL,
            Self::Redis => REDIS,
            Self::Minio => MINIO,
            Self::Nats => NATS,
            Self::Mosquitto => MOSQUITTO,
            Self::Postgres => POSTGRES,
            Self::Qdrant => QDRANT,
            Self::Neo4j => NEO4J,
            Self::Loki => LOKI,
            Self::Grafana => GRAFANA,
            Self::Duckdb => &[],
        }
    }

    /// The implementations that can stand for this engine; the first one is the default.
    pub const fn implementations(self) -> &'static [&'static str] {
        match self {
            Self::Consul => &["consul"],
            Self::Redis => &["redis", "valkey"],
            Self::Minio => &["minio", "seaweedfs"],
            Self::Nats => &["nats"],
            Self::Mosquitto => &["mosquitto"],
            Self::Postgres => &["postgres"],
            Self::Qdrant => &["builtin", "qdrant"],
            Self::Neo4j => &["neo4j"],
            Self::Loki => &["loki"],
            Self::Grafana => &["grafana"],
            Self::Duckdb => &["duckdb"],
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is none of the engines.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine {0:?}; the engines are {names}", names = EngineKind::ALL.map(EngineKind::name).join(", "))]
pub struct UnknownEngine(pub String);

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(s: &str) -> Result<Self, UnknownEngine> {
        Self::ALL
            .into_iter()
            .find(|k| k.name() == s)
            .ok_or_else(|| UnknownEngine(s.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_round_trip_and_ports_are_distinct() {
        let mut ports = BTreeSet::new();
        for kind in EngineKind::ALL {
            assert_eq!(kind.name().parse::<EngineKind>().unwrap(), kind);
            for spec in kind.ports() {
                assert!(
                    ports.insert(spec.default),
                    "{kind}.{} shares port {}",
                    spec.name,
                    spec.default
                );
            }
        }
        let message = "mongo".parse::<EngineKind>().unwrap_err().to_string();
        assert!(
            message.contains("\"mongo\"") && message.contains("postgres"),
            "{message}"
        );
    }
}
