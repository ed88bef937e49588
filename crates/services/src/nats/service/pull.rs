//! Taking messages of a consumer, and what becomes of them.

use std::{collections::BTreeMap, time::Duration};

use async_nats::{
    Message, StatusCode,
    jetstream::consumer::{AckPolicy, Info},
};
use futures::{FutureExt, StreamExt};
use isa_proto::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Error, Nats, error::Thing, link::json, subscribe::given_headers};
use crate::nats::names::{Names, check_consumer};

/// Bytes of one pull: an answer of the service has at most 100 MiB.
const MAX_PULL_BYTES: usize = 64 << 20;

/// How long the server may take to say that there is nothing more.
const GRACE: Duration = Duration::from_secs(5);

/// So long before the caller's deadline the server has stopped sending, and we have given up waiting for it to say so.
const MARGIN: Duration = Duration::from_millis(200);

/// A pull that is not to wait does so for a message that the server has acknowledged and not yet counted for the consumer.
const COUNTED: Duration = Duration::from_millis(100);

/// A message that is due.
pub(crate) struct Due {
    pub(crate) subject: String,
    pub(crate) data: Bytes,
    pub(crate) headers: BTreeMap<String, String>,
    /// In the stream.
    pub(crate) sequence: u64,
    /// Nanoseconds since 1970, when the stream got it.
    pub(crate) stored: i64,
    /// Deliveries, this one included.
    pub(crate) delivered: u64,
}

/// What becomes of a message that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    Ack,
    Nak { delay: Duration },
    Term,
    InProgress,
}

impl Settlement {
    fn payload(self) -> Bytes {
        match self {
            Self::Ack => Bytes::from_static(b"+ACK"),
            Self::Nak {
                delay: Duration::ZERO,
            } => Bytes::from_static(b"-NAK"),
            Self::Nak { delay } => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
            Self::Term => Bytes::from_static(b"+TERM"),
            Self::InProgress => Bytes::from_static(b"+WPI"),
        }
    }
}

#[derive(Deserialize)]
struct Naked {
    stream_seq: u64,
}

impl Nats {
    /// Takes up to `most` messages. Without `wait` those that are due now.
    pub(crate) async fn pull(
        &self,
        names: Names<'_>,
        stream: &str,
        consumer: &str,
        most: usize,
        wait: Option<Duration>,
        limit: Duration,
    ) -> Result<Vec<Due>, Error> {
        let full = names.stream("stream_name", stream)?;
        check_consumer("consumer_name", consumer)?;
        let wait = wait.map(|wait| wait.min(limit.saturating_sub(2 * MARGIN)));
        let wait = wait.filter(|wait| !wait.is_zero());
        let messages = self
            .pull_raw(&full, consumer, most, wait, limit - MARGIN.min(limit / 4))
            .await;
        let messages = match messages {
            Err(Error::NoResponders) => {
                let info = self.consumer_info(&full, consumer, limit).await;
                info.map_err(|error| {
                    error.about(&Thing::Consumer {
                        stream,
                        name: consumer,
                    })
                })?;
                // It is there by now: it has just been made, or has a new leader.
                Vec::new()
            }
            messages => messages?,
        };
        let counters = self.traffic.of(names);
        let due = messages.into_iter().filter_map(|message| {
            counters.went_out(message.payload.len());
            let delivery = Delivery::of(message.reply.as_deref()?)?;
            Some(Due {
                subject: names.given_subject(&message.subject)?.to_owned(),
                headers: given_headers(names, message.headers.as_ref()),
                data: message.payload,
                sequence: delivery.sequence,
                stored: delivery.stored,
                delivered: delivery.count,
            })
        });
        Ok(due.collect())
    }

    /// As above, of any stream, by its full name. `NoResponders` if there is no such consumer. Takes `limit` at most, and
    /// then gives what there is.
    pub(super) async fn pull_raw(
        &self,
        full: &str,
        consumer: &str,
        most: usize,
        wait: Option<Duration>,
        limit: Duration,
    ) -> Result<Vec<Message>, Error> {
        let expires = wait.unwrap_or_else(|| COUNTED.min(limit / 4));
        let until = Instant::now() + limit.min(expires + GRACE);
        let request = json!({
            "batch": most,
            "no_wait": wait.is_none(),
            "expires": u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX),
            "max_bytes": MAX_PULL_BYTES,
        });
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{full}.{consumer}");
        let mut answers = self.work.ask_for_many(subject, json(&request)?).await?;
        let mut messages = Vec::new();
        while messages.len() < most {
            let message = match answers.next(until.duration_since(Instant::now())).await {
                // What is here must not be lost: it was delivered.
                Err(_) if !messages.is_empty() => break,
                message => message?,
            };
            match message.status {
                None => messages.push(message),
                Some(StatusCode::NO_RESPONDERS) => return Err(Error::NoResponders),
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                // Nothing more for now, the time is up, or the bytes are.
                Some(_) => break,
            }
        }
        Ok(messages)
    }

    /// Says what becomes of a message. False if it was not waiting for that.
    ///
    /// NATS acknowledges by a subject that it gave with the message. The contract has the sequence alone, so that any
    /// replica can do it: the subject is made anew, from the tenant's own stream and the numbers that the consumer has.
    pub(crate) async fn settle(
        &self,
        names: Names<'_>,
        stream: &str,
        consumer: &str,
        sequence: u64,
        settlement: Settlement,
        limit: Duration,
    ) -> Result<bool, Error> {
        let full = names.stream("stream_name", stream)?;
        check_consumer("consumer_name", consumer)?;
        let thing = Thing::Consumer {
            stream,
            name: consumer,
        };
        let before = self.consumer_info(&full, consumer, limit).await;
        let before = before.map_err(|error| error.about(&thing))?;
        if !may_wait(&before, sequence) {
            return Ok(false);
        }

        // NATS tells that it took a NAK. It does so before it answers, on the same connection.
        let mut taken = match settlement {
            Settlement::Nak { .. } if !surely_waits(&before) => {
                let event = format!("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.{full}.{consumer}");
                Some(self.work.subscribe(event, None, limit).await?)
            }
            _ => None,
        };
        // Of the delivery NATS needs a number that is not yet acknowledged; it has its own record of the rest.
        let delivery = before.ack_floor.consumer_sequence + 1;
        let subject = format!("$JS.ACK.{full}.{consumer}.1.{sequence}.{delivery}.0.0");
        let answer = self
            .work
            .ask(subject, None, settlement.payload(), None, limit)
            .await;
        match answer {
            // It was deleted in between.
            Err(Error::NoResponders) => return Ok(false),
            answer => answer?,
        };

        if let Some(taken) = &mut taken {
            while let Some(Some(event)) = taken.next().now_or_never() {
                if serde_json::from_slice::<Naked>(&event.payload)
                    .is_ok_and(|naked| naked.stream_seq == sequence)
                {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        if surely_waits(&before) || settlement == Settlement::InProgress {
            return Ok(true);
        }
        // Some before it are acknowledged, and it may be one of them: then nothing has changed.
        let after = self.consumer_info(&full, consumer, limit).await;
        let after = after.map_err(|error| error.about(&thing))?;
        Ok(after.num_ack_pending < before.num_ack_pending
            || after.delivered.consumer_sequence != before.delivered.consumer_sequence)
    }
}

/// False if the message was never delivered, or surely acknowledged.
fn may_wait(consumer: &Info, sequence: u64) -> bool {
    consumer.config.ack_policy != AckPolicy::None
        && sequence > consumer.ack_floor.stream_sequence
        && sequence <= consumer.delivered.stream_sequence
        && consumer.num_ack_pending > 0
}

/// Whether everything above the floor waits, as nothing of it was acknowledged or delivered twice.
fn surely_waits(consumer: &Info) -> bool {
    let delivered = consumer
        .delivered
        .consumer_sequence
        .saturating_sub(consumer.ack_floor.consumer_sequence);
    let span = consumer
        .delivered
        .stream_sequence
        .saturating_sub(consumer.ack_floor.stream_sequence);
    let waiting = u64::try_from(consumer.num_ack_pending).unwrap_or(u64::MAX);
    consumer.config.ack_policy == AckPolicy::All || (delivered == waiting && span == waiting)
}

/// What NATS says of a delivery, in the subject for its acknowledgement.
pub(super) struct Delivery {
    pub(super) count: u64,
    pub(super) sequence: u64,
    pub(super) stored: i64,
}

impl Delivery {
    /// `$JS.ACK.<stream>.<consumer>.<count>.<sequence>.<delivery>.<time>.<pending>`, or with a domain and an account
    /// before the stream.
    pub(super) fn of(subject: &str) -> Option<Self> {
        let rest = subject.strip_prefix("$JS.ACK.")?;
        let tokens = rest.split('.').count();
        let mut tokens = rest.split('.').skip(if tokens >= 9 { 4 } else { 2 });
        let count = tokens.next()?.parse().ok()?;
        let sequence = tokens.next()?.parse().ok()?;
        let stored = tokens.nth(1)?.parse().ok()?;
        Some(Self {
            count,
            sequence,
            stored,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deliveries_are_read_in_both_forms() {
        for subject in [
            "$JS.ACK.abc-ORDERS.worker.2.17.20.1700000000000000000.3",
            "$JS.ACK.hub.hash.abc-ORDERS.worker.2.17.20.1700000000000000000.3.random",
        ] {
            let delivery = Delivery::of(subject).unwrap();
            assert_eq!(
                (delivery.count, delivery.sequence, delivery.stored),
                (2, 17, 1_700_000_000_000_000_000)
            );
        }
        assert!(Delivery::of("t.abc.reply").is_none());
    }
}
