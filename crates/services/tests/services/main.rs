//! The building blocks on their real engines: each test calls a service as a client does, and looks at what it did with
//! the engine's own client.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod duckdb;
mod harness;
mod minio;
mod nats;
mod postgres;
mod redis;
