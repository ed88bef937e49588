//! Object buckets, as NATS' own clients have them: chunks under `$O.<bucket>.C.<id>`, and of each object one description
//! under `$O.<bucket>.M.<name>`. Who reads sees an object when its description stands, and that comes last.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use async_nats::{
    HeaderMap, Subject,
    datetime::now,
    header::NATS_ROLLUP,
    jetstream::{
        consumer::DeliverPolicy,
        object_store::{ObjectInfo, ObjectOptions},
        publish::PublishAck,
    },
    message::OutboundMessage,
};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use isa_proto::Bytes;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::{
    Error, Nats,
    error::Thing,
    kv::bucket_config,
    link::{Question, json, parse, within},
    scan::{NOWHERE, Range},
};
use crate::nats::names::{Bucket, Names};

/// Largest object that is read: an answer of the service has at most 100 MiB.
pub(crate) const MAX_OBJECT: usize = (100 << 20) - (1 << 20);

/// Longest name, in bytes.
const MAX_NAME: usize = 255;

/// Entries of an object's metadata, and their bytes.
const MAX_METADATA: (usize, usize) = (64, 64 << 10);

/// Objects that are listed.
const MAX_LISTED: usize = 100_000;

/// As NATS' own clients cut objects.
const CHUNK: usize = 128 << 10;

/// Chunks that are on their way to disk at once, or read at once.
const WINDOW: usize = 16;

/// Descriptions read at once.
const PAGE: usize = 1024;

/// How often a reading begins anew because somebody wrote over the object.
const ATTEMPTS: usize = 3;

/// How long what a broken upload left behind is waited for before it is removed.
const CLEANUP: Duration = Duration::from_secs(5);

/// An object.
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) size: usize,
    /// Nanoseconds since 1970.
    pub(crate) modified: Option<i128>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Object {
    fn new(info: ObjectInfo) -> Self {
        Self {
            name: info.name,
            size: info.size,
            modified: info.modified.map(|time| time.unix_timestamp_nanos()),
            metadata: info.metadata.into_iter().collect(),
        }
    }
}

impl Bucket {
    fn chunks(&self, id: &str) -> String {
        format!("$O.{}.C.{id}", self.name)
    }

    fn description(&self, object: &str) -> String {
        format!("$O.{}.M.{}", self.name, URL_SAFE.encode(object))
    }

    fn thing(&self) -> Thing<'_> {
        Thing::Bucket(&self.given)
    }
}

impl Nats {
    /// Writes an object over one of the same name, making the bucket if need be; its new id.
    pub(crate) async fn object_put(
        &self,
        names: Names<'_>,
        bucket: &str,
        name: &str,
        data: Bytes,
        metadata: BTreeMap<String, String>,
        limit: Duration,
    ) -> Result<String, Error> {
        let bucket = names.objects("bucket", bucket)?;
        check_object(name)?;
        check_metadata(&metadata)?;
        if data.len() > MAX_OBJECT {
            return Err(Error::TooLarge(format!(
                "the object has {} bytes, and may have {MAX_OBJECT}",
                data.len()
            )));
        }
        let old = self.description(&bucket, name, limit).await?;
        if old.is_none() && !self.has_stream(&bucket.stream, limit).await? {
            self.make_object_bucket(names, &bucket, limit).await?;
        }

        let id = format!("{:032x}", rand::random::<u128>());
        let info = ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata: metadata.into_iter().collect::<HashMap<_, _>>(),
            headers: None,
            options: Some(ObjectOptions {
                link: None,
                max_chunk_size: Some(CHUNK),
            }),
            bucket: bucket.name.clone(),
            nuid: id.clone(),
            size: data.len(),
            chunks: data.len().div_ceil(CHUNK),
            modified: Some(now()),
            digest: None,
            deleted: false,
        };
        within(limit, async {
            let mut upload = Upload::new(self, &bucket, &id);
            let digest = upload.send(&data).await?;
            let info = ObjectInfo {
                digest: Some(digest),
                ..info
            };
            self.describe(&bucket, &info, limit).await?;
            upload.is_whole = true;
            Ok(())
        })
        .await?;
        self.traffic.of(names).came_in(data.len());
        if let Some(old) = old.filter(|old| !old.deleted) {
            self.remove_chunks(&bucket, &old.nuid, limit).await;
        }
        Ok(id)
    }

    async fn make_object_bucket(
        &self,
        names: Names<'_>,
        bucket: &Bucket,
        limit: Duration,
    ) -> Result<(), Error> {
        let subjects = vec![
            format!("$O.{}.C.>", bucket.name),
            format!("$O.{}.M.>", bucket.name),
        ];
        let config = async_nats::jetstream::stream::Config {
            max_messages_per_subject: -1,
            deny_delete: false,
            ..bucket_config(&bucket.stream, subjects)
        };
        match self.make_bucket(names, bucket, &config, limit).await {
            Err(Error::Exists(_)) => Ok(()),
            made => made,
        }
    }

    /// Writes an object's description; the old one goes in the same moment.
    async fn describe(&self, bucket: &Bucket, info: &ObjectInfo, limit: Duration) -> Result<(), Error> {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_ROLLUP, "sub");
        let subject = bucket.description(&info.name);
        let stored = self
            .store(subject, Some(headers), json(info)?, bucket.thing(), limit)
            .await;
        match stored {
            Err(Error::NoResponders) => Err(Error::NotFound(bucket.thing().to_string())),
            stored => stored.map(drop),
        }
    }

    async fn description(
        &self,
        bucket: &Bucket,
        name: &str,
        limit: Duration,
    ) -> Result<Option<ObjectInfo>, Error> {
        let message = self
            .last_of(&bucket.stream, &bucket.description(name), limit)
            .await?;
        let info = message.map(|message| serde_json::from_slice(&message.payload));
        info.transpose().map_err(Error::unexpected)
    }

    async fn remove_chunks(&self, bucket: &Bucket, id: &str, limit: Duration) {
        let Ok(request) = json(&json!({ "filter": bucket.chunks(id) })) else {
            return;
        };
        if let Err(error) = self.purge(&bucket.stream, request, bucket.thing(), limit).await {
            tracing::warn!(%error, "chunks of an object that is gone were left");
        }
    }

    /// `None` if bucket or object is absent.
    pub(crate) async fn object_get(
        &self,
        names: Names<'_>,
        bucket: &str,
        name: &str,
        limit: Duration,
    ) -> Result<Option<(Object, Bytes)>, Error> {
        let bucket = names.objects("bucket", bucket)?;
        check_object(name)?;
        within(limit, async {
            let mut attempt = 1;
            loop {
                let info = self.description(&bucket, name, limit).await?;
                let Some(info) = info.filter(|info| !info.deleted) else {
                    return Ok(None);
                };
                if info.size > MAX_OBJECT {
                    return Err(Error::TooLarge(format!(
                        "the object has {} bytes, and an answer at most {MAX_OBJECT}",
                        info.size
                    )));
                }
                if let Some(data) = self.content(&bucket, &info, limit).await? {
                    self.traffic.of(names).went_out(data.len());
                    return Ok(Some((Object::new(info), data.into())));
                }
                // Either it is damaged, or somebody wrote over it and its chunks have gone.
                let now = self.description(&bucket, name, limit).await?;
                if now.is_some_and(|now| now.nuid == info.nuid) || attempt == ATTEMPTS {
                    return Err(Error::DataLoss(format!(
                        "object {name:?} is not what was written: its digest does not hold"
                    )));
                }
                attempt += 1;
            }
        })
        .await
    }

    /// What an object holds; `None` if its digest does not hold.
    async fn content(
        &self,
        bucket: &Bucket,
        info: &ObjectInfo,
        limit: Duration,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut data = Vec::new();
        let mut digest = Sha256::new();
        if info.chunks > 0 {
            let range = Range {
                filter: bucket.chunks(&info.nuid),
                deliver: DeliverPolicy::All,
                headers_only: false,
            };
            let mut scan = self.scan(&bucket.stream, range, bucket.thing(), limit).await?;
            data.reserve_exact(info.size);
            loop {
                let page = scan.next(WINDOW).await?;
                if page.is_empty() {
                    break;
                }
                for chunk in page {
                    if data.len() + chunk.payload.len() > info.size {
                        scan.close().await;
                        return Ok(None);
                    }
                    digest.update(&chunk.payload);
                    data.extend_from_slice(&chunk.payload);
                }
            }
            scan.close().await;
        }
        let holds = info
            .digest
            .as_ref()
            .is_none_or(|expected| *expected == named(digest));
        Ok((holds && data.len() == info.size).then_some(data))
    }

    pub(crate) async fn object_delete(
        &self,
        names: Names<'_>,
        bucket: &str,
        name: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let bucket = names.objects("bucket", bucket)?;
        check_object(name)?;
        let info = self.description(&bucket, name, limit).await?;
        let Some(info) = info.filter(|info| !info.deleted) else {
            return Err(Error::NotFound(format!("object {name:?} of {}", bucket.thing())));
        };
        let gone = ObjectInfo {
            chunks: 0,
            size: 0,
            deleted: true,
            digest: None,
            modified: Some(now()),
            ..info
        };
        self.describe(&bucket, &gone, limit).await?;
        self.remove_chunks(&bucket, &gone.nuid, limit).await;
        Ok(())
    }

    /// All of a bucket, sorted by name; none if it is absent.
    pub(crate) async fn objects(
        &self,
        names: Names<'_>,
        bucket: &str,
        limit: Duration,
    ) -> Result<Vec<Object>, Error> {
        let bucket = names.objects("bucket", bucket)?;
        let range = Range {
            filter: format!("$O.{}.M.>", bucket.name),
            deliver: DeliverPolicy::LastPerSubject,
            headers_only: false,
        };
        let mut scan = match self.scan(&bucket.stream, range, bucket.thing(), limit).await {
            Err(Error::NotFound(_)) => return Ok(Vec::new()),
            scan => scan?,
        };
        let mut objects = Vec::new();
        loop {
            let page = scan.next(PAGE.min(MAX_LISTED - objects.len())).await?;
            if page.is_empty() {
                break;
            }
            for message in page {
                let info: ObjectInfo = serde_json::from_slice(&message.payload).map_err(Error::unexpected)?;
                if !info.deleted {
                    objects.push(Object::new(info));
                }
            }
        }
        scan.close().await;
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }
}

/// Chunks that are being written. Dropped before the object is whole, it takes them away again.
struct Upload<'a> {
    nats: &'a Nats,
    bucket: &'a Bucket,
    chunks: Subject,
    pending: VecDeque<Question>,
    is_whole: bool,
}

impl<'a> Upload<'a> {
    fn new(nats: &'a Nats, bucket: &'a Bucket, id: &str) -> Self {
        Self {
            nats,
            bucket,
            chunks: bucket.chunks(id).into(),
            pending: VecDeque::with_capacity(WINDOW),
            is_whole: false,
        }
    }

    /// Sends all, without copying, and answers with the digest when all is on disk.
    async fn send(&mut self, data: &Bytes) -> Result<String, Error> {
        let mut digest = Sha256::new();
        let mut begin = 0;
        while begin < data.len() {
            let end = data.len().min(begin + CHUNK);
            let chunk = data.slice(begin..end);
            digest.update(&chunk);
            if self.pending.len() == WINDOW {
                self.acknowledged().await?;
            }
            let question = self
                .nats
                .work
                .begin(self.chunks.clone(), None, chunk, None)
                .await?;
            self.pending.push_back(question);
            begin = end;
        }
        while !self.pending.is_empty() {
            self.acknowledged().await?;
        }
        Ok(named(digest))
    }

    async fn acknowledged(&mut self) -> Result<(), Error> {
        let Some(question) = self.pending.pop_front() else {
            return Ok(());
        };
        let answer = match question.answer().await {
            Err(Error::NoResponders) => {
                return Err(Error::NotFound(self.bucket.thing().to_string()));
            }
            answer => answer?,
        };
        parse::<PublishAck>(&answer.payload)
            .map(drop)
            .map_err(|error| error.about(&self.bucket.thing()))
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        let (Ok(runtime), Ok(request)) = (
            Handle::try_current(),
            json(&json!({ "filter": self.chunks.as_str() })),
        ) else {
            return;
        };
        let pending = std::mem::take(&mut self.pending);
        let client = self.nats.work.client().clone();
        let removal = OutboundMessage {
            subject: format!("$JS.API.STREAM.PURGE.{}", self.bucket.stream).into(),
            reply: Some(NOWHERE.into()),
            payload: request,
            headers: None,
        };
        runtime.spawn(async move {
            // A chunk that is still on its way would come after the removal.
            let _ = within(CLEANUP, async {
                for question in pending {
                    let _ = question.answer().await;
                }
                Ok(())
            })
            .await;
            let _ = async_nats::client::traits::Publisher::publish_message(&client, removal).await;
        });
    }
}

/// A digest as NATS' own clients write it.
fn named(digest: Sha256) -> String {
    format!("SHA-256={}", URL_SAFE.encode(digest.finalize()))
}

fn check_object(name: &str) -> Result<(), Error> {
    const FIELD: &str = "object_name";
    if name.is_empty() {
        return Err(Error::invalid(FIELD, "is empty"));
    }
    if name.len() > MAX_NAME {
        return Err(Error::invalid(
            FIELD,
            format!("has {} bytes, and may have {MAX_NAME}", name.len()),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(FIELD, "has a control character"));
    }
    Ok(())
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let (entries, bytes) = MAX_METADATA;
    let sum: usize = metadata
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if metadata.len() > entries || sum > bytes {
        return Err(Error::invalid(
            "metadata",
            format!("may have {entries} entries and {bytes} bytes"),
        ));
    }
    Ok(())
}
