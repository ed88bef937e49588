//! Key-value buckets, as NATS' own clients have them: a stream `KV_<bucket>` of subjects `$KV.<bucket>.<key>`.

use std::time::Duration;

use async_nats::{
    HeaderMap, Message, StatusCode,
    datetime::parse_rfc3339,
    header::{
        NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MARKER_REASON, NATS_SEQUENCE, NATS_SUBJECT, NATS_TIME_STAMP,
    },
    jetstream::{
        consumer::DeliverPolicy,
        stream::{Config, DiscardPolicy, StorageType},
    },
};
use isa_proto::Bytes;

use super::{
    Error, Nats,
    error::Thing,
    scan::Range,
    streams::{check_age, limit as no_limit},
};
use crate::nats::names::{Bucket, Names, check_key};

/// Buckets of a tenant, both kinds together.
const MAX_BUCKETS: usize = 500;

/// Values that a key may keep.
pub(super) const MAX_HISTORY: i64 = 64;

/// Keys that are listed.
const MAX_KEYS: usize = 100_000;

/// Keys read at a time.
const PAGE: usize = 4096;

/// Says of a value that there is none.
const OPERATION: &str = "KV-Operation";

/// What a bucket keeps.
#[derive(Debug, Clone, Default)]
pub(crate) struct BucketSettings {
    pub(crate) name: String,
    /// 0 means 1.
    pub(crate) history: i32,
    /// Zero means for ever.
    pub(crate) ttl: Duration,
    /// 0 means no limit.
    pub(crate) max_bytes: i64,
    pub(crate) in_memory: bool,
}

/// A value that a key has or had.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: Bytes,
    pub(crate) revision: u64,
    /// Nanoseconds since 1970.
    pub(crate) created: i128,
    pub(crate) deleted: bool,
}

impl Bucket {
    fn key(&self, key: &str) -> String {
        format!("$KV.{}.{key}", self.name)
    }
}

impl Nats {
    /// The same once more is no error.
    pub(crate) async fn create_bucket(
        &self,
        names: Names<'_>,
        settings: &BucketSettings,
        limit: Duration,
    ) -> Result<(), Error> {
        let bucket = names.kv("bucket", &settings.name)?;
        let history = match i64::from(settings.history) {
            0 => 1,
            history @ 1..=MAX_HISTORY => history,
            _ => return Err(Error::invalid("history", "must be 1 to 64, or 0 for 1")),
        };
        check_age("ttl", settings.ttl)?;
        let config = Config {
            max_messages_per_subject: history,
            max_age: settings.ttl,
            max_bytes: no_limit("max_bytes", settings.max_bytes)?,
            storage: if settings.in_memory {
                StorageType::Memory
            } else {
                StorageType::File
            },
            ..bucket_config(&bucket.stream, vec![bucket.key(">")])
        };
        self.make_bucket(names, &bucket, &config, limit).await
    }

    pub(super) async fn make_bucket(
        &self,
        names: Names<'_>,
        bucket: &Bucket,
        config: &Config,
        limit: Duration,
    ) -> Result<(), Error> {
        let thing = Thing::Bucket(&bucket.given);
        let buckets = self.buckets(names, limit).await?;
        if buckets.len() >= MAX_BUCKETS && !buckets.contains(&bucket.stream) {
            return Err(Error::Quota(format!(
                "there are {MAX_BUCKETS} buckets, and may not be more"
            )));
        }
        self.make_stream(config, thing, limit).await.map(drop)
    }

    /// Full names of the streams under the tenant's buckets.
    pub(super) async fn buckets(&self, names: Names<'_>, limit: Duration) -> Result<Vec<String>, Error> {
        let mut buckets = self.stream_names("$KV.*.>", limit).await?;
        buckets.extend(self.stream_names("$O.*.>", limit).await?);
        buckets.retain(|stream| names.owns_bucket(stream));
        Ok(buckets)
    }

    /// Writes a value, making the bucket if need be. With `expected` only over that revision.
    pub(crate) async fn kv_put(
        &self,
        names: Names<'_>,
        bucket: &str,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
        limit: Duration,
    ) -> Result<u64, Error> {
        let bucket = names.kv("bucket", bucket)?;
        check_key("key", key)?;
        let bytes = value.len();
        let mut written = self.write(&bucket, key, value.clone(), expected, limit).await;
        if matches!(written, Err(Error::NoResponders)) {
            self.make_default_bucket(names, &bucket, limit).await?;
            written = self.write(&bucket, key, value.clone(), expected, limit).await;
        }
        // A key that was deleted is absent, though it has a revision.
        if expected == Some(0)
            && matches!(written, Err(Error::Conflict(_)))
            && let Some(entry) = self.newest(&bucket, key, limit).await?
            && entry.deleted
        {
            written = self.write(&bucket, key, value, Some(entry.revision), limit).await;
        }
        match written {
            Ok(revision) => {
                self.traffic.of(names).came_in(bytes);
                Ok(revision)
            }
            Err(Error::Conflict(_)) => Err(Error::Conflict(format!(
                "key {key:?} does not stand at the expected revision"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Two may make it at once: both ask for the same.
    async fn make_default_bucket(
        &self,
        names: Names<'_>,
        bucket: &Bucket,
        limit: Duration,
    ) -> Result<(), Error> {
        // It may have been made with a history meanwhile.
        if self.has_stream(&bucket.stream, limit).await? {
            return Ok(());
        }
        let config = bucket_config(&bucket.stream, vec![bucket.key(">")]);
        match self.make_bucket(names, bucket, &config, limit).await {
            Err(Error::Exists(_)) => Ok(()),
            made => made,
        }
    }

    async fn write(
        &self,
        bucket: &Bucket,
        key: &str,
        value: Bytes,
        expected: Option<u64>,
        limit: Duration,
    ) -> Result<u64, Error> {
        let headers = expected.map(|revision| {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
            headers
        });
        let thing = Thing::Bucket(&bucket.given);
        let stored = self.store(bucket.key(key), headers, value, thing, limit).await;
        stored.map(|stored| stored.sequence)
    }

    /// The value that the key has; `None` too if the bucket is absent.
    pub(crate) async fn kv_get(
        &self,
        names: Names<'_>,
        bucket: &str,
        key: &str,
        limit: Duration,
    ) -> Result<Option<Entry>, Error> {
        let bucket = names.kv("bucket", bucket)?;
        check_key("key", key)?;
        let entry = self.newest(&bucket, key, limit).await?;
        let entry = entry.filter(|entry| !entry.deleted);
        if let Some(entry) = &entry {
            self.traffic.of(names).went_out(entry.value.len());
        }
        Ok(entry)
    }

    async fn newest(&self, bucket: &Bucket, key: &str, limit: Duration) -> Result<Option<Entry>, Error> {
        let message = self.last_of(&bucket.stream, &bucket.key(key), limit).await?;
        message.map(|message| entry(bucket, message)).transpose()
    }

    /// The newest message of a subject, with what NATS says of it in headers.
    pub(super) async fn last_of(
        &self,
        stream: &str,
        subject: &str,
        limit: Duration,
    ) -> Result<Option<Message>, Error> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        self.direct(subject, Bytes::new(), limit).await
    }

    /// Reads one message past the stream's queue; `None` if it or the stream is absent.
    pub(super) async fn direct(
        &self,
        subject: String,
        request: Bytes,
        limit: Duration,
    ) -> Result<Option<Message>, Error> {
        match self.work.ask(subject, None, request, None, limit).await {
            Err(Error::NoResponders) => Ok(None),
            Ok(message) => match message.status {
                None => Ok(Some(message)),
                Some(StatusCode::NOT_FOUND) => Ok(None),
                Some(status) => Err(Error::unexpected(format_args!(
                    "a direct read was answered with {status}"
                ))),
            },
            Err(error) => Err(error),
        }
    }

    /// Marks a key as deleted.
    pub(crate) async fn kv_delete(
        &self,
        names: Names<'_>,
        bucket: &str,
        key: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let bucket = names.kv("bucket", bucket)?;
        check_key("key", key)?;
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        let thing = Thing::Bucket(&bucket.given);
        let deleted = self
            .store(bucket.key(key), Some(headers), Bytes::new(), thing, limit)
            .await;
        match deleted {
            // No bucket, no key.
            Ok(_) | Err(Error::NoResponders) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Keys that have a value, sorted.
    pub(crate) async fn kv_keys(
        &self,
        names: Names<'_>,
        bucket: &str,
        limit: Duration,
    ) -> Result<Vec<String>, Error> {
        let bucket = names.kv("bucket", bucket)?;
        let range = Range {
            filter: bucket.key(">"),
            deliver: DeliverPolicy::LastPerSubject,
            headers_only: true,
        };
        let thing = Thing::Bucket(&bucket.given);
        let mut scan = match self.scan(&bucket.stream, range, thing, limit).await {
            Err(Error::NotFound(_)) => return Ok(Vec::new()),
            scan => scan?,
        };
        let prefix = bucket.key("");
        let mut keys = Vec::new();
        loop {
            let page = scan.next(PAGE.min(MAX_KEYS - keys.len())).await?;
            if page.is_empty() {
                break;
            }
            let alive = page.iter().filter(|message| !is_deleted(message));
            keys.extend(
                alive
                    .filter_map(|message| message.subject.strip_prefix(prefix.as_str()))
                    .map(str::to_owned),
            );
        }
        scan.close().await;
        keys.sort_unstable();
        Ok(keys)
    }

    /// What a key held, oldest first.
    pub(crate) async fn kv_history(
        &self,
        names: Names<'_>,
        bucket: &str,
        key: &str,
        limit: Duration,
    ) -> Result<Vec<Entry>, Error> {
        let bucket = names.kv("bucket", bucket)?;
        check_key("key", key)?;
        let range = Range {
            filter: bucket.key(key),
            deliver: DeliverPolicy::All,
            headers_only: false,
        };
        let thing = Thing::Bucket(&bucket.given);
        let mut scan = self.scan(&bucket.stream, range, thing, limit).await?;
        let mut entries = Vec::new();
        loop {
            let page = scan.next(PAGE).await?;
            if page.is_empty() {
                break;
            }
            for message in page {
                entries.push(scanned_entry(&bucket, message)?);
            }
        }
        scan.close().await;
        if entries.is_empty() {
            return Err(Error::NotFound(format!(
                "key {key:?} of bucket {:?}",
                bucket.given
            )));
        }
        Ok(entries)
    }
}

/// What all streams under buckets have in common, whoever makes them.
pub(super) fn bucket_config(stream: &str, subjects: Vec<String>) -> Config {
    Config {
        name: stream.to_owned(),
        subjects,
        max_messages: -1,
        max_messages_per_subject: 1,
        max_bytes: -1,
        max_message_size: -1,
        max_consumers: -1,
        storage: StorageType::File,
        num_replicas: 1,
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        deny_delete: true,
        ..Config::default()
    }
}

/// Of a message that was read directly.
fn entry(bucket: &Bucket, message: Message) -> Result<Entry, Error> {
    let missing = || Error::unexpected("a direct read lacks its headers");
    let headers = message.headers.as_ref().ok_or_else(missing)?;
    let header = |name| headers.get(name).map(|value| value.as_str());
    let subject = header(NATS_SUBJECT).ok_or_else(missing)?;
    let revision = header(NATS_SEQUENCE)
        .and_then(|value| value.parse().ok())
        .ok_or_else(missing)?;
    let created = header(NATS_TIME_STAMP)
        .and_then(|value| parse_rfc3339(value).ok())
        .ok_or_else(missing)?;
    Ok(Entry {
        key: key_of(bucket, subject),
        revision,
        created: created.unix_timestamp_nanos(),
        deleted: is_deleted(&message),
        value: message.payload,
    })
}

/// Of a message that a consumer delivered.
fn scanned_entry(bucket: &Bucket, message: Message) -> Result<Entry, Error> {
    let delivery = message.reply.as_deref().and_then(super::pull::Delivery::of);
    let delivery = delivery.ok_or_else(|| Error::unexpected("a delivery lacks its numbers"))?;
    Ok(Entry {
        key: key_of(bucket, &message.subject),
        revision: delivery.sequence,
        created: delivery.stored.into(),
        deleted: is_deleted(&message),
        value: message.payload,
    })
}

fn key_of(bucket: &Bucket, subject: &str) -> String {
    subject
        .strip_prefix(bucket.key("").as_str())
        .unwrap_or_default()
        .to_owned()
}

fn is_deleted(message: &Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| {
        let operation = headers.get(OPERATION).map(|value| value.as_str());
        matches!(operation, Some("DEL" | "PURGE")) || headers.get(NATS_MARKER_REASON).is_some()
    })
}
