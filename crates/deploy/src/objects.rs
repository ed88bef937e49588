//! Names and ages of objects, as people and programs see them.

use std::{fmt, time::Duration};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::Serialize;

/// An object by its kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectName {
    pub kind: String,
    pub name: String,
}

impl ObjectName {
    pub(crate) fn new(kind: &str, name: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.into(),
        }
    }

    pub(crate) fn of(kind: &str, metadata: &ObjectMeta) -> Self {
        Self::new(kind, metadata.name.clone().unwrap_or_default())
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

pub(crate) fn name_of(object: &DynamicObject) -> ObjectName {
    let kind = object.types.as_ref().map_or("object", |t| t.kind.as_str());
    ObjectName::of(kind, &object.metadata)
}

/// How long ago something was.
pub(crate) fn since(time: Option<&Time>, now: Timestamp) -> Duration {
    let ago = time.map_or(0, |time| now.as_second() - time.0.as_second());
    Duration::from_secs(u64::try_from(ago).unwrap_or(0))
}

/// A duration in the unit that says enough: `45s`, `12m`, `3h`, `2d`.
pub fn age(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..120 => format!("{s}s"),
        s @ 120..7200 => format!("{}m", s / 60),
        s @ 7200..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86400),
    }
}

/// The first `limit` characters, and a sign where something was cut.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
