use isa_server::{Error, ErrorCode, Upstream};

use crate::qdrant::service;

/// What the caller reads.
pub(super) fn told(upstream: &Upstream, error: service::Error) -> Error {
    use service::Error as Qdrant;
    match error {
        Qdrant::Invalid { field, why } => Error::invalid(field, why),
        Qdrant::NotFound(what) => Error::not_found(what),
        Qdrant::Exists(why) => Error::new(ErrorCode::AlreadyExists, why),
        Qdrant::Refused(why) => Error::new(
            ErrorCode::InvalidArgument,
            format!("the engine does not take this: {why}"),
        ),
        Qdrant::Precondition(why) => Error::new(ErrorCode::FailedPrecondition, why),
        Qdrant::TooLarge(why) => Error::new(ErrorCode::TooLarge, why),
        Qdrant::Quota(why) => Error::new(ErrorCode::QuotaExceeded, why),
        error @ Qdrant::Full(_) => Error::new(
            ErrorCode::EngineFull,
            "the engine takes no more for now; try again later",
        )
        .caused_by(error),
        Qdrant::Unsupported(what) if what.is_empty() => Error::new(
            ErrorCode::Unimplemented,
            "the engine behind this service cannot do it",
        ),
        Qdrant::Unsupported(what) => Error::new(
            ErrorCode::Unimplemented,
            format!("the engine behind this service cannot do it: {what}"),
        ),
        Qdrant::TimedOut => Error::new(
            ErrorCode::DeadlineExceeded,
            "there was no answer in time; a write may have happened all the same",
        ),
        error @ Qdrant::Down(_) => upstream.failed(error),
        error @ Qdrant::Unexpected(_) => Error::internal(error),
    }
}
