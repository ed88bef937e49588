//! Readiness probes and connectivity checks of the engines, each through the engine's own protocol.
//!
//! [`probe`] asks one cheap, authenticated question and says whether the engine serves; `isa up` repeats it every few
//! seconds. [`verify`] goes further: it writes, reads back and removes something in every engine. Both take nothing
//! but [`isa_config::Endpoint`]s, so they can be pointed at any installation.

mod address;
mod error;
mod http;
mod poll;
mod probe;
mod run;
mod tls;
mod verify;

mod consul;
mod duckdb;
mod grafana;
mod loki;
mod minio;
mod mosquitto;
mod nats;
mod neo4j;
mod postgres;
mod qdrant;
mod redis;

pub use consul::quorum as consul_quorum;
pub use error::Error;
pub use probe::{Probe, probe};
pub use run::{Report, Step};
pub use verify::verify;
