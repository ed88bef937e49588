//! Streams: what keeps messages.

use std::time::Duration;

use async_nats::jetstream::{
    ErrorCode,
    stream::{Config, DeleteStatus, DiscardPolicy, Info, StorageType},
};
use isa_proto::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    Error, Nats,
    error::Thing,
    link::{json, refused},
};
use crate::nats::names::Names;

/// Streams of a tenant, without those under buckets.
pub(super) const MAX_STREAMS: usize = 500;

/// Subjects of a stream.
const MAX_SUBJECTS: usize = 256;

/// Servers that may keep a copy.
const MAX_REPLICAS: usize = 5;

/// Shortest time that a message stays, if it does not stay for ever.
pub(super) const MIN_AGE: Duration = Duration::from_millis(100);

/// Longest time.
pub(super) const MAX_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// What a stream keeps. In every limit 0 and -1 mean none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StreamSettings {
    pub(crate) name: String,
    pub(crate) subjects: Vec<String>,
    pub(crate) in_memory: bool,
    pub(crate) max_messages: i64,
    /// Stored.
    pub(crate) max_bytes: i64,
    /// Zero means for ever.
    pub(crate) max_age: Duration,
    pub(crate) max_message_size: i32,
    /// 0 means 1.
    pub(crate) replicas: i32,
    /// Refuse what is new of a subject that has `max_messages`, instead of dropping its oldest.
    pub(crate) discard_new_per_subject: bool,
}

/// A stream as it is, by the tenant's names.
pub(crate) struct Stream {
    pub(crate) settings: StreamSettings,
    pub(crate) info: Info,
}

#[derive(Deserialize)]
struct NamesPage {
    total: usize,
    streams: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct InfosPage {
    total: usize,
    streams: Option<Vec<Info>>,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

impl StreamSettings {
    fn config(&self, names: Names<'_>) -> Result<Config, Error> {
        let name = names.stream("config.name", &self.name)?;
        if self.subjects.is_empty() {
            return Err(Error::invalid("config.subjects", "is empty"));
        }
        if self.subjects.len() > MAX_SUBJECTS {
            return Err(Error::invalid(
                "config.subjects",
                format!("has {} entries, and may have {MAX_SUBJECTS}", self.subjects.len()),
            ));
        }
        let subjects = self
            .subjects
            .iter()
            .map(|subject| names.pattern("config.subjects", subject))
            .collect::<Result<_, _>>()?;
        let max_messages = limit("config.max_msgs", self.max_messages)?;
        if self.discard_new_per_subject && max_messages < 0 {
            return Err(Error::invalid(
                "config.max_msgs",
                "is needed by discard_new_per_subject: the messages that each subject may have",
            ));
        }
        let replicas = match usize::try_from(self.replicas) {
            Ok(0) => 1,
            Ok(replicas @ 1..=MAX_REPLICAS) => replicas,
            _ => return Err(Error::invalid("config.replicas", "must be 1 to 5, or 0 for 1")),
        };
        check_age("config.max_age", self.max_age)?;
        let (total, per_subject, discard) = if self.discard_new_per_subject {
            (-1, max_messages, DiscardPolicy::New)
        } else {
            (max_messages, -1, DiscardPolicy::Old)
        };
        Ok(Config {
            name,
            subjects,
            storage: if self.in_memory {
                StorageType::Memory
            } else {
                StorageType::File
            },
            max_messages: total,
            max_messages_per_subject: per_subject,
            max_bytes: limit("config.max_bytes", self.max_bytes)?,
            max_age: self.max_age,
            max_message_size: limit("config.max_msg_size", self.max_message_size.into())?
                .try_into()
                .unwrap_or(-1),
            max_consumers: -1,
            num_replicas: replicas,
            discard,
            discard_new_per_subject: self.discard_new_per_subject,
            ..Config::default()
        })
    }
}

impl Stream {
    /// `None` if it is not the tenant's.
    fn new(names: Names<'_>, info: Info) -> Option<Self> {
        let config = &info.config;
        let settings = StreamSettings {
            name: names.given_stream(&config.name)?.to_owned(),
            subjects: config
                .subjects
                .iter()
                .filter_map(|subject| names.given_subject(subject))
                .map(str::to_owned)
                .collect(),
            in_memory: config.storage == StorageType::Memory,
            max_messages: if config.discard_new_per_subject {
                config.max_messages_per_subject
            } else {
                config.max_messages
            },
            max_bytes: config.max_bytes,
            max_age: config.max_age,
            max_message_size: config.max_message_size,
            replicas: config.num_replicas.try_into().unwrap_or(i32::MAX),
            discard_new_per_subject: config.discard_new_per_subject,
        };
        Some(Self { settings, info })
    }

    fn mine(names: Names<'_>, info: Info) -> Result<Self, Error> {
        Self::new(names, info).ok_or_else(|| Error::unexpected("NATS answered for another stream"))
    }
}

impl Nats {
    /// The same once more is no error.
    pub(crate) async fn create_stream(
        &self,
        names: Names<'_>,
        settings: &StreamSettings,
        limit: Duration,
    ) -> Result<Stream, Error> {
        let config = settings.config(names)?;
        let all = self.stream_names(&names.everything(), limit).await?;
        let mine = all.iter().filter(|name| names.given_stream(name).is_some());
        if mine.clone().count() >= MAX_STREAMS && !mine.clone().any(|name| *name == config.name) {
            return Err(Error::Quota(format!(
                "there are {MAX_STREAMS} streams, and may not be more"
            )));
        }
        let info = self
            .make_stream(&config, Thing::Stream(&settings.name), limit)
            .await?;
        Stream::mine(names, info)
    }

    pub(super) async fn make_stream(
        &self,
        config: &Config,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<Info, Error> {
        let subject = format!("STREAM.CREATE.{}", config.name);
        let made = self.work.api(&subject, json(config)?, limit).await;
        made.map_err(|error| error.about(&thing))
    }

    pub(crate) async fn update_stream(
        &self,
        names: Names<'_>,
        settings: &StreamSettings,
        limit: Duration,
    ) -> Result<Stream, Error> {
        let config = settings.config(names)?;
        let subject = format!("STREAM.UPDATE.{}", config.name);
        let updated = self.work.api(&subject, json(&config)?, limit).await;
        let info = updated.map_err(|error| error.about(&Thing::Stream(&settings.name)))?;
        Stream::mine(names, info)
    }

    pub(crate) async fn delete_stream(
        &self,
        names: Names<'_>,
        name: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let full = names.stream("stream_name", name)?;
        let subject = format!("STREAM.DELETE.{full}");
        let deleted = self.work.api::<DeleteStatus>(&subject, Bytes::new(), limit).await;
        deleted
            .map(drop)
            .map_err(|error| error.about(&Thing::Stream(name)))
    }

    pub(crate) async fn stream(
        &self,
        names: Names<'_>,
        name: &str,
        limit: Duration,
    ) -> Result<Stream, Error> {
        let full = names.stream("stream_name", name)?;
        let info = self.stream_info(&full, Thing::Stream(name), limit).await?;
        Stream::mine(names, info)
    }

    pub(super) async fn stream_info(
        &self,
        full: &str,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<Info, Error> {
        let subject = format!("STREAM.INFO.{full}");
        let info = self.work.api(&subject, Bytes::new(), limit).await;
        info.map_err(|error| error.about(&thing))
    }

    /// All of the tenant, sorted by name, without those under buckets.
    pub(crate) async fn streams(&self, names: Names<'_>, limit: Duration) -> Result<Vec<Stream>, Error> {
        let mut streams = Vec::new();
        let mut offset = 0;
        loop {
            let page = json(&json!({ "offset": offset, "subject": names.everything() }))?;
            let page: InfosPage = self.work.api("STREAM.LIST", page, limit).await?;
            let infos = page.streams.unwrap_or_default();
            offset += infos.len();
            let is_last = infos.is_empty() || offset >= page.total;
            streams.extend(infos.into_iter().filter_map(|info| Stream::new(names, info)));
            if is_last {
                break;
            }
        }
        streams.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        Ok(streams)
    }

    /// Full names of streams, of whatever tenant, with subjects under `pattern`.
    pub(super) async fn stream_names(&self, pattern: &str, limit: Duration) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        loop {
            let page = json(&json!({ "offset": names.len(), "subject": pattern }))?;
            let page: NamesPage = self.work.api("STREAM.NAMES", page, limit).await?;
            let more = page.streams.unwrap_or_default();
            let is_last = more.is_empty();
            names.extend(more);
            if is_last || names.len() >= page.total {
                return Ok(names);
            }
        }
    }

    /// How many messages went. `pattern` empty means all.
    pub(crate) async fn purge_stream(
        &self,
        names: Names<'_>,
        name: &str,
        pattern: &str,
        limit: Duration,
    ) -> Result<u64, Error> {
        let full = names.stream("stream_name", name)?;
        let request = match pattern {
            "" => Bytes::new(),
            pattern => json(&json!({ "filter": names.pattern("subject", pattern)? }))?,
        };
        self.purge(&full, request, Thing::Stream(name), limit).await
    }

    pub(super) async fn purge(
        &self,
        full: &str,
        request: Bytes,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<u64, Error> {
        let subject = format!("STREAM.PURGE.{full}");
        let purged = self.work.api::<Purged>(&subject, request, limit).await;
        purged
            .map(|purged| purged.purged)
            .map_err(|error| error.about(&thing))
    }

    /// Whether a stream with this full name is there.
    pub(super) async fn has_stream(&self, full: &str, limit: Duration) -> Result<bool, Error> {
        let subject = format!("STREAM.INFO.{full}");
        let info = self.work.api::<Info>(&subject, Bytes::new(), limit).await;
        if refused(&info, ErrorCode::STREAM_NOT_FOUND) {
            return Ok(false);
        }
        info.map(|_| true)
            .map_err(|error| error.about(&Thing::Stream(full)))
    }
}

/// 0 and -1 mean no limit, which NATS calls -1.
pub(super) fn limit(field: &'static str, given: i64) -> Result<i64, Error> {
    match given {
        0 | -1 => Ok(-1),
        1.. => Ok(given),
        _ => Err(Error::invalid(field, "is negative; -1 and 0 alone mean no limit")),
    }
}

/// Zero means for ever.
pub(super) fn check_age(field: &'static str, age: Duration) -> Result<(), Error> {
    if age.is_zero() || (MIN_AGE..=MAX_AGE).contains(&age) {
        Ok(())
    } else {
        Err(Error::invalid(field, "must be 100 ms to 100 years"))
    }
}
