//! Webhooks: their records, and which messages they want.

use std::{collections::BTreeMap, fmt, str::FromStr};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::{Error, Mqtt, deliveries::subject, devices::said_status, traffic::now};
use crate::mqtt::names::{Names, check_device, matches, shown, unshared};

/// Webhooks of one tenant.
const MAX_WEBHOOKS: usize = 100;

/// Headers of a webhook, and their bytes in all.
const MAX_HEADERS: usize = 16;
const MAX_HEADER_BYTES: usize = 8 << 10;

/// Devices and patterns that a webhook, or a listener, may name.
const MAX_NAMED: usize = 100;

/// Longest secret, in bytes.
const MAX_SECRET: usize = 1024;

/// What a device says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Unknown,
    Telemetry,
    Status,
    Auth,
    Registration,
    CommandResponse,
    NotificationAck,
}

impl Kind {
    /// By the level after the device's id.
    pub(super) fn of(rest: &str) -> Self {
        match rest.split('/').next().unwrap_or_default() {
            "telemetry" => Self::Telemetry,
            "status" => Self::Status,
            "auth" => Self::Auth,
            "registration" => Self::Registration,
            "command_response" => Self::CommandResponse,
            "notification_ack" => Self::NotificationAck,
            _ => Self::Unknown,
        }
    }
}

/// What somebody wants of the devices' messages: those that match every list that is not empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Selection {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) devices: Vec<String>,
    pub(crate) patterns: Vec<String>,
}

impl Selection {
    pub(super) fn check(&self, names: Names<'_>) -> Result<(), Error> {
        for (field, count) in [
            ("message_types", self.kinds.len()),
            ("device_ids", self.devices.len()),
            ("topic_patterns", self.patterns.len()),
        ] {
            if count > MAX_NAMED {
                return Err(Error::invalid(
                    field,
                    format!("has {count} entries, and may have {MAX_NAMED}"),
                ));
            }
        }
        for device in &self.devices {
            check_device("device_ids", device)?;
        }
        for pattern in &self.patterns {
            names.filter("topic_patterns", pattern)?;
        }
        Ok(())
    }

    pub(super) fn wants(&self, device: &str, kind: Kind, topic: &str) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&kind))
            && (self.devices.is_empty() || self.devices.iter().any(|id| id == device))
            && (self.patterns.is_empty() || self.patterns.iter().any(|it| matches(unshared(it), topic)))
    }
}

/// A key that signs. It is kept, and never shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A webhook. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) user: String,
    pub(crate) url: String,
    pub(crate) selection: Selection,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) secret: Secret,
    pub(crate) enabled: bool,
    pub(crate) created: u64,
    pub(crate) updated: u64,
    pub(crate) successes: u64,
    pub(crate) failures: u64,
    /// Since when nothing was delivered while something should have been.
    pub(crate) failing_since: Option<u64>,
}

/// The headers as they are sent.
pub(super) fn headers(given: &BTreeMap<String, String>) -> Result<HeaderMap, Error> {
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if given.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Error::invalid(
            "headers",
            format!(
                "has {} entries of {bytes} bytes, and may have {MAX_HEADERS} of {MAX_HEADER_BYTES}",
                given.len()
            ),
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = |why: &str| Error::invalid("headers", format!("{}: {why}", shown(name)));
        let header = HeaderName::from_str(name).map_err(|_| bad("is no name of a header"))?;
        let lower = header.as_str();
        let is_ours = ["content-", "x-isa-", "proxy-"]
            .iter()
            .any(|start| lower.starts_with(start))
            || matches!(
                lower,
                "host"
                    | "connection"
                    | "keep-alive"
                    | "transfer-encoding"
                    | "te"
                    | "trailer"
                    | "upgrade"
                    | "expect"
            );
        if is_ours {
            return Err(bad("is set by the service"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| bad("has a value that HTTP does not take"))?;
        headers.insert(header, value);
    }
    Ok(headers)
}

impl Mqtt {
    pub(crate) async fn register_webhook(
        &self,
        names: Names<'_>,
        mut webhook: Webhook,
    ) -> Result<Webhook, Error> {
        webhook.selection.check(names)?;
        headers(&webhook.headers)?;
        if webhook.secret.0.len() > MAX_SECRET {
            return Err(Error::invalid("secret", "is longer than 1024 bytes"));
        }
        self.policy.parse(&webhook.url)?;
        let store = self.store()?;
        self.policy.check(&webhook.url).await?;
        if self.webhooks.count(names.slug()) >= MAX_WEBHOOKS {
            return Err(Error::Quota(format!(
                "there are {MAX_WEBHOOKS} webhooks, and may be no more"
            )));
        }
        webhook.id = uuid::Uuid::new_v4().simple().to_string();
        webhook.enabled = true;
        webhook.created = now();
        webhook.updated = webhook.created;
        let created = store
            .create(&store.webhooks, &names.key(&webhook.id), &webhook)
            .await?;
        let revision = created.ok_or_else(|| Error::unexpected("an id was made twice"))?;
        self.webhooks.reached(revision).await?;
        Ok(webhook)
    }

    pub(crate) async fn unregister_webhook(&self, names: Names<'_>, id: &str) -> Result<(), Error> {
        let absent = || Error::NotFound(format!("the webhook {}", shown(id)));
        let store = self.store()?;
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(absent());
        }
        let removed = store.remove(&store.webhooks, &names.key(id)).await?;
        removed.ok_or_else(absent)?;
        self.forget_deliveries(store, &subject(names.slug(), id)).await
    }

    /// The tenant's webhooks, oldest first.
    pub(crate) async fn webhooks(&self, names: Names<'_>) -> Result<Vec<Webhook>, Error> {
        let store = self.store()?;
        self.webhooks.caught_up(store, &store.webhooks).await?;
        let webhooks = self.webhooks.of(names.slug());
        let mut webhooks: Vec<_> = webhooks.into_iter().map(|webhook| (*webhook).clone()).collect();
        webhooks.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(webhooks)
    }
}

/// What a message says of its device's state: every message is a sign of life.
pub(super) fn says(kind: Kind, payload: &[u8]) -> super::devices::Status {
    let said = (kind == Kind::Status).then(|| said_status(payload)).flatten();
    said.unwrap_or(super::devices::Status::Online)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_wants_what_matches_every_list() {
        let all = Selection::default();
        assert!(all.wants("d", Kind::Unknown, "devices/d/x"));
        let some = Selection {
            kinds: vec![Kind::Telemetry],
            devices: vec!["d".into()],
            patterns: vec!["devices/+/telemetry/#".into()],
        };
        assert!(some.wants("d", Kind::Telemetry, "devices/d/telemetry/temp"));
        assert!(!some.wants("d", Kind::Status, "devices/d/telemetry/temp"));
        assert!(!some.wants("e", Kind::Telemetry, "devices/e/telemetry"));
        assert!(!some.wants("d", Kind::Telemetry, "devices/d/other"));
    }

    #[test]
    fn headers_that_are_ours_are_refused() {
        let one = |name: &str, value: &str| headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]));
        assert!(one("Authorization", "Bearer x").is_ok());
        for bad in [
            "Host",
            "content-type",
            "Content-Length",
            "connection",
            "X-Isa-Signature",
            "Transfer-Encoding",
            "a b",
            "",
        ] {
            assert!(one(bad, "x").is_err(), "{bad}");
        }
        assert!(one("X-A", "a\r\nHost: b").is_err());
    }
}
