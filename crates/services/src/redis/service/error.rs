//! Why a call on Redis failed, in our words. Redis' own go to the log.

use std::borrow::Cow;

use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The request cannot be right.
    #[error("{field}: {why}")]
    Invalid {
        field: Cow<'static, str>,
        why: Cow<'static, str>,
    },
    /// A call for one type on a key of another.
    #[error("{field}: holds {holds}, which this call is not for")]
    WrongType { field: Cow<'static, str>, holds: String },
    /// What is there does not allow the call.
    #[error("{0}")]
    Refused(&'static str),
    #[error("{0}")]
    OutOfRange(&'static str),
    #[error("the key does not exist")]
    NoKey,
    /// The answer has more bytes than a message may have.
    #[error("{0}")]
    TooLarge(&'static str),
    /// The caller has as many as one may have.
    #[error("{0}")]
    Quota(&'static str),
    /// Redis takes no more data.
    #[error("Redis has no memory left; remove keys, or let them expire")]
    Full(#[source] RedisError),
    /// Redis is not there, or cannot serve for now.
    #[error("Redis does not answer")]
    Unavailable(#[source] RedisError),
    /// An answer that should not be.
    #[error("unexpected answer of Redis")]
    Unexpected(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    /// An answer of another shape than that of the command.
    pub(crate) fn shape(value: &redis::Value) -> Self {
        // Of the value only its kind: it is somebody's data.
        let kind = match value {
            redis::Value::Nil => "nothing",
            redis::Value::Int(_) => "an integer",
            redis::Value::BulkString(_) | redis::Value::SimpleString(_) | redis::Value::Okay => "a string",
            redis::Value::Array(_) => "an array",
            _ => "another value",
        };
        Self::Unexpected(format!("{kind} where the command gives none").into())
    }

    pub(crate) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::WrongType { .. })
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ResponseError) => of_text(error),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::NoPerm,
            )
            | ErrorKind::Io
            | ErrorKind::AuthenticationFailed
            | ErrorKind::ClusterConnectionNotFound
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => Self::Unavailable(error),
            _ => of_code(error),
        }
    }
}

/// Errors that have a code of their own, unknown to the client.
fn of_code(error: RedisError) -> Error {
    match error.code() {
        Some("WRONGTYPE") => Error::WrongType {
            field: "key".into(),
            holds: "another type".into(),
        },
        Some("OOM") => Error::Full(error),
        // It cannot save, has too few replicas, runs a script that does not end, or does not take our password.
        Some("MISCONF" | "NOREPLICAS" | "BUSY" | "NOAUTH" | "WRONGPASS") => Error::Unavailable(error),
        _ if error.is_unrecoverable_error() => Error::Unavailable(error),
        _ => Error::Unexpected(Box::new(error)),
    }
}

/// Errors that Redis tells apart by their text alone.
fn of_text(error: RedisError) -> Error {
    let text = error.detail().unwrap_or_default();
    let has = |part: &str| text.contains(part);
    if has("is not an integer") {
        Error::Refused("the value is not an integer of 64 bits")
    } else if has("would overflow") {
        Error::OutOfRange("the sum has more than 64 bits")
    } else if has("not a valid float") {
        Error::Refused("the value is not a number")
    } else if has("not a number") {
        Error::Refused("the sum of infinities of both signs is no number")
    } else if has("no such key") {
        Error::NoKey
    } else if has("exceeds maximum allowed size") {
        Error::TooLarge("the string would have more bytes than Redis keeps at one key")
    } else if has("max number of clients") {
        Error::Unavailable(error)
    } else {
        Error::Unexpected(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Error {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        match value {
            redis::Value::ServerError(error) => RedisError::from(error).into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_redis_says_is_told_apart() {
        let refused = |line| matches!(of(line), Error::Refused(_));
        assert!(refused("ERR value is not an integer or out of range"));
        assert!(refused("ERR hash value is not an integer"));
        assert!(refused("ERR resulting score is not a number (NaN)"));
        assert!(of("WRONGTYPE Operation against a key").is_wrong_type());
        assert!(matches!(
            of("ERR increment or decrement would overflow"),
            Error::OutOfRange(_)
        ));
        assert!(matches!(of("ERR no such key"), Error::NoKey));
        assert!(matches!(of("OOM command not allowed"), Error::Full(_)));
        for line in [
            "READONLY You can't write",
            "LOADING Redis is loading",
            "CLUSTERDOWN Hash slot not served",
            "MASTERDOWN Link",
            "MISCONF Redis is configured",
            "NOAUTH Authentication required.",
            "NOPERM no",
        ] {
            assert!(matches!(of(line), Error::Unavailable(_)), "{line}");
        }
        assert!(matches!(of("ERR unknown command"), Error::Unexpected(_)));
    }
}
