//! What a request may have. The contract names these.

use super::Error;

/// Longest key, channel or lock name, in bytes.
const KEY_BYTES: usize = 8192;

/// Longest value, member, field or message, in bytes.
const VALUE_BYTES: usize = 64 << 20;

/// Most keys, members or commands of a request.
const ITEMS: usize = 10_000;

/// Longest life of a key: beyond it something was reckoned wrongly.
const LONGEST_MS: i64 = 100 * 366 * 24 * 3600 * 1000;

/// A name of a key, channel or lock.
pub(super) fn name(field: &'static str, name: &str) -> Result<(), Error> {
    match name.len() {
        1..=KEY_BYTES => Ok(()),
        0 => Err(Error::invalid(field, "is empty")),
        bytes => Err(Error::invalid(
            field,
            format!("has {bytes} bytes, and may have {KEY_BYTES}"),
        )),
    }
}

/// Names, each one named in what is said of it.
pub(super) fn names(field: &'static str, all: &[String]) -> Result<(), Error> {
    some(field, all.len())?;
    for (index, one) in all.iter().enumerate() {
        name(field, one).map_err(|error| at(error, field, index))?;
    }
    Ok(())
}

pub(super) fn value(field: &'static str, value: &str) -> Result<(), Error> {
    if value.len() > VALUE_BYTES {
        return Err(Error::invalid(
            field,
            format!("has {} bytes, and may have {VALUE_BYTES}", value.len()),
        ));
    }
    Ok(())
}

/// Values, members or fields: at least one.
pub(super) fn values<'a>(
    field: &'static str,
    all: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Error> {
    some(field, all.len())?;
    for (index, one) in all.enumerate() {
        value(field, one).map_err(|error| at(error, field, index))?;
    }
    Ok(())
}

/// At least one, and not more than a request may have.
pub(super) fn some(field: &'static str, count: usize) -> Result<(), Error> {
    match count {
        1..=ITEMS => Ok(()),
        0 => Err(Error::invalid(field, "is empty")),
        _ => Err(Error::invalid(
            field,
            format!("has {count} entries, and may have {ITEMS}"),
        )),
    }
}

/// How long a key is to live: not for ever, and not less than it takes to write it.
pub(super) fn life(field: &'static str, milliseconds: Option<i64>) -> Result<i64, Error> {
    life_within(field, milliseconds, 1, LONGEST_MS)
}

/// A length of time in milliseconds, both bounds included.
pub(super) fn life_within(
    field: &'static str,
    milliseconds: Option<i64>,
    least: i64,
    most: i64,
) -> Result<i64, Error> {
    let Some(given) = milliseconds else {
        return Err(Error::invalid(field, "is missing"));
    };
    if (least..=most).contains(&given) {
        return Ok(given);
    }
    Err(Error::invalid(
        field,
        format!("is {given} ms, and must be from {least} to {most} ms"),
    ))
}

/// As [`life`], but the past is allowed: it ends the key at once.
pub(super) fn life_or_end(field: &'static str, milliseconds: Option<i64>) -> Result<i64, Error> {
    life_within(field, milliseconds, -LONGEST_MS, LONGEST_MS)
}

pub(super) fn finite(field: &'static str, number: f64) -> Result<(), Error> {
    if number.is_finite() {
        return Ok(());
    }
    Err(Error::invalid(field, "is not a finite number"))
}

/// Names one of many in what is said of it.
pub(super) fn at(error: Error, field: &'static str, index: usize) -> Error {
    match error {
        Error::Invalid { why, .. } => Error::invalid(format!("{field}[{index}]"), why),
        other => other,
    }
}
