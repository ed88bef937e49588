//! The building blocks: one gRPC service over each engine. Each folder has the same files: `service` is the domain
//! over the engine's client, without gRPC; `grpc` converts, calls, converts; `registry` is where they are mounted.

mod duckdb;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod loki;
mod minio;
mod mqtt;
mod nats;
mod neo4j;
mod postgres;
mod qdrant;
mod redis;
mod registry;

pub use registry::{AVAILABLE, StartError, mount};
