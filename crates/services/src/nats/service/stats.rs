//! Figures of tenants, and whether NATS is well.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info};
use futures::{StreamExt, TryStreamExt};
use isa_proto::Bytes;
use parking_lot::{Mutex, RwLock};
use serde::de::IgnoredAny;

use super::{Error, Nats, Stream, error::Thing, kv::bucket_config};
use crate::nats::names::Names;

/// Tenants whose traffic is counted. Beyond these, a server would grow with everybody who ever called.
const MAX_TENANTS: usize = 100_000;

/// Streams whose last figures are remembered.
const MAX_LOOKS: usize = 10_000;

/// How long ago the last look may be.
const LOOK_AGE: Duration = Duration::from_secs(60);

/// The stream of deep health checks, and its subject.
const CHECK_STREAM: &str = "isa-health";
const CHECK_SUBJECT: &str = "isa.health";

/// Streams under buckets that are asked for at once.
const AT_ONCE: usize = 16;

/// What passed through this replica for one tenant.
#[derive(Default)]
pub(super) struct Counters {
    in_messages: AtomicU64,
    in_bytes: AtomicU64,
    out_messages: AtomicU64,
    out_bytes: AtomicU64,
}

impl Counters {
    /// The tenant published a message.
    pub(super) fn came_in(&self, bytes: usize) {
        self.in_messages.fetch_add(1, Relaxed);
        self.in_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// The tenant got a message.
    pub(super) fn went_out(&self, bytes: usize) {
        self.out_messages.fetch_add(1, Relaxed);
        self.out_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

#[derive(Default)]
pub(super) struct Traffic {
    tenants: RwLock<HashMap<Box<str>, Arc<Counters>>>,
}

impl Traffic {
    pub(super) fn of(&self, names: Names<'_>) -> Arc<Counters> {
        if let Some(counters) = self.tenants.read().get(names.slug()) {
            return Arc::clone(counters);
        }
        let mut tenants = self.tenants.write();
        if tenants.len() >= MAX_TENANTS {
            return Arc::default();
        }
        Arc::clone(tenants.entry(names.slug().into()).or_default())
    }
}

/// Figures of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) streams: u64,
    pub(crate) consumers: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Published through this replica; `out` those that the tenant got.
    pub(crate) in_messages: u64,
    pub(crate) in_bytes: u64,
    pub(crate) out_messages: u64,
    pub(crate) out_bytes: u64,
}

impl Totals {
    fn add(&mut self, info: &Info) {
        self.streams += 1;
        self.consumers += info.state.consumer_count as u64;
        self.messages += info.state.messages;
        self.bytes += info.state.bytes;
    }
}

/// What comes into a stream, in a second.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) messages: f64,
    pub(crate) bytes: f64,
}

/// When streams were last looked at, and what was there.
#[derive(Default)]
pub(super) struct LastLooks {
    looks: Mutex<HashMap<String, Look>>,
}

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    last_sequence: u64,
    messages: u64,
    bytes: u64,
}

impl LastLooks {
    fn rates(&self, info: &Info) -> Rates {
        let state = &info.state;
        let look = Look {
            at: Instant::now(),
            last_sequence: state.last_sequence,
            messages: state.messages,
            bytes: state.bytes,
        };
        let mut looks = self.looks.lock();
        if looks.len() >= MAX_LOOKS {
            looks.retain(|_, before| look.at - before.at <= LOOK_AGE);
        }
        let before = if looks.len() < MAX_LOOKS || looks.contains_key(&info.config.name) {
            looks.insert(info.config.name.clone(), look)
        } else {
            None
        };
        drop(looks);
        before
            .filter(|before| look.at - before.at <= LOOK_AGE)
            .map_or_else(Rates::default, |before| look.since(before))
    }
}

impl Look {
    fn since(self, before: Self) -> Rates {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-3);
        // A stream that was made anew begins at one.
        let came = self.last_sequence.saturating_sub(before.last_sequence);
        let stayed = self.messages.saturating_sub(before.messages);
        let bytes = if came == stayed {
            self.bytes.saturating_sub(before.bytes) as f64
        } else if self.messages == 0 {
            0.0
        } else {
            // Some have gone, and their bytes with them: as many as a message has on average.
            came as f64 * self.bytes as f64 / self.messages as f64
        };
        Rates {
            messages: came as f64 / seconds,
            bytes: bytes / seconds,
        }
    }
}

impl Nats {
    /// Of the tenant's streams, buckets included.
    pub(crate) async fn totals(&self, names: Names<'_>, limit: Duration) -> Result<Totals, Error> {
        let mut totals = Totals::default();
        for stream in self.streams(names, limit).await? {
            totals.add(&stream.info);
        }
        let buckets = self.buckets(names, limit).await?;
        let mut infos = futures::stream::iter(buckets)
            .map(|full| async move {
                match self.stream_info(&full, Thing::Bucket(&full), limit).await {
                    // It went in the meantime.
                    Err(Error::NotFound(_)) => Ok(None),
                    info => info.map(Some),
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some(info) = infos.try_next().await? {
            if let Some(info) = info {
                totals.add(&info);
            }
        }
        let counters = self.traffic.of(names);
        totals.in_messages = counters.in_messages.load(Relaxed);
        totals.in_bytes = counters.in_bytes.load(Relaxed);
        totals.out_messages = counters.out_messages.load(Relaxed);
        totals.out_bytes = counters.out_bytes.load(Relaxed);
        Ok(totals)
    }

    /// A stream, and what came into it since the last look.
    pub(crate) async fn stream_rates(
        &self,
        names: Names<'_>,
        name: &str,
        limit: Duration,
    ) -> Result<(Stream, Rates), Error> {
        let stream = self.stream(names, name, limit).await?;
        let rates = self.looks.rates(&stream.info);
        Ok((stream, rates))
    }

    /// Whether NATS takes what it is sent.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), Error> {
        let (work, feed) = tokio::join!(self.work.settle(limit), self.feed.settle(limit));
        work.and(feed)
    }

    /// Has JetStream write and read.
    pub(crate) async fn check_jetstream(&self, limit: Duration) -> Result<(), Error> {
        // All replicas share it, and nothing that is a tenant's can have such a name.
        let config = Config {
            name: CHECK_STREAM.to_owned(),
            subjects: vec![CHECK_SUBJECT.to_owned()],
            max_messages: 1,
            ..bucket_config(CHECK_STREAM, Vec::new())
        };
        let config = Config {
            discard: DiscardPolicy::Old,
            ..config
        };
        let thing = Thing::Stream(CHECK_STREAM);
        self.make_stream(&config, thing, limit).await?;
        let word = Bytes::from(format!("{:016x}", rand::random::<u64>()));
        self.store(CHECK_SUBJECT.to_owned(), None, word, thing, limit)
            .await?;
        // Another replica may have written meanwhile: anything that is there will do.
        match self.last_of(CHECK_STREAM, CHECK_SUBJECT, limit).await? {
            Some(_) => Ok(()),
            None => Err(Error::unexpected("what was written cannot be read")),
        }
    }

    /// Whether there is JetStream.
    pub(crate) async fn has_jetstream(&self, limit: Duration) -> bool {
        let info = self.work.api::<IgnoredAny>("INFO", Bytes::new(), limit).await;
        info.is_ok()
    }
}
