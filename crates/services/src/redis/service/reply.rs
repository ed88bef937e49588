//! Answers of Redis, as the values they are.

use redis::Value;

use super::Error;

/// Most bytes of an answer: what a message may have.
pub(super) const ANSWER_BYTES: usize = 100 << 20;

const NOT_TEXT: &str = "what is there is not UTF-8: another client wrote it, and only that can read it";
pub(super) const TOO_LARGE: &str = "the answer has more than 100 MiB; ask for less at once";

pub(super) fn int(value: Value) -> Result<i64, Error> {
    match value {
        Value::Int(number) => Ok(number),
        other => Err(Error::shape(&other)),
    }
}

/// A count that stops where the contract's type ends.
pub(super) fn count(value: Value) -> Result<i32, Error> {
    int(value).map(|number| i32::try_from(number).unwrap_or(i32::MAX))
}

pub(super) fn flag(value: Value) -> Result<bool, Error> {
    int(value).map(|number| number != 0)
}

/// An answer that says no more than that it was done.
pub(super) fn done(_: Value) {}

pub(super) fn text(value: Value) -> Result<String, Error> {
    match value {
        Value::BulkString(bytes) if bytes.len() > ANSWER_BYTES => Err(Error::TooLarge(TOO_LARGE)),
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Error::Refused(NOT_TEXT)),
        Value::SimpleString(text) => Ok(text),
        Value::Int(number) => Ok(number.to_string()),
        other => Err(Error::shape(&other)),
    }
}

/// `None` where there is nothing.
pub(super) fn maybe<T>(
    value: Value,
    read: impl FnOnce(Value) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match value {
        Value::Nil => Ok(None),
        value => read(value).map(Some),
    }
}

/// A score: Redis writes it as text.
pub(super) fn score(value: Value) -> Result<f64, Error> {
    match value {
        Value::Double(number) => Ok(number),
        Value::BulkString(bytes) => std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::shape(&Value::BulkString(bytes))),
        other => Err(Error::shape(&other)),
    }
}

pub(super) fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(values) | Value::Set(values) => {
            let bytes: usize = values.iter().map(size).sum();
            if bytes > ANSWER_BYTES {
                return Err(Error::TooLarge(TOO_LARGE));
            }
            Ok(values)
        }
        Value::Nil => Ok(Vec::new()),
        other => Err(Error::shape(&other)),
    }
}

pub(super) fn texts(value: Value) -> Result<Vec<String>, Error> {
    list(value)?.into_iter().map(text).collect()
}

/// Two and two, as Redis gives fields with values and members with scores.
pub(super) fn pairs<T>(
    value: Value,
    second: impl Fn(Value) -> Result<T, Error>,
) -> Result<Vec<(String, T)>, Error> {
    let mut values = list(value)?.into_iter();
    let mut pairs = Vec::with_capacity(values.len() / 2);
    while let (Some(first), Some(other)) = (values.next(), values.next()) {
        pairs.push((text(first)?, second(other)?));
    }
    Ok(pairs)
}

/// What it takes in a message, about.
fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len() + 6,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    #[test]
    fn scores_are_read_exactly() {
        for number in [
            0.1,
            -1e300,
            5e-324,
            f64::INFINITY,
            f64::NEG_INFINITY,
            9007199254740993.0,
        ] {
            assert_eq!(score(bulk(&number.to_string())).unwrap(), number);
        }
        assert!(score(bulk("x")).is_err() && score(Value::Nil).is_err());
    }

    #[test]
    fn other_shapes_are_errors_and_show_no_data() {
        let error = text(Value::Array(vec![bulk("secret")])).unwrap_err();
        assert!(!format!("{error:?}").contains("secret"));
        assert!(matches!(
            text(Value::BulkString(vec![0xff])),
            Err(Error::Refused(_))
        ));
        assert_eq!(count(Value::Int(i64::MAX)).unwrap(), i32::MAX);
    }

    #[test]
    fn pairs_come_two_and_two() {
        let value = Value::Array(vec![bulk("a"), bulk("1"), bulk("b"), bulk("2")]);
        assert_eq!(
            pairs(value, score).unwrap(),
            [("a".into(), 1.0), ("b".into(), 2.0)]
        );
    }
}
