//! Copying objects within the engine.

use std::{fmt::Write, ops::Range};

use aws_sdk_s3::types::MetadataDirective;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    At, Metadata, NewObject, ObjectInfo, Part, Store,
    error::{Missing, StoreError, invalid},
    etag, instant, patiently,
    upload::Upload,
};

/// What S3 copies at once.
const MAX_AT_ONCE: i64 = 5 << 30;

/// Of a part of a larger object.
const PART: i64 = 1 << 30;

/// Parts that are copied at a time.
const AT_ONCE: usize = 4;

/// A copy to make.
pub(crate) struct Copy<'a> {
    pub(crate) from: At<'a>,
    pub(crate) to: At<'a>,
    /// In place of that of the source.
    pub(crate) metadata: Option<Metadata>,
}

impl Store {
    /// ETag of the copy, and when it was made.
    pub(crate) async fn copy(&self, copy: Copy<'_>) -> Result<(String, Option<(i64, i32)>), StoreError> {
        let Copy { from, to, metadata } = copy;
        if metadata.is_none() && from.bucket == to.bucket && from.key == to.key {
            return Err(invalid("dest_key", "is the source itself: nothing would change"));
        }
        let source = self.stat(from).await?;
        self.before_writing(to.bucket).await?;
        let copied = if source.size > MAX_AT_ONCE {
            Box::pin(self.copy_parts(from, to, metadata, source)).await
        } else {
            Box::pin(self.copy_whole(from, to, metadata, source)).await
        };
        let copied = copied.map_err(|error| match error {
            // The source was there just now.
            StoreError::Missing(Missing::Something) => StoreError::Missing(Missing::Bucket),
            other => other,
        });
        let copied = self.blame(to.bucket, copied).await?;
        self.usages.changed(to.bucket.engine());
        Ok(copied)
    }

    async fn copy_whole(
        &self,
        from: At<'_>,
        to: At<'_>,
        metadata: Option<Metadata>,
        source: ObjectInfo,
    ) -> Result<(String, Option<(i64, i32)>), StoreError> {
        let mut copy = self.once.copy_object().bucket(to.bucket.engine()).key(to.key);
        copy = copy.copy_source(name(from));
        if let Some(metadata) = metadata {
            copy = copy
                .metadata_directive(MetadataDirective::Replace)
                .set_metadata(metadata.into_headers())
                .content_type(source.content_type);
        }
        let answer = Box::pin(patiently(copy.send())).await?;
        let result = answer.copy_object_result();
        let modified = result.and_then(|it| it.last_modified()).map(instant);
        Ok((etag(result.and_then(|it| it.e_tag())), modified))
    }

    async fn copy_parts(
        &self,
        from: At<'_>,
        to: At<'_>,
        metadata: Option<Metadata>,
        source: ObjectInfo,
    ) -> Result<(String, Option<(i64, i32)>), StoreError> {
        let metadata = match metadata {
            Some(metadata) => metadata,
            None => Metadata::new(source.metadata, &source.owner)?,
        };
        let new = NewObject {
            content_type: source.content_type,
            length: None,
            metadata,
            class: None,
        };
        let upload = self.begin(to, new).await?;
        let parts = (1..).zip(ranges(source.size, PART));
        let parts: Vec<Part> = stream::iter(parts)
            .map(|(number, bytes)| self.copy_part(from, &upload, number, bytes))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (etag, _) = self.join(&upload.bucket, &upload.key, &upload.id, &parts).await?;
        upload.keep();
        Ok((etag, self.stat(to).await?.modified))
    }

    async fn copy_part(
        &self,
        from: At<'_>,
        upload: &Upload,
        number: i32,
        bytes: Range<i64>,
    ) -> Result<Part, StoreError> {
        let copy = self
            .once
            .upload_part_copy()
            .bucket(&upload.bucket)
            .key(&upload.key);
        let copy = copy
            .upload_id(&upload.id)
            .part_number(number)
            .copy_source(name(from));
        let copy = copy.copy_source_range(format!("bytes={}-{}", bytes.start, bytes.end - 1));
        let answer = patiently(copy.send()).await?;
        let etag = etag(answer.copy_part_result().and_then(|it| it.e_tag()));
        Ok(Part { number, etag })
    }
}

fn ranges(size: i64, part: i64) -> impl Iterator<Item = Range<i64>> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let range = from..size.min(from + part);
        from = range.end;
        (!range.is_empty()).then_some(range)
    })
}

/// An object as a header names it.
fn name(at: At<'_>) -> String {
    let mut name = format!("{}/", at.bucket.engine());
    for byte in at.key.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            name.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use isa_server::Tenant;

    use super::*;
    use crate::minio::names::Bucket;

    #[test]
    fn large_objects_are_copied_in_ranges_without_gaps() {
        let all: Vec<_> = ranges(25, 10).collect();
        assert_eq!(all, [0..10, 10..20, 20..25]);
        assert_eq!(ranges(20, 10).count(), 2);
    }

    #[test]
    fn names_in_headers_are_ascii() {
        let bucket = Bucket::of(&Tenant::user("alice"), "bucket_name", "logs").unwrap();
        let at = At {
            bucket: &bucket,
            key: "a b/ü+?%",
            version: None,
        };
        assert_eq!(name(at), format!("{}/a%20b/%C3%BC%2B%3F%25", bucket.engine()));
    }
}
