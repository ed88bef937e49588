//! Reading a stream from one end to the other, by a consumer that is ours and forgotten afterwards.

use std::time::Duration;

use async_nats::{
    Message,
    jetstream::consumer::{AckPolicy, Config, DeliverPolicy},
    message::OutboundMessage,
};
use isa_proto::Bytes;

use super::{Error, Nats, error::Thing};

/// How long such a consumer stays if it was not removed.
const INACTIVE: Duration = Duration::from_secs(10);

/// Where answers go that nobody waits for.
pub(super) const NOWHERE: &str = "_INBOX.isa.nowhere";

/// What to read.
pub(super) struct Range {
    /// A subject in NATS, wildcards allowed.
    pub(super) filter: String,
    pub(super) deliver: DeliverPolicy,
    /// Leave out what the messages hold.
    pub(super) headers_only: bool,
}

/// A reading.
pub(super) struct Scan<'a> {
    nats: &'a Nats,
    stream: String,
    consumer: String,
    /// Messages that stood there when it began and were not read yet.
    pub(super) left: u64,
}

impl Nats {
    pub(super) async fn scan(
        &self,
        stream: &str,
        range: Range,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<Scan<'_>, Error> {
        let consumer = format!("isa-{:016x}", rand::random::<u64>());
        let config = Config {
            name: Some(consumer.clone()),
            filter_subject: range.filter,
            deliver_policy: range.deliver,
            headers_only: range.headers_only,
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: INACTIVE,
            ..Config::default()
        };
        let info = self.make_consumer(stream, config, thing, limit).await?;
        Ok(Scan {
            nats: self,
            stream: stream.to_owned(),
            consumer,
            left: info.num_pending,
        })
    }
}

impl Scan<'_> {
    /// The next messages; none at the end.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Message>, Error> {
        let most = usize::try_from(self.left).unwrap_or(most).min(most);
        if most == 0 {
            return Ok(Vec::new());
        }
        let page = self
            .nats
            .pull_raw(&self.stream, &self.consumer, most, None, Duration::MAX)
            .await?;
        let read = u64::try_from(page.len()).unwrap_or(u64::MAX);
        // None although some were left: they have gone in the meantime.
        self.left = if read == 0 {
            0
        } else {
            self.left.saturating_sub(read)
        };
        Ok(page)
    }

    /// Removes the consumer. Without this it goes by itself a little later.
    pub(super) async fn close(self) {
        let removal = OutboundMessage {
            subject: format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.consumer).into(),
            reply: Some(NOWHERE.into()),
            payload: Bytes::new(),
            headers: None,
        };
        if let Err(error) = self.nats.work.send(removal).await {
            tracing::debug!(%error, "a consumer of ours was left to itself");
        }
    }
}
