use std::time::Duration;

use isa_server::{Error, ErrorCode, Upstream};

use crate::mqtt::service;

/// What the caller reads.
pub(super) fn told(upstream: &Upstream, error: service::Error) -> Error {
    use service::Error as Mqtt;
    match error {
        Mqtt::Invalid { field, why } => Error::invalid(field, why),
        Mqtt::NotFound(what) => Error::not_found(what),
        Mqtt::Exists(what) => Error::new(ErrorCode::AlreadyExists, format!("{what} exists")),
        Mqtt::Precondition(why) => Error::new(ErrorCode::FailedPrecondition, why),
        Mqtt::Conflict(why) => Error::new(ErrorCode::Conflict, why),
        Mqtt::Forbidden(why) => Error::new(ErrorCode::PermissionDenied, why),
        Mqtt::TooLarge(why) => Error::new(ErrorCode::TooLarge, why),
        Mqtt::Quota(why) => Error::new(ErrorCode::QuotaExceeded, why),
        Mqtt::Full => Error::new(
            ErrorCode::EngineFull,
            "the broker has no room left; try again later",
        ),
        Mqtt::TimedOut => Error::new(
            ErrorCode::DeadlineExceeded,
            "there was no answer in time; it may have happened all the same",
        ),
        Mqtt::SlowConsumer => Error::new(
            ErrorCode::SlowConsumer,
            "messages came faster than they were read: 1024 or 64 MiB of them waited; subscribe again",
        ),
        error @ Mqtt::Down(_) => upstream.failed(error),
        Mqtt::StoreDown(why) => Error::new(
            ErrorCode::EngineDown,
            "NATS, where devices and webhooks are kept, does not answer; try again",
        )
        .retry_in(Duration::from_secs(1))
        .caused_by(why),
        error @ Mqtt::Uncertain => Error::new(
            ErrorCode::Conflict,
            "the connection to the broker was lost before it acknowledged; the message may have gone out all the same",
        )
        .caused_by(error),
        error @ Mqtt::Unexpected(_) => Error::internal(error),
    }
}
