//! Consumers: what remembers how far a stream was read.

use std::time::Duration;

use async_nats::{
    datetime,
    jetstream::{
        ErrorCode,
        consumer::{AckPolicy, Config, DeliverPolicy, Info, ReplayPolicy},
        stream::DeleteStatus,
    },
};
use isa_proto::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{
    Error, Nats,
    error::Thing,
    link::{json, refused},
    streams::MAX_AGE,
};
use crate::nats::names::{Names, check_consumer};

/// Consumers of a stream.
const MAX_CONSUMERS: usize = 500;

/// How long one that is not durable stays without a pull.
const INACTIVE: Duration = Duration::from_secs(3600);

/// How long a message may stay unacknowledged, unless the caller says otherwise.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Shortest such time: NATS cannot keep shorter ones.
const MIN_ACK_WAIT: Duration = Duration::from_millis(1);

/// Where a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    All,
    Last,
    New,
    Sequence(u64),
    /// Nanoseconds since 1970.
    Time(i128),
    LastPerSubject,
}

/// How a consumer delivers.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerSettings {
    pub(crate) name: String,
    /// Stays until it is deleted.
    pub(crate) durable: bool,
    /// Empty means all.
    pub(crate) filter_subject: String,
    pub(crate) start: Start,
    pub(crate) ack: AckPolicy,
    /// `None` means 30 s.
    pub(crate) ack_wait: Option<Duration>,
    /// 0 and -1 mean no limit.
    pub(crate) max_deliver: i64,
    pub(crate) replay: ReplayPolicy,
}

/// A consumer as it is, by the tenant's names.
pub(crate) struct Consumer {
    pub(crate) stream: String,
    pub(crate) settings: ConsumerSettings,
    pub(crate) info: Info,
}

#[derive(Deserialize)]
struct Page {
    total: usize,
    consumers: Option<Vec<Info>>,
}

impl ConsumerSettings {
    fn config(&self, names: Names<'_>) -> Result<Config, Error> {
        check_consumer("config.name", &self.name)?;
        let filter_subject = match self.filter_subject.as_str() {
            "" => String::new(),
            filter => names.pattern("config.filter_subject", filter)?,
        };
        let ack_wait = self.ack_wait.unwrap_or(ACK_WAIT);
        if !(MIN_ACK_WAIT..=MAX_AGE).contains(&ack_wait) {
            return Err(Error::invalid("config.ack_wait", "must be 1 ms to 100 years"));
        }
        Ok(Config {
            name: Some(self.name.clone()),
            durable_name: self.durable.then(|| self.name.clone()),
            filter_subject,
            deliver_policy: match self.start {
                Start::All => DeliverPolicy::All,
                Start::Last => DeliverPolicy::Last,
                Start::New => DeliverPolicy::New,
                Start::LastPerSubject => DeliverPolicy::LastPerSubject,
                Start::Sequence(start_sequence) => DeliverPolicy::ByStartSequence { start_sequence },
                Start::Time(nanoseconds) => DeliverPolicy::ByStartTime {
                    start_time: datetime::from_nanos(nanoseconds)
                        .map_err(|_| Error::invalid("config.opt_start_time", "is out of range"))?,
                },
            },
            ack_policy: self.ack,
            // NATS takes none where there are no acknowledgements.
            ack_wait: if self.ack == AckPolicy::None {
                Duration::ZERO
            } else {
                ack_wait
            },
            max_deliver: super::streams::limit("config.max_deliver", self.max_deliver)?,
            replay_policy: self.replay,
            inactive_threshold: if self.durable { Duration::ZERO } else { INACTIVE },
            ..Config::default()
        })
    }
}

impl Consumer {
    fn new(names: Names<'_>, info: Info) -> Option<Self> {
        let config = &info.config;
        let settings = ConsumerSettings {
            name: info.name.clone(),
            durable: config.durable_name.is_some(),
            filter_subject: names
                .given_subject(&config.filter_subject)
                .unwrap_or_default()
                .to_owned(),
            start: match config.deliver_policy {
                DeliverPolicy::All => Start::All,
                DeliverPolicy::Last => Start::Last,
                DeliverPolicy::New => Start::New,
                DeliverPolicy::LastPerSubject => Start::LastPerSubject,
                DeliverPolicy::ByStartSequence { start_sequence } => Start::Sequence(start_sequence),
                DeliverPolicy::ByStartTime { start_time } => Start::Time(start_time.unix_timestamp_nanos()),
            },
            ack: config.ack_policy,
            ack_wait: Some(config.ack_wait),
            max_deliver: config.max_deliver,
            replay: config.replay_policy,
        };
        Some(Self {
            stream: names.given_stream(&info.stream_name)?.to_owned(),
            settings,
            info,
        })
    }

    fn mine(names: Names<'_>, info: Info) -> Result<Self, Error> {
        Self::new(names, info).ok_or_else(|| Error::unexpected("NATS answered for another stream"))
    }
}

impl Nats {
    /// Makes it, or changes what can be changed.
    pub(crate) async fn create_consumer(
        &self,
        names: Names<'_>,
        stream: &str,
        settings: &ConsumerSettings,
        limit: Duration,
    ) -> Result<Consumer, Error> {
        let full = names.stream("stream_name", stream)?;
        let config = settings.config(names)?;
        let thing = Thing::Consumer {
            stream,
            name: &settings.name,
        };
        let count = self.stream_info(&full, thing, limit).await?.state.consumer_count;
        if count >= MAX_CONSUMERS && !self.has_consumer(&full, &settings.name, limit).await? {
            return Err(Error::Quota(format!(
                "stream {stream:?} has {MAX_CONSUMERS} consumers, and may not have more"
            )));
        }
        let info = self.make_consumer(&full, config, thing, limit).await?;
        Consumer::mine(names, info)
    }

    pub(super) async fn make_consumer(
        &self,
        full: &str,
        config: Config,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<Info, Error> {
        let name = config.name.as_deref().unwrap_or_default();
        let subject = format!("CONSUMER.CREATE.{full}.{name}");
        let request = json(&json!({ "stream_name": full, "config": config, "action": "" }))?;
        let made = self.work.api(&subject, request, limit).await;
        made.map_err(|error| error.about(&thing))
    }

    pub(crate) async fn consumer(
        &self,
        names: Names<'_>,
        stream: &str,
        name: &str,
        limit: Duration,
    ) -> Result<Consumer, Error> {
        let full = names.stream("stream_name", stream)?;
        check_consumer("consumer_name", name)?;
        let info = self.consumer_info(&full, name, limit).await;
        let info = info.map_err(|error| error.about(&Thing::Consumer { stream, name }))?;
        Consumer::mine(names, info)
    }

    pub(super) async fn consumer_info(&self, full: &str, name: &str, limit: Duration) -> Result<Info, Error> {
        let subject = format!("CONSUMER.INFO.{full}.{name}");
        self.work.api(&subject, Bytes::new(), limit).await
    }

    async fn has_consumer(&self, full: &str, name: &str, limit: Duration) -> Result<bool, Error> {
        let info = self.consumer_info(full, name, limit).await;
        if refused(&info, ErrorCode::CONSUMER_NOT_FOUND) {
            return Ok(false);
        }
        info.map(|_| true)
            .map_err(|error| error.about(&Thing::Stream(full)))
    }

    pub(crate) async fn delete_consumer(
        &self,
        names: Names<'_>,
        stream: &str,
        name: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let full = names.stream("stream_name", stream)?;
        check_consumer("consumer_name", name)?;
        let subject = format!("CONSUMER.DELETE.{full}.{name}");
        let deleted = self.work.api::<DeleteStatus>(&subject, Bytes::new(), limit).await;
        deleted
            .map(drop)
            .map_err(|error| error.about(&Thing::Consumer { stream, name }))
    }

    /// All of a stream, sorted by name.
    pub(crate) async fn consumers(
        &self,
        names: Names<'_>,
        stream: &str,
        limit: Duration,
    ) -> Result<Vec<Consumer>, Error> {
        let full = names.stream("stream_name", stream)?;
        let subject = format!("CONSUMER.LIST.{full}");
        let mut consumers = Vec::new();
        let mut offset = 0;
        loop {
            let request = json(&json!({ "offset": offset }))?;
            let page = self.work.api::<Page>(&subject, request, limit).await;
            let page = page.map_err(|error| error.about(&Thing::Stream(stream)))?;
            let infos = page.consumers.unwrap_or_default();
            offset += infos.len();
            let is_last = infos.is_empty() || offset >= page.total;
            consumers.extend(infos.into_iter().filter_map(|info| Consumer::new(names, info)));
            if is_last {
                break;
            }
        }
        consumers.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        Ok(consumers)
    }
}
