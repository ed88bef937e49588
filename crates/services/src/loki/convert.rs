//! The contract's messages from and to those of the service.

use std::time::{SystemTime, UNIX_EPOCH};

use isa_proto::{loki as pb, prost_types::Timestamp};

use super::{
    names::Labels,
    service::{Entry, Error, Figures, MAX_LINE, Record, Stream, UNKNOWN, check_labels},
};

/// Nanoseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000_000;

pub(crate) const HOUR: i64 = 3600 * SECOND;

pub(crate) const DAY: i64 = 24 * HOUR;

/// How old an entry may be, and how far ahead: Loki's own bounds.
const OLDEST: i64 = 7 * DAY;
const AHEAD: i64 = 600 * SECOND;

/// The first time that is asked about: Loki reads short numbers as seconds.
pub(crate) const FIRST: i64 = 365 * DAY;

/// The longest time that is asked about at once.
pub(crate) const MAX_WINDOW: i64 = 30 * DAY;

/// Nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or(i64::MAX)
}

/// Of nanoseconds since 1970.
pub(crate) fn timestamp(at: i64) -> Timestamp {
    Timestamp {
        seconds: at.div_euclid(SECOND),
        nanos: i32::try_from(at.rem_euclid(SECOND)).unwrap_or_default(),
    }
}

/// Nanoseconds since 1970. Times that are given in them end in 2262.
pub(super) fn nanoseconds(field: &'static str, given: Timestamp) -> Result<i64, Error> {
    let at = (0..i64::from(i32::MAX) * 4)
        .contains(&given.seconds)
        .then(|| given.seconds.checked_mul(SECOND))
        .flatten();
    match (at, given.nanos) {
        (Some(at), 0..1_000_000_000) => Ok(at + i64::from(given.nanos)),
        _ => Err(Error::invalid(field, "is no time from 1970 to 2242")),
    }
}

/// A time that is asked about, in nanoseconds since 1970: from `start`, and before `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Window {
    /// Of a request, which may leave times out: the end is now, the start `long` before it.
    pub(super) fn of(start: Option<Timestamp>, end: Option<Timestamp>, long: i64) -> Result<Self, Error> {
        let end = end
            .map(|end| nanoseconds("end", end))
            .transpose()?
            .unwrap_or_else(now);
        let start = match start {
            Some(start) => nanoseconds("start", start)?,
            None => (end - long).max(0),
        };
        for (field, at) in [("end", end), ("start", start)] {
            if at < FIRST {
                return Err(Error::invalid(field, "is before 1971"));
            }
        }
        if end <= start {
            return Err(Error::invalid("end", "is not after the start"));
        }
        if end - start > MAX_WINDOW {
            return Err(Error::invalid("start", "is more than 30 days before the end"));
        }
        Ok(Self { start, end })
    }

    /// Up to now.
    pub(crate) fn last(long: i64) -> Self {
        let end = now();
        Self {
            start: end - long,
            end,
        }
    }

    /// Nanoseconds.
    pub(crate) fn length(self) -> i64 {
        self.end - self.start
    }

    /// As Loki reads them.
    pub(crate) fn texts(self) -> (String, String) {
        (self.start.to_string(), self.end.to_string())
    }
}

/// An entry to be written. Fields in refusals are those of an entry.
pub(super) fn entry(given: pb::LogEntry, now: i64) -> Result<Entry, Error> {
    entry_of(given.timestamp, given.line, given.labels, now)
}

/// The same of its parts: `timestamp`, `line` and `labels`.
pub(super) fn entry_of(
    at: Option<Timestamp>,
    line: String,
    mut labels: Labels,
    now: i64,
) -> Result<Entry, Error> {
    let at = match at {
        Some(at) => nanoseconds("timestamp", at)?,
        None => now,
    };
    if at < now - OLDEST {
        return Err(Error::invalid("timestamp", "is more than 7 days ago"));
    }
    if at > now + AHEAD {
        return Err(Error::invalid("timestamp", "is more than 10 min ahead"));
    }
    if line.is_empty() {
        // Loki takes it, and loses a block that has no others.
        return Err(Error::invalid("line", "is empty: Loki does not keep empty lines"));
    }
    if line.len() > MAX_LINE {
        return Err(Error::invalid(
            "line",
            format!("has {} bytes, and may have {MAX_LINE}", line.len()),
        ));
    }
    check_labels(&labels).map_err(|why| Error::invalid("labels", why))?;
    if labels.is_empty() {
        let (name, value) = UNKNOWN;
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(Entry { at, line, labels })
}

/// The label `level`.
pub(super) fn level(field: &'static str, given: i32) -> Result<&'static str, Error> {
    use pb::LogLevel as Level;
    match Level::try_from(given) {
        Ok(Level::Unknown) => Ok("unknown"),
        Ok(Level::Debug) => Ok("debug"),
        Ok(Level::Info) => Ok("info"),
        Ok(Level::Warn) => Ok("warn"),
        Ok(Level::Error) => Ok("error"),
        Ok(Level::Fatal) => Ok("fatal"),
        Err(_) => Err(Error::invalid(field, "is none of the contract's")),
    }
}

/// A number that may be left out as 0.
pub(super) fn count(field: &'static str, given: i32, default: u32, most: u32) -> Result<u32, Error> {
    match u32::try_from(given) {
        Ok(0) => Ok(default),
        Ok(given) if given <= most => Ok(given),
        _ => Err(Error::invalid(
            field,
            format!("must be at most {most}, or 0 for {default}"),
        )),
    }
}

/// Numbers that the contract has signed; beyond its range there are none.
pub(super) fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

pub(super) fn small(number: impl TryInto<i32>) -> i32 {
    number.try_into().unwrap_or(i32::MAX)
}

pub(super) fn log_entry(record: Record) -> pb::LogEntry {
    pb::LogEntry {
        timestamp: Some(timestamp(record.at)),
        line: record.line,
        labels: Labels::clone(&record.labels),
        stream_id: record.stream.id.clone(),
    }
}

pub(super) fn point((at, value): (i64, f64)) -> pb::DataPoint {
    pb::DataPoint {
        timestamp: Some(timestamp(at)),
        value,
    }
}

pub(super) fn matrix(figures: Figures) -> pb::Matrix {
    pb::Matrix {
        metric: figures.labels,
        values: figures.values.into_iter().map(point).collect(),
    }
}

/// `organization` is whose it is; empty if it is a user's, or not known.
pub(super) fn stream_info(stream: Stream, organization: String) -> pb::StreamInfo {
    pb::StreamInfo {
        stream_id: stream.id,
        user_id: stream.labels.get("user_id").cloned().unwrap_or_default(),
        entry_count: signed(stream.entries),
        bytes: signed(stream.bytes),
        first_entry_at: stream.first.map(timestamp),
        last_entry_at: stream.last.map(timestamp),
        organization_id: organization,
        labels: stream.labels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanos: i32) -> Timestamp {
        Timestamp { seconds, nanos }
    }

    #[test]
    fn times_go_both_ways() {
        for at in [0, 1, 999_999_999, 1_700_000_000_123_456_789] {
            assert_eq!(nanoseconds("t", timestamp(at)).unwrap(), at);
        }
        for bad in [
            time(-1, 0),
            time(i64::MAX, 0),
            time(i64::MIN, -1),
            time(1, -1),
            time(1, i32::MAX),
        ] {
            assert!(nanoseconds("t", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_window_is_bounded() {
        let at = |seconds: i64| Some(time(1_000_000_000 + seconds, 0));
        let hour = Window::of(None, at(0), HOUR).unwrap();
        assert_eq!((hour.start, hour.length()), (1_000_000_000 * SECOND - HOUR, HOUR));
        assert!(Window::of(at(0), at(0), HOUR).is_err());
        assert!(Window::of(at(1), at(0), HOUR).is_err());
        assert!(Window::of(at(0), None, HOUR).is_err());
        assert!(Window::of(Some(time(1, 0)), Some(time(2, 0)), HOUR).is_err());
        assert!(Window::of(at(0), at(30 * 24 * 3600), HOUR).is_ok());
        assert!(Window::of(at(0), at(30 * 24 * 3600 + 1), HOUR).is_err());
    }

    #[test]
    fn entries_are_checked() {
        let now = 1_700_000_000 * SECOND;
        let entry = |at: Option<Timestamp>, line: String| entry_of(at, line, Labels::new(), now);
        let good = entry(None, "x".to_owned()).unwrap();
        assert_eq!((good.at, good.labels["service"].as_str()), (now, "unknown"));
        for (at, field) in [(now - OLDEST - 1, "timestamp"), (now + AHEAD + 1, "timestamp")] {
            let error = entry(Some(timestamp(at)), "x".to_owned()).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
        assert!(entry(Some(timestamp(now - OLDEST)), "x".repeat(MAX_LINE)).is_ok());
        for line in [String::new(), "x".repeat(MAX_LINE + 1)] {
            let error = entry(None, line).unwrap_err();
            assert!(error.to_string().starts_with("line: "), "{error}");
        }
    }
}
