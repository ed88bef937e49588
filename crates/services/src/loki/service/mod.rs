//! Loki for tenants: plain Rust types, no gRPC.

mod answer;
mod cardinality;
mod error;
mod export;
mod figures;
mod format;
mod health;
mod http;
mod labels;
mod lanes;
mod logql;
mod pages;
mod push;
mod query;
mod streams;
mod tail;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use isa_config::Endpoint;
use parking_lot::Mutex;

#[cfg(test)]
pub(crate) use self::answer::Origin;
pub(crate) use self::{
    answer::{Figures, Record, Summary},
    error::Error,
    export::{Order, Piece, Progress, State},
    format::Format,
    labels::{UNKNOWN, all_violations, check as check_labels},
    push::{Entry, MAX_LINE, Report},
    query::{Logs, MAX_ENTRIES, Ranged},
    streams::{Stream, deletion},
    tail::Followed,
};
use self::{cardinality::Cardinality, export::Exports, http::Http, lanes::Lanes};

/// Loki, for all tenants.
pub(crate) struct Loki {
    http: Arc<Http>,
    lanes: Arc<Lanes>,
    cardinality: Cardinality,
    exports: Exports,
    /// For how many days Loki keeps entries, and when it said so.
    retention: Mutex<Option<(Instant, i32)>>,
}

impl Loki {
    /// Connects to nothing yet. Pushing needs a runtime.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let http = Arc::new(Http::open(endpoint)?);
        Ok(Self {
            lanes: Lanes::new(Arc::clone(&http)),
            http,
            cardinality: Cardinality::default(),
            exports: Exports::default(),
            retention: Mutex::default(),
        })
    }
}

/// The future's own result, or that there was no time.
async fn within<T>(limit: Duration, future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or(Err(Error::TimedOut))
}
