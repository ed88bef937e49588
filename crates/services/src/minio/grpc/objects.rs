//! Objects: read, listed, copied, removed; and signed URLs.

use std::time::Duration;

use futures::{StreamExt, stream};
use isa_proto::{minio as pb, minio::get_object_response::Data};
use isa_server::{Call, Error, Replies};

use super::{Minio, On};
use crate::minio::{
    convert,
    names::{self, Bucket},
    service::{At, Copy, Download, Metadata, Missing, Page, Range, StoreError, check_content_type, invalid},
};

/// Keys that one call removes, of S3.
const MAX_DELETED: usize = 1000;

/// How long a signed URL is good for, in seconds: at most, of S3, and if nothing is said.
const MAX_EXPIRY: u32 = 604_800;
const EXPIRY: u32 = 3600;

/// Parameters of a signed URL. There are fewer kinds.
const MAX_PARAMS: usize = 16;

const WHAT: &str = "such objects";

impl Minio {
    pub(super) async fn get_object(
        &self,
        call: Call,
        request: pb::GetObjectRequest,
    ) -> Result<Replies<pb::GetObjectResponse>, Error> {
        let on = On::object(WHAT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let download = self.answer(on, async {
            let bucket = on.named(&call)?;
            let unsigned =
                |field, number: i64| u64::try_from(number).map_err(|_| invalid(field, "is negative"));
            let range = Range {
                first: unsigned("offset", request.offset)?,
                length: Some(unsigned("length", request.length)?).filter(|length| *length > 0),
            };
            self.store.get(on.at(&bucket)?, range).await
        });
        let mut download = Box::pin(download).await?;
        let info = convert::object(std::mem::take(&mut download.info));
        let first = pb::GetObjectResponse {
            data: Some(Data::Metadata(info)),
        };
        let rest = stream::try_unfold(
            (download, self.upstream.clone()),
            |(mut download, upstream)| async move {
                match Download::next(&mut download).await {
                    Ok(None) => Ok(None),
                    Ok(Some(chunk)) => {
                        let chunk = pb::GetObjectResponse {
                            data: Some(Data::Chunk(chunk)),
                        };
                        Ok(Some((chunk, (download, upstream))))
                    }
                    Err(StoreError::Down(cause)) => Err(upstream.failed(cause)),
                    Err(other) => Err(Error::internal(other)),
                }
            },
        );
        Ok(Box::pin(stream::iter([Ok(first)]).chain(rest)))
    }

    pub(super) async fn stat_object(
        &self,
        call: Call,
        request: pb::StatObjectRequest,
    ) -> Result<pb::StatObjectResponse, Error> {
        let on = On::object(WHAT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let info = self.answer(on, async {
            let bucket = on.named(&call)?;
            self.store.stat(on.at(&bucket)?).await
        });
        Ok(pb::StatObjectResponse {
            success: true,
            object_info: Some(convert::object(info.await?)),
            error: String::new(),
        })
    }

    pub(super) async fn delete_object(
        &self,
        call: Call,
        request: pb::DeleteObjectRequest,
    ) -> Result<pb::DeleteObjectResponse, Error> {
        let on = On::object(WHAT, &request.bucket_name, &request.object_key).version(&request.version_id);
        let removed = self.answer(on, async {
            let bucket = on.named(&call)?;
            self.store.delete(on.at(&bucket)?).await
        });
        removed.await?;
        Ok(pb::DeleteObjectResponse {
            success: true,
            message: format!("object {} was removed", request.object_key),
            error: String::new(),
        })
    }

    pub(super) async fn delete_objects(
        &self,
        call: Call,
        request: pb::DeleteObjectsRequest,
    ) -> Result<pb::DeleteObjectsResponse, Error> {
        let pb::DeleteObjectsRequest {
            bucket_name,
            object_keys,
            quiet,
            ..
        } = request;
        let on = On::bucket(WHAT, &bucket_name);
        let removed = self.answer(on, async {
            let bucket = on.named(&call)?;
            if !(1..=MAX_DELETED).contains(&object_keys.len()) {
                let count = object_keys.len();
                return Err(invalid(
                    "object_keys",
                    format_args!("are {count}, and must be 1 to {MAX_DELETED}"),
                ));
            }
            for key in &object_keys {
                names::check_key("object_keys", key)?;
            }
            self.store.delete_many(&bucket, object_keys, quiet).await
        });
        let removed = removed.await?;
        let errors: Vec<_> = removed.failed.into_iter().map(convert::not_deleted).collect();
        Ok(pb::DeleteObjectsResponse {
            success: errors.is_empty(),
            deleted_keys: removed.keys,
            error: match errors.len() {
                0 => String::new(),
                left => format!("{left} objects could not be removed"),
            },
            errors,
        })
    }

    pub(super) async fn list_objects(
        &self,
        call: Call,
        request: pb::ListObjectsRequest,
    ) -> Result<pb::ListObjectsResponse, Error> {
        let name = request.bucket_name;
        let on = On::bucket("lists such as this, which may depend on the delimiter", &name);
        let page = Page {
            prefix: request.prefix,
            delimiter: request.delimiter,
            most: request.max_keys,
            start_after: request.start_after,
            token: request.continuation_token,
        };
        let listing = self.answer(on, async {
            self.store.list_objects(&on.named(&call)?, page).await
        });
        let listing = listing.await?;
        Ok(pb::ListObjectsResponse {
            success: true,
            objects: listing.objects.into_iter().map(convert::object).collect(),
            common_prefixes: listing.prefixes,
            is_truncated: !listing.token.is_empty(),
            next_continuation_token: listing.token,
            error: String::new(),
        })
    }

    pub(super) async fn copy_object(
        &self,
        call: Call,
        request: pb::CopyObjectRequest,
    ) -> Result<pb::CopyObjectResponse, Error> {
        let pb::CopyObjectRequest {
            source_bucket,
            source_key,
            dest_bucket,
            dest_key,
            metadata,
            metadata_directive,
            ..
        } = request;
        let on = On::object("copies of such objects", &source_bucket, &source_key);
        let copied = async {
            let from = Bucket::of(call.tenant(), "source_bucket", &source_bucket)?;
            let to = Bucket::of(call.tenant(), "dest_bucket", &dest_bucket)?;
            names::check_key("source_key", &source_key)?;
            names::check_key("dest_key", &dest_key)?;
            call.note(format!("{dest_bucket}/{dest_key}"));
            let metadata = match metadata_directive.to_ascii_uppercase().as_str() {
                "" | "COPY" => None,
                "REPLACE" => Some(Metadata::new(metadata, &call.caller().subject)?),
                _ => return Err(invalid("metadata_directive", "must be COPY or REPLACE")),
            };
            let copy = Copy {
                from: At {
                    bucket: &from,
                    key: &source_key,
                    version: None,
                },
                to: At {
                    bucket: &to,
                    key: &dest_key,
                    version: None,
                },
                metadata,
            };
            Box::pin(self.store.copy(copy)).await
        };
        let copied = copied.await.map_err(|error| match error {
            // The source was found before.
            StoreError::Missing(Missing::Bucket) => self.fail(On::bucket(on.what, &dest_bucket), error),
            other => self.fail(on, other),
        });
        let (etag, modified) = copied?;
        Ok(pb::CopyObjectResponse {
            success: true,
            message: "the object was copied".to_owned(),
            etag,
            last_modified: modified.map(convert::timestamp),
            error: String::new(),
        })
    }

    pub(super) async fn get_presigned_url(
        &self,
        call: Call,
        request: pb::GetPresignedUrlRequest,
    ) -> Result<pb::GetPresignedUrlResponse, Error> {
        let on = On::object("signed URLs", &request.bucket_name, &request.object_key);
        let params = request.request_params;
        let signed = self.answer(on, async {
            let bucket = on.named(&call)?;
            let expiry = expiry(request.expiry_seconds)?;
            if params.len() > MAX_PARAMS {
                return Err(invalid(
                    "request_params",
                    format_args!("are more than {MAX_PARAMS}"),
                ));
            }
            self.store.sign_get(on.at(&bucket)?, params, expiry).await
        });
        let signed = signed.await?;
        Ok(pb::GetPresignedUrlResponse {
            success: true,
            url: signed.url,
            expires_at: Some(signed.expires.into()),
            error: String::new(),
        })
    }

    pub(super) async fn get_presigned_put_url(
        &self,
        call: Call,
        request: pb::GetPresignedPutUrlRequest,
    ) -> Result<pb::GetPresignedPutUrlResponse, Error> {
        let on = On::object("signed URLs", &request.bucket_name, &request.object_key);
        let signed = self.answer(on, async {
            let bucket = on.named(&call)?;
            let expiry = expiry(request.expiry_seconds)?;
            let content_type = match request.content_type.as_str() {
                "" => None,
                given => Some(check_content_type(given)?),
            };
            self.store.sign_put(on.at(&bucket)?, content_type, expiry).await
        });
        let signed = Box::pin(signed).await?;
        Ok(pb::GetPresignedPutUrlResponse {
            success: true,
            url: signed.url,
            expires_at: Some(signed.expires.into()),
            error: String::new(),
        })
    }
}

fn expiry(seconds: i32) -> Result<Duration, StoreError> {
    match u32::try_from(seconds) {
        Ok(0) => Ok(Duration::from_secs(EXPIRY.into())),
        Ok(seconds @ ..=MAX_EXPIRY) => Ok(Duration::from_secs(seconds.into())),
        _ => Err(invalid(
            "expiry_seconds",
            format_args!("must be 1 to {MAX_EXPIRY}, or 0 for {EXPIRY}"),
        )),
    }
}
