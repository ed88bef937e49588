//! What the caller reads of an error: of mistakes in its own SQL DuckDB's words, of all else ours.

use isa_server::{Error, ErrorCode};

use crate::{
    duckdb::service,
    minio::{Missing, StoreError},
};

/// Of a call whose outcome nobody knows.
pub(super) const LOST: &str = "the replica that had the database lost it during the call, so what the call does may have happened or not; look before trying again";

impl From<service::Error> for Error {
    fn from(error: service::Error) -> Self {
        use service::Error as Why;
        match error {
            Why::Invalid { field, why } => Self::invalid(field, why),
            Why::Sql(why) => Self::new(ErrorCode::InvalidArgument, why),
            Why::Denied(why) => Self::new(ErrorCode::PermissionDenied, why),
            Why::Missing(what) => Self::not_found(what),
            Why::Exists(what) => Self::new(ErrorCode::AlreadyExists, format!("{what} exists already")),
            Why::Precondition(why) => Self::new(ErrorCode::FailedPrecondition, why),
            Why::Conflict(why) => Self::new(ErrorCode::Conflict, why),
            Why::Exhausted(why) => Self::new(ErrorCode::QuotaExceeded, why),
            Why::TooLarge => Self::new(
                ErrorCode::TooLarge,
                "the result has more bytes than a message may have; use max_rows, LIMIT or ExecuteQueryStream. If the statement writes, it has written",
            ),
            Why::Crowded => Self::new(
                ErrorCode::TooManyCalls,
                "large results of other calls take all the memory that they may; try again, or use ExecuteQueryStream. If the statement writes, it has written",
            ),
            Why::Busy => Self::new(
                ErrorCode::TooManyCalls,
                "everything that may be open or run at a time does; wait for calls or transactions to end",
            ),
            Why::Quota { what, limit } => Self::new(ErrorCode::QuotaExceeded, what).with("limit", limit),
            Why::TimedOut => Self::new(
                ErrorCode::DeadlineExceeded,
                "the time limit has passed and the statement was stopped; one that writes outside a transaction may have written",
            ),
            Why::Cancelled(why) => Self::new(ErrorCode::Cancelled, why),
            Why::Unsupported(why) => Self::new(ErrorCode::Unimplemented, why),
            Why::Elsewhere(why) => Self::new(ErrorCode::ReplicaUnreachable, why),
            Why::Lost => Self::new(ErrorCode::EngineLost, LOST),
            Why::Stopping => Self::new(
                ErrorCode::Stopping,
                "this replica stops, and another takes the database over; try again",
            ),
            Why::NoEngine(why) => Self::new(ErrorCode::FailedPrecondition, why),
            Why::Store(error) => of_store(error),
            Why::Nats(cause) => down("NATS, which says which replica has the database,").caused_by(cause),
            Why::Source(error) => error,
            Why::Damaged(why) => Self::new(ErrorCode::DataLoss, why),
            Why::Broken(why) => Self::new(
                ErrorCode::EngineDown,
                "DuckDB failed on this statement, and opens the database anew; if it fails again, write the statement in another way",
            )
            .caused_by(why),
            Why::Internal(cause) => Self::internal(cause),
        }
    }
}

fn down(what: &str) -> Error {
    Error::new(
        ErrorCode::EngineDown,
        format!("{what} does not answer; try again"),
    )
}

fn of_store(error: StoreError) -> Error {
    match error {
        StoreError::Invalid { field, why } => Error::invalid(field, why),
        StoreError::Missing(Missing::Bucket) => Error::not_found("the bucket"),
        StoreError::Missing(_) => Error::not_found("the object"),
        StoreError::Exists => Error::new(ErrorCode::AlreadyExists, "it exists already"),
        StoreError::Forbidden(why) => Error::new(ErrorCode::FailedPrecondition, why),
        StoreError::Unsupported => Error::new(
            ErrorCode::Unimplemented,
            "the object store behind this service cannot do it",
        ),
        StoreError::Conflict => Error::new(
            ErrorCode::Conflict,
            "another call changed the same object at the same moment; try again",
        ),
        StoreError::Full => Error::new(ErrorCode::EngineFull, "the object store has no room left"),
        StoreError::Busy => down("the object store is too busy and"),
        StoreError::Down(cause) => down("the object store").caused_by(cause),
        StoreError::Refused(code) => Error::new(
            ErrorCode::InvalidArgument,
            format!("the object store refuses the request: {code}"),
        ),
        StoreError::Source(error) => error,
        other @ (StoreError::NotEmpty | StoreError::Range | StoreError::Internal(_)) => {
            Error::internal(other)
        }
    }
}
