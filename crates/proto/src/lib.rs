//! The contract of the nine building blocks: messages, clients and servers, generated from `protos/`.
//!
//! `protos/isa/common.proto` has the rules that hold for every call. The contract keeps everything that the
//! published Python client isa-common 0.2.3 has; `tests/contract.rs` checks that.
//!
//! `google.protobuf.Struct`, `Value`, `Timestamp` and `Duration` are those of [`prost_types`].

mod error;
mod identity;
mod method;

pub use error::{ERROR_DOMAIN, Error, ErrorCode};
pub use identity::{Answer, Identified, Identity};
pub use method::{METHODS, Method};
pub use prost::bytes::Bytes;
pub use prost_types;

/// Every file of the contract with its comments, and the imports: for code that walks methods.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("isa");

macro_rules! packages {
    ($($(#[$doc:meta])* $name:ident = $package:literal;)*) => {
        $(
            $(#[$doc])*
            // Generated code keeps no house rules.
            #[allow(clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction, rustdoc::all)]
            pub mod $name {
                tonic::include_proto!($package);

                /// The file of this package with its comments, and its imports: for reflection.
                pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!($package);
            }
        )*
    };
}

packages! {
    /// Types that several services share.
    common = "isa.common";
    /// Analytic databases.
    duckdb = "isa.duckdb";
    /// Logs.
    loki = "isa.loki";
    /// Object storage.
    minio = "isa.minio";
    /// Devices and their messages.
    mqtt = "isa.mqtt";
    /// Messages, streams, and key-value and object buckets.
    nats = "isa.nats";
    /// A graph.
    neo4j = "isa.neo4j";
    /// SQL.
    postgres = "isa.postgres";
    /// Vectors.
    qdrant = "isa.qdrant";
    /// Keys, locks, channels and sessions.
    redis = "isa.redis";
}
