//! A bucket as it stands, in memory: every replica hears of each change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::jetstream::kv::Operation;
use futures::StreamExt;
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::{
    Error,
    store::{Bucket, Store, parse},
};

/// Between attempts to watch.
const AGAIN: Duration = Duration::from_millis(500);

struct Record<T> {
    revision: u64,
    value: Arc<T>,
}

/// Records by slug and name, both as they are in keys.
pub(super) struct Mirror<T> {
    records: RwLock<HashMap<String, BTreeMap<String, Record<T>>>>,
    /// The newest revision that was seen.
    seen: watch::Sender<u64>,
}

impl<T> Default for Mirror<T> {
    fn default() -> Self {
        Self {
            records: RwLock::default(),
            seen: watch::channel(0).0,
        }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Mirror<T> {
    /// Follows a bucket until the mirror or the store is dropped.
    pub(super) async fn follow(mirror: Weak<Self>, store: Weak<Store>, which: fn(&Store) -> &Bucket) {
        loop {
            let Some(strong) = store.upgrade() else {
                return;
            };
            let watched = Self::watch(&mirror, strong, which).await;
            let Some(_) = mirror.upgrade() else {
                return;
            };
            if let Err(error) = watched {
                tracing::debug!(%error, "a bucket is not watched");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn watch(
        mirror: &Weak<Self>,
        store: Arc<Store>,
        which: fn(&Store) -> &Bucket,
    ) -> Result<(), Error> {
        let bucket = store.bucket(which(&store)).await?;
        drop(store);
        let state = bucket.stream.get_info().await.map_err(Error::store)?.state;
        let watching = bucket.watch_with_history(">").await;
        let mut watching = watching.map_err(Error::store)?;
        // Where there is nothing, no entry says that it is the last.
        let mut is_current = state.messages == 0;
        if is_current && let Some(mirror) = mirror.upgrade() {
            mirror.saw(state.last_sequence);
        }
        while let Some(entry) = watching.next().await {
            let entry = entry.map_err(Error::store)?;
            let Some(mirror) = mirror.upgrade() else {
                return Ok(());
            };
            let value = match entry.operation {
                Operation::Put => parse::<T>(&entry.value).ok(),
                Operation::Delete | Operation::Purge => None,
            };
            mirror.apply(&entry.key, entry.revision, value);
            if entry.seen_current && !is_current {
                is_current = true;
                mirror.saw(state.last_sequence);
            }
        }
        Ok(())
    }

    /// Takes a record, unless a newer one is known. `None` removes.
    fn apply(&self, key: &str, revision: u64, value: Option<T>) {
        let Some((slug, name)) = key.split_once('.') else {
            return;
        };
        let mut records = self.records.write();
        let of_tenant = records.entry(slug.to_owned()).or_default();
        let is_newer = of_tenant.get(name).is_none_or(|known| known.revision < revision);
        if is_newer {
            match value {
                Some(value) => {
                    let value = Arc::new(value);
                    of_tenant.insert(name.to_owned(), Record { revision, value });
                }
                None => {
                    of_tenant.remove(name);
                }
            }
        }
        if of_tenant.is_empty() {
            records.remove(slug);
        }
        drop(records);
        self.saw(revision);
    }

    fn saw(&self, revision: u64) {
        self.seen.send_if_modified(|seen| {
            let is_newer = revision > *seen;
            *seen = revision.max(*seen);
            is_newer
        });
    }

    /// Everything that was written before this call has been seen when it ends.
    pub(super) async fn caught_up(&self, store: &Store, bucket: &Bucket) -> Result<(), Error> {
        let bucket = store.bucket(bucket).await?;
        let last = bucket
            .stream
            .get_info()
            .await
            .map_err(Error::store)?
            .state
            .last_sequence;
        self.reached(last).await
    }

    /// This revision has been seen.
    pub(super) async fn reached(&self, revision: u64) -> Result<(), Error> {
        let mut seen = self.seen.subscribe();
        seen.wait_for(|seen| *seen >= revision)
            .await
            .map(drop)
            .map_err(Error::unexpected)
    }
}

impl<T> Mirror<T> {
    pub(super) fn get(&self, slug: &str, name: &str) -> Option<Arc<T>> {
        let records = self.records.read();
        Some(Arc::clone(&records.get(slug)?.get(name)?.value))
    }

    pub(super) fn of(&self, slug: &str) -> Vec<Arc<T>> {
        let records = self.records.read();
        let of_tenant = records.get(slug).into_iter().flat_map(BTreeMap::values);
        of_tenant.map(|record| Arc::clone(&record.value)).collect()
    }

    pub(super) fn count(&self, slug: &str) -> usize {
        self.records.read().get(slug).map_or(0, BTreeMap::len)
    }

    pub(super) fn has_any(&self, slug: &str) -> bool {
        self.records.read().contains_key(slug)
    }
}
