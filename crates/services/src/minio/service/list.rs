//! Objects of a bucket, a page at a time.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::{
    ObjectInfo, Store,
    error::{Missing, StoreError, invalid},
    etag, instant,
};
use crate::minio::names::{self, Bucket};

/// Keys and prefixes of a page, of S3.
const PAGE: i32 = 1000;

/// Longest token that is read, in bytes: the engine's holds a key.
const MAX_TOKEN: usize = 8192;

/// Bytes of a token that show that it is ours.
const MARK: usize = 8;

/// What to list.
pub(crate) struct Page {
    pub(crate) prefix: String,
    pub(crate) delimiter: String,
    /// 0 for as many as there may be.
    pub(crate) most: i32,
    pub(crate) start_after: String,
    pub(crate) token: String,
}

/// What was listed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) objects: Vec<ObjectInfo>,
    pub(crate) prefixes: Vec<String>,
    /// Of the next page; empty on the last.
    pub(crate) token: String,
}

pub(super) fn token_key(secret: &str) -> Arc<[u8]> {
    Sha256::digest(format!("isa page token {secret}"))
        .as_slice()
        .into()
}

impl Store {
    pub(crate) async fn list_objects(&self, bucket: &Bucket, page: Page) -> Result<Listing, StoreError> {
        let Page {
            prefix,
            delimiter,
            most,
            start_after,
            token,
        } = page;
        names::check_prefix("prefix", &prefix)?;
        names::check_prefix("start_after", &start_after)?;
        if delimiter.len() > 16 || delimiter.chars().any(char::is_control) {
            return Err(invalid(
                "delimiter",
                "must have at most 16 bytes and no control character",
            ));
        }
        let most = match most {
            0 => PAGE,
            1.. => most.min(PAGE),
            _ => return Err(invalid("max_keys", "is negative")),
        };
        let mut list = self
            .client
            .list_objects_v2()
            .bucket(bucket.engine())
            .max_keys(most);
        let what = format!("{}\n{prefix}\n{delimiter}", bucket.engine());
        if !token.is_empty() {
            list = list.continuation_token(self.read_token(&what, &token)?);
        } else if !start_after.is_empty() {
            list = list.start_after(start_after);
        }
        if !prefix.is_empty() {
            list = list.prefix(prefix);
        }
        if !delimiter.is_empty() {
            list = list.delimiter(delimiter);
        }
        let answer = list.send().await.map_err(StoreError::from);
        let answer = answer.map_err(|error| match error {
            StoreError::Missing(Missing::Something) => StoreError::Missing(Missing::Bucket),
            other => other,
        });
        let answer = self.blame(bucket, answer).await?;
        let truncated = answer.is_truncated == Some(true);
        let next = answer
            .next_continuation_token
            .filter(|token| truncated && !token.is_empty());
        let objects = answer
            .contents
            .unwrap_or_default()
            .into_iter()
            .map(|object| ObjectInfo {
                etag: etag(object.e_tag()),
                size: object.size().unwrap_or_default(),
                modified: object.last_modified().map(instant),
                storage_class: object
                    .storage_class()
                    .map(|class| class.as_str().to_owned())
                    .unwrap_or_default(),
                key: object.key.unwrap_or_default(),
                ..ObjectInfo::default()
            });
        let prefixes = answer.common_prefixes.unwrap_or_default().into_iter();
        Ok(Listing {
            objects: objects.collect(),
            prefixes: prefixes.filter_map(|it| it.prefix).collect(),
            token: next
                .map(|token| self.write_token(&what, &token))
                .unwrap_or_default(),
        })
    }

    /// The engine's token with a mark that holds for this list alone, and that every replica makes alike.
    fn write_token(&self, what: &str, token: &str) -> String {
        let mut bytes = self.mark(what, token.as_bytes()).to_vec();
        bytes.extend_from_slice(token.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read_token(&self, what: &str, token: &str) -> Result<String, StoreError> {
        let bytes = (token.len() <= MAX_TOKEN)
            .then(|| BASE64_URL_SAFE_NO_PAD.decode(token).ok())
            .flatten();
        let engine = bytes
            .as_deref()
            .and_then(|bytes| bytes.split_at_checked(MARK))
            .and_then(|(mark, rest)| {
                let ours = self.mark(what, rest) == mark;
                std::str::from_utf8(rest).ok().filter(|_| ours)
            });
        engine.map(str::to_owned).ok_or_else(|| {
            invalid(
                "continuation_token",
                "is not of a page of this list, with the same prefix and delimiter",
            )
        })
    }

    fn mark(&self, what: &str, token: &[u8]) -> [u8; MARK] {
        let mut hash = Sha256::new();
        for part in [self.token_key.as_ref(), what.as_bytes(), token] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        std::array::from_fn(|i| digest[i])
    }
}
