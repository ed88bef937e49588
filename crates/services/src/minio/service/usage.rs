//! How much is in a bucket: S3 can only be asked by listing it, so the answer is kept for a while.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_s3::{Client, primitives::DateTime};
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

use super::error::StoreError;

/// How long a count holds.
const AGE: Duration = Duration::from_secs(60);

/// A bucket of at most so many objects, which one page lists, is counted anew after a change through this service.
const SMALL: i64 = 1000;

/// How long a caller waits for a count; after that it gets the one before.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long one count may take, and so how far it comes in a bucket of very many objects.
const LIMIT: Duration = Duration::from_secs(50);

/// Counts at a time, of all tenants: each is many calls to the engine.
const AT_ONCE: usize = 2;

/// Buckets whose counts are kept.
const KEPT: usize = 10_000;

/// After this an upload is dropped that was neither completed nor aborted.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Of a bucket's current objects.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Usage {
    pub(super) created: Option<DateTime>,
    /// In bytes.
    pub(super) size: i64,
    pub(super) objects: i64,
}

pub(super) struct Usages {
    entries: Mutex<HashMap<String, Entry>>,
    slots: Arc<Semaphore>,
}

struct Entry {
    since: Instant,
    changed: bool,
    /// The count, once it is done; closed without one if it failed.
    count: watch::Receiver<Option<Usage>>,
    before: Usage,
}

impl Default for Usages {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }
}

impl Entry {
    fn known(&self) -> Usage {
        self.count.borrow().unwrap_or(self.before)
    }

    fn is_fresh(&self) -> bool {
        let count = *self.count.borrow();
        let failed = count.is_none() && self.count.has_changed().is_err();
        let outdated = self.changed && count.is_some_and(|usage| usage.objects <= SMALL);
        !failed && !outdated && self.since.elapsed() < AGE
    }
}

impl Usages {
    /// The bucket as it was counted last, now if that is too long ago. Zero if that does not end in time.
    pub(super) async fn of(&self, client: &Client, bucket: &str) -> Usage {
        let (mut count, before) = self.counting(client, bucket);
        let counted = timeout(PATIENCE, count.wait_for(Option::is_some)).await;
        match counted {
            Ok(Ok(usage)) => usage.unwrap_or(before),
            _ => before,
        }
    }

    fn counting(&self, client: &Client, bucket: &str) -> (watch::Receiver<Option<Usage>>, Usage) {
        let mut entries = self.entries.lock();
        let (before, recent) = match entries.get(bucket) {
            Some(entry) if entry.is_fresh() => return (entry.count.clone(), entry.before),
            Some(entry) => (entry.known(), entry.since.elapsed() < AGE),
            None => (Usage::default(), false),
        };
        if entries.len() >= KEPT {
            entries.retain(|_, entry| entry.is_fresh());
            if entries.len() >= KEPT {
                entries.clear();
            }
        }
        let (done, count) = watch::channel(None);
        let entry = Entry {
            since: Instant::now(),
            changed: false,
            count: count.clone(),
            before,
        };
        entries.insert(bucket.to_owned(), entry);
        drop(entries);
        let (client, slots, bucket) = (client.clone(), Arc::clone(&self.slots), bucket.to_owned());
        tokio::spawn(async move {
            let Ok(_slot) = slots.acquire_owned().await else {
                return;
            };
            match scan(&client, &bucket, before).await {
                Ok(usage) => drop(done.send(Some(usage))),
                Err(why) => tracing::debug!(%bucket, %why, "a bucket was not counted"),
            }
            if !recent && let Err(why) = sweep(&client, &bucket).await {
                tracing::debug!(%bucket, %why, "old uploads were not looked for");
            }
        });
        (count, before)
    }

    /// Something was written or removed.
    pub(super) fn changed(&self, bucket: &str) {
        if let Some(entry) = self.entries.lock().get_mut(bucket) {
            entry.changed = true;
        }
    }

    /// The bucket is new, or gone.
    pub(super) fn forget(&self, bucket: &str) {
        self.entries.lock().remove(bucket);
    }
}

async fn scan(client: &Client, bucket: &str, before: Usage) -> Result<Usage, StoreError> {
    let until = Instant::now() + LIMIT;
    let mut usage = Usage {
        created: match before.created {
            Some(created) => Some(created),
            None => created(client, bucket).await?,
        },
        ..Usage::default()
    };
    let mut token = None;
    loop {
        let list = client.list_objects_v2().bucket(bucket);
        let answer = list.set_continuation_token(token).send().await?;
        for object in answer.contents() {
            usage.objects += 1;
            usage.size = usage.size.saturating_add(object.size().unwrap_or_default());
        }
        token = answer.next_continuation_token;
        if token.is_none() || Instant::now() > until {
            return Ok(usage);
        }
    }
}

/// Drops uploads that nobody will end any more, at engines that do not do so themselves: their callers are gone, or the
/// replica that wrote them was killed.
async fn sweep(client: &Client, bucket: &str) -> Result<(), StoreError> {
    let before = DateTime::from(SystemTime::now() - ABANDONED);
    let answer = client.list_multipart_uploads().bucket(bucket).send().await?;
    for upload in answer.uploads() {
        if upload.initiated().is_some_and(|begun| *begun < before) {
            let abort = client
                .abort_multipart_upload()
                .bucket(bucket)
                .set_key(upload.key.clone());
            abort.set_upload_id(upload.upload_id.clone()).send().await?;
        }
    }
    Ok(())
}

async fn created(client: &Client, bucket: &str) -> Result<Option<DateTime>, StoreError> {
    let answer = client.list_buckets().prefix(bucket).send().await?;
    let found = answer.buckets().iter().find(|it| it.name() == Some(bucket));
    Ok(found.and_then(|it| it.creation_date().copied()))
}
