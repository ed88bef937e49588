//! What passed through this replica for each tenant, since midnight UTC.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use parking_lot::RwLock;

/// Tenants that are counted. Beyond these, a server would grow with everybody who ever called.
const MAX_TENANTS: usize = 100_000;

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Days since 1970.
pub(super) fn today() -> u64 {
    now() / 1000 / DAY
}

/// One tenant's.
#[derive(Default)]
pub(super) struct Counters {
    day: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counters {
    pub(super) fn sent(&self) {
        self.turn();
        self.sent.fetch_add(1, Relaxed);
    }

    pub(super) fn received(&self) {
        self.turn();
        self.received.fetch_add(1, Relaxed);
    }

    /// Published, and streamed to callers, today.
    pub(super) fn today(&self) -> (u64, u64) {
        self.turn();
        (self.sent.load(Relaxed), self.received.load(Relaxed))
    }

    fn turn(&self) {
        let today = today();
        if self.day.load(Relaxed) != today && self.day.swap(today, Relaxed) != today {
            self.sent.store(0, Relaxed);
            self.received.store(0, Relaxed);
        }
    }
}

/// All tenants'.
#[derive(Default)]
pub(super) struct Traffic {
    tenants: RwLock<HashMap<String, Arc<Counters>>>,
}

impl Traffic {
    pub(super) fn of(&self, slug: &str) -> Arc<Counters> {
        if let Some(counters) = self.tenants.read().get(slug) {
            return Arc::clone(counters);
        }
        let mut tenants = self.tenants.write();
        if tenants.len() >= MAX_TENANTS && !tenants.contains_key(slug) {
            return Arc::default();
        }
        Arc::clone(tenants.entry(slug.to_owned()).or_default())
    }

    pub(super) fn tenants(&self) -> Vec<(String, (u64, u64))> {
        let tenants = self.tenants.read();
        tenants
            .iter()
            .map(|(slug, counters)| (slug.clone(), counters.today()))
            .collect()
    }
}
