//! The built-in vector engine: answers Qdrant's own gRPC and REST API with Qdrant's own engine (`qdrant-edge`) in
//! this process, so that Qdrant's official clients work against it as against a Qdrant server.
//!
//! `service` is the domain, which knows neither protocol; `storage` keeps the collections and makes their writes
//! durable; `rest` and `grpc` convert, call and convert.
//!
//! # What is promised
//! A write that was acknowledged, whether or not the client asked to wait, is applied, and on the disk: it survives
//! `kill -9` of the process and a power cut. Collections are created and deleted whole or not at all.
//!
//! A snapshot, a change of the aliases or of a configuration, and a recovery are there whole or not at all as well.
//!
//! # What is not there
//! Clusters and shard keys, snapshots of the whole storage, changing the set of a collection's vectors, inference,
//! conditional updates and strict mode; of queries, those by text, with a corpus for IDF, or with `max`, `min` or `acosh`
//! in a formula, and the filter conditions `slice`, `match.prefix` and `match.substring`: each is refused as not
//! implemented.

mod access;
mod engine;
mod error;
mod grpc;
mod metrics;
mod rest;
mod server;
mod service;
mod storage;

pub use error::Error;
pub use server::{Options, serve};

/// The version of Qdrant whose API this answers. The engine is that of 1.18; clients of 1.18 to 1.20 accept this.
pub const VERSION: &str = "1.19.0";

/// The one node there is, where Qdrant's API asks for nodes.
const PEER_ID: u64 = 1;
