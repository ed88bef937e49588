//! What replicas tell each other of themselves: sessions, subscriptions and counts of each tenant.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    Error, Mqtt,
    mirror::Mirror,
    store::Store,
    traffic::{now, today},
};
use crate::mqtt::names::{Names, matches, unshared};

/// How often a replica says what has changed.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(2);

/// It says so again at least this often while there are sessions, in milliseconds; what it said counts for three times that.
const AGAIN: u64 = 30_000;

/// Tenants that are written of in one turn: others have the next.
const MAX_AT_ONCE: usize = 500;

/// Filters that are told of each tenant.
const MAX_FILTERS: usize = 1000;

/// What one replica says of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// Milliseconds since 1970.
    at: u64,
    replica: String,
    day: u64,
    sent: u64,
    received: u64,
    /// For each session its filters.
    sessions: u64,
    subscriptions: u64,
    filters: Vec<Vec<String>>,
}

/// What this replica has said, and hears.
pub(super) struct Replicas {
    pub(super) own: String,
    pub(super) mirror: Arc<Mirror<Said>>,
    said: Mutex<HashMap<String, Said>>,
}

/// Figures of a tenant, of all replicas.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) sent_today: u64,
    pub(crate) received_today: u64,
    pub(crate) sessions: u64,
    pub(crate) subscriptions: u64,
}

impl Replicas {
    pub(super) fn new(own: &str) -> Self {
        Self {
            own: own.to_owned(),
            mirror: Arc::default(),
            said: Mutex::default(),
        }
    }
}

impl Said {
    fn is_fresh(&self) -> bool {
        self.at + 3 * AGAIN > now()
    }
}

impl Mqtt {
    fn own_figures(&self, slug: &str) -> Said {
        let (sent, received) = self.traffic.of(slug).today();
        let sessions = self.sessions.of(slug);
        let filters: Vec<Vec<String>> = sessions
            .iter()
            .map(|session| {
                let subscriptions = session.subscriptions().into_iter();
                subscriptions.map(|it| it.filter).collect()
            })
            .collect();
        Said {
            at: now(),
            replica: self.replicas.own.clone(),
            day: today(),
            sent,
            received,
            sessions: sessions.len() as u64,
            subscriptions: filters.iter().map(Vec::len).sum::<usize>() as u64,
            filters,
        }
    }

    /// What the others say.
    fn others(&self, slug: &str) -> Vec<Arc<Said>> {
        let mut all = self.replicas.mirror.of(slug);
        all.retain(|said| said.replica != self.replicas.own);
        all
    }

    pub(crate) fn totals(&self, names: Names<'_>) -> Totals {
        let own = Arc::new(self.own_figures(names.slug()));
        let mut totals = Totals::default();
        for said in self.others(names.slug()).iter().chain([&own]) {
            if said.day == today() {
                totals.sent_today += said.sent;
                totals.received_today += said.received;
            }
            if said.is_fresh() {
                totals.sessions += said.sessions;
                totals.subscriptions += said.subscriptions;
            }
        }
        totals
    }

    /// The filters of each session of the tenant, at all replicas.
    pub(crate) fn filters(&self, names: Names<'_>) -> Vec<Vec<String>> {
        let mut filters = self.own_figures(names.slug()).filters;
        for said in self.others(names.slug()) {
            if said.is_fresh() {
                filters.extend(said.filters.iter().cloned());
            }
        }
        filters
    }

    /// Tells the others what has changed.
    pub(super) async fn tell(&self, store: &Store) -> Result<(), Error> {
        let mut slugs: Vec<String> = self.traffic.tenants().into_iter().map(|(slug, _)| slug).collect();
        slugs.extend(self.sessions.tenants());
        slugs.sort();
        slugs.dedup();
        let mut written = 0;
        for slug in slugs {
            let mut figures = self.own_figures(&slug);
            let mut room = MAX_FILTERS;
            for filters in &mut figures.filters {
                filters.truncate(room);
                room -= filters.len();
            }
            let before = self.replicas.said.lock().get(&slug).cloned();
            let is_same = before.is_some_and(|before| {
                let age = figures.at.saturating_sub(before.at);
                let same_but_for_time = Said {
                    at: figures.at,
                    ..before
                };
                same_but_for_time == figures && (figures.sessions == 0 || age < AGAIN)
            });
            let is_nothing = figures.sessions == 0 && figures.sent == 0 && figures.received == 0;
            if is_same || (is_nothing && !self.was_said(&slug)) {
                continue;
            }
            let key = Names::of(&slug).key(&self.replicas.own);
            store.put(&store.replicas, &key, &figures).await?;
            self.replicas.said.lock().insert(slug, figures);
            written += 1;
            if written >= MAX_AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    fn was_said(&self, slug: &str) -> bool {
        self.replicas.said.lock().contains_key(slug)
    }
}

/// Sessions that hear of a topic.
pub(crate) fn listeners(filters: &[Vec<String>], topic: &str) -> usize {
    let hears = |filters: &&Vec<String>| filters.iter().any(|filter| matches(unshared(filter), topic));
    filters.iter().filter(hears).count()
}
