//! The building blocks on their real engines: each test calls a service as a client does, and looks at what it did with
//! the engine's own client.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod duckdb;
mod harness;
mod loki;
mod minio;
mod mqtt;
mod nats;
mod neo4j;
mod postgres;
mod qdrant;
mod redis;
