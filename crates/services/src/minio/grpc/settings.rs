//! Settings of buckets, and tags of objects.

use isa_proto::minio as pb;
use isa_server::{Call, Error};

use super::{Minio, On};
use crate::minio::{
    convert,
    service::{BUCKET_TAGS, OBJECT_TAGS, Tags, check_tags},
};

const POLICY: &str = "bucket policies";
const TAGS: &str = "tags of buckets";
const VERSIONS: &str = "versions";
const LIFECYCLE: &str = "lifecycle rules such as these";
const OBJECT: &str = "tags of objects";

impl Minio {
    pub(super) async fn set_bucket_policy(
        &self,
        call: Call,
        request: pb::SetBucketPolicyRequest,
    ) -> Result<pb::SetBucketPolicyResponse, Error> {
        let pb::SetBucketPolicyRequest {
            bucket_name,
            policy_type,
            custom_policy,
            ..
        } = request;
        let on = On::bucket(POLICY, &bucket_name);
        let set = self.answer(on, async {
            let bucket = on.named(&call)?;
            let access = convert::access(policy_type, custom_policy)?;
            self.store.set_policy(&bucket, &access).await
        });
        set.await?;
        Ok(pb::SetBucketPolicyResponse {
            success: true,
            message: "the policy holds".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn get_bucket_policy(
        &self,
        call: Call,
        request: pb::GetBucketPolicyRequest,
    ) -> Result<pb::GetBucketPolicyResponse, Error> {
        let on = On::bucket(POLICY, &request.bucket_name);
        let policy = self.answer(on, async { self.store.policy(&on.named(&call)?).await });
        let (access, policy_json) = policy.await?;
        Ok(pb::GetBucketPolicyResponse {
            success: true,
            policy_type: convert::policy_type(&access).into(),
            policy_json,
            error: String::new(),
        })
    }

    pub(super) async fn set_bucket_tags(
        &self,
        call: Call,
        request: pb::SetBucketTagsRequest,
    ) -> Result<pb::SetBucketTagsResponse, Error> {
        let pb::SetBucketTagsRequest {
            bucket_name, tags, ..
        } = request;
        let on = On::bucket(TAGS, &bucket_name);
        let set = self.answer(on, async {
            let bucket = on.named(&call)?;
            check_tags(&tags, BUCKET_TAGS)?;
            self.store.set_bucket_tags(&bucket, tags).await
        });
        set.await?;
        Ok(pb::SetBucketTagsResponse {
            success: true,
            message: "the tags are set".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn get_bucket_tags(
        &self,
        call: Call,
        request: pb::GetBucketTagsRequest,
    ) -> Result<pb::GetBucketTagsResponse, Error> {
        let on = On::bucket(TAGS, &request.bucket_name);
        let tags = self.answer(on, async { self.store.bucket_tags(&on.named(&call)?).await });
        Ok(pb::GetBucketTagsResponse {
            success: true,
            tags: tags.await?,
            error: String::new(),
        })
    }

    pub(super) async fn delete_bucket_tags(
        &self,
        call: Call,
        request: pb::DeleteBucketTagsRequest,
    ) -> Result<pb::DeleteBucketTagsResponse, Error> {
        let on = On::bucket(TAGS, &request.bucket_name);
        let removed = self.answer(on, async {
            self.store.set_bucket_tags(&on.named(&call)?, Tags::new()).await
        });
        removed.await?;
        Ok(pb::DeleteBucketTagsResponse {
            success: true,
            message: "the tags are removed".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn set_bucket_versioning(
        &self,
        call: Call,
        request: pb::SetBucketVersioningRequest,
    ) -> Result<pb::SetBucketVersioningResponse, Error> {
        let on = On::bucket(VERSIONS, &request.bucket_name);
        let set = self.answer(on, async {
            self.store
                .set_versioning(&on.named(&call)?, request.enabled)
                .await
        });
        set.await?;
        let message = if request.enabled {
            "old versions are kept"
        } else {
            "old versions are no longer kept"
        };
        Ok(pb::SetBucketVersioningResponse {
            success: true,
            message: message.to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn get_bucket_versioning(
        &self,
        call: Call,
        request: pb::GetBucketVersioningRequest,
    ) -> Result<pb::GetBucketVersioningResponse, Error> {
        let on = On::bucket(VERSIONS, &request.bucket_name);
        let enabled = self.answer(on, async { self.store.versioning(&on.named(&call)?).await });
        Ok(pb::GetBucketVersioningResponse {
            success: true,
            enabled: enabled.await?,
            error: String::new(),
        })
    }

    pub(super) async fn set_bucket_lifecycle(
        &self,
        call: Call,
        request: pb::SetBucketLifecycleRequest,
    ) -> Result<pb::SetBucketLifecycleResponse, Error> {
        let on = On::bucket(LIFECYCLE, &request.bucket_name);
        let set = self.answer(on, async {
            let bucket = on.named(&call)?;
            self.store
                .set_lifecycle(&bucket, convert::rules(&request.rules)?)
                .await
        });
        set.await?;
        Ok(pb::SetBucketLifecycleResponse {
            success: true,
            message: "the rules hold".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn get_bucket_lifecycle(
        &self,
        call: Call,
        request: pb::GetBucketLifecycleRequest,
    ) -> Result<pb::GetBucketLifecycleResponse, Error> {
        let on = On::bucket(LIFECYCLE, &request.bucket_name);
        let rules = self.answer(on, async { self.store.lifecycle(&on.named(&call)?).await });
        let rules = rules.await?.into_iter().map(convert::rule).collect();
        Ok(pb::GetBucketLifecycleResponse {
            success: true,
            rules,
            error: String::new(),
        })
    }

    pub(super) async fn delete_bucket_lifecycle(
        &self,
        call: Call,
        request: pb::DeleteBucketLifecycleRequest,
    ) -> Result<pb::DeleteBucketLifecycleResponse, Error> {
        let on = On::bucket(LIFECYCLE, &request.bucket_name);
        let removed = self.answer(on, async { self.store.delete_lifecycle(&on.named(&call)?).await });
        removed.await?;
        Ok(pb::DeleteBucketLifecycleResponse {
            success: true,
            message: "the rules are removed".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn set_object_tags(
        &self,
        call: Call,
        request: pb::SetObjectTagsRequest,
    ) -> Result<pb::SetObjectTagsResponse, Error> {
        let on = On::object(OBJECT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let set = self.answer(on, async {
            let bucket = on.named(&call)?;
            check_tags(&request.tags, OBJECT_TAGS)?;
            self.store.set_object_tags(on.at(&bucket)?, &request.tags).await
        });
        set.await?;
        Ok(pb::SetObjectTagsResponse {
            success: true,
            message: "the tags are set".to_owned(),
            error: String::new(),
        })
    }

    pub(super) async fn get_object_tags(
        &self,
        call: Call,
        request: pb::GetObjectTagsRequest,
    ) -> Result<pb::GetObjectTagsResponse, Error> {
        let on = On::object(OBJECT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let tags = self.answer(on, async {
            let bucket = on.named(&call)?;
            self.store.object_tags(on.at(&bucket)?).await
        });
        Ok(pb::GetObjectTagsResponse {
            success: true,
            tags: tags.await?,
            error: String::new(),
        })
    }

    pub(super) async fn delete_object_tags(
        &self,
        call: Call,
        request: pb::DeleteObjectTagsRequest,
    ) -> Result<pb::DeleteObjectTagsResponse, Error> {
        let on = On::object(OBJECT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let removed = self.answer(on, async {
            let bucket = on.named(&call)?;
            self.store.delete_object_tags(on.at(&bucket)?).await
        });
        removed.await?;
        Ok(pb::DeleteObjectTagsResponse {
            success: true,
            message: "the tags are removed".to_owned(),
            error: String::new(),
        })
    }
}
