//! Objects and parts as they are written.

use futures::{Stream, stream};
use isa_proto::{
    Bytes, Identified, minio as pb,
    minio::{put_object_request, upload_part_request},
};
use isa_server::{Call, Error, Requests};

use super::{Minio, On};
use crate::minio::{
    convert,
    names::check_id,
    service::{Metadata, NewObject, Part, StoreError, check_content_type, invalid},
};

/// Parts of an upload, of S3.
const MAX_PARTS: i32 = 10_000;

const UPLOADS: &str = "uploads in parts";

impl Minio {
    pub(super) async fn put_object(
        &self,
        call: Call,
        mut requests: Requests<pb::PutObjectRequest>,
    ) -> Result<pb::PutObjectResponse, Error> {
        use put_object_request::Data;
        let Some(Data::Metadata(about)) = requests.next().await?.and_then(|first| first.data) else {
            return Err(out_of_order());
        };
        let on = On::object("such objects", &about.bucket_name, &about.object_key);
        let chunks = chunks(requests, |message| match message.data {
            Some(Data::Chunk(chunk)) => Some(chunk),
            _ => None,
        });
        let written = self.answer(on, async {
            let bucket = on.named(&call)?;
            let at = on.at(&bucket)?;
            let new = NewObject {
                content_type: check_content_type(&about.content_type)?.to_owned(),
                length: length("content_length", about.content_length)?,
                metadata: Metadata::new(about.metadata, &call.caller().subject)?,
                class: convert::storage_class(&about.storage_class)?,
            };
            Box::pin(self.store.put(at, new, chunks)).await
        });
        let written = written.await?;
        Ok(pb::PutObjectResponse {
            success: true,
            etag: written.etag,
            version_id: written.version,
            size: i64::try_from(written.size).unwrap_or(i64::MAX),
            object_key: about.object_key,
            error: String::new(),
        })
    }

    pub(super) async fn initiate_multipart_upload(
        &self,
        call: Call,
        request: pb::InitiateMultipartUploadRequest,
    ) -> Result<pb::InitiateMultipartUploadResponse, Error> {
        let pb::InitiateMultipartUploadRequest {
            bucket_name,
            object_key,
            content_type,
            metadata,
            ..
        } = request;
        let on = On::object(UPLOADS, &bucket_name, &object_key);
        let begun = self.answer(on, async {
            let bucket = on.named(&call)?;
            let at = on.at(&bucket)?;
            let new = NewObject {
                content_type: check_content_type(&content_type)?.to_owned(),
                length: None,
                metadata: Metadata::new(metadata, &call.caller().subject)?,
                class: None,
            };
            self.store.begin_upload(at, new).await
        });
        Ok(pb::InitiateMultipartUploadResponse {
            success: true,
            upload_id: begun.await?,
            bucket_name,
            object_key,
            error: String::new(),
        })
    }

    pub(super) async fn upload_part(
        &self,
        call: Call,
        mut requests: Requests<pb::UploadPartRequest>,
    ) -> Result<pb::UploadPartResponse, Error> {
        use upload_part_request::Data;
        let Some(Data::Metadata(about)) = requests.next().await?.and_then(|first| first.data) else {
            return Err(out_of_order());
        };
        let on = On::object(UPLOADS, &about.bucket_name, &about.object_key);
        let chunks = chunks(requests, |message| match message.data {
            Some(Data::Chunk(chunk)) => Some(chunk),
            _ => None,
        });
        let written = self.answer(on, async {
            let bucket = on.named(&call)?;
            let at = on.at(&bucket)?;
            check_id("upload_id", &about.upload_id)?;
            if !(1..=MAX_PARTS).contains(&about.part_number) {
                return Err(invalid("part_number", format_args!("must be 1 to {MAX_PARTS}")));
            }
            let length = length("part_size", about.part_size)?;
            let part = self
                .store
                .upload_part(at, &about.upload_id, about.part_number, length, chunks);
            Box::pin(part).await
        });
        Ok(pb::UploadPartResponse {
            success: true,
            part_number: about.part_number,
            etag: written.await?,
            error: String::new(),
        })
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        call: Call,
        request: pb::CompleteMultipartUploadRequest,
    ) -> Result<pb::CompleteMultipartUploadResponse, Error> {
        let pb::CompleteMultipartUploadRequest {
            bucket_name,
            object_key,
            upload_id,
            parts,
            ..
        } = request;
        let on = On::object(UPLOADS, &bucket_name, &object_key);
        let completed = self.answer(on, async {
            let bucket = on.named(&call)?;
            let at = on.at(&bucket)?;
            check_id("upload_id", &upload_id)?;
            self.store
                .complete_upload(at, &upload_id, &in_order(parts)?)
                .await
        });
        Ok(pb::CompleteMultipartUploadResponse {
            success: true,
            etag: Box::pin(completed).await?,
            location: format!("{bucket_name}/{object_key}"),
            object_key,
            error: String::new(),
        })
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        call: Call,
        request: pb::AbortMultipartUploadRequest,
    ) -> Result<pb::AbortMultipartUploadResponse, Error> {
        let on = On::object(UPLOADS, &request.bucket_name, &request.object_key);
        let aborted = self.answer(on, async {
            let bucket = on.named(&call)?;
            let at = on.at(&bucket)?;
            check_id("upload_id", &request.upload_id)?;
            self.store.abort_upload(at, &request.upload_id).await
        });
        Box::pin(aborted).await?;
        Ok(pb::AbortMultipartUploadResponse {
            success: true,
            message: "the upload and its parts are gone".to_owned(),
            error: String::new(),
        })
    }
}

/// What follows the first message: chunks alone.
fn chunks<T, F>(requests: Requests<T>, chunk: F) -> impl Stream<Item = Result<Bytes, Error>> + Unpin + Send
where
    T: Identified + Send + 'static,
    F: Fn(T) -> Option<Bytes> + Send + Copy + 'static,
{
    Box::pin(stream::try_unfold(requests, move |mut requests| async move {
        match requests.next().await? {
            None => Ok(None),
            Some(message) => match chunk(message) {
                Some(chunk) => Ok(Some((chunk, requests))),
                None => Err(out_of_order()),
            },
        }
    }))
}

fn out_of_order() -> Error {
    Error::invalid(
        "data",
        "the first message must be `metadata`, and all others `chunk`",
    )
}

/// 0 is unknown.
fn length(field: &'static str, length: i64) -> Result<Option<u64>, StoreError> {
    let length = u64::try_from(length).map_err(|_| invalid(field, "is negative"))?;
    Ok(Some(length).filter(|length| *length > 0))
}

fn in_order(parts: Vec<pb::CompletedPart>) -> Result<Vec<Part>, StoreError> {
    let mut last = 0;
    let mut checked = Vec::with_capacity(parts.len());
    for pb::CompletedPart {
        part_number: number,
        etag,
    } in parts
    {
        if number <= last || number > MAX_PARTS {
            return Err(invalid(
                "parts",
                "must be in rising order of part_number, from 1 to 10000, each once",
            ));
        }
        let etag = etag.trim_matches('"').to_owned();
        let hex = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
        if etag.is_empty() || etag.len() > 128 || !etag.bytes().all(hex) {
            return Err(invalid(
                "parts",
                format_args!("the etag of part {number} is none that UploadPart gave"),
            ));
        }
        last = number;
        checked.push(Part { number, etag });
    }
    if checked.is_empty() {
        return Err(invalid("parts", "are none: an upload needs one at least"));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_in_order_and_have_etags() {
        let part = |part_number, etag: &str| pb::CompletedPart {
            part_number,
            etag: etag.to_owned(),
        };
        let good = in_order(vec![part(1, "\"ab\""), part(3, "cd-2")]).unwrap();
        assert_eq!((good[0].etag.as_str(), good[1].number), ("ab", 3));
        for wrong in [
            vec![],
            vec![part(0, "ab")],
            vec![part(2, "ab"), part(1, "ab")],
            vec![part(1, "ab"), part(1, "ab")],
            vec![part(10_001, "ab")],
            vec![part(1, "")],
            vec![part(1, "<x>")],
        ] {
            assert!(in_order(wrong).is_err());
        }
    }
}
