//! Objects: described and removed.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::{
    At, Metadata, Store,
    error::{Missing, StoreError},
    etag, instant, version,
};
use crate::minio::names::Bucket;

/// An object as it is described.
#[derive(Debug, Default, Clone)]
pub(crate) struct ObjectInfo {
    pub(crate) key: String,
    /// Of the whole object, in bytes.
    pub(crate) size: i64,
    pub(crate) etag: String,
    pub(crate) content_type: String,
    /// Seconds and nanoseconds since 1970.
    pub(crate) modified: Option<(i64, i32)>,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) storage_class: String,
    pub(crate) version: String,
    pub(crate) owner: String,
}

/// What became of many objects.
pub(crate) struct Removed {
    pub(crate) keys: Vec<String>,
    pub(crate) failed: Vec<NotDeleted>,
}

/// An object that is still there.
pub(crate) struct NotDeleted {
    pub(crate) key: String,
    /// S3's own.
    pub(crate) code: String,
}

impl Store {
    pub(crate) async fn stat(&self, at: At<'_>) -> Result<ObjectInfo, StoreError> {
        let head = self.client.head_object().bucket(at.bucket.engine()).key(at.key);
        let answer = head.set_version_id(at.version.map(str::to_owned)).send().await;
        let answer = answer.map_err(StoreError::from).map_err(hidden)?;
        let (metadata, owner) = Metadata::read(answer.metadata());
        Ok(ObjectInfo {
            key: at.key.to_owned(),
            size: answer.content_length().unwrap_or_default(),
            etag: etag(answer.e_tag()),
            content_type: answer.content_type().unwrap_or_default().to_owned(),
            modified: answer.last_modified().map(instant),
            metadata,
            storage_class: answer
                .storage_class()
                .map(|class| class.as_str().to_owned())
                .unwrap_or_default(),
            version: version(answer.version_id()),
            owner,
        })
    }

    /// Removes an object, or one version of it. An absent one is no error.
    pub(crate) async fn delete(&self, at: At<'_>) -> Result<(), StoreError> {
        let delete = self.client.delete_object().bucket(at.bucket.engine()).key(at.key);
        let answer = delete.set_version_id(at.version.map(str::to_owned)).send().await;
        let answer = answer.map(drop).map_err(StoreError::from);
        match self.blame(at.bucket, answer).await {
            Ok(()) | Err(StoreError::Missing(Missing::Object | Missing::Version)) => {}
            Err(error) => return Err(error),
        }
        self.usages.changed(at.bucket.engine());
        Ok(())
    }

    /// Removes up to 1000 objects. With `quiet`, those that went are not listed.
    pub(crate) async fn delete_many(
        &self,
        bucket: &Bucket,
        keys: Vec<String>,
        quiet: bool,
    ) -> Result<Removed, StoreError> {
        let identify = |key: String| ObjectIdentifier::builder().key(key).build();
        let objects = keys.into_iter().map(identify).collect::<Result<Vec<_>, _>>();
        let delete = Delete::builder().set_objects(Some(objects.map_err(StoreError::internal)?));
        let delete = delete.quiet(quiet).build().map_err(StoreError::internal)?;
        let answer = self
            .client
            .delete_objects()
            .bucket(bucket.engine())
            .delete(delete)
            .send()
            .await;
        let answer = self.blame(bucket, answer.map_err(StoreError::from)).await?;
        self.usages.changed(bucket.engine());
        let mut keys: Vec<_> = answer
            .deleted
            .unwrap_or_default()
            .into_iter()
            .filter_map(|it| it.key)
            .collect();
        let mut failed = Vec::new();
        for error in answer.errors.unwrap_or_default() {
            let (key, code) = (error.key.unwrap_or_default(), error.code.unwrap_or_default());
            // Nothing to remove is no failure.
            if matches!(code.as_str(), "NoSuchKey" | "NoSuchVersion") {
                keys.push(key);
            } else {
                failed.push(NotDeleted { key, code });
            }
        }
        if quiet {
            keys.clear();
        }
        Ok(Removed { keys, failed })
    }
}

/// A version that says that the object was removed (405) is as good as none.
pub(super) fn hidden(error: StoreError) -> StoreError {
    match error {
        StoreError::Unsupported => StoreError::Missing(Missing::Object),
        other => other,
    }
}
