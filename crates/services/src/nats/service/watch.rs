//! Watching a bucket: what stands there, then each change.

use std::{collections::VecDeque, time::Duration};

use async_nats::jetstream::kv::{Operation, Watch};
use futures::StreamExt;
use serde_json::json;

use super::{
    Entry, Error, Nats,
    error::Thing,
    link::{json, within},
};
use crate::nats::names::{Names, check_key_filter};

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WatchFrom {
    /// With what stands there.
    Now,
    /// With the next change.
    Updates,
    /// With this revision, 1 or more.
    Revision(u64),
}

/// What a watcher sees.
pub(crate) enum Seen {
    Entry(Entry),
    /// Everything that stood there has been sent.
    CaughtUp,
}

/// A watch that runs. It goes on by itself over a lost connection.
pub(crate) struct Watching {
    watch: Watch,
    ready: VecDeque<Seen>,
    is_caught_up: bool,
}

impl Nats {
    /// Watches the keys that fit `filter`; empty means all.
    pub(crate) async fn kv_watch(
        &self,
        names: Names<'_>,
        bucket: &str,
        filter: &str,
        from: WatchFrom,
        limit: Duration,
    ) -> Result<Watching, Error> {
        let bucket = names.kv("bucket", bucket)?;
        let filter = match filter {
            "" => ">",
            filter => {
                check_key_filter("key_filter", filter)?;
                filter
            }
        };
        let thing = Thing::Bucket(&bucket.given);
        self.stream_info(&bucket.stream, thing, limit).await?;
        self.watches.check()?;
        let watch = within(limit, async {
            let store = self.watcher.get_key_value(&bucket.name).await;
            let store = store.map_err(|error| Error::down(error.to_string()))?;
            let watch = match from {
                WatchFrom::Now => store.watch_with_history(filter).await,
                WatchFrom::Updates => store.watch(filter).await,
                WatchFrom::Revision(revision) => store.watch_from_revision(filter, revision).await,
            };
            watch.map_err(|error| Error::down(error.to_string()))
        })
        .await?;

        // Where there is nothing, no entry will say that it is the last.
        let first = match from {
            WatchFrom::Updates => None,
            WatchFrom::Now => Some(1),
            WatchFrom::Revision(revision) => Some(revision),
        };
        let is_empty = match first {
            None => true,
            Some(first) => {
                let next = json(&json!({
                    "seq": first,
                    "next_by_subj": format!("$KV.{}.{filter}", bucket.name),
                }))?;
                let subject = format!("$JS.API.DIRECT.GET.{}", bucket.stream);
                self.direct(subject, next, limit).await?.is_none()
            }
        };
        let mut ready = VecDeque::new();
        if is_empty {
            ready.push_back(Seen::CaughtUp);
        }
        Ok(Watching {
            watch,
            ready,
            is_caught_up: is_empty,
        })
    }
}

impl Watching {
    /// The next; `None` never comes while NATS can be reached again.
    pub(crate) async fn next(&mut self) -> Option<Result<Seen, Error>> {
        if let Some(seen) = self.ready.pop_front() {
            return Some(Ok(seen));
        }
        let entry = match self.watch.next().await? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(Error::down(error.to_string()))),
        };
        if entry.seen_current && !self.is_caught_up {
            self.is_caught_up = true;
            self.ready.push_back(Seen::CaughtUp);
        }
        Some(Ok(Seen::Entry(Entry {
            key: entry.key,
            deleted: entry.operation != Operation::Put,
            value: entry.value,
            revision: entry.revision,
            created: entry.created.unix_timestamp_nanos(),
        })))
    }
}
