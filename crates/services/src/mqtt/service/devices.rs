//! Devices: their records, and what their messages say of them.
//!
//! A message is noted in memory, and written to its device's record a little later: a device that sends often must not
//! write often. Reading through this replica shows both together.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Error, Mqtt, mirror::Mirror, store::Store, traffic::now};
use crate::mqtt::names::{Names, check_device, shown};

/// Devices of one tenant.
const MAX_DEVICES: usize = 10_000;

/// Entries of a device's metadata, and their bytes in all.
const MAX_METADATA: usize = 64;
const MAX_METADATA_BYTES: usize = 8 << 10;

/// Longest name and type of a device, in bytes.
const MAX_TEXT: usize = 255;

/// Milliseconds of silence after which a device counts as offline.
const SILENCE: u64 = 5 * 60 * 1000;

/// A record is written so often at most while nothing but counts has changed, in milliseconds.
const WRITE_EVERY: u64 = 5_000;

/// Devices whose news wait to be written.
const MAX_NEWS: usize = 100_000;

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    #[default]
    Unknown,
    Online,
    Offline,
    Sleeping,
    Error,
}

/// A device. Times are milliseconds since 1970.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) user: String,
    pub(crate) organization: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) status: Status,
    pub(crate) registered: u64,
    /// 0 before its first message.
    pub(crate) seen: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// What came since the record was written.
#[derive(Debug, Clone, Default)]
struct News {
    seen: u64,
    sent: u64,
    received: u64,
    status: Option<Status>,
    /// When it was written last.
    written: u64,
}

/// Devices of all tenants.
pub(super) struct Devices {
    pub(super) mirror: std::sync::Arc<Mirror<Device>>,
    /// By key.
    news: Mutex<HashMap<String, News>>,
}

impl Device {
    /// How it is now.
    pub(crate) fn status(&self) -> Status {
        match self.status {
            Status::Online if self.seen + SILENCE < now() => Status::Offline,
            status => status,
        }
    }

    fn hear(&mut self, news: &News) {
        if news.seen >= self.seen
            && let Some(status) = news.status
        {
            self.status = status;
        }
        self.seen = self.seen.max(news.seen);
        self.sent += news.sent;
        self.received += news.received;
    }
}

impl Devices {
    pub(super) fn new() -> Self {
        Self {
            mirror: std::sync::Arc::default(),
            news: Mutex::default(),
        }
    }

    /// A message of a device, or to it. False if the device is not registered.
    pub(super) fn note(&self, names: Names<'_>, device: &str, says: Option<Status>) -> bool {
        let key = names.key(device);
        let Some((slug, name)) = key.split_once('.') else {
            return false;
        };
        if self.mirror.get(slug, name).is_none() {
            return false;
        }
        let mut news = self.news.lock();
        if news.len() >= MAX_NEWS && !news.contains_key(&key) {
            return true;
        }
        let news = news.entry(key).or_default();
        match says {
            Some(status) => {
                news.seen = now();
                news.sent += 1;
                news.status = Some(status);
            }
            None => news.received += 1,
        }
        true
    }

    /// With what is not written yet.
    fn merged(&self, key: &str, mut device: Device) -> Device {
        if let Some(news) = self.news.lock().get(key) {
            device.hear(news);
        }
        device
    }

    /// Writes what is due.
    pub(super) async fn write(&self, store: &Store) {
        let at = now();
        let due: Vec<String> = {
            let mut news = self.news.lock();
            news.retain(|_, news| news.has_any() || news.written + WRITE_EVERY > at);
            let due = news.iter().filter(|(key, news)| {
                let known = key
                    .split_once('.')
                    .and_then(|(slug, name)| self.mirror.get(slug, name));
                let turns = known.is_some_and(|known| {
                    known.seen == 0 || news.status.is_some_and(|it| it != known.status())
                });
                news.has_any() && (turns || news.written + WRITE_EVERY <= at)
            });
            due.map(|(key, _)| key.clone()).collect()
        };
        for key in due {
            let Some(taken) = self.news.lock().get_mut(&key).map(|news| news.take(at)) else {
                continue;
            };
            let changed = store
                .change::<Device>(&store.devices, &key, |device| {
                    device.hear(&taken);
                    Ok(())
                })
                .await;
            match changed {
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.news.lock().remove(&key);
                }
                Err(error) => {
                    tracing::debug!(%error, "a device's news were not written");
                    if let Some(news) = self.news.lock().get_mut(&key) {
                        news.put_back(taken);
                    }
                    return;
                }
            }
        }
    }
}

impl News {
    fn has_any(&self) -> bool {
        self.seen > 0 || self.received > 0
    }

    fn take(&mut self, at: u64) -> Self {
        let taken = std::mem::take(self);
        self.written = at;
        taken
    }

    fn put_back(&mut self, taken: Self) {
        self.seen = self.seen.max(taken.seen);
        self.sent += taken.sent;
        self.received += taken.received;
        self.status = self.status.or(taken.status);
        self.written = taken.written;
    }
}

/// What a message on `devices/<id>/status` says, if it says it in a word we know.
pub(super) fn said_status(payload: &[u8]) -> Option<Status> {
    // A word, or a small object; nobody reads a large payload for it.
    let text = std::str::from_utf8(payload.get(..payload.len().min(4096))?)
        .ok()?
        .trim();
    #[derive(Deserialize)]
    struct Said {
        status: String,
    }
    let word = match serde_json::from_str::<Said>(text) {
        Ok(said) => said.status,
        Err(_) => text.trim_matches('"').to_owned(),
    };
    let word = word.to_ascii_lowercase();
    match word.strip_prefix("device_").unwrap_or(&word) {
        "online" => Some(Status::Online),
        "offline" => Some(Status::Offline),
        "sleeping" => Some(Status::Sleeping),
        "error" => Some(Status::Error),
        _ => None,
    }
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Error> {
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if metadata.len() > MAX_METADATA || bytes > MAX_METADATA_BYTES {
        return Err(Error::invalid(
            "metadata",
            format!(
                "has {} entries of {bytes} bytes, and may have {MAX_METADATA} of {MAX_METADATA_BYTES}",
                metadata.len()
            ),
        ));
    }
    Ok(())
}

fn check_text(field: &'static str, text: &str) -> Result<(), Error> {
    if text.len() > MAX_TEXT {
        return Err(Error::invalid(
            field,
            format!("has {} bytes, and may have {MAX_TEXT}", text.len()),
        ));
    }
    Ok(())
}

fn absent(id: &str) -> Error {
    Error::NotFound(format!("the device {}", shown(id)))
}

impl Mqtt {
    pub(crate) async fn register_device(
        &self,
        names: Names<'_>,
        mut device: Device,
    ) -> Result<Device, Error> {
        check_device("device_id", &device.id)?;
        check_text("device_name", &device.name)?;
        check_text("device_type", &device.kind)?;
        check_metadata(&device.metadata)?;
        let store = self.store()?;
        if self.devices.mirror.count(names.slug()) >= MAX_DEVICES {
            return Err(Error::Quota(format!(
                "there are {MAX_DEVICES} devices, and may be no more"
            )));
        }
        device.registered = now();
        let key = names.key(&device.id);
        let created = store.create(&store.devices, &key, &device).await?;
        let revision = created.ok_or_else(|| Error::Exists(format!("the device {}", shown(&device.id))))?;
        // Its messages count from here on.
        self.devices.mirror.reached(revision).await?;
        Ok(device)
    }

    pub(crate) async fn unregister_device(&self, names: Names<'_>, id: &str) -> Result<(), Error> {
        check_device("device_id", id)?;
        let store = self.store()?;
        let key = names.key(id);
        let removed = store.remove(&store.devices, &key).await?;
        self.devices.news.lock().remove(&key);
        removed.map(drop).ok_or_else(|| absent(id))
    }

    pub(crate) async fn device(&self, names: Names<'_>, id: &str) -> Result<Device, Error> {
        check_device("device_id", id)?;
        let store = self.store()?;
        let key = names.key(id);
        let stood = store.get::<Device>(&store.devices, &key).await?;
        let device = stood.ok_or_else(|| absent(id))?.value;
        Ok(self.devices.merged(&key, device))
    }

    /// All devices of a tenant, sorted by id.
    pub(crate) async fn devices(&self, names: Names<'_>) -> Result<Vec<Device>, Error> {
        let store = self.store()?;
        self.devices.mirror.caught_up(store, &store.devices).await?;
        let devices = self.devices.mirror.of(names.slug());
        let mut devices: Vec<_> = devices
            .into_iter()
            .map(|device| self.devices.merged(&names.key(&device.id), (*device).clone()))
            .collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(devices)
    }

    /// Sets the status until the next message, and metadata.
    pub(crate) async fn update_device(
        &self,
        names: Names<'_>,
        id: &str,
        status: Status,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Device, Error> {
        check_device("device_id", id)?;
        check_metadata(metadata)?;
        let store = self.store()?;
        let key = names.key(id);
        // What was said before is over.
        if let Some(news) = self.devices.news.lock().get_mut(&key) {
            news.status = None;
        }
        let changed = store.change::<Device>(&store.devices, &key, |device| {
            device.status = status;
            for (name, value) in metadata {
                if value.is_empty() {
                    device.metadata.remove(name);
                } else {
                    device.metadata.insert(name.clone(), value.clone());
                }
            }
            check_metadata(&device.metadata)
        });
        let stood = changed.await?.ok_or_else(|| absent(id))?;
        self.devices.mirror.reached(stood.revision).await?;
        Ok(self.devices.merged(&key, stood.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_makes_a_device_offline_unless_it_said_otherwise() {
        let device = |status, ago| Device {
            status,
            seen: now() - ago,
            ..Device::default()
        };
        assert_eq!(device(Status::Online, 0).status(), Status::Online);
        assert_eq!(device(Status::Online, SILENCE + 1).status(), Status::Offline);
        assert_eq!(device(Status::Sleeping, SILENCE + 1).status(), Status::Sleeping);
        assert_eq!(device(Status::Error, SILENCE + 1).status(), Status::Error);
    }

    #[test]
    fn status_messages_are_read() {
        for (payload, status) in [
            (r#"{"status": "error", "why": 1}"#, Some(Status::Error)),
            ("DEVICE_SLEEPING", Some(Status::Sleeping)),
            ("\"online\"", Some(Status::Online)),
            ("offline\n", Some(Status::Offline)),
            ("on fire", None),
            (r#"{"status": 1}"#, None),
        ] {
            assert_eq!(said_status(payload.as_bytes()), status, "{payload}");
        }
        assert_eq!(said_status(&[0xff]), None);
    }
}
