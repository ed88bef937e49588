//! Dates, times and durations as ISO 8601 writes them, and back. Neo4j's years have nine digits: more than `chrono` has.

use chrono::{NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::neo4j::service::{Moment, Span, Zone};

const DAY: i64 = 86_400;
const NANOS: i64 = 1_000_000_000;

/// Neo4j's last year, and the first with a minus.
const MAX_YEAR: i64 = 999_999_999;

/// Days since 1970-01-01 as year, month and day. (Howard Hinnant's `civil_from_days`.)
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// And back, of a date that there is.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

pub(super) fn date(days: i64) -> String {
    let (year, month, day) = civil(days);
    match year {
        0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

fn fraction(nanos: i64) -> String {
    if nanos == 0 {
        return String::new();
    }
    let digits = format!("{nanos:09}");
    format!(".{}", digits.trim_end_matches('0'))
}

/// Of nanoseconds since midnight.
pub(super) fn local_time(nanos: i64) -> String {
    let (seconds, nanos) = (nanos.div_euclid(NANOS), nanos.rem_euclid(NANOS));
    format!(
        "{:02}:{:02}:{:02}{}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        fraction(nanos)
    )
}

fn offset(seconds: i64) -> String {
    if seconds == 0 {
        return "Z".into();
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let of = seconds.unsigned_abs();
    let text = format!("{sign}{:02}:{:02}", of / 3600, of / 60 % 60);
    match of % 60 {
        0 => text,
        rest => format!("{text}:{rest:02}"),
    }
}

pub(super) fn time(nanos: i64, east: i64) -> String {
    local_time(nanos) + &offset(east)
}

pub(super) fn local_datetime(at: Moment) -> String {
    let nanos = at.seconds.rem_euclid(DAY) * NANOS + at.nanos;
    format!("{}T{}", date(at.seconds.div_euclid(DAY)), local_time(nanos))
}

pub(super) fn datetime(at: Moment, zone: &Zone) -> String {
    let shifted = |east: i64| {
        let at = Moment {
            seconds: at.seconds.saturating_add(east),
            ..at
        };
        local_datetime(at) + &offset(east)
    };
    match zone {
        Zone::Offset(east) => shifted(*east),
        // In UTC where the zone is not known here, or its rules do not reach so far: the moment is the same.
        Zone::Name(name) => format!(
            "{}[{name}]",
            shifted(east_in(name, at.seconds).unwrap_or_default())
        ),
    }
}

/// Seconds east of Greenwich in a zone at a moment.
fn east_in(zone: &str, seconds: i64) -> Option<i64> {
    let zone: Tz = zone.parse().ok()?;
    let at = zone.timestamp_opt(seconds, 0).single()?;
    Some(at.offset().fix().local_minus_utc().into())
}

pub(super) fn duration(span: Span) -> String {
    let mut text = String::from("P");
    for (count, unit) in [(span.months, 'M'), (span.days, 'D')] {
        if count != 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if span.seconds != 0 || span.nanos != 0 {
        // Nanoseconds go on from the seconds: -2 s and 0.5 s more are -1.5 s.
        let (sign, seconds, nanos) = if span.seconds < 0 && span.nanos > 0 {
            (
                if span.seconds == -1 { "-" } else { "" },
                span.seconds + 1,
                NANOS - span.nanos,
            )
        } else {
            ("", span.seconds, span.nanos)
        };
        text.push_str(&format!("T{sign}{seconds}{}S", fraction(nanos)));
    }
    if text.len() == 1 {
        text.push_str("T0S");
    }
    text
}

/// Reads a text from its beginning.
struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn eat(&mut self, what: char) -> Option<()> {
        self.0 = self.0.strip_prefix(what)?;
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if count < least {
            return None;
        }
        let number = self.0.get(..count)?.parse().ok()?;
        self.0 = self.0.get(count..)?;
        Some(number)
    }

    fn two(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        self.digits(2, 2).filter(|number| range.contains(number))
    }

    fn sign(&mut self) -> Option<i64> {
        let sign = match self.0.chars().next()? {
            '+' => 1,
            '-' => -1,
            _ => return None,
        };
        self.0 = self.0.get(1..)?;
        Some(sign)
    }

    fn date(&mut self) -> Option<i64> {
        let (sign, year) = match self.sign() {
            Some(sign) => (sign, self.digits(4, 9)?),
            None => (1, self.digits(4, 4)?),
        };
        let year = sign * year;
        self.eat('-')?;
        let month = self.two(1..=12)?;
        self.eat('-')?;
        let day = self.two(1..=31)?;
        let days = days(year, month, day);
        // The 31st of a month that has 30 is another date.
        (year.abs() <= MAX_YEAR && civil(days) == (year, month, day)).then_some(days)
    }

    /// Nanoseconds of `.5` and the like; none if there is no point.
    fn fraction(&mut self) -> Option<i64> {
        if self.eat('.').is_none() {
            return Some(0);
        }
        let before = self.0.len();
        let number = self.digits(1, 9)?;
        let digits = u32::try_from(before - self.0.len()).ok()?;
        Some(number * 10_i64.pow(9 - digits))
    }

    fn time(&mut self) -> Option<i64> {
        let hour = self.two(0..=23)?;
        self.eat(':')?;
        let minute = self.two(0..=59)?;
        let mut nanos = (hour * 3600 + minute * 60) * NANOS;
        if self.eat(':').is_some() {
            nanos += self.two(0..=59)? * NANOS + self.fraction()?;
        }
        Some(nanos)
    }

    fn offset(&mut self) -> Option<i64> {
        if self.eat('Z').is_some() {
            return Some(0);
        }
        let sign = self.sign()?;
        let mut seconds = self.two(0..=18)? * 3600;
        if self.eat(':').is_some() {
            seconds += self.two(0..=59)? * 60;
            if self.eat(':').is_some() {
                seconds += self.two(0..=59)?;
            }
        }
        (seconds <= 18 * 3600).then_some(sign * seconds)
    }

    fn local_datetime(&mut self) -> Option<Moment> {
        let days = self.date()?;
        self.eat('T')?;
        let nanos = self.time()?;
        Some(Moment {
            seconds: days * DAY + nanos / NANOS,
            nanos: nanos % NANOS,
        })
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

pub(super) fn read_date(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let days = cursor.date()?;
    cursor.end(days)
}

pub(super) fn read_local_time(text: &str) -> Option<i64> {
    let mut cursor = Cursor(text);
    let nanos = cursor.time()?;
    cursor.end(nanos)
}

pub(super) fn read_time(text: &str) -> Option<(i64, i64)> {
    let mut cursor = Cursor(text);
    let value = (cursor.time()?, cursor.offset()?);
    cursor.end(value)
}

pub(super) fn read_local_datetime(text: &str) -> Option<Moment> {
    let mut cursor = Cursor(text);
    let at = cursor.local_datetime()?;
    cursor.end(at)
}

/// A named zone needs an offset beside it only where its clocks show an hour twice.
pub(super) fn read_datetime(text: &str) -> Option<(Moment, Zone)> {
    let Some(named) = text.strip_suffix(']') else {
        return read_offset(text);
    };
    let (text, name) = named.split_once('[').filter(|(_, name)| !name.is_empty())?;
    let mut cursor = Cursor(text);
    let local = cursor.local_datetime()?;
    let east = if cursor.0.is_empty() {
        let zone: Tz = name.parse().ok()?;
        let naive: NaiveDateTime = chrono::DateTime::from_timestamp(local.seconds, 0)?.naive_utc();
        let at = zone.from_local_datetime(&naive).single()?;
        at.offset().fix().local_minus_utc().into()
    } else {
        cursor.offset()?
    };
    let at = Moment {
        seconds: local.seconds - east,
        ..local
    };
    cursor.end((at, Zone::Name(name.to_owned())))
}

fn read_offset(text: &str) -> Option<(Moment, Zone)> {
    let mut cursor = Cursor(text);
    let local = cursor.local_datetime()?;
    let east = cursor.offset()?;
    let at = Moment {
        seconds: local.seconds - east,
        ..local
    };
    cursor.end((at, Zone::Offset(east)))
}

/// `P1Y2M3W4DT5H6M7.8S`, each part with a sign if need be; a fraction at the seconds alone.
pub(super) fn read_duration(text: &str) -> Option<Span> {
    let mut cursor = Cursor(text);
    let all = cursor.sign().unwrap_or(1);
    cursor.eat('P')?;
    let mut span = Span {
        months: 0,
        days: 0,
        seconds: 0,
        nanos: 0,
    };
    let mut in_time = false;
    let mut parts = 0;
    while !cursor.0.is_empty() {
        if !in_time && cursor.eat('T').is_some() {
            in_time = true;
            continue;
        }
        let negative = cursor.0.starts_with('-');
        let sign = all
            * if cursor.0.starts_with(['+', '-']) {
                cursor.sign()?
            } else {
                1
            };
        let count = sign.checked_mul(cursor.digits(1, 18)?)?;
        let nanos = cursor.fraction()?;
        let unit = cursor.0.chars().next()?;
        cursor.eat(unit)?;
        if nanos != 0 && (unit, in_time) != ('S', true) {
            return None;
        }
        let (slot, times) = match (unit, in_time) {
            ('Y', false) => (&mut span.months, 12),
            ('M', false) => (&mut span.months, 1),
            ('W', false) => (&mut span.days, 7),
            ('D', false) => (&mut span.days, 1),
            ('H', true) => (&mut span.seconds, 3600),
            ('M', true) => (&mut span.seconds, 60),
            ('S', true) => (&mut span.seconds, 1),
            _ => return None,
        };
        *slot = slot.checked_add(count.checked_mul(times)?)?;
        if nanos != 0 {
            // Minus nought seconds and a fraction is a fraction less than nought.
            let down = (all < 0) != negative;
            span.seconds = if down {
                span.seconds.checked_sub(1)?
            } else {
                span.seconds
            };
            span.nanos = if down { NANOS - nanos } else { nanos };
        }
        parts += 1;
    }
    (parts > 0).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_there_and_back() {
        for (days, text) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (-719_528, "0000-01-01"),
            (-719_529, "-0001-12-31"),
            (2_932_897, "+10000-01-01"),
            (365_241_780_471, "+999999999-12-31"),
        ] {
            assert_eq!(date(days), text);
            assert_eq!(read_date(text), Some(days), "{text}");
        }
        for text in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-1-1",
            "2024-01-01T",
            "10000-01-01",
        ] {
            assert_eq!(read_date(text), None, "{text}");
        }
    }

    #[test]
    fn times_go_there_and_back() {
        for text in ["00:00:00", "23:59:59.999999999", "12:30:00.5"] {
            assert_eq!(local_time(read_local_time(text).unwrap()), text);
        }
        for text in [
            "12:30:00Z",
            "12:30:00+01:00",
            "12:30:00-18:00",
            "12:30:00.000000001+01:02:03",
        ] {
            let (nanos, east) = read_time(text).unwrap();
            assert_eq!(time(nanos, east), text);
        }
        assert_eq!(read_local_time("12:30"), read_local_time("12:30:00"));
        for text in ["24:00:00", "12:60:00", "12:00:00+19:00", "é"] {
            assert_eq!(read_time(text), None, "{text}");
        }
    }

    #[test]
    fn moments_go_there_and_back() {
        for text in [
            "2024-05-01T12:00:00Z",
            "2024-05-01T12:00:00.25+05:30",
            "-0044-03-15T00:00:00Z",
            "2024-05-01T12:00:00+02:00[Europe/Berlin]",
            "2024-10-27T02:30:00+02:00[Europe/Berlin]",
            "2024-10-27T02:30:00+01:00[Europe/Berlin]",
            "2024-05-01T12:00:00Z[Moon/Tranquility]",
            "+999999999-05-01T12:00:00Z[Europe/Berlin]",
        ] {
            let (at, zone) = read_datetime(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(datetime(at, &zone), text);
        }
        let (at, zone) = read_datetime("2024-05-01T12:00:00[Europe/Berlin]").unwrap();
        assert_eq!(datetime(at, &zone), "2024-05-01T12:00:00+02:00[Europe/Berlin]");
        // Twice, and never.
        assert_eq!(read_datetime("2024-10-27T02:30:00[Europe/Berlin]"), None);
        assert_eq!(read_datetime("2024-03-31T02:30:00[Europe/Berlin]"), None);
        for text in [
            "2024-05-01T12:00:00",
            "2024-05-01T12:00:00Z[]",
            "2024-05-01T12:00:00[Nowhere]",
            "]",
            "[]",
        ] {
            assert_eq!(read_datetime(text), None, "{text}");
        }
        let at = read_local_datetime("1969-12-31T23:59:59.5").unwrap();
        assert_eq!((at.seconds, at.nanos), (-1, 500_000_000));
        assert_eq!(local_datetime(at), "1969-12-31T23:59:59.5");
    }

    #[test]
    fn durations_go_there_and_back() {
        let span = |months, days, seconds, nanos| Span {
            months,
            days,
            seconds,
            nanos,
        };
        for (text, parts) in [
            ("PT0S", span(0, 0, 0, 0)),
            ("P14M3DT-4.5S", span(14, 3, -5, 500_000_000)),
            ("PT-0.5S", span(0, 0, -1, 500_000_000)),
            ("PT1.000000001S", span(0, 0, 1, 1)),
            ("P-1M", span(-1, 0, 0, 0)),
        ] {
            assert_eq!(duration(parts), text);
            assert_eq!(read_duration(text), Some(parts), "{text}");
        }
        assert_eq!(
            read_duration("P1Y2M1W1DT1H1M1.5S"),
            Some(span(14, 8, 3661, 500_000_000))
        );
        assert_eq!(read_duration("-PT1.5S"), Some(span(0, 0, -2, 500_000_000)));
        for text in ["", "P", "PT", "P1.5D", "P1S", "1D", "P9999999999999999999D"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }
}
