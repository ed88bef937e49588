//! Between the contract's messages and plain values.

use std::time::{Duration, SystemTime};

use isa_proto::{
    prost_types::{self, Timestamp},
    redis as pb,
};
use isa_server::Error;

use crate::redis::service::{Command, KeyInfo, Kind, Message, Session, Statistics};

/// Whole milliseconds, fractions cut off. What is too long for a number stays too long for any limit.
pub(super) fn milliseconds(
    field: &'static str,
    length: Option<prost_types::Duration>,
) -> Result<Option<i64>, Error> {
    let Some(prost_types::Duration { seconds, nanos }) = length else {
        return Ok(None);
    };
    let same_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    if nanos.unsigned_abs() >= 1_000_000_000 || !same_sign {
        return Err(Error::invalid(
            field,
            "has nanos that are no part of a second, or of the other sign than its seconds",
        ));
    }
    let whole = seconds.saturating_mul(1000);
    Ok(Some(whole.saturating_add(i64::from(nanos / 1_000_000))))
}

/// Of milliseconds since 1970.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp {
        seconds: milliseconds.div_euclid(1000),
        // Below a thousand million.
        nanos: (milliseconds.rem_euclid(1000) * 1_000_000) as i32,
    }
}

pub(super) fn session(session: Session, user: &str) -> pb::SessionInfo {
    pb::SessionInfo {
        session_id: session.id,
        user_id: user.to_owned(),
        data: session.data,
        created_at: Some(timestamp(session.created)),
        expires_at: Some(timestamp(session.ends)),
        last_accessed: Some(timestamp(session.last_used)),
    }
}

pub(super) fn command(index: usize, command: pb::BatchCommand) -> Result<Command, Error> {
    Ok(Command {
        life: milliseconds("expiration", command.expiration)
            .map_err(|_| Error::invalid(format!("commands[{index}].expiration"), "is no length of time"))?,
        operation: command.operation,
        key: command.key,
        value: command.value,
    })
}

pub(super) fn message(message: &Message) -> pb::MessageResponse {
    pb::MessageResponse {
        channel: message.channel().to_owned(),
        message: message.text().to_owned(),
        timestamp: Some(message.received.into()),
    }
}

pub(super) fn key_info(info: Option<KeyInfo>) -> pb::GetKeyInfoResponse {
    let Some(info) = info else {
        return pb::GetKeyInfoResponse::default();
    };
    let used = |idle: Duration| SystemTime::now().checked_sub(idle).map(Timestamp::from);
    pb::GetKeyInfoResponse {
        exists: true,
        r#type: match info.kind {
            Kind::String | Kind::Other => pb::ValueType::String,
            Kind::Hash => pb::ValueType::Hash,
            Kind::List => pb::ValueType::List,
            Kind::Set => pb::ValueType::Set,
            Kind::SortedSet => pb::ValueType::Zset,
        }
        .into(),
        ttl_seconds: info.life_seconds,
        size_bytes: info.bytes,
        created_at: None,
        last_accessed: info.idle.and_then(used),
    }
}

pub(super) fn statistics(found: Statistics) -> pb::GetStatisticsResponse {
    pb::GetStatisticsResponse {
        total_keys: found.keys,
        memory_used_bytes: found.memory,
        commands_processed: found.commands,
        connections_received: found.connections,
        hit_rate: found.hit_rate,
        key_type_distribution: found
            .kinds
            .into_iter()
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect(),
    }
}

pub(super) fn pairs(fields: Vec<pb::HashField>) -> Vec<(String, String)> {
    fields.into_iter().map(|it| (it.field, it.value)).collect()
}

pub(super) fn fields(pairs: Vec<(String, String)>) -> Vec<pb::HashField> {
    pairs
        .into_iter()
        .map(|(field, value)| pb::HashField { field, value })
        .collect()
}

pub(super) fn members(pairs: Vec<(String, f64)>) -> Vec<pb::ZSetMember> {
    pairs
        .into_iter()
        .map(|(member, score)| pb::ZSetMember { member, score })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
        Some(prost_types::Duration { seconds, nanos })
    }

    #[test]
    fn lengths_of_time_are_whole_milliseconds() {
        let read = |seconds, nanos| milliseconds("ttl", length(seconds, nanos)).unwrap();
        assert_eq!(milliseconds("ttl", None).unwrap(), None);
        assert_eq!(read(1, 500_000_000), Some(1500));
        assert_eq!(read(-1, -999_999), Some(-1000));
        assert_eq!(read(i64::MAX, 999_999_999), Some(i64::MAX));
        for (seconds, nanos) in [(1, -1), (0, 1_000_000_000), (-1, i32::MAX), (0, i32::MIN)] {
            let error = milliseconds("ttl", length(seconds, nanos)).unwrap_err();
            assert!(error.message().starts_with("ttl: "), "{error}");
        }
    }

    #[test]
    fn times_before_1970_are_times_too() {
        assert_eq!(timestamp(-1).seconds, -1);
        assert_eq!(timestamp(-1).nanos, 999_000_000);
        assert_eq!(timestamp(1500).nanos, 500_000_000);
    }
}
