//! Where a tenant's logs stand in Loki, and back: the one place that knows.
//!
//! Loki keeps tenants apart by the header `X-Scope-OrgID`, which has the slug. A stream's id is the slug and the stream's
//! labels: nothing has to be kept to find it again.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use isa_server::Tenant;

use super::service::Error;

/// Labels of a stream, in the order of their names.
pub(crate) type Labels = BTreeMap<String, String>;

/// The header that says whose logs a request is about.
pub(crate) const TENANT_HEADER: &str = "x-scope-orgid";

/// Every stream that this service writes has it, so that one selector matches them all: LogQL has none for everything.
/// Callers neither write nor see it: their labels cannot begin with two underscores.
pub(crate) const EVERY_STREAM: (&str, &str) = ("__isa__", "1");

/// Under whose id health checks write. No slug is like it.
pub(crate) const HEALTH_TENANT: &str = "isa-health";

/// Digits of a slug.
const SLUG: usize = 20;

/// Labels in an id: Loki has 15 in a stream, unless it was told otherwise.
const MAX_LABELS: usize = 64;

/// Longest id of a stream, in bytes: twelve labels of the longest, with room for such as others have written to Loki.
const MAX_ID: usize = 16 << 10;

/// The names of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    slug: &'a str,
}

impl<'a> Names<'a> {
    /// `slug` has nothing but hexadecimal digits.
    pub(crate) fn of(slug: &'a str) -> Self {
        Self { slug }
    }

    /// Of health checks, which are nobody's.
    pub(crate) fn of_health() -> Names<'static> {
        Names { slug: HEALTH_TENANT }
    }

    /// The tenant in Loki.
    pub(crate) fn scope(self) -> &'a str {
        self.slug
    }

    /// The id of the stream with these labels.
    pub(crate) fn stream_id(self, labels: &Labels) -> String {
        let length = labels
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        let mut bytes = Vec::with_capacity(length);
        for (name, value) in labels {
            for text in [name, value] {
                let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
                bytes.extend_from_slice(&length.to_be_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        let mut id = String::with_capacity(SLUG + 1 + bytes.len().div_ceil(3) * 4);
        id.push_str(self.slug);
        id.push('-');
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut id);
        id
    }
}

/// The id of a stream, taken apart as far as to say whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamId<'a> {
    slug: &'a str,
    labels: &'a str,
}

impl<'a> StreamId<'a> {
    pub(crate) fn parse(field: &'static str, id: &'a str) -> Result<Self, Error> {
        let is_slug = |slug: &str| {
            slug.len() == SLUG && slug.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match id.split_once('-') {
            Some((slug, labels)) if is_slug(slug) && id.len() <= MAX_ID => Ok(Self { slug, labels }),
            _ => Err(malformed(field)),
        }
    }

    /// Whose stream it is.
    pub(crate) fn slug(self) -> &'a str {
        self.slug
    }

    /// The stream's labels. Ask whose it is first: another's ids are all alike to a caller.
    pub(crate) fn labels(self, field: &'static str) -> Result<Labels, Error> {
        let bytes = URL_SAFE_NO_PAD
            .decode(self.labels)
            .map_err(|_| malformed(field))?;
        decode(&bytes).ok_or_else(|| malformed(field))
    }
}

fn malformed(field: &'static str) -> Error {
    Error::invalid(field, "is none of the ids that this service gives")
}

fn decode(mut bytes: &[u8]) -> Option<Labels> {
    let mut labels = Labels::new();
    while !bytes.is_empty() {
        let name = take(&mut bytes)?;
        let value = take(&mut bytes)?;
        // In order and each once: a stream has one id.
        if labels.last_key_value().is_some_and(|(last, _)| *last >= name)
            || !is_name(&name)
            || value.is_empty()
        {
            return None;
        }
        labels.insert(name, value);
    }
    (1..=MAX_LABELS).contains(&labels.len()).then_some(labels)
}

fn take(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// Whether Loki takes it as a label's name, and we do not keep it for ourselves.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with("__")
}

/// Fails unless `tenant_id` of a request is empty or names the caller's own tenant: `org:acme`, or without what it is.
pub(crate) fn check_tenant_id(tenant: &Tenant, tenant_id: &str) -> Result<(), Error> {
    let name = tenant.name();
    let id = name.split_once(':').map_or(name, |(_, id)| id);
    if tenant_id.is_empty() || tenant_id == name || tenant_id == id {
        return Ok(());
    }
    Err(Error::Forbidden(
        "tenant_id: is not the caller's own; leave it empty".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_id_leads_back_to_its_labels() {
        let long = "é".repeat(128);
        for given in [
            labels(&[("service", "api")]),
            labels(&[("_a", "\"quoted\"\n\\"), ("b", &long), ("service", "größe")]),
        ] {
            let id = Names::of(SLUG).stream_id(&given);
            let parsed = StreamId::parse("stream_id", &id).unwrap();
            assert_eq!(parsed.slug(), SLUG);
            assert_eq!(parsed.labels("stream_id").unwrap(), given);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let good = Names::of(SLUG).stream_id(&labels(&[("service", "api")]));
        for bad in [
            "",
            "-",
            "x",
            SLUG,
            "0123456789ABCDEF0123-AA",
            "../",
            &format!("x{good}"),
        ] {
            assert!(StreamId::parse("stream_id", bad).is_err(), "{bad:?}");
        }
        let encoded = |bytes: &[u8]| format!("{SLUG}-{}", URL_SAFE_NO_PAD.encode(bytes));
        for bad in [
            format!("{good}="),
            format!("{SLUG}-"),
            format!("{SLUG}-!"),
            encoded(b"\0\x01a"),
            encoded(b"\0\x01a\0\0"),
            encoded(b"\0\x01a\0\xff"),
            encoded(b"\0\x03a-b\0\x01x"),
            encoded(b"\0\x02__\0\x01x"),
            encoded(b"\0\x01b\0\x01x\0\x01a\0\x01x"),
            encoded(b"\0\x01a\0\x01x\0\x01a\0\x01y"),
        ] {
            let id = StreamId::parse("stream_id", &bad).unwrap();
            assert!(id.labels("stream_id").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_tenant_may_name_itself_and_no_other() {
        let tenant = Tenant::organization("acme");
        for own in ["", "acme", "org:acme"] {
            assert!(check_tenant_id(&tenant, own).is_ok(), "{own:?}");
        }
        for other in ["other", "user:acme", "org:", "acme|other", tenant.slug()] {
            assert!(check_tenant_id(&tenant, other).is_err(), "{other:?}");
        }
    }
}
