//! NATS for tenants: plain Rust types, no gRPC.

mod consumers;
mod error;
mod inbox;
mod kv;
mod link;
mod objects;
mod publish;
mod pull;
mod scan;
mod stats;
mod streams;
mod subscribe;
mod watch;

use std::sync::Arc;

use async_nats::jetstream;
use isa_config::Endpoint;

pub(crate) use self::{
    consumers::{Consumer, ConsumerSettings, Start},
    error::Error,
    kv::{BucketSettings, Entry},
    link::Link,
    objects::Object,
    publish::Outgoing,
    pull::{Due, Settlement},
    streams::{Stream, StreamSettings},
    subscribe::Received,
    watch::{Seen, WatchFrom},
};
use self::{
    stats::{LastLooks, Traffic},
    subscribe::Subscriptions,
};

/// NATS, for all tenants.
pub(crate) struct Nats {
    /// Everything that is asked and answered.
    work: Link,
    /// What is listened to: much of it must not delay answers.
    feed: Arc<Link>,
    /// Buckets that are watched. Here a reader that is slow makes NATS send once more, and nobody else misses anything.
    watches: Link,
    /// The client's own JetStream over `watches`: it finds gaps and fills them.
    watcher: jetstream::Context,
    subscriptions: Arc<Subscriptions>,
    traffic: Traffic,
    looks: LastLooks,
}

impl Nats {
    /// Begins to connect. Must be called in a runtime.
    pub(crate) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let work = Link::open(endpoint, "isa")?;
        let feed = Arc::new(Link::open(endpoint, "isa subscriptions")?);
        let watches = Link::open(endpoint, "isa watches")?;
        let watcher = jetstream::new(watches.client().clone());
        let subscriptions = Subscriptions::serve(&feed);
        Ok(Self {
            work,
            feed,
            watches,
            watcher,
            subscriptions,
            traffic: Traffic::default(),
            looks: LastLooks::default(),
        })
    }

    /// Connections of this replica to NATS.
    pub(crate) fn connections(&self) -> i32 {
        [&self.work, &*self.feed, &self.watches]
            .into_iter()
            .map(|link| i32::from(link.is_connected()))
            .sum()
    }
}
