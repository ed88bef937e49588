use isa_server::{Error, ErrorCode, Upstream};

use crate::nats::service;

/// What the caller reads.
pub(super) fn told(upstream: &Upstream, error: service::Error) -> Error {
    use service::Error as Nats;
    match error {
        Nats::Invalid { field, why } => Error::invalid(field, why),
        Nats::NotFound(what) => Error::not_found(what),
        Nats::Exists(why) => Error::new(ErrorCode::AlreadyExists, why),
        Nats::Precondition(why) => Error::new(ErrorCode::FailedPrecondition, why),
        Nats::Conflict(why) => Error::new(ErrorCode::Conflict, why),
        Nats::TooLarge(why) => Error::new(ErrorCode::TooLarge, why),
        Nats::Quota(why) | Nats::BucketFull(why) => Error::new(ErrorCode::QuotaExceeded, why),
        Nats::Full(error) => {
            Error::new(ErrorCode::EngineFull, "NATS has no room left; try again later").caused_by(error)
        }
        Nats::NoResponders => Error::new(
            ErrorCode::EngineDown,
            "nobody is subscribed to the subject; try again when somebody is",
        ),
        Nats::TimedOut => Error::new(
            ErrorCode::DeadlineExceeded,
            "there was no answer in time; it may have happened all the same",
        ),
        Nats::SlowConsumer => Error::new(
            ErrorCode::SlowConsumer,
            "messages came faster than they were read: 1024 or 64 MiB of them waited; subscribe again",
        ),
        Nats::DataLoss(why) => Error::new(ErrorCode::DataLoss, why),
        error @ Nats::Down(_) => upstream.failed(error),
        Nats::Engine(error) if error.code() == 503 => upstream.failed(error),
        Nats::Engine(error) => Error::internal(error),
        error @ Nats::Unexpected(_) => Error::internal(error),
    }
}
