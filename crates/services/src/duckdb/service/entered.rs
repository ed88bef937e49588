//! A database that a call uses: it stays open as long as this is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::open::Open;

#[derive(Clone)]
pub(in crate::duckdb) struct Entered {
    open: Arc<Open>,
    counters: Arc<Counters>,
}

/// Figures of a tenant since the start of this process.
#[derive(Default)]
pub(in crate::duckdb) struct Counters {
    pub(super) queries: AtomicU64,
    pub(super) microseconds: AtomicU64,
    /// Calls that found their database open, and those that had to open it.
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
}

impl Entered {
    pub(super) fn new(open: Arc<Open>, counters: Arc<Counters>) -> Self {
        open.touch();
        Self { open, counters }
    }

    pub(super) fn open(&self) -> &Arc<Open> {
        &self.open
    }

    /// Counts a statement that took so long.
    pub(super) fn count(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let own = &self.open.figures;
        for (queries, microseconds) in [
            (&own.queries, &own.microseconds),
            (&self.counters.queries, &self.counters.microseconds),
        ] {
            queries.fetch_add(1, Relaxed);
            microseconds.fetch_add(time, Relaxed);
        }
        self.open.touch();
    }
}
