//! Dates and times from PostgreSQL's binary form, over all of its range, which is wider than that of any library at hand.

use std::fmt::Write;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Days from 1970 to 2000, where PostgreSQL begins to count.
const EPOCH: i64 = 10_957;

/// `2026-01-31`, of days since 2000.
pub(super) fn date(days: i32) -> String {
    match days {
        i32::MAX => "Infinity".into(),
        i32::MIN => "-Infinity".into(),
        _ => {
            let (date, era) = civil(i64::from(days));
            date + era
        }
    }
}

/// `13:05:00.5`, of microseconds since midnight.
pub(super) fn time(micros: i64) -> String {
    let mut out = String::with_capacity(15);
    clock(micros, false, &mut out);
    out
}

/// `2026-01-31T13:05:00.5`, of microseconds since 2000; with `zone`, all six digits and a Z.
pub(super) fn timestamp(micros: i64, zone: bool) -> String {
    match micros {
        i64::MAX => return "Infinity".into(),
        i64::MIN => return "-Infinity".into(),
        _ => {}
    }
    let (mut out, era) = civil(micros.div_euclid(DAY));
    out.push('T');
    clock(micros.rem_euclid(DAY), zone, &mut out);
    if zone {
        out.push('Z');
    }
    out + era
}

/// `P1Y2M3DT4H5M6.5S`
pub(super) fn interval(micros: i64, days: i32, months: i32) -> String {
    match (months, days, micros) {
        (i32::MAX, i32::MAX, i64::MAX) => return "Infinity".into(),
        (i32::MIN, i32::MIN, i64::MIN) => return "-Infinity".into(),
        (0, 0, 0) => return "PT0S".into(),
        _ => {}
    }
    let mut out = String::from("P");
    let part = |number: i64, unit: char, out: &mut String| {
        if number != 0 {
            let _ = write!(out, "{number}{unit}");
        }
    };
    part(i64::from(months / 12), 'Y', &mut out);
    part(i64::from(months % 12), 'M', &mut out);
    part(i64::from(days), 'D', &mut out);
    if micros != 0 {
        out.push('T');
        part(micros / (3600 * SECOND), 'H', &mut out);
        part(micros / (60 * SECOND) % 60, 'M', &mut out);
        let seconds = micros % (60 * SECOND);
        if seconds != 0 {
            let (whole, fraction) = ((seconds / SECOND).abs(), (seconds % SECOND).abs());
            let _ = write!(out, "{}{whole}", if seconds < 0 { "-" } else { "" });
            if fraction != 0 {
                let digits = format!("{fraction:06}");
                let _ = write!(out, ".{}", digits.trim_end_matches('0'));
            }
            out.push('S');
        }
    }
    out
}

fn clock(micros: i64, all: bool, out: &mut String) {
    let seconds = micros / SECOND;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let _ = write!(out, "{hour:02}:{minute:02}:{second:02}");
    let fraction = micros % SECOND;
    if all || fraction != 0 {
        let digits = format!("{fraction:06}");
        let digits = if all {
            digits.as_str()
        } else {
            digits.trim_end_matches('0')
        };
        let _ = write!(out, ".{digits}");
    }
}

/// The day of the Gregorian calendar, of days since 2000; and what follows when it is before our era.
///
/// As of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March, so that the day which some
/// have and others not is their last.
fn civil(days: i64) -> (String, &'static str) {
    let days = days + EPOCH + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // There is no year 0: it is 1 BC.
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), suffix)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_as_iso_has_them() {
        assert_eq!(date(0), "2000-01-01");
        assert_eq!(date(-730_119), "0001-01-01");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(date(i32::MIN), "-Infinity");
        assert_eq!(time(47_100_500_000), "13:05:00.5");
        assert_eq!(time(DAY), "24:00:00");
        assert_eq!(timestamp(-1, true), "1999-12-31T23:59:59.999999Z");
        assert_eq!(timestamp(0, true), "2000-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(0, false), "2000-01-01T00:00:00");
        assert_eq!(timestamp(i64::MAX, false), "Infinity");
        assert_eq!(interval(14_706_500_000, 3, 14), "P1Y2M3DT4H5M6.5S");
        assert_eq!(interval(-500_000, 0, -1), "P-1MT-0.5S");
        assert_eq!(interval(0, 0, 0), "PT0S");
    }

    proptest! {
        #[test]
        fn dates_are_those_of_the_calendar(days in -700_000..90_000_000_i32) {
            let epoch = NaiveDate::from_ymd_opt(2000, 1, 1).unwrap();
            let date_of_theirs = epoch + chrono::Duration::days(i64::from(days));
            let year = date_of_theirs.year();
            let theirs = format!("{year:04}-{:02}-{:02}", date_of_theirs.month(), date_of_theirs.day());
            prop_assert_eq!(date(days), theirs);
        }

        #[test]
        fn no_number_is_too_large(micros in any::<i64>(), days in any::<i32>(), months in any::<i32>()) {
            let _ = (timestamp(micros, true), interval(micros, days, months), date(days));
        }
    }
}
