use std::{borrow::Cow, error::Error as _};

use tonic::{Code, Status};

use crate::qdrant::names::Collection;

/// Most bytes of the engine's text that a caller gets to read.
const MAX_TEXT: usize = 500;

/// Why Qdrant was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {why}")]
    Invalid {
        field: Cow<'static, str>,
        why: Cow<'static, str>,
    },
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0}")]
    Exists(String),
    /// What the request asks for cannot be right: only the engine found out. Its words, by the tenant's names.
    #[error("{0}")]
    Refused(String),
    /// What is there forbids it.
    #[error("{0}")]
    Precondition(String),
    #[error("{0}")]
    TooLarge(String),
    /// The tenant has as many as it may.
    #[error("{0}")]
    Quota(String),
    #[error("the engine takes no more for now: {0}")]
    Full(Status),
    #[error("{0}")]
    Unsupported(String),
    #[error("no answer in time")]
    TimedOut,
    /// The connection is lost or was never there, or the engine does not know us.
    #[error("no connection: {0}")]
    Down(Cow<'static, str>),
    /// Ours, or the engine's own fault.
    #[error("{0}")]
    Unexpected(String),
}

impl Error {
    pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    pub(crate) fn no_collection(collection: &Collection) -> Self {
        Self::NotFound(format!("collection {:?}", collection.given))
    }

    pub(super) fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }

    /// What the engine's refusal means; `collection` is what the call was about.
    pub(super) fn of(status: Status, collection: &Collection) -> Self {
        match status.code() {
            Code::NotFound if is_about_points(&status) => {
                Self::NotFound("a point that the call names".into())
            }
            Code::NotFound => Self::no_collection(collection),
            Code::AlreadyExists => Self::Exists(format!("{:?} exists already", collection.given)),
            Code::InvalidArgument => Self::Refused(told(&status, collection)),
            Code::FailedPrecondition => Self::Precondition(told(&status, collection)),
            Code::Unimplemented => Self::Unsupported(told(&status, collection)),
            _ => Self::common(status),
        }
    }

    /// Likewise of a call that is about no collection.
    pub(super) fn common(status: Status) -> Self {
        // Those that the client made itself have a cause.
        let ours = status.source().is_some();
        match status.code() {
            Code::DeadlineExceeded => Self::TimedOut,
            Code::Cancelled if status.message().contains("Timeout expired") => Self::TimedOut,
            _ if ours => Self::Down(describe(&status).into()),
            // Ours too: the answer is longer than we take.
            Code::OutOfRange => Self::TooLarge(
                "the answer is larger than 100 MiB; ask for fewer results, or without vectors and payloads"
                    .into(),
            ),
            Code::ResourceExhausted if status.message().contains("large") => {
                Self::TooLarge("the request is larger than the engine takes; send it in parts".into())
            }
            Code::ResourceExhausted => Self::Full(status),
            Code::Unavailable => Self::Down(status.message().to_owned().into()),
            Code::Unauthenticated | Code::PermissionDenied => {
                Self::Down(format!("the engine refuses our API key: {}", status.message()).into())
            }
            Code::Unimplemented => Self::Unsupported(String::new()),
            _ => Self::Unexpected(format!("{:?}: {}", status.code(), status.message())),
        }
    }
}

fn is_about_points(status: &Status) -> bool {
    status.message().contains("oint") && !status.message().contains("ollection")
}

/// The engine's text, with the caller's names and without what says nothing to him.
fn told(status: &Status, collection: &Collection) -> String {
    let text = collection.reworded(status.message());
    let text = [
        "Wrong input: ",
        "Bad request: ",
        "Not supported by the built-in vector engine: ",
    ]
    .iter()
    .fold(text.as_str(), |text, before| {
        text.strip_prefix(before).unwrap_or(text)
    });
    let mut out = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if out.len() >= MAX_TEXT {
            out.push('…');
            break;
        }
        out.push(c);
    }
    out
}

/// A failure with its causes.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = status.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}
