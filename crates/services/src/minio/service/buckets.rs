//! Buckets: made, listed, described, removed.

use std::{collections::BTreeMap, time::SystemTime};

use aws_sdk_s3::{
    primitives::DateTime,
    types::{Delete, ObjectIdentifier},
};
use isa_server::Tenant;

use super::{
    Store,
    error::{Missing, StoreError},
    instant, patiently,
    tags::{Notes, Tags},
};
use crate::minio::names::{self, Bucket};

/// Buckets that the engine is asked for at once, where it counts.
const PAGE: i32 = 1000;

/// What an empty region means to S3.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket to make.
#[derive(Default)]
pub(crate) struct NewBucket {
    pub(crate) owner: String,
    pub(crate) organization: String,
    pub(crate) region: String,
    pub(crate) locking: bool,
    pub(crate) tags: Tags,
}

/// A bucket as it is described.
#[derive(Debug, Default)]
pub(crate) struct BucketInfo {
    pub(crate) name: String,
    /// Seconds and nanoseconds since 1970.
    pub(crate) created: Option<(i64, i32)>,
    pub(crate) owner: String,
    pub(crate) organization: String,
    pub(crate) region: String,
    pub(crate) tags: Tags,
    pub(crate) size: i64,
    pub(crate) objects: i64,
}

impl Store {
    pub(crate) async fn create_bucket(
        &self,
        bucket: &Bucket,
        new: NewBucket,
    ) -> Result<BucketInfo, StoreError> {
        let NewBucket {
            owner,
            organization,
            region,
            locking,
            tags,
        } = new;
        let notes = Notes {
            owner,
            organization,
            region,
        };
        let create = self.once.create_bucket().bucket(bucket.engine());
        let create = create.set_object_lock_enabled_for_bucket(locking.then_some(true));
        patiently(create.send()).await?;
        self.usages.forget(bucket.engine());
        let mut all = tags.clone();
        notes.add_to(&mut all);
        match self.put_bucket_tags(bucket, &all).await {
            Ok(()) => {}
            // An engine without tags keeps the bucket, but nothing that the caller asked for may be missing.
            Err(StoreError::Unsupported) if tags.is_empty() => {}
            Err(error) => {
                let undone = self.client.delete_bucket().bucket(bucket.engine()).send().await;
                if let Err(left) = undone {
                    let why = super::error::causes(&left);
                    tracing::warn!(bucket = bucket.engine(), %why, "a bucket without its tags is left behind");
                }
                return Err(error);
            }
        }
        let now = DateTime::from(SystemTime::now());
        Ok(describe(bucket, tags, notes, Some(now)))
    }

    /// The tenant's buckets whose names begin with `prefix`, by name, with the time each was made.
    pub(crate) async fn list_buckets(
        &self,
        tenant: &Tenant,
        prefix: &str,
    ) -> Result<Vec<BucketInfo>, StoreError> {
        let wanted = names::prefix_of(tenant, prefix);
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let list = self.client.list_buckets().prefix(&wanted).max_buckets(PAGE);
            let answer = list.set_continuation_token(token).send().await?;
            // Engines that do not know `prefix` list every tenant's.
            for bucket in answer.buckets() {
                let name = bucket.name().filter(|name| name.starts_with(&wanted));
                let Some(name) = name.and_then(|name| names::given(tenant, name)) else {
                    continue;
                };
                found.push(BucketInfo {
                    name: name.to_owned(),
                    created: bucket.creation_date().map(instant),
                    ..BucketInfo::default()
                });
            }
            token = answer.continuation_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    pub(crate) async fn bucket_info(&self, bucket: &Bucket) -> Result<BucketInfo, StoreError> {
        let mut tags = match self.every_bucket_tag(bucket).await {
            Ok(tags) => tags,
            Err(StoreError::Unsupported) => {
                self.client.head_bucket().bucket(bucket.engine()).send().await?;
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        let notes = Notes::take_from(&mut tags);
        let usage = self.usages.of(&self.client, bucket.engine()).await;
        let mut info = describe(bucket, tags, notes, usage.created);
        info.size = usage.size;
        info.objects = usage.objects;
        Ok(info)
    }

    /// Removes a bucket; with `force`, what is in it too. Returns how many objects and versions that were.
    pub(crate) async fn delete_bucket(&self, bucket: &Bucket, force: bool) -> Result<u64, StoreError> {
        let removed = if force {
            self.empty(bucket).await?
        } else if self.first_versions(bucket, 1).await?.is_empty() {
            0
        } else {
            // Not every engine looks before it removes.
            return Err(StoreError::NotEmpty);
        };
        self.client.delete_bucket().bucket(bucket.engine()).send().await?;
        self.usages.forget(bucket.engine());
        Ok(removed)
    }

    async fn empty(&self, bucket: &Bucket) -> Result<u64, StoreError> {
        self.abort_uploads(bucket).await?;
        let mut removed = 0;
        let mut before = None;
        loop {
            // Always the first page: what it named is gone by the next time.
            let page = self.first_versions(bucket, PAGE).await?;
            if page.is_empty() {
                return Ok(removed);
            }
            if page.first() == before.as_ref() {
                return Err(StoreError::down("it lists an object that it says it has removed"));
            }
            before = page.first().cloned();
            let count = page.len() as u64;
            let delete = Delete::builder().set_objects(Some(page)).quiet(true).build();
            let delete = self
                .client
                .delete_objects()
                .delete(delete.map_err(StoreError::internal)?);
            let answer = delete.bucket(bucket.engine()).send().await?;
            let kept = answer
                .errors()
                .iter()
                .filter(|error| error.code() != Some("NoSuchKey"));
            if kept.count() > 0 {
                return Err(StoreError::Forbidden(
                    "some objects cannot be removed, such as those that are locked; others are gone",
                ));
            }
            removed += count;
        }
    }

    async fn first_versions(&self, bucket: &Bucket, most: i32) -> Result<Vec<ObjectIdentifier>, StoreError> {
        let identify = |key: Option<&str>, version: Option<&str>| {
            ObjectIdentifier::builder()
                .key(key.unwrap_or_default())
                .set_version_id(version.map(str::to_owned))
                .build()
                .map_err(StoreError::internal)
        };
        let answer = self
            .client
            .list_object_versions()
            .bucket(bucket.engine())
            .max_keys(most)
            .send()
            .await;
        match answer.map_err(StoreError::from) {
            Ok(answer) => {
                let versions = answer.versions().iter().map(|it| (it.key(), it.version_id()));
                let markers = answer
                    .delete_markers()
                    .iter()
                    .map(|it| (it.key(), it.version_id()));
                // Both lists together are one page, but not every engine keeps to that; deletion does.
                versions
                    .chain(markers)
                    .take(1000)
                    .map(|(key, version)| identify(key, version))
                    .collect()
            }
            Err(StoreError::Unsupported) => {
                let answer = self
                    .client
                    .list_objects_v2()
                    .bucket(bucket.engine())
                    .max_keys(most)
                    .send()
                    .await?;
                answer
                    .contents()
                    .iter()
                    .map(|it| identify(it.key(), None))
                    .collect()
            }
            Err(error) => Err(error),
        }
    }

    async fn abort_uploads(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let (mut key, mut id) = (None, None);
        loop {
            let list = self.client.list_multipart_uploads().bucket(bucket.engine());
            let answer = list.set_key_marker(key).set_upload_id_marker(id).send().await;
            let answer = match answer.map_err(StoreError::from) {
                Ok(answer) => answer,
                Err(StoreError::Unsupported) => return Ok(()),
                Err(error) => return Err(error),
            };
            for upload in answer.uploads() {
                let abort = self.client.abort_multipart_upload().bucket(bucket.engine());
                let abort = abort
                    .set_key(upload.key.clone())
                    .set_upload_id(upload.upload_id.clone());
                match abort.send().await.map_err(StoreError::from) {
                    Ok(_) | Err(StoreError::Missing(Missing::Upload | Missing::Something)) => {}
                    Err(error) => return Err(error),
                }
            }
            if answer.is_truncated != Some(true) || answer.next_key_marker.is_none() {
                return Ok(());
            }
            (key, id) = (answer.next_key_marker, answer.next_upload_id_marker);
        }
    }
}

fn describe(bucket: &Bucket, tags: Tags, notes: Notes, created: Option<DateTime>) -> BucketInfo {
    BucketInfo {
        name: bucket.given().to_owned(),
        created: created.as_ref().map(instant),
        owner: notes.owner,
        organization: notes.organization,
        region: if notes.region.is_empty() {
            DEFAULT_REGION.to_owned()
        } else {
            notes.region
        },
        tags,
        size: 0,
        objects: 0,
    }
}
