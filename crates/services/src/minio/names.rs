//! A tenant's names and the engine's. [`Bucket::of`] is the one way from the former to the latter.

use isa_server::Tenant;

use super::service::{StoreError, invalid};

/// Of the tenant's part of a bucket's name, in bytes. With the prefix it stays below the 63 of S3.
const BUCKET_LENGTH: std::ops::RangeInclusive<usize> = 3..=40;

/// Digits of the tenant, and the hyphen.
const PREFIX: usize = 21;

/// Of S3, in bytes.
const MAX_KEY: usize = 1024;

/// Longest id of an upload or a version, in bytes. Engines make them of less.
const MAX_ID: usize = 512;

/// A bucket of a tenant. It cannot name another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    engine: String,
}

impl Bucket {
    /// The bucket that `tenant` calls `name`; `field` is where the name stands in the request.
    pub(crate) fn of(tenant: &Tenant, field: &'static str, name: &str) -> Result<Self, StoreError> {
        Self::of_slug(tenant.slug(), field, name)
    }

    /// The same where the tenant is known by its slug alone.
    pub(crate) fn of_slug(slug: &str, field: &'static str, name: &str) -> Result<Self, StoreError> {
        let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        let letters = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        if !BUCKET_LENGTH.contains(&bytes.len())
            || !bytes.iter().all(letters)
            || !end(bytes.first())
            || !end(bytes.last())
        {
            return Err(invalid(
                field,
                "must have 3 to 40 of a-z, 0-9 and hyphens, with a letter or digit at both ends",
            ));
        }
        Ok(Self {
            engine: format!("{slug}-{name}"),
        })
    }

    /// A bucket of the platform's own, longer than the prefix of tenants, which begins with a digit of their slug.
    pub(crate) fn of_platform(name: &'static str) -> Self {
        Self {
            engine: name.to_owned(),
        }
    }

    /// As the engine has it.
    pub(crate) fn engine(&self) -> &str {
        &self.engine
    }

    /// As the tenant has it.
    pub(crate) fn given(&self) -> &str {
        &self.engine[PREFIX..]
    }
}

/// What all buckets of a tenant begin with that begin with `prefix` for the tenant.
pub(crate) fn prefix_of(tenant: &Tenant, prefix: &str) -> String {
    format!("{}-{prefix}", tenant.slug())
}

/// The tenant's name of one of the engine's buckets; `None` if it is not the tenant's.
pub(crate) fn given<'a>(tenant: &Tenant, engine: &'a str) -> Option<&'a str> {
    engine.strip_prefix(tenant.slug())?.strip_prefix('-')
}

/// Refuses keys that not every engine keeps as they are.
pub(crate) fn check_key(field: &'static str, key: &str) -> Result<(), StoreError> {
    if key.is_empty() {
        return Err(invalid(field, "is empty"));
    }
    if key.starts_with('/') || key.contains("//") {
        return Err(invalid(
            field,
            "has an empty path segment, which engines drop: leave out the `/` that is too many",
        ));
    }
    check_prefix(field, key)
}

/// Refuses beginnings of keys by which an engine with folders could be led astray.
pub(crate) fn check_prefix(field: &'static str, prefix: &str) -> Result<(), StoreError> {
    if prefix.len() > MAX_KEY {
        return Err(invalid(
            field,
            format_args!("has {} bytes, and may have {MAX_KEY}", prefix.len()),
        ));
    }
    // XML, in which S3 lists keys, has no place for these.
    if prefix
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
    {
        return Err(invalid(field, "holds a control character, which S3 cannot list"));
    }
    let dots = |segment: &str| matches!(segment.trim(), "." | "..");
    if prefix.split(['/', '\\']).any(dots) {
        return Err(invalid(
            field,
            "has `.` or `..` as a path segment, which the engines refuse: use another name",
        ));
    }
    Ok(())
}

/// Refuses ids that no engine made. An engine with folders may use them as names of files.
pub(crate) fn check_id(field: &'static str, id: &str) -> Result<(), StoreError> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~=+".contains(&byte);
    if id.is_empty() {
        return Err(invalid(field, "is empty"));
    }
    if id.len() > MAX_ID || !id.bytes().all(letters) || id.starts_with('.') || id.contains("..") {
        return Err(invalid(field, "is none that this service gave"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_stay_the_tenants() {
        let (alice, bob) = (Tenant::user("alice"), Tenant::user("bob"));
        let bucket = Bucket::of(&alice, "bucket_name", "logs-2026").unwrap();
        assert_eq!(bucket.given(), "logs-2026");
        assert_eq!(given(&alice, bucket.engine()), Some("logs-2026"));
        assert_eq!(given(&bob, bucket.engine()), None);
        let longest = "a".repeat(40);
        assert!(
            Bucket::of(&alice, "bucket_name", &longest)
                .unwrap()
                .engine()
                .len()
                <= 63
        );
    }

    #[test]
    fn crafted_names_are_refused() {
        let alice = Tenant::user("alice");
        for name in [
            "",
            "ab",
            "../x",
            "a/b",
            "Upper",
            "-ab",
            "ab-",
            "a.b.c",
            "a*b",
            "ü-ber",
            &"a".repeat(41),
        ] {
            let error = Bucket::of(&alice, "bucket_name", name).unwrap_err().to_string();
            assert!(error.starts_with("bucket_name: "), "{error}");
        }
        for key in [
            "",
            "/a",
            "a//b",
            "a/../b",
            "..",
            "a/.",
            "a\\..\\b",
            "a\u{0}b",
            "a\nb",
            "\u{ffff}",
            &"k".repeat(1025),
        ] {
            assert!(check_key("object_key", key).is_err(), "{key:?}");
        }
        for key in ["a", "a/b/", "..a/b..", "ü/*?&%+ =", &"k".repeat(1024)] {
            assert!(check_key("object_key", key).is_ok(), "{key:?}");
        }
        assert!(check_prefix("prefix", "").is_ok() && check_prefix("prefix", "../").is_err());
        for id in ["", "../x", "a/b", "a b", &"a".repeat(513)] {
            assert!(check_id("upload_id", id).is_err(), "{id:?}");
        }
        assert!(check_id("upload_id", "Zm9v_MC4x-x.y~=+").is_ok());
    }
}
