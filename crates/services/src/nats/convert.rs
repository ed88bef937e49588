//! The contract's messages from and to those of the service.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, ReplayPolicy};
use isa_proto::{
    nats as pb,
    prost_types::{self, Timestamp},
};

use super::service::{
    Consumer, ConsumerSettings, Due, Entry, Error, Object, Outgoing, Received, Start, Stream, StreamSettings,
};

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;

/// Numbers that the contract has signed; beyond its range there are none.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn small(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

/// Nanoseconds since 1970.
pub(super) fn timestamp(nanoseconds: i128) -> Timestamp {
    let seconds = nanoseconds.div_euclid(SECOND);
    Timestamp {
        seconds: i64::try_from(seconds).unwrap_or_default(),
        nanos: i32::try_from(nanoseconds.rem_euclid(SECOND)).unwrap_or_default(),
    }
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// `None` if absent.
pub(super) fn duration(
    field: &'static str,
    given: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Error> {
    let Some(given) = given else {
        return Ok(None);
    };
    let (Ok(seconds), Ok(nanos @ 0..1_000_000_000)) =
        (u64::try_from(given.seconds), u32::try_from(given.nanos))
    else {
        return Err(Error::invalid(field, "is negative or not normal"));
    };
    Ok(Some(Duration::new(seconds, nanos)))
}

/// Zero if absent, which is for ever: nothing can be kept for no time.
pub(super) fn lifetime(field: &'static str, given: Option<prost_types::Duration>) -> Result<Duration, Error> {
    match duration(field, given)? {
        Some(Duration::ZERO) => Err(Error::invalid(field, "is zero; leave it out for no limit")),
        given => Ok(given.unwrap_or_default()),
    }
}

fn span(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: signed(duration.as_secs()),
        nanos: small(duration.subsec_nanos()),
    }
}

pub(super) fn in_memory(field: &'static str, given: i32) -> Result<bool, Error> {
    match pb::StorageType::try_from(given) {
        Ok(pb::StorageType::StorageFile) => Ok(false),
        Ok(pb::StorageType::StorageMemory) => Ok(true),
        Err(_) => Err(Error::invalid(field, "is none of the contract's")),
    }
}

pub(super) fn outgoing(message: &pb::NatsMessage) -> Outgoing<'_> {
    Outgoing {
        subject: &message.subject,
        data: message.data.clone(),
        headers: &message.headers,
        reply_to: &message.reply_to,
    }
}

pub(super) fn message(received: Received, sequence: i64) -> pb::MessageResponse {
    pb::MessageResponse {
        subject: received.subject,
        data: received.data,
        headers: received.headers,
        reply_to: received.reply_to,
        timestamp: Some(now()),
        sequence,
    }
}

pub(super) fn due(due: Due) -> pb::JetStreamMessage {
    pb::JetStreamMessage {
        subject: due.subject,
        data: due.data,
        headers: due.headers,
        sequence: signed(due.sequence),
        timestamp: Some(timestamp(due.stored.into())),
        num_delivered: small(due.delivered),
    }
}

pub(super) fn stream_settings(given: Option<pb::StreamConfig>) -> Result<StreamSettings, Error> {
    let given = given.ok_or_else(|| Error::invalid("config", "is missing"))?;
    Ok(StreamSettings {
        in_memory: in_memory("config.storage", given.storage)?,
        max_age: lifetime("config.max_age", given.max_age)?,
        name: given.name,
        subjects: given.subjects,
        max_messages: given.max_msgs.into(),
        max_bytes: given.max_bytes,
        max_message_size: given.max_msg_size,
        replicas: given.replicas,
        discard_new_per_subject: given.discard_new_per_subject,
    })
}

pub(super) fn stream(stream: Stream) -> pb::StreamInfo {
    let settings = stream.settings;
    let info = stream.info;
    let state = info.state;
    // It has times of the year 1 while it is empty.
    let time = |at: i128| (state.messages > 0).then(|| timestamp(at));
    pb::StreamInfo {
        name: settings.name.clone(),
        created: Some(timestamp(info.created.unix_timestamp_nanos())),
        config: Some(pb::StreamConfig {
            name: settings.name,
            subjects: settings.subjects,
            storage: if settings.in_memory {
                pb::StorageType::StorageMemory
            } else {
                pb::StorageType::StorageFile
            }
            .into(),
            max_msgs: small(settings.max_messages),
            max_bytes: settings.max_bytes,
            max_age: (!settings.max_age.is_zero()).then(|| span(settings.max_age)),
            max_msg_size: settings.max_message_size,
            replicas: settings.replicas,
            discard_new_per_subject: settings.discard_new_per_subject,
        }),
        state: Some(pb::StreamState {
            messages: signed(state.messages),
            bytes: signed(state.bytes),
            first_seq: signed(state.first_sequence),
            last_seq: signed(state.last_sequence),
            first_ts: time(state.first_timestamp.unix_timestamp_nanos()),
            last_ts: time(state.last_timestamp.unix_timestamp_nanos()),
            num_subjects: small(state.subjects_count),
            consumer_count: small(state.consumer_count),
        }),
    }
}

pub(super) fn consumer_settings(given: Option<pb::ConsumerConfig>) -> Result<ConsumerSettings, Error> {
    let given = given.ok_or_else(|| Error::invalid("config", "is missing"))?;
    let durable = !given.durable_name.is_empty();
    let name = match (given.name, given.durable_name) {
        (name, durable) if durable.is_empty() || name == durable => name,
        (name, durable) if name.is_empty() => durable,
        _ => {
            return Err(Error::invalid(
                "config.durable_name",
                "differs from name: give one, or both alike",
            ));
        }
    };
    let unknown = |field| move |_| Error::invalid(field, "is none of the contract's");
    let start = match pb::DeliveryPolicy::try_from(given.delivery_policy)
        .map_err(unknown("config.delivery_policy"))?
    {
        pb::DeliveryPolicy::DeliveryAll => Start::All,
        pb::DeliveryPolicy::DeliveryLast => Start::Last,
        pb::DeliveryPolicy::DeliveryNew => Start::New,
        pb::DeliveryPolicy::DeliveryLastPerSubject => Start::LastPerSubject,
        pb::DeliveryPolicy::DeliveryByStartSequence => match u64::try_from(given.opt_start_seq) {
            Ok(sequence @ 1..) => Start::Sequence(sequence),
            _ => {
                return Err(Error::invalid(
                    "config.opt_start_seq",
                    "must be 1 or more: delivery_policy begins there",
                ));
            }
        },
        pb::DeliveryPolicy::DeliveryByStartTime => {
            let time = given.opt_start_time.ok_or_else(|| {
                Error::invalid(
                    "config.opt_start_time",
                    "is missing: delivery_policy begins there",
                )
            })?;
            if !(0..1_000_000_000).contains(&time.nanos) {
                return Err(Error::invalid("config.opt_start_time", "is not normal"));
            }
            Start::Time(i128::from(time.seconds) * SECOND + i128::from(time.nanos))
        }
    };
    let ack = match pb::AckPolicy::try_from(given.ack_policy).map_err(unknown("config.ack_policy"))? {
        pb::AckPolicy::AckExplicit => AckPolicy::Explicit,
        pb::AckPolicy::AckAll => AckPolicy::All,
        pb::AckPolicy::AckNone => AckPolicy::None,
    };
    let replay =
        match pb::ReplayPolicy::try_from(given.replay_policy).map_err(unknown("config.replay_policy"))? {
            pb::ReplayPolicy::ReplayInstant => ReplayPolicy::Instant,
            pb::ReplayPolicy::ReplayOriginal => ReplayPolicy::Original,
        };
    Ok(ConsumerSettings {
        name,
        durable,
        filter_subject: given.filter_subject,
        start,
        ack,
        ack_wait: duration("config.ack_wait", given.ack_wait)?,
        max_deliver: given.max_deliver.into(),
        replay,
    })
}

pub(super) fn consumer(consumer: Consumer) -> pb::ConsumerInfo {
    let settings = consumer.settings;
    let info = consumer.info;
    let (policy, sequence, time) = match settings.start {
        Start::All => (pb::DeliveryPolicy::DeliveryAll, 0, None),
        Start::Last => (pb::DeliveryPolicy::DeliveryLast, 0, None),
        Start::New => (pb::DeliveryPolicy::DeliveryNew, 0, None),
        Start::LastPerSubject => (pb::DeliveryPolicy::DeliveryLastPerSubject, 0, None),
        Start::Sequence(sequence) => (pb::DeliveryPolicy::DeliveryByStartSequence, sequence, None),
        Start::Time(time) => (pb::DeliveryPolicy::DeliveryByStartTime, 0, Some(timestamp(time))),
    };
    pb::ConsumerInfo {
        stream_name: consumer.stream,
        name: settings.name.clone(),
        created: Some(timestamp(info.created.unix_timestamp_nanos())),
        state: Some(pb::ConsumerState {
            delivered_seq: signed(info.delivered.stream_sequence),
            ack_floor_seq: signed(info.ack_floor.stream_sequence),
            num_pending: signed(info.num_pending),
            num_redelivered: info.num_redelivered.try_into().unwrap_or(i64::MAX),
        }),
        config: Some(pb::ConsumerConfig {
            durable_name: if settings.durable {
                settings.name.clone()
            } else {
                String::new()
            },
            name: settings.name,
            filter_subject: settings.filter_subject,
            delivery_policy: policy.into(),
            ack_policy: match settings.ack {
                AckPolicy::Explicit => pb::AckPolicy::AckExplicit,
                AckPolicy::All => pb::AckPolicy::AckAll,
                AckPolicy::None => pb::AckPolicy::AckNone,
            }
            .into(),
            ack_wait: settings.ack_wait.map(span),
            max_deliver: small(settings.max_deliver),
            replay_policy: match settings.replay {
                ReplayPolicy::Instant => pb::ReplayPolicy::ReplayInstant,
                ReplayPolicy::Original => pb::ReplayPolicy::ReplayOriginal,
            }
            .into(),
            opt_start_seq: signed(sequence),
            opt_start_time: time,
        }),
    }
}

pub(super) fn entry(entry: Entry) -> pb::KvEntry {
    pb::KvEntry {
        key: entry.key,
        value: if entry.deleted {
            Default::default()
        } else {
            entry.value
        },
        revision: signed(entry.revision),
        created: Some(timestamp(entry.created)),
        deleted: entry.deleted,
        caught_up: false,
    }
}

pub(super) fn object(object: Object) -> pb::ObjectInfo {
    pb::ObjectInfo {
        name: object.name,
        size: object.size.try_into().unwrap_or(i64::MAX),
        modified: object.modified.map(timestamp),
        metadata: object.metadata,
    }
}

/// A number that must not be negative.
pub(super) fn unsigned(field: &'static str, given: i64) -> Result<u64, Error> {
    u64::try_from(given).map_err(|_| Error::invalid(field, "is negative"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_1970() {
        assert_eq!(
            timestamp(-1),
            Timestamp {
                seconds: -1,
                nanos: 999_999_999
            }
        );
        assert_eq!(
            timestamp(1_500_000_000),
            Timestamp {
                seconds: 1,
                nanos: 500_000_000
            }
        );
    }

    #[test]
    fn durations_are_checked() {
        let given = |seconds, nanos| duration("f", Some(prost_types::Duration { seconds, nanos }));
        assert_eq!(given(1, 5).unwrap(), Some(Duration::new(1, 5)));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN)] {
            assert!(given(seconds, nanos).is_err());
        }
        assert!(lifetime("f", Some(prost_types::Duration::default())).is_err());
        assert_eq!(lifetime("f", None).unwrap(), Duration::ZERO);
    }
}
