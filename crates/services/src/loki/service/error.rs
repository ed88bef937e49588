use std::{borrow::Cow, fmt, sync::Arc};

/// Why Loki was not asked, or did not do it. Clones go to all calls that shared one request.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {why}")]
    Invalid {
        field: Cow<'static, str>,
        why: Cow<'static, str>,
    },
    #[error("{0}")]
    Forbidden(Cow<'static, str>),
    #[error("{0} does not exist")]
    NotFound(&'static str),
    /// The state forbids it.
    #[error("{0}")]
    Precondition(Cow<'static, str>),
    /// This Loki cannot do it.
    #[error("{0}")]
    Unsupported(Cow<'static, str>),
    /// The tenant has as many as it may.
    #[error("{0}")]
    Quota(String),
    /// The tenant writes or asks more than Loki takes of it.
    #[error("Loki takes no more of this tenant for now")]
    RateLimited,
    #[error("{0}")]
    TooLarge(Cow<'static, str>),
    /// The reader did not keep up.
    #[error("the reader did not keep up")]
    SlowConsumer,
    #[error("no answer in time")]
    TimedOut,
    /// Loki does not answer, or not with sense.
    #[error("no answer: {0}")]
    Down(Arc<str>),
    /// Ours.
    #[error("{0}")]
    Unexpected(Arc<str>),
}

impl Error {
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    pub(super) fn down(why: impl fmt::Display) -> Self {
        Self::Down(why.to_string().into())
    }

    pub(super) fn unexpected(what: impl fmt::Display) -> Self {
        Self::Unexpected(what.to_string().into())
    }
}

/// What HTTP said: no answer at all, or none in time.
impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::TimedOut;
        }
        // The address is known, and the causes are what matters.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::down(text)
    }
}
