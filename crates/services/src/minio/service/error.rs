//! What can go wrong at an S3 engine, in few words of our own.

use std::{borrow::Cow, error, fmt};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

type Cause = Box<dyn error::Error + Send + Sync>;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The request cannot be right.
    #[error("{field}: {why}")]
    Invalid { field: Cow<'static, str>, why: String },
    #[error("{0:?} is not there")]
    Missing(Missing),
    #[error("the bucket is there already")]
    Exists,
    #[error("the bucket is not empty")]
    NotEmpty,
    /// The first byte that was asked for is beyond the end.
    #[error("the range begins beyond the end")]
    Range,
    /// The state of the object or bucket does not allow it.
    #[error("{0}")]
    Forbidden(&'static str),
    /// This engine cannot do it.
    #[error("the engine cannot do it")]
    Unsupported,
    #[error("another change came between")]
    Conflict,
    #[error("the engine has no room left")]
    Full,
    #[error("the engine is too busy")]
    Busy,
    /// The engine does not answer, or not with sense.
    #[error("the engine does not answer: {0}")]
    Down(Cause),
    /// Another mistake in the request, by S3's own code.
    #[error("the engine refused it: {0}")]
    Refused(String),
    /// The caller's own stream broke off.
    #[error(transparent)]
    Source(#[from] isa_server::Error),
    #[error("{0}")]
    Internal(Cause),
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Bucket,
    Object,
    Version,
    Upload,
    /// Tags, a policy or rules that were never set.
    Setting,
    /// The engine does not say what.
    Something,
}

pub(crate) fn invalid(field: impl Into<Cow<'static, str>>, why: impl fmt::Display) -> StoreError {
    StoreError::Invalid {
        field: field.into(),
        why: why.to_string(),
    }
}

impl StoreError {
    pub(super) fn down(why: &'static str) -> Self {
        Self::Down(why.into())
    }

    pub(super) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}

impl<E> From<SdkError<E>> for StoreError
where
    E: ProvideErrorMetadata + error::Error + Send + Sync + 'static,
{
    fn from(error: SdkError<E>) -> Self {
        let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
        match &error {
            SdkError::ServiceError(answer) => by_code(answer.err(), status),
            SdkError::ConstructionFailure(_) => Self::Internal(causes(&error).into()),
            _ => Self::Down(causes(&error).into()),
        }
    }
}

fn by_code(answer: &impl ProvideErrorMetadata, status: u16) -> StoreError {
    use StoreError as E;
    let code = answer.code().unwrap_or_default();
    match code {
        "NoSuchBucket" => E::Missing(Missing::Bucket),
        "NoSuchKey" => E::Missing(Missing::Object),
        "NoSuchVersion" => E::Missing(Missing::Version),
        "NoSuchUpload" => E::Missing(Missing::Upload),
        "NoSuchTagSet" | "NoSuchTagSetError" | "NoSuchBucketPolicy" | "NoSuchLifecycleConfiguration" => {
            E::Missing(Missing::Setting)
        }
        "BucketAlreadyOwnedByYou" | "BucketAlreadyExists" => E::Exists,
        "BucketNotEmpty" => E::NotEmpty,
        "InvalidRange" => E::Range,
        "InvalidPart" | "InvalidPartOrder" => {
            invalid("parts", "name a part that was not uploaded, or has another etag")
        }
        "EntityTooSmall" => invalid("parts", "all but the last must have 5 MiB"),
        "EntityTooLarge" => invalid("data", "is more than the engine takes"),
        "KeyTooLongError" | "XMinioInvalidObjectName" => invalid(
            "object_key",
            "is none that the engine can keep; a path segment may have 255 bytes",
        ),
        "InvalidBucketName" => invalid("bucket_name", "is none that the engine can keep"),
        "MetadataTooLarge" => invalid("metadata", "is more than 2 KiB"),
        "InvalidTag" => invalid(
            "tags",
            "are none that the engine takes: too many, or with other characters",
        ),
        "InvalidStorageClass" => invalid("storage_class", "is none that the engine has"),
        "MalformedPolicy" => invalid("custom_policy", "is none that the engine takes"),
        "PreconditionFailed" => E::Forbidden("a condition of the request does not hold"),
        "XMinioParentIsObject" => E::Forbidden("a part of the key's path is itself an object"),
        "InvalidBucketState" => {
            E::Forbidden("the bucket's settings do not allow it, such as its object lock")
        }
        "AccessDenied" => E::Forbidden("the engine does not allow it, such as for an object that is locked"),
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "RequestTimeTooSkewed" => {
            E::Down(format!("it refuses our credentials: {code}").into())
        }
        "NotImplemented" => E::Unsupported,
        "SlowDown" | "SlowDownRead" | "SlowDownWrite" | "ServiceUnavailable" => E::Busy,
        "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" => E::Full,
        "OperationAborted" | "ConditionalRequestConflict" => E::Conflict,
        _ => by_status(answer, code, status),
    }
}

fn by_status(answer: &impl ProvideErrorMetadata, code: &str, status: u16) -> StoreError {
    match status {
        404 => StoreError::Missing(Missing::Something),
        405 | 501 => StoreError::Unsupported,
        401 | 403 => StoreError::Forbidden("the engine does not allow it"),
        409 => StoreError::Conflict,
        412 => StoreError::Forbidden("a condition of the request does not hold"),
        416 => StoreError::Range,
        429 | 503 => StoreError::Busy,
        507 => StoreError::Full,
        400..=499 if code.is_empty() => StoreError::Refused(format!("HTTP {status}")),
        400..=499 => StoreError::Refused(code.to_owned()),
        _ => {
            let said = answer.message().unwrap_or_default();
            StoreError::Down(format!("HTTP {status} {code}: {said}").into())
        }
    }
}

/// The error and its causes; its `Debug` would hold the whole request, with its signature.
pub(super) fn causes(error: &dyn error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
