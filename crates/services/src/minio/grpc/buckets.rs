//! Buckets.

use isa_proto::minio as pb;
use isa_server::{Call, Error};

use super::{Minio, On};
use crate::minio::{
    convert,
    service::{BUCKET_TAGS, NewBucket, check_tags, invalid},
};

/// Longest name of a region, in bytes.
const MAX_REGION: usize = 64;

impl Minio {
    pub(super) async fn create_bucket(
        &self,
        call: Call,
        request: pb::CreateBucketRequest,
    ) -> Result<pb::CreateBucketResponse, Error> {
        let what = if request.object_locking {
            "object lock"
        } else {
            "tags of buckets"
        };
        let name = request.bucket_name;
        let on = On::bucket(what, &name);
        let owner = call.caller().subject.clone();
        let new = NewBucket {
            owner,
            organization: request.organization_id,
            region: request.region,
            locking: request.object_locking,
            tags: request.tags,
        };
        let made = self.answer(on, async {
            let bucket = on.named(&call)?;
            check_tags(&new.tags, BUCKET_TAGS)?;
            let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            if new.region.len() > MAX_REGION || !new.region.bytes().all(letters) {
                return Err(invalid(
                    "region",
                    "must have at most 64 letters, digits and hyphens",
                ));
            }
            self.store.create_bucket(&bucket, new).await
        });
        Ok(pb::CreateBucketResponse {
            success: true,
            bucket_info: Some(convert::bucket(Box::pin(made).await?)),
            message: format!("bucket {name} was made"),
            error: String::new(),
        })
    }

    pub(super) async fn list_buckets(
        &self,
        call: Call,
        request: pb::ListBucketsRequest,
    ) -> Result<pb::ListBucketsResponse, Error> {
        let on = On::bucket("lists of buckets", "");
        let found = self.answer(on, async {
            let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            // No bucket begins so; and the engine need not be asked.
            if !request.prefix.bytes().all(letters) || request.prefix.len() > 40 {
                return Ok(Vec::new());
            }
            self.store.list_buckets(call.tenant(), &request.prefix).await
        });
        let buckets: Vec<_> = found.await?.into_iter().map(convert::bucket).collect();
        Ok(pb::ListBucketsResponse {
            success: true,
            total_count: i32::try_from(buckets.len()).unwrap_or(i32::MAX),
            buckets,
            error: String::new(),
        })
    }

    pub(super) async fn delete_bucket(
        &self,
        call: Call,
        request: pb::DeleteBucketRequest,
    ) -> Result<pb::DeleteBucketResponse, Error> {
        let on = On::bucket("deletion of buckets", &request.bucket_name);
        let removed = self.answer(on, async {
            let bucket = on.named(&call)?;
            Box::pin(self.store.delete_bucket(&bucket, request.force)).await
        });
        let removed = removed.await?;
        Ok(pb::DeleteBucketResponse {
            success: true,
            message: format!("bucket {} was removed", request.bucket_name),
            deleted_objects: i32::try_from(removed).unwrap_or(i32::MAX),
            error: String::new(),
        })
    }

    pub(super) async fn get_bucket_info(
        &self,
        call: Call,
        request: pb::GetBucketInfoRequest,
    ) -> Result<pb::GetBucketInfoResponse, Error> {
        let on = On::bucket("description of buckets", &request.bucket_name);
        let info = self.answer(on, async { self.store.bucket_info(&on.named(&call)?).await });
        Ok(pb::GetBucketInfoResponse {
            success: true,
            bucket_info: Some(convert::bucket(info.await?)),
            error: String::new(),
        })
    }
}
