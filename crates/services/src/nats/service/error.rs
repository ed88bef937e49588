use std::{borrow::Cow, fmt};

use async_nats::jetstream::{self, ErrorCode as Code};

/// Why NATS was not asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{field}: {why}")]
    Invalid {
        field: &'static str,
        why: Cow<'static, str>,
    },
    #[error("{0} does not exist")]
    NotFound(String),
    #[error("{0}")]
    Exists(String),
    /// What is there forbids it.
    #[error("{0}")]
    Precondition(String),
    /// Somebody else was first.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    TooLarge(String),
    /// The tenant has as many as it may.
    #[error("{0}")]
    Quota(String),
    /// A bucket or a stream is full, by its own limit.
    #[error("{0}")]
    BucketFull(String),
    /// The server is full.
    #[error("no room is left: {0}")]
    Full(jetstream::Error),
    #[error("nobody is subscribed")]
    NoResponders,
    #[error("no answer in time")]
    TimedOut,
    #[error("the reader did not keep up")]
    SlowConsumer,
    #[error("{0}")]
    DataLoss(String),
    /// The connection is lost or was never there.
    #[error("no connection: {0}")]
    Down(Cow<'static, str>),
    /// What NATS said, while nothing more is known of it.
    #[error("{0}")]
    Engine(jetstream::Error),
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

    /// NATS' code, if NATS refused.
    pub(super) fn code(&self) -> Option<Code> {
        match self {
            Self::Engine(error) => Some(error.error_code()),
            _ => None,
        }
    }

    /// Says what NATS' refusal means for the thing that was asked for, by the names that the caller gave.
    pub(super) fn about(self, thing: &Thing<'_>) -> Self {
        let Self::Engine(error) = self else {
            return self;
        };
        match error.error_code() {
            Code::STREAM_NOT_FOUND => Self::NotFound(thing.container()),
            Code::CONSUMER_NOT_FOUND | Code::CONSUMER_DOES_NOT_EXIST => Self::NotFound(thing.to_string()),
            Code::STREAM_NAME_EXIST | Code::CONSUMER_NAME_EXIST | Code::CONSUMER_ALREADY_EXISTS => {
                Self::Exists(format!("{thing} exists with another configuration"))
            }
            Code::STREAM_SUBJECT_OVERLAP => {
                Self::Precondition("another stream covers some of the subjects".into())
            }
            Code::STREAM_REPLICAS_NOT_SUPPORTED
            | Code::CLUSTER_NO_PEERS
            | Code::CLUSTER_TAGS
            | Code::STREAM_REPLICAS_NOT_UPDATABLE => {
                Self::Precondition("there are fewer servers than replicas asked for".into())
            }
            Code::STREAM_MISMATCH | Code::STREAM_NOT_MATCH => {
                Self::Precondition(format!("the subject is not one of {thing}"))
            }
            Code::STREAM_WRONG_LAST_SEQUENCE
            | Code::STREAM_WRONG_LAST_SEQUENCE_CONSTANT
            | Code::STREAM_WRONG_LAST_MESSAGE_ID
            | Code::STREAM_DUPLICATE_MESSAGE_CONFLICT => Self::Conflict(format!(
                "{thing} has gone on: it is not where the call expects it"
            )),
            Code::STREAM_MESSAGE_EXCEEDS_MAXIMUM | Code::STREAM_HEADER_EXCEEDS_MAXIMUM => {
                Self::TooLarge(format!("the message is larger than {thing} takes"))
            }
            // By its own limit, or because nothing can be written: NATS says the same of both.
            Code::STREAM_STORE_FAILED => Self::BucketFull(format!("{thing} is full")),
            Code::INSUFFICIENT_RESOURCES
            | Code::STORAGE_RESOURCES_EXCEEDED
            | Code::MEMORY_RESOURCES_EXCEEDED
            | Code::ACCOUNT_RESOURCES_EXCEEDED
            | Code::MAXIMUM_STREAMS_LIMIT
            | Code::MAXIMUM_CONSUMERS_LIMIT
            | Code::STREAM_MAX_STREAM_BYTES_EXCEEDED => Self::Full(error),
            Code::CLUSTER_NOT_AVAILABLE
            | Code::CLUSTER_NOT_ACTIVE
            | Code::CLUSTER_NOT_LEADER
            | Code::STREAM_OFFLINE
            | Code::CONSUMER_OFFLINE
            | Code::STREAM_TOO_MANY_REQUESTS => Self::Down(error.to_string().into()),
            Code::BAD_REQUEST | Code::INVALID_JSON => Self::Unexpected(error.to_string()),
            _ if error.code() == 404 => Self::NotFound(thing.to_string()),
            _ if (400..500).contains(&error.code()) => {
                tracing::debug!(%error, "NATS refused");
                Self::Precondition(format!("NATS does not allow this of {thing}"))
            }
            // 500 is what it gives for every configuration that it does not take.
            _ if error.code() == 500 => {
                tracing::debug!(%error, "NATS refused");
                Self::Precondition(format!("NATS does not take this configuration of {thing}"))
            }
            _ => Self::Down(error.to_string().into()),
        }
    }
}

/// What a call is about, by the caller's names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Thing<'a> {
    Stream(&'a str),
    Consumer { stream: &'a str, name: &'a str },
    Bucket(&'a str),
}

impl Thing<'_> {
    /// The stream or bucket itself.
    fn container(&self) -> String {
        match self {
            Self::Stream(name) | Self::Consumer { stream: name, .. } => Thing::Stream(name).to_string(),
            Self::Bucket(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(name) => write!(f, "stream {name:?}"),
            Self::Consumer { stream, name } => write!(f, "consumer {name:?} of stream {stream:?}"),
            Self::Bucket(name) => write!(f, "bucket {name:?}"),
        }
    }
}
