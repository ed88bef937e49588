use std::time::Duration;

use isa_server::{Error, ErrorCode, Upstream};

use crate::loki::service;

/// When what Loki refused for now may be tried again: its limits are by the second.
const RETRY: Duration = Duration::from_secs(1);

/// What the caller reads.
pub(super) fn told(upstream: &Upstream, error: service::Error) -> Error {
    use service::Error as Loki;
    match error {
        Loki::Invalid { field, why } => Error::invalid(field, why),
        Loki::Forbidden(why) => Error::new(ErrorCode::PermissionDenied, why),
        Loki::NotFound(what) => Error::not_found(what),
        Loki::Precondition(why) => Error::new(ErrorCode::FailedPrecondition, why),
        Loki::Unsupported(why) => Error::new(ErrorCode::Unimplemented, why),
        Loki::Quota(why) => Error::new(ErrorCode::QuotaExceeded, why),
        Loki::RateLimited => Error::new(
            ErrorCode::RateLimited,
            "the tenant writes or asks more than Loki takes for now; slow down",
        )
        .retry_in(RETRY),
        Loki::TooLarge(why) => Error::new(ErrorCode::TooLarge, why),
        Loki::SlowConsumer => Error::new(
            ErrorCode::SlowConsumer,
            "entries came faster than they were read: 10000 or 64 MiB of them waited; follow again",
        ),
        Loki::TimedOut => Error::new(
            ErrorCode::DeadlineExceeded,
            "there was no answer in time; a write may have happened all the same, a query needs a shorter time or more exact labels",
        ),
        Loki::Down(why) => upstream.failed(why.to_string()),
        Loki::Unexpected(why) => Error::internal(why.to_string()),
    }
}

/// The error with another name of its field.
pub(super) fn renamed(error: service::Error, name: impl FnOnce(&str) -> String) -> service::Error {
    match error {
        service::Error::Invalid { field, why } => service::Error::Invalid {
            field: name(&field).into(),
            why,
        },
        other => other,
    }
}
