//! The contract's methods: each converts, calls the store, and converts.

mod buckets;
mod objects;
mod settings;
mod uploads;

use std::time::{Duration, Instant, SystemTime};

use isa_proto::{minio as pb, prost_types::Struct};
use isa_server::{Call, Error, ErrorCode, Replies, Requests, Upstream, api::minio::MinIoService};
use tokio::time::timeout;

use super::{
    convert::{number, text},
    names::{self, Bucket},
    service::{At, Missing, Store, StoreError},
};

/// How long the engine may take to show that it is there.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct Minio {
    store: Store,
    upstream: Upstream,
}

/// What a call is about, as the caller names it: for its errors.
#[derive(Clone, Copy)]
struct On<'a> {
    /// What an engine would lack that cannot do it.
    what: &'static str,
    bucket: &'a str,
    /// Empty if it is about the bucket.
    key: &'a str,
    version: &'a str,
}

impl<'a> On<'a> {
    fn bucket(what: &'static str, bucket: &'a str) -> Self {
        Self {
            what,
            bucket,
            key: "",
            version: "",
        }
    }

    fn object(what: &'static str, bucket: &'a str, key: &'a str) -> Self {
        Self {
            what,
            bucket,
            key,
            version: "",
        }
    }

    fn version(self, version: &'a str) -> Self {
        Self { version, ..self }
    }

    /// The bucket at the engine; a call that changes it is recorded with its name.
    fn named(self, call: &Call) -> Result<Bucket, StoreError> {
        let bucket = Bucket::of(call.tenant(), "bucket_name", self.bucket)?;
        if !self.key.is_empty() {
            names::check_key("object_key", self.key)?;
            call.note(format!("{}/{}", self.bucket, self.key));
        } else {
            call.note(self.bucket);
        }
        Ok(bucket)
    }

    /// The object in it.
    fn at(self, bucket: &'a Bucket) -> Result<At<'a>, StoreError> {
        names::check_key("object_key", self.key)?;
        let version = Some(self.version).filter(|version| !version.is_empty());
        if let Some(version) = version {
            names::check_id("version_id", version)?;
        }
        Ok(At {
            bucket,
            key: self.key,
            version,
        })
    }
}

impl Minio {
    pub(super) fn new(store: Store, upstream: Upstream) -> Self {
        Self { store, upstream }
    }

    /// Says to the caller what went wrong with what it named.
    async fn answer<T>(
        &self,
        on: On<'_>,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        work.await.map_err(|error| self.fail(on, error))
    }

    fn fail(&self, on: On<'_>, error: StoreError) -> Error {
        let On {
            what, bucket, key, ..
        } = on;
        match error {
            StoreError::Invalid { field, why } => Error::invalid(field, why),
            StoreError::Missing(missing) => absent(missing, bucket, key),
            StoreError::Exists => Error::new(
                ErrorCode::AlreadyExists,
                format!("bucket {bucket:?} exists already"),
            ),
            StoreError::NotEmpty => Error::new(
                ErrorCode::FailedPrecondition,
                format!("bucket {bucket:?} is not empty; remove what it holds first, or set `force`"),
            ),
            StoreError::Range => Error::new(
                ErrorCode::OutOfRange,
                format!("offset: is at or beyond the end of object {key:?}"),
            )
            .in_field("offset"),
            StoreError::Forbidden(why) => Error::new(ErrorCode::FailedPrecondition, why),
            StoreError::Unsupported => {
                let engine = self.store.engine();
                Error::new(
                    ErrorCode::Unimplemented,
                    format!("the engine behind this service, {engine}, has no {what}"),
                )
                .with("engine", engine)
            }
            StoreError::Conflict => Error::new(
                ErrorCode::Conflict,
                "another call changed the same thing at the same moment; try again",
            ),
            StoreError::Full => Error::new(ErrorCode::EngineFull, "the object store has no room left"),
            StoreError::Busy => Error::new(ErrorCode::EngineDown, "the object store is too busy; try again"),
            StoreError::Down(cause) => self.upstream.failed(cause),
            StoreError::Refused(code) => Error::new(
                ErrorCode::InvalidArgument,
                format!("the object store refuses the request: {code}"),
            )
            .with("s3_code", code),
            StoreError::Source(error) => error,
            StoreError::Internal(cause) => Error::internal(cause),
        }
    }

    async fn health_check(
        &self,
        _: Call,
        request: pb::MinIoHealthCheckRequest,
    ) -> Result<pb::MinIoHealthCheckResponse, Error> {
        let begun = Instant::now();
        let healthy = matches!(
            timeout(HEALTH_PATIENCE, self.store.probe().run()).await,
            Ok(Ok(()))
        );
        let details = request.detailed.then(|| {
            let latency = begun.elapsed().as_secs_f64() * 1000.0;
            let mut details = Struct::default();
            details.fields.insert("latency_ms".to_owned(), number(latency));
            details
                .fields
                .insert("engine".to_owned(), text(self.store.engine()));
            if !healthy {
                details
                    .fields
                    .insert("error".to_owned(), text("the engine does not answer"));
            }
            details
        });
        Ok(pb::MinIoHealthCheckResponse {
            success: true,
            healthy,
            status: if healthy { "SERVING" } else { "NOT_SERVING" }.to_owned(),
            timestamp: Some(SystemTime::now().into()),
            details,
            error: String::new(),
        })
    }
}

fn absent(missing: Missing, bucket: &str, key: &str) -> Error {
    match missing {
        Missing::Object => Error::not_found(format_args!("object {key:?} in bucket {bucket:?}")),
        Missing::Something if !key.is_empty() => {
            Error::not_found(format_args!("object {key:?} in bucket {bucket:?}"))
        }
        Missing::Bucket | Missing::Something => Error::not_found(format_args!("bucket {bucket:?}")),
        Missing::Version => Error::not_found(format_args!(
            "this version of object {key:?} in bucket {bucket:?}"
        )),
        Missing::Upload => {
            Error::not_found(format_args!("this upload of object {key:?} in bucket {bucket:?}"))
        }
        Missing::Setting => Error::not_found(format_args!("this setting of bucket {bucket:?}")),
    }
}

/// Each method stands in the module of its kind, under the same name.
macro_rules! methods {
    ($($name:ident($request:ty) -> $reply:ty;)*) => {
        impl MinIoService for Minio {
            $(
                async fn $name(&self, call: Call, request: $request) -> Result<$reply, Error> {
                    Minio::$name(self, call, request).await
                }
            )*
        }
    };
}

methods! {
    create_bucket(pb::CreateBucketRequest) -> pb::CreateBucketResponse;
    list_buckets(pb::ListBucketsRequest) -> pb::ListBucketsResponse;
    delete_bucket(pb::DeleteBucketRequest) -> pb::DeleteBucketResponse;
    get_bucket_info(pb::GetBucketInfoRequest) -> pb::GetBucketInfoResponse;
    set_bucket_policy(pb::SetBucketPolicyRequest) -> pb::SetBucketPolicyResponse;
    get_bucket_policy(pb::GetBucketPolicyRequest) -> pb::GetBucketPolicyResponse;
    set_bucket_tags(pb::SetBucketTagsRequest) -> pb::SetBucketTagsResponse;
    get_bucket_tags(pb::GetBucketTagsRequest) -> pb::GetBucketTagsResponse;
    delete_bucket_tags(pb::DeleteBucketTagsRequest) -> pb::DeleteBucketTagsResponse;
    set_bucket_versioning(pb::SetBucketVersioningRequest) -> pb::SetBucketVersioningResponse;
    get_bucket_versioning(pb::GetBucketVersioningRequest) -> pb::GetBucketVersioningResponse;
    set_bucket_lifecycle(pb::SetBucketLifecycleRequest) -> pb::SetBucketLifecycleResponse;
    get_bucket_lifecycle(pb::GetBucketLifecycleRequest) -> pb::GetBucketLifecycleResponse;
    delete_bucket_lifecycle(pb::DeleteBucketLifecycleRequest) -> pb::DeleteBucketLifecycleResponse;
    put_object(Requests<pb::PutObjectRequest>) -> pb::PutObjectResponse;
    get_object(pb::GetObjectRequest) -> Replies<pb::GetObjectResponse>;
    delete_object(pb::DeleteObjectRequest) -> pb::DeleteObjectResponse;
    delete_objects(pb::DeleteObjectsRequest) -> pb::DeleteObjectsResponse;
    list_objects(pb::ListObjectsRequest) -> pb::ListObjectsResponse;
    copy_object(pb::CopyObjectRequest) -> pb::CopyObjectResponse;
    stat_object(pb::StatObjectRequest) -> pb::StatObjectResponse;
    set_object_tags(pb::SetObjectTagsRequest) -> pb::SetObjectTagsResponse;
    get_object_tags(pb::GetObjectTagsRequest) -> pb::GetObjectTagsResponse;
    delete_object_tags(pb::DeleteObjectTagsRequest) -> pb::DeleteObjectTagsResponse;
    get_presigned_url(pb::GetPresignedUrlRequest) -> pb::GetPresignedUrlResponse;
    get_presigned_put_url(pb::GetPresignedPutUrlRequest) -> pb::GetPresignedPutUrlResponse;
    initiate_multipart_upload(pb::InitiateMultipartUploadRequest) -> pb::InitiateMultipartUploadResponse;
    upload_part(Requests<pb::UploadPartRequest>) -> pb::UploadPartResponse;
    complete_multipart_upload(pb::CompleteMultipartUploadRequest) -> pb::CompleteMultipartUploadResponse;
    abort_multipart_upload(pb::AbortMultipartUploadRequest) -> pb::AbortMultipartUploadResponse;
    health_check(pb::MinIoHealthCheckRequest) -> pb::MinIoHealthCheckResponse;
}
