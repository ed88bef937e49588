//! What callers note of their objects. S3 keeps it in headers, which take less than a text may hold.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::error::{StoreError, invalid};

/// Of S3, in bytes of keys and values.
const MAX: usize = 2048;

/// What the engine counts for each key besides: `x-amz-meta-`.
const EACH: usize = 11;

/// The entry in which this service notes who wrote an object.
const OWNER: &str = "isa-owner";

/// How S3 itself writes what a header cannot hold (RFC 2047).
const ENCODED: (&str, &str) = ("=?UTF-8?B?", "?=");

const MAX_CONTENT_TYPE: usize = 255;

/// Of an object, as its caller gave it and the engine keeps it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metadata(HashMap<String, String>);

impl Metadata {
    /// What the caller gave, and who it is.
    pub(crate) fn new(given: BTreeMap<String, String>, owner: &str) -> Result<Self, StoreError> {
        let field = "metadata";
        let mut size = 0;
        let mut kept = HashMap::with_capacity(given.len() + 1);
        for (mut key, value) in given {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if key.is_empty() || !key.bytes().all(token) {
                return Err(invalid(
                    field,
                    format_args!("the key {key:?} is none that a header may have"),
                ));
            }
            key.make_ascii_lowercase();
            if key == OWNER {
                return Err(invalid(
                    field,
                    format_args!("the key {OWNER:?} is kept for this service"),
                ));
            }
            let value = encode(&value);
            size += key.len() + value.len();
            if size > MAX {
                return Err(invalid(field, format_args!("has more than {MAX} bytes")));
            }
            if let Some(_twice) = kept.insert(key, value) {
                return Err(invalid(
                    field,
                    "has two keys that differ in small and capital letters alone",
                ));
            }
        }
        let owner = encode(owner);
        // The caller's own come first: they may have all the room there is.
        if size + OWNER.len() + owner.len() + EACH * (kept.len() + 1) <= MAX {
            kept.insert(OWNER.to_owned(), owner);
        }
        Ok(Self(kept))
    }

    /// As the engine keeps it.
    pub(super) fn into_headers(self) -> Option<HashMap<String, String>> {
        Some(self.0).filter(|kept| !kept.is_empty())
    }

    /// What the engine kept: the caller's part, and who wrote it.
    pub(super) fn read(kept: Option<&HashMap<String, String>>) -> (BTreeMap<String, String>, String) {
        let mut given: BTreeMap<_, _> = kept
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.to_ascii_lowercase(), decode(value)))
            .collect();
        let owner = given.remove(OWNER).unwrap_or_default();
        (given, owner)
    }
}

/// Fails for what no header may hold. Empty is `application/octet-stream`.
pub(crate) fn check_content_type(given: &str) -> Result<&str, StoreError> {
    if given.len() > MAX_CONTENT_TYPE || !given.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(invalid(
            "content_type",
            "must have at most 255 characters of printable ASCII",
        ));
    }
    Ok(match given.trim() {
        "" => "application/octet-stream",
        kept => kept,
    })
}

fn encode(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if plain && text.trim() == text && !text.is_empty() && !text.starts_with(ENCODED.0) {
        return text.to_owned();
    }
    format!("{}{}{}", ENCODED.0, BASE64_STANDARD.encode(text), ENCODED.1)
}

fn decode(kept: &str) -> String {
    let encoded = kept
        .strip_prefix(ENCODED.0)
        .and_then(|rest| rest.strip_suffix(ENCODED.1));
    let bytes = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.unwrap_or_else(|| kept.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn texts_of_all_kinds_come_back() {
        for value in [
            "plain",
            "",
            " spaces ",
            "Käse\r\nx-amz-acl: public",
            "=?UTF-8?B?eA==?=",
            "日本",
        ] {
            let kept = Metadata::new(given("Some-Key", value), "alice")
                .unwrap()
                .into_headers()
                .unwrap();
            assert!(
                kept.values()
                    .all(|value| value.is_ascii() && !value.contains('\n')),
                "{kept:?}"
            );
            let (back, owner) = Metadata::read(Some(&kept));
            assert_eq!((back, owner.as_str()), (given("some-key", value), "alice"));
        }
    }

    #[test]
    fn what_a_header_cannot_hold_is_refused() {
        for (key, value) in [
            ("", ""),
            ("a b", ""),
            ("ü", ""),
            ("a:b", ""),
            ("isa-owner", "eve"),
            ("a", &*"v".repeat(2048)),
        ] {
            assert!(Metadata::new(given(key, value), "alice").is_err(), "{key:?}");
        }
        let full = Metadata::new(given("a", &"v".repeat(2047)), "alice").unwrap();
        assert_eq!(full.into_headers().unwrap().len(), 1);
        assert!(check_content_type("text/plain\r\nx: y").is_err());
        assert_eq!(check_content_type("").unwrap(), "application/octet-stream");
    }
}
