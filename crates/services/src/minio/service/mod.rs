//! The object store over one S3 engine. Knows nothing of gRPC.

mod body;
mod buckets;
mod connect;
mod copy;
mod download;
mod error;
mod lifecycle;
mod list;
mod metadata;
mod objects;
mod policy;
mod presign;
mod settings;
mod tags;
mod upload;
mod usage;

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{Client, primitives::DateTime};
use tokio::time::timeout;

pub(crate) use self::{
    buckets::{BucketInfo, NewBucket},
    connect::{Engine, Probe},
    copy::Copy,
    download::{Download, Range},
    error::{Missing, StoreError, invalid},
    lifecycle::{Action, Rule, When},
    list::Page,
    metadata::{Metadata, check_content_type},
    objects::{NotDeleted, ObjectInfo},
    policy::Access,
    tags::{BUCKET_TAGS, OBJECT_TAGS, Tags, check_tags},
    upload::{NewObject, Part},
};
use self::{connect::Clients, usage::Usages};
use crate::minio::names::Bucket;

/// How long the engine may take to answer a call that is not repeated: it may join the parts of 5 TiB.
const SLOW_REPLY: Duration = Duration::from_secs(300);

/// How long the engine may pause within a stream.
const PAUSE: Duration = Duration::from_secs(30);

/// Buckets, objects and uploads of all tenants, at one engine. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Store {
    /// Repeats what fails on the way, and waits for an answer only so long.
    client: Client,
    /// Does neither: for what must not happen twice, and for bodies that take their time.
    once: Client,
    /// Signs for the address that others reach the engine at.
    signer: Client,
    engine: Engine,
    usages: Arc<Usages>,
    /// By which this service knows its own page tokens, in every replica.
    token_key: Arc<[u8]>,
}

/// An object of a tenant.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) bucket: &'a Bucket,
    pub(crate) key: &'a str,
    /// `None` for the current one.
    pub(crate) version: Option<&'a str>,
}

impl Store {
    /// # Errors
    /// Why the endpoint cannot be one of S3.
    pub(crate) fn new(endpoint: &isa_config::Endpoint) -> Result<Self, String> {
        let Clients { client, once, signer } = Clients::new(endpoint)?;
        let secret = endpoint.password.as_ref().map_or("", |secret| secret.expose());
        Ok(Self {
            client,
            once,
            signer,
            engine: Engine::default(),
            usages: Arc::default(),
            token_key: list::token_key(secret),
        })
    }

    /// Asks the engine whether it is there.
    pub(crate) fn probe(&self) -> Probe {
        Probe::new(self.client.clone(), self.engine.clone())
    }

    /// Fails if the bucket is not there. Asked before what some engine does to buckets that are not.
    async fn exists(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let head = self.client.head_bucket().bucket(bucket.engine()).send().await;
        match head.map_err(StoreError::from) {
            Ok(_) => Ok(()),
            Err(StoreError::Missing(_)) => Err(StoreError::Missing(Missing::Bucket)),
            Err(error) => Err(error),
        }
    }

    /// Asked before the first write of a call: SeaweedFS makes a bucket of whatever name something is written to.
    async fn before_writing(&self, bucket: &Bucket) -> Result<(), StoreError> {
        if self.engine.makes_buckets() {
            self.exists(bucket).await?;
        }
        Ok(())
    }

    /// Some engines fail in any way where the bucket is not there.
    async fn blame<T>(&self, bucket: &Bucket, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Down(_)) = &answer {
            self.exists(bucket).await?;
        }
        answer
    }

    /// `minio`, `seaweedfs` or `s3`, as far as it was asked yet.
    pub(crate) fn engine(&self) -> &'static str {
        self.engine.name()
    }
}

/// Waits for a call of the client `once`, which has no patience of its own.
async fn patiently<T, E>(call: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    match timeout(SLOW_REPLY, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StoreError::down("it takes too long")),
    }
}

/// S3 puts ETags in quotes.
fn etag(quoted: Option<&str>) -> String {
    quoted.unwrap_or_default().trim_matches('"').to_owned()
}

/// Where versions are not kept, some engines say `null`.
fn version(id: Option<&str>) -> String {
    id.filter(|id| *id != "null").unwrap_or_default().to_owned()
}

/// Absent settings are none, not an error.
fn or_absent<T, E>(answer: Result<T, E>) -> Result<Option<T>, StoreError>
where
    StoreError: From<E>,
{
    match answer.map_err(StoreError::from) {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Missing(Missing::Setting)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Seconds and nanoseconds since 1970.
pub(crate) fn instant(time: &DateTime) -> (i64, i32) {
    (
        time.secs(),
        i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    )
}
