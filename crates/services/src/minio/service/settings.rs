//! Settings of a bucket: policy, versions, lifecycle.

use aws_sdk_s3::types::{BucketLifecycleConfiguration, BucketVersioningStatus, VersioningConfiguration};

use super::{
    Access, Rule, Store,
    error::{StoreError, invalid},
    or_absent, policy,
};
use crate::minio::names::Bucket;

impl Store {
    pub(crate) async fn set_policy(&self, bucket: &Bucket, access: &Access) -> Result<(), StoreError> {
        let document = policy::document(access, bucket)?;
        self.exists(bucket).await?;
        let Some(document) = document else {
            let delete = self
                .client
                .delete_bucket_policy()
                .bucket(bucket.engine())
                .send()
                .await;
            return or_absent(delete).map(drop);
        };
        let put = self.client.put_bucket_policy().bucket(bucket.engine());
        put.policy(document).send().await?;
        Ok(())
    }

    /// What holds, and the document as the tenant would write it; empty if private.
    pub(crate) async fn policy(&self, bucket: &Bucket) -> Result<(Access, String), StoreError> {
        self.exists(bucket).await?;
        let get = self
            .client
            .get_bucket_policy()
            .bucket(bucket.engine())
            .send()
            .await;
        let document = or_absent(get)?.and_then(|answer| answer.policy);
        match document.filter(|document| !document.is_empty()) {
            None => Ok((Access::Private, String::new())),
            Some(document) => policy::read(&document, bucket),
        }
    }

    pub(crate) async fn set_versioning(&self, bucket: &Bucket, enabled: bool) -> Result<(), StoreError> {
        self.exists(bucket).await?;
        let status = if enabled {
            BucketVersioningStatus::Enabled
        } else {
            BucketVersioningStatus::Suspended
        };
        let put = self.client.put_bucket_versioning().bucket(bucket.engine());
        put.versioning_configuration(VersioningConfiguration::builder().status(status).build())
            .send()
            .await?;
        Ok(())
    }

    pub(crate) async fn versioning(&self, bucket: &Bucket) -> Result<bool, StoreError> {
        self.exists(bucket).await?;
        let answer = self
            .client
            .get_bucket_versioning()
            .bucket(bucket.engine())
            .send()
            .await?;
        Ok(answer.status == Some(BucketVersioningStatus::Enabled))
    }

    pub(crate) async fn set_lifecycle(&self, bucket: &Bucket, rules: Vec<Rule>) -> Result<(), StoreError> {
        self.exists(bucket).await?;
        let moves = rules.iter().any(|rule| rule.transition.is_some());
        let rules = rules
            .into_iter()
            .map(Rule::into_engine)
            .collect::<Result<Vec<_>, _>>()?;
        let rules = BucketLifecycleConfiguration::builder()
            .set_rules(Some(rules))
            .build();
        let put = self
            .client
            .put_bucket_lifecycle_configuration()
            .bucket(bucket.engine());
        let put = put
            .lifecycle_configuration(rules.map_err(StoreError::internal)?)
            .send()
            .await;
        match put.map_err(StoreError::from) {
            Ok(_) => Ok(()),
            // It has no class of this name, and so most likely none but its own.
            Err(StoreError::Invalid { field, .. }) if moves && field == "storage_class" => {
                Err(StoreError::Unsupported)
            }
            Err(StoreError::Refused(_)) => Err(invalid("rules", "are none that the engine takes together")),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn lifecycle(&self, bucket: &Bucket) -> Result<Vec<Rule>, StoreError> {
        self.exists(bucket).await?;
        let get = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(bucket.engine());
        let answer = or_absent(get.send().await)?;
        Ok(answer
            .iter()
            .flat_map(|answer| answer.rules())
            .map(Rule::of_engine)
            .collect())
    }

    pub(crate) async fn delete_lifecycle(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.exists(bucket).await?;
        let delete = self
            .client
            .delete_bucket_lifecycle()
            .bucket(bucket.engine())
            .send()
            .await;
        or_absent(delete).map(drop)
    }
}
