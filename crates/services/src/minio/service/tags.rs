//! Tags of buckets and objects, and what this service notes of a bucket in its tags.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{Tag, Tagging};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    At, Store,
    error::{StoreError, invalid},
    or_absent,
};
use crate::minio::names::Bucket;

pub(crate) type Tags = BTreeMap<String, String>;

/// Of S3, in characters.
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// Tags of an object, of S3.
pub(crate) const OBJECT_TAGS: usize = 10;

/// Tags of a bucket: S3 has 50, three of which are ours.
pub(crate) const BUCKET_TAGS: usize = 47;

/// Tags that this service keeps for itself.
const OURS: &str = "isa:";
const OWNER: &str = "isa:owner";
const ORGANIZATION: &str = "isa:organization";
const REGION: &str = "isa:region";

/// Says that a value is in base64, for it holds what tags may not.
const ENCODED: &str = "=";

/// Refuses tags that S3 would.
pub(crate) fn check_tags(tags: &Tags, most: usize) -> Result<(), StoreError> {
    if tags.len() > most {
        return Err(invalid(
            "tags",
            format_args!("are {}, and may be {most}", tags.len()),
        ));
    }
    for (key, value) in tags {
        if key.is_empty() {
            return Err(invalid("tags", "have an empty key"));
        }
        if key.chars().count() > MAX_KEY || value.chars().count() > MAX_VALUE {
            return Err(invalid(
                "tags",
                "have a key of more than 128 or a value of more than 256 characters",
            ));
        }
        if !is_plain(key) || !is_plain(value) {
            return Err(invalid(
                "tags",
                "may hold letters, digits, spaces and + - = . _ : / @ alone",
            ));
        }
        if key.starts_with(OURS) || key.starts_with("aws:") {
            return Err(invalid(
                "tags",
                "have a key that begins with `isa:` or `aws:`, which are reserved",
            ));
        }
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b" +-=._:/@".contains(&byte))
}

/// What CreateBucket notes of a bucket.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) owner: String,
    pub(super) organization: String,
    pub(super) region: String,
}

impl Notes {
    pub(super) fn add_to(&self, tags: &mut Tags) {
        for (key, value) in [
            (OWNER, &self.owner),
            (ORGANIZATION, &self.organization),
            (REGION, &self.region),
        ] {
            let noted = if is_plain(value) && !value.starts_with(ENCODED) {
                value.clone()
            } else {
                format!("{ENCODED}{}", BASE64_URL_SAFE_NO_PAD.encode(value))
            };
            // A name of many foreign letters does not fit: rather none than half of it.
            if !value.is_empty() && noted.len() <= MAX_VALUE {
                tags.insert(key.to_owned(), noted);
            }
        }
    }

    /// Takes ours out of all tags of a bucket.
    pub(super) fn take_from(tags: &mut Tags) -> Self {
        let mut take = |key| {
            tags.remove(key)
                .and_then(|noted| plain(&noted))
                .unwrap_or_default()
        };
        let notes = Self {
            owner: take(OWNER),
            organization: take(ORGANIZATION),
            region: take(REGION),
        };
        tags.retain(|key, _| !key.starts_with(OURS));
        notes
    }
}

fn plain(noted: &str) -> Option<String> {
    match noted.strip_prefix(ENCODED) {
        None => Some(noted.to_owned()),
        Some(encoded) => String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(encoded).ok()?).ok(),
    }
}

fn from_set(set: Vec<Tag>) -> Tags {
    set.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn to_tagging(tags: &Tags) -> Result<Tagging, StoreError> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    let set = tags.iter().map(tag).collect::<Result<Vec<_>, _>>();
    Tagging::builder()
        .set_tag_set(Some(set.map_err(StoreError::internal)?))
        .build()
        .map_err(StoreError::internal)
}

impl Store {
    /// All of them, ours too.
    pub(super) async fn every_bucket_tag(&self, bucket: &Bucket) -> Result<Tags, StoreError> {
        let answer = self
            .client
            .get_bucket_tagging()
            .bucket(bucket.engine())
            .send()
            .await;
        let Some(answer) = or_absent(answer)? else {
            // Not every engine looks.
            self.exists(bucket).await?;
            return Ok(Tags::new());
        };
        Ok(from_set(answer.tag_set))
    }

    pub(super) async fn put_bucket_tags(&self, bucket: &Bucket, tags: &Tags) -> Result<(), StoreError> {
        let put = self.client.put_bucket_tagging().bucket(bucket.engine());
        put.tagging(to_tagging(tags)?).send().await?;
        Ok(())
    }

    pub(crate) async fn bucket_tags(&self, bucket: &Bucket) -> Result<Tags, StoreError> {
        let mut tags = self.every_bucket_tag(bucket).await?;
        Notes::take_from(&mut tags);
        Ok(tags)
    }

    /// Replaces the tags but ours. Of none, ours alone stay.
    pub(crate) async fn set_bucket_tags(&self, bucket: &Bucket, mut tags: Tags) -> Result<(), StoreError> {
        let mut had = self.every_bucket_tag(bucket).await?;
        let any = !had.is_empty();
        Notes::take_from(&mut had).add_to(&mut tags);
        if !tags.is_empty() {
            return self.put_bucket_tags(bucket, &tags).await;
        }
        if any {
            self.client
                .delete_bucket_tagging()
                .bucket(bucket.engine())
                .send()
                .await?;
        }
        Ok(())
    }

    pub(crate) async fn object_tags(&self, at: At<'_>) -> Result<Tags, StoreError> {
        let get = self
            .client
            .get_object_tagging()
            .bucket(at.bucket.engine())
            .key(at.key);
        let answer = get.set_version_id(at.version.map(str::to_owned)).send().await;
        let answer = self.blame(at.bucket, or_absent(answer)).await?;
        Ok(answer.map(|answer| from_set(answer.tag_set)).unwrap_or_default())
    }

    pub(crate) async fn set_object_tags(&self, at: At<'_>, tags: &Tags) -> Result<(), StoreError> {
        let put = self
            .client
            .put_object_tagging()
            .bucket(at.bucket.engine())
            .key(at.key);
        let put = put
            .set_version_id(at.version.map(str::to_owned))
            .tagging(to_tagging(tags)?)
            .send()
            .await;
        let put = put.map(drop).map_err(StoreError::from);
        self.blame(at.bucket, put).await
    }

    pub(crate) async fn delete_object_tags(&self, at: At<'_>) -> Result<(), StoreError> {
        let delete = self
            .client
            .delete_object_tagging()
            .bucket(at.bucket.engine())
            .key(at.key);
        let answer = delete.set_version_id(at.version.map(str::to_owned)).send().await;
        self.blame(at.bucket, or_absent(answer).map(drop)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back_and_hide() {
        let notes = Notes {
            owner: "alice@example.org".into(),
            organization: "=Käse & Co".into(),
            region: String::new(),
        };
        let mut tags = Tags::from([("team".to_owned(), "a".to_owned())]);
        notes.add_to(&mut tags);
        assert_eq!(tags.len(), 3);
        assert!(tags.values().all(|value| is_plain(value)), "{tags:?}");
        assert_eq!(Notes::take_from(&mut tags), notes);
        assert_eq!(tags.len(), 1);
    }

    #[test]
    fn tags_that_s3_refuses_are_refused() {
        let one = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        assert!(check_tags(&one("a b/c", "x+y=z@w"), 1).is_ok());
        assert!(check_tags(&one("a", ""), 0).is_err());
        let long = "v".repeat(257);
        for (key, value) in [
            ("", "a"),
            ("isa:owner", "eve"),
            ("a\u{1}", "a"),
            ("a", "<"),
            ("a", long.as_str()),
        ] {
            assert!(check_tags(&one(key, value), 10).is_err(), "{key:?} {value:?}");
        }
    }
}
