//! The contract as a whole, whatever a service does: tenants see nothing of each other, and no request makes a service fail.
//! Both suites walk the descriptors: a method that is added is tried, or it is a failure.

mod bad_input;
mod crafted;
mod entropy;
mod fixture;
mod fixtures;
#[path = "../services/harness.rs"]
#[allow(dead_code)] // Other test programs use the rest of it.
mod harness;
mod isolation;
mod marks;
mod message;
mod wire;

use isa_config::{AuthMode, ServiceKind};

/// Both suites for a service. The runtime has several threads: a panic of a service must not stop the suite.
macro_rules! suites {
    ($($name:ident = $kind:ident;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn tenants_with_tokens_see_nothing_of_each_other() {
                isolation::isolation(ServiceKind::$kind, AuthMode::Required).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn tenants_of_an_open_server_see_nothing_of_each_other() {
                isolation::isolation(ServiceKind::$kind, AuthMode::Open).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn bad_input_is_the_callers_fault() {
                bad_input::bad_input(ServiceKind::$kind).await;
            }
        })*
    };
}

suites! {
    redis = Redis;
    postgres = Postgres;
    minio = Minio;
    nats = Nats;
    qdrant = Qdrant;
    neo4j = Neo4j;
    mqtt = Mqtt;
    loki = Loki;
    duckdb = Duckdb;
}
