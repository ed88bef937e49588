use std::{borrow::Cow, fmt};

/// Why nothing was asked, or was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {why}")]
    Invalid {
        field: &'static str,
        why: Cow<'static, str>,
    },
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0} exists")]
    Exists(String),
    #[error("{0}")]
    Precondition(Cow<'static, str>),
    /// Somebody else was first.
    #[error("{0}")]
    Conflict(Cow<'static, str>),
    /// A target that may not be called.
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    #[error("{0}")]
    TooLarge(String),
    /// The tenant has as many as it may.
    #[error("{0}")]
    Quota(String),
    #[error("the broker has no room left")]
    Full,
    #[error("no answer in time")]
    TimedOut,
    #[error("the reader did not keep up")]
    SlowConsumer,
    /// The connection to the broker is lost or was never there.
    #[error("no connection to the broker: {0}")]
    Down(Cow<'static, str>),
    /// Likewise to NATS.
    #[error("NATS: {0}")]
    StoreDown(String),
    /// What was sent went out, and then the connection was lost for good.
    #[error("the connection was lost before the broker acknowledged")]
    Uncertain,
    /// Ours.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    pub(crate) fn invalid(field: &'static str, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field,
            why: why.into(),
        }
    }

    pub(super) fn unexpected(what: impl fmt::Display) -> Self {
        Self::Unexpected(what.to_string())
    }

    pub(super) fn down(why: impl Into<Cow<'static, str>>) -> Self {
        Self::Down(why.into())
    }

    pub(super) fn store(what: impl fmt::Display) -> Self {
        Self::StoreDown(what.to_string())
    }
}
