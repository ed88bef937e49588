//! Where a tenant's names stand in NATS, and back: the one place that knows.
//!
//! Subjects are `t.<slug>.SUBJECT`, streams `<slug>-NAME`, buckets `<slug>-NAME` behind NATS' own `KV_` and `OBJ_`.
//! Consumers belong to a stream, and keep their names.

use super::service::Error;

/// Longest subject, key, queue group and consumer, in bytes.
const MAX_NAME: usize = 255;

/// Longest name that NATS gives a stream, in bytes. Ours stand behind a prefix in it.
const MAX_STREAM: usize = 255;

/// First token of the subjects on which `Request` gets its replies.
pub(crate) const REPLIES: &str = "_REPLY";

/// First token of every tenant's subjects.
pub(crate) const TENANTS: &str = "t";

/// What stands before the name of the stream under a key-value bucket.
const KV: &str = "KV_";

/// Likewise under an object bucket.
const OBJ: &str = "OBJ_";

/// The names of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    slug: &'a str,
}

impl<'a> Names<'a> {
    /// `slug` has nothing but letters and digits.
    pub(crate) fn of(slug: &'a str) -> Self {
        Self { slug }
    }

    pub(crate) fn slug(self) -> &'a str {
        self.slug
    }

    /// A subject to publish to.
    pub(crate) fn subject(self, field: &'static str, given: &str) -> Result<String, Error> {
        check_subject(field, given, false)?;
        Ok(self.prefixed(given))
    }

    /// A subject to listen to, which may have wildcards.
    pub(crate) fn pattern(self, field: &'static str, given: &str) -> Result<String, Error> {
        check_subject(field, given, true)?;
        Ok(self.prefixed(given))
    }

    /// All subjects of the tenant.
    pub(crate) fn everything(self) -> String {
        self.prefixed(">")
    }

    fn prefixed(self, subject: &str) -> String {
        let mut full = String::with_capacity(TENANTS.len() + self.slug.len() + subject.len() + 2);
        for part in [TENANTS, ".", self.slug, ".", subject] {
            full.push_str(part);
        }
        full
    }

    /// The subject as it was given; `None` if it is not the tenant's.
    pub(crate) fn given_subject(self, full: &str) -> Option<&str> {
        full.strip_prefix(TENANTS)?
            .strip_prefix('.')?
            .strip_prefix(self.slug)?
            .strip_prefix('.')
    }

    /// The name of a stream in NATS.
    pub(crate) fn stream(self, field: &'static str, given: &str) -> Result<String, Error> {
        let longest = MAX_STREAM - self.slug.len() - 1;
        check_name(field, given, longest)?;
        Ok(format!("{}-{given}", self.slug))
    }

    /// The stream as it was given; `None` if it is not the tenant's.
    pub(crate) fn given_stream(self, full: &str) -> Option<&str> {
        full.strip_prefix(self.slug)?.strip_prefix('-')
    }

    /// The name of a key-value bucket in NATS.
    pub(crate) fn kv(self, field: &'static str, given: &str) -> Result<Bucket, Error> {
        self.bucket(KV, field, given)
    }

    /// The name of an object bucket in NATS.
    pub(crate) fn objects(self, field: &'static str, given: &str) -> Result<Bucket, Error> {
        self.bucket(OBJ, field, given)
    }

    fn bucket(self, kind: &'static str, field: &'static str, given: &str) -> Result<Bucket, Error> {
        let longest = MAX_STREAM - OBJ.len() - self.slug.len() - 1;
        if given.is_empty() {
            return Err(Error::invalid(field, "is empty"));
        }
        if given.len() > longest {
            return Err(Error::invalid(field, too_long(given, longest)));
        }
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !given.bytes().all(is_allowed) {
            return Err(Error::invalid(field, "may have A-Z, a-z, 0-9, _ and - alone"));
        }
        let name = format!("{}-{given}", self.slug);
        Ok(Bucket {
            stream: format!("{kind}{name}"),
            name,
            given: given.to_owned(),
        })
    }

    /// Whether the stream with this full name lies under a bucket of the tenant.
    pub(crate) fn owns_bucket(self, stream: &str) -> bool {
        let name = stream.strip_prefix(KV).or_else(|| stream.strip_prefix(OBJ));
        name.is_some_and(|name| self.given_stream(name).is_some())
    }
}

/// A bucket's names.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    /// In NATS.
    pub(crate) name: String,
    /// Of the stream that lies under it.
    pub(crate) stream: String,
    /// As the tenant says it.
    pub(crate) given: String,
}

/// A consumer's name stands as it is.
pub(crate) fn check_consumer(field: &'static str, given: &str) -> Result<(), Error> {
    check_name(field, given, MAX_NAME)
}

/// A queue group stands as it is: it is one only together with a subject.
pub(crate) fn check_group(field: &'static str, given: &str) -> Result<(), Error> {
    check_length(field, given, MAX_NAME)?;
    check_printable(field, given)
}

/// A key of a bucket.
pub(crate) fn check_key(field: &'static str, given: &str) -> Result<(), Error> {
    check_keys(field, given, false)
}

/// Keys to watch, which may have wildcards.
pub(crate) fn check_key_filter(field: &'static str, given: &str) -> Result<(), Error> {
    check_keys(field, given, true)
}

fn check_keys(field: &'static str, given: &str, wildcards: bool) -> Result<(), Error> {
    check_length(field, given, MAX_NAME)?;
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-/=.*>".contains(&byte);
    if !given.bytes().all(is_allowed) {
        return Err(Error::invalid(
            field,
            "may have A-Z, a-z, 0-9, _, -, /, = and . alone",
        ));
    }
    check_tokens(field, given, wildcards)
}

fn check_subject(field: &'static str, given: &str, wildcards: bool) -> Result<(), Error> {
    check_length(field, given, MAX_NAME)?;
    check_printable(field, given)?;
    if given.starts_with('$') {
        return Err(Error::invalid(field, "begins with $, which is NATS' own"));
    }
    if given == "_INBOX" || given.starts_with("_INBOX.") {
        return Err(Error::invalid(field, "begins with _INBOX, which is NATS' own"));
    }
    check_tokens(field, given, wildcards)
}

fn check_tokens(field: &'static str, given: &str, wildcards: bool) -> Result<(), Error> {
    let mut tokens = given.split('.').peekable();
    while let Some(token) = tokens.next() {
        match token {
            "" => return Err(Error::invalid(field, "has an empty token")),
            "*" | ">" if !wildcards => {
                return Err(Error::invalid(field, "has a wildcard, which only a listener may"));
            }
            ">" if tokens.peek().is_some() => {
                return Err(Error::invalid(field, "has > before its end"));
            }
            "*" | ">" => {}
            _ if token.contains(['*', '>']) => {
                return Err(Error::invalid(field, "has * or > beside other characters"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_name(field: &'static str, given: &str, longest: usize) -> Result<(), Error> {
    check_length(field, given, longest)?;
    check_printable(field, given)?;
    if given.contains(['.', '*', '>', '/', '\\']) {
        return Err(Error::invalid(field, r"has one of . * > / \"));
    }
    Ok(())
}

fn check_length(field: &'static str, given: &str, longest: usize) -> Result<(), Error> {
    if given.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    if given.len() > longest {
        return Err(Error::invalid(field, too_long(given, longest)));
    }
    Ok(())
}

fn check_printable(field: &'static str, given: &str) -> Result<(), Error> {
    if given
        .chars()
        .any(|char| char.is_whitespace() || char.is_control())
    {
        return Err(Error::invalid(field, "has a space or a control character"));
    }
    Ok(())
}

fn too_long(given: &str, longest: usize) -> String {
    format!("has {} bytes, and may have {longest}", given.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    #[test]
    fn subjects_stay_in_their_tenant() {
        let names = Names::of(SLUG);
        let full = names.pattern("subject", "orders.>").unwrap();
        assert_eq!(full, format!("t.{SLUG}.orders.>"));
        assert_eq!(names.given_subject(&full), Some("orders.>"));
        assert_eq!(Names::of("ffffffffffffffffffff").given_subject(&full), None);
        assert_eq!(names.given_subject("_INBOX.x"), None);
    }

    #[test]
    fn crafted_subjects_are_refused() {
        let names = Names::of(SLUG);
        let long = "x".repeat(10_240);
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "a b",
            "a\r\nb",
            "a\u{a0}b",
            "$JS.API.INFO",
            "$SYS",
            "_INBOX.x",
            "_INBOX",
            "a*",
            ">.a",
            "a.>.b",
            &long,
        ] {
            assert!(names.pattern("subject", bad).is_err(), "{bad:?}");
            assert!(names.subject("subject", bad).is_err(), "{bad:?}");
        }
        assert!(names.subject("subject", "a.*").is_err() && names.pattern("subject", "a.*").is_ok());
        assert!(names.subject("subject", ">").is_err() && names.pattern("subject", ">").is_ok());
        assert!(names.subject("subject", "größe.ä").is_ok());
    }

    #[test]
    fn names_fit_into_nats() {
        let names = Names::of(SLUG);
        let longest = "N".repeat(MAX_STREAM - SLUG.len() - 1);
        assert_eq!(names.stream("name", &longest).unwrap().len(), MAX_STREAM);
        assert!(names.stream("name", &format!("{longest}N")).is_err());
        assert_eq!(
            names.given_stream(&names.stream("name", "ORDERS").unwrap()),
            Some("ORDERS")
        );
        let bucket = names.kv("bucket", "app-config").unwrap();
        assert!(bucket.stream.starts_with("KV_") && names.owns_bucket(&bucket.stream));
        assert!(!Names::of("ffffffffffffffffffff").owns_bucket(&bucket.stream));
        for bad in ["", "a.b", "a/b", "ä", "a b"] {
            assert!(names.kv("bucket", bad).is_err(), "{bad:?}");
        }
    }
}
