//! How many streams a tenant writes to. Loki keeps each open, with a chunk in memory and an index entry: a caller that puts
//! ids into labels would fill it for all.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    Error, Loki,
    answer::{Wrapped, given},
    http::Asked,
    logql,
};
use crate::loki::{
    convert::{self, Window},
    names::{Labels, Names},
};

/// Streams that a tenant may write to within [`ACTIVE`].
pub(crate) const MAX_STREAMS: usize = 1000;

/// A stream counts for so long after its last entry.
const ACTIVE: Duration = Duration::from_secs(3600);

/// How long what Loki said of the tenant's streams is good: other replicas write too.
const FRESH: Duration = Duration::from_secs(60);

/// Tenants whose streams are remembered: 16 MiB at most, with 16 bytes for each of their streams. Of another one Loki is
/// asked again.
const MAX_TENANTS: usize = 1024;

/// Streams of each tenant, by a hash of their labels.
pub(super) struct Cardinality {
    tenants: Mutex<HashMap<Box<str>, Tenant>>,
    hasher: RandomState,
}

struct Tenant {
    /// When each was last written to.
    streams: HashMap<u64, Instant>,
    /// When Loki was last asked.
    looked: Option<Instant>,
    used: Instant,
}

/// What is known without Loki.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Admitted,
    /// Loki has to be asked first.
    Unknown,
    Full,
}

impl Default for Cardinality {
    fn default() -> Self {
        Self {
            tenants: Mutex::default(),
            hasher: RandomState::new(),
        }
    }
}

impl Cardinality {
    fn judge(&self, names: Names<'_>, stream: u64, now: Instant) -> Verdict {
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(names.scope()) {
            make_room(&mut tenants);
            tenants.insert(names.scope().into(), Tenant::new(now));
        }
        let Some(tenant) = tenants.get_mut(names.scope()) else {
            return Verdict::Unknown;
        };
        tenant.used = now;
        tenant.judge(stream, now)
    }

    /// Takes over what Loki says.
    fn learn(&self, names: Names<'_>, streams: impl Iterator<Item = u64>, now: Instant) {
        if let Some(tenant) = self.tenants.lock().get_mut(names.scope()) {
            for stream in streams.take(2 * MAX_STREAMS) {
                tenant.streams.entry(stream).or_insert(now);
            }
        }
    }

    /// Has Loki asked again: it did not answer.
    fn forget_look(&self, names: Names<'_>) {
        if let Some(tenant) = self.tenants.lock().get_mut(names.scope()) {
            tenant.looked = None;
        }
    }
}

impl Tenant {
    fn new(now: Instant) -> Self {
        Self {
            streams: HashMap::new(),
            looked: None,
            used: now,
        }
    }

    fn judge(&mut self, stream: u64, now: Instant) -> Verdict {
        if let Some(last) = self.streams.get_mut(&stream)
            && now.duration_since(*last) < ACTIVE
        {
            *last = now;
            return Verdict::Admitted;
        }
        if self.looked.is_none_or(|at| now.duration_since(at) >= FRESH) {
            // Others go on with what is known meanwhile.
            self.looked = Some(now);
            return Verdict::Unknown;
        }
        if self.streams.len() >= MAX_STREAMS {
            self.streams.retain(|_, last| now.duration_since(*last) < ACTIVE);
        }
        if self.streams.len() >= MAX_STREAMS {
            return Verdict::Full;
        }
        self.streams.insert(stream, now);
        Verdict::Admitted
    }
}

/// Forgets the tenant that has not written for longest, where there are as many as may be.
fn make_room(tenants: &mut HashMap<Box<str>, Tenant>) {
    if tenants.len() < MAX_TENANTS {
        return;
    }
    let oldest = tenants
        .iter()
        .min_by_key(|(_, tenant)| tenant.used)
        .map(|(name, _)| name.clone());
    if let Some(oldest) = oldest {
        tenants.remove(&oldest);
    }
}

impl Loki {
    /// Fails if the stream, by its labels as they are pushed, is one too many.
    pub(super) async fn admit(&self, names: Names<'_>, labels: &str, limit: Duration) -> Result<(), Error> {
        let hash = |labels: &str| self.cardinality.hasher.hash_one(labels);
        let stream = hash(labels);
        let mut verdict = self.cardinality.judge(names, stream, Instant::now());
        if verdict == Verdict::Unknown {
            match self.recent_streams(names, limit).await {
                Ok(streams) => {
                    let hashes = streams.iter().map(|labels| hash(&logql::stream(labels)));
                    self.cardinality.learn(names, hashes, Instant::now());
                }
                Err(error) => {
                    self.cardinality.forget_look(names);
                    return Err(error);
                }
            }
            verdict = self.cardinality.judge(names, stream, Instant::now());
        }
        match verdict {
            Verdict::Admitted => Ok(()),
            Verdict::Full | Verdict::Unknown => Err(Error::Quota(format!(
                "the tenant writes to {MAX_STREAMS} streams within an hour, which is its limit; \
                 put what differs from entry to entry into the line and not into labels"
            ))),
        }
    }

    /// Streams that have entries of the last hour, whoever wrote them.
    async fn recent_streams(&self, names: Names<'_>, limit: Duration) -> Result<Vec<Labels>, Error> {
        let now = convert::now();
        let hour = i64::try_from(ACTIVE.as_nanos()).unwrap_or(i64::MAX);
        let window = Window {
            start: now - hour,
            // Entries may be ahead of time.
            end: now + hour,
        };
        let (start, end) = window.texts();
        let parameters = [("start", start.as_str()), ("end", end.as_str())];
        let answer: Wrapped<Vec<Labels>> = self
            .http
            .ask(names, "series", &parameters, Asked::Built, limit)
            .await?;
        Ok(answer.data.into_iter().map(given).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_so_many_streams_and_then_no_new_one() {
        let start = Instant::now();
        let mut tenant = Tenant::new(start);
        assert_eq!(tenant.judge(0, start), Verdict::Unknown);
        for stream in 0..MAX_STREAMS as u64 {
            assert_eq!(tenant.judge(stream, start), Verdict::Admitted);
        }
        assert_eq!(tenant.judge(5000, start), Verdict::Full);
        assert_eq!(tenant.judge(7, start), Verdict::Admitted);
        // What is not written to any more makes room. Loki is asked first.
        let later = start + ACTIVE;
        assert_eq!(tenant.judge(5000, later), Verdict::Unknown);
        assert_eq!(tenant.judge(5000, later), Verdict::Admitted);
        assert_eq!(tenant.streams.len(), 1);
    }

    #[test]
    fn so_many_tenants_are_remembered() {
        let cardinality = Cardinality::default();
        let start = Instant::now();
        for n in 0..=MAX_TENANTS {
            let slug = n.to_string();
            let now = start + Duration::from_millis(n as u64);
            cardinality.judge(Names::of(&slug), 1, now);
        }
        let tenants = cardinality.tenants.lock();
        assert_eq!(tenants.len(), MAX_TENANTS);
        assert!(!tenants.contains_key("0"));
    }
}
