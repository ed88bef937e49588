//! What the caller reads of an error.

use isa_server::{Error, ErrorCode, Upstream};

use crate::neo4j::{
    names::Names,
    service::{self, Failure},
};

/// Longest text of Neo4j that is handed on, in bytes.
const MAX_TEXT: usize = 4096;

pub(super) fn told(names: Names<'_>, upstream: &Upstream, error: service::Error) -> Error {
    use service::Error as Why;
    match error {
        Why::Invalid { field, why } => Error::invalid(field, why),
        Why::Accounts => Error::new(
            ErrorCode::Unimplemented,
            "cypher: accounts of Neo4j are the operator's; this service does not change them",
        )
        .in_field("cypher"),
        Why::NotFound(what) => Error::not_found(what),
        Why::Exists(why) => Error::new(ErrorCode::AlreadyExists, why),
        Why::Precondition(why) => Error::new(ErrorCode::FailedPrecondition, why),
        Why::TooLarge(what) => Error::new(ErrorCode::TooLarge, format!("{what}; ask for less")),
        Why::TooDeep => Error::new(
            ErrorCode::InvalidArgument,
            "the result has lists or maps nested deeper than 30, which no message may have; return parts of it",
        ),
        Why::NoTransaction => Error::not_found(
            "the transaction (it may have ended: unused for 60 s, or when its time was over)",
        )
        .in_field("transaction_id"),
        Why::Quota(why) => Error::new(ErrorCode::QuotaExceeded, why),
        Why::Transactions(open) => Error::new(
            ErrorCode::QuotaExceeded,
            format!("{open} transactions are open, which is the limit; commit or roll back one"),
        )
        .with("limit", open),
        Why::Failed => Error::new(
            ErrorCode::FailedPrecondition,
            "a statement of the transaction had failed or was given up, so it was rolled back; begin again",
        )
        .in_field("transaction_id"),
        Why::Crowded => Error::new(
            ErrorCode::TooManyCalls,
            "other algorithms are running, and none ended in time; try again later",
        ),
        Why::OutOfTime => out_of_time(),
        Why::Busy => Error::new(
            ErrorCode::TooManyCalls,
            "all connections to Neo4j are in use; try again later",
        ),
        Why::Slow | Why::Down(_) => upstream.failed(error),
        Why::Statement(at, error) => within(at, told(names, upstream, *error)),
        Why::Refused(failure) => refused(names, upstream, failure),
        Why::Protocol(_) => upstream.failed(error),
    }
}

fn out_of_time() -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        "it took longer than it may, and was ended; nothing was written unless it was just being committed",
    )
}

/// Names the statement of several that is to blame.
fn within(at: usize, error: Error) -> Error {
    match error.code() {
        ErrorCode::InvalidArgument => {
            Error::invalid(format!("queries[{at}].cypher"), error.message()).with("statement", at)
        }
        _ => error.with("statement", at),
    }
}

/// Commit was refused: nothing was written.
pub(super) fn not_committed(names: Names<'_>, upstream: &Upstream, error: service::Error) -> Error {
    match error {
        service::Error::Refused(failure) if !is_down(&failure.code) => Error::new(
            ErrorCode::Conflict,
            format!(
                "Neo4j did not commit, and nothing was written: {}",
                words(names, &failure.message)
            ),
        )
        .with("neo4j_code", failure.code),
        service::Error::Failed => Error::new(
            ErrorCode::Conflict,
            "a statement of the transaction had failed or was given up, so it was rolled back: nothing was written",
        ),
        other => told(names, upstream, other),
    }
}

fn is_down(code: &str) -> bool {
    [
        "DatabaseUnavailable",
        "DatabaseNotFound",
        "GeneralError",
        "Unauthorized",
        "AuthenticationRateLimit",
        "CredentialsExpired",
    ]
    .iter()
    .any(|known| code.ends_with(known))
}

fn refused(names: Names<'_>, upstream: &Upstream, failure: Failure) -> Error {
    use ErrorCode::{
        AlreadyExists, Conflict, EngineFull, FailedPrecondition, InvalidArgument, NotFound, Unimplemented,
    };
    let mut parts = failure.code.splitn(4, '.').skip(1);
    let (class, category, title) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let own_words = |code| Error::new(code, words(names, &failure.message));
    let error = match (class, category, title) {
        _ if is_down(&failure.code) => return upstream.failed(service::Error::Refused(failure)),
        (_, "Transaction", "TransactionTimedOut" | "TransactionTimedOutClientConfiguration") => out_of_time(),
        // By somebody at Neo4j; or because a transaction used too much memory.
        (_, "Transaction", "Terminated" | "LockClientStopped" | "TransactionMarkedAsFailed") => Error::new(
            Conflict,
            "Neo4j ended the transaction, and nothing was written; try again",
        ),
        (
            _,
            "General",
            "MemoryPoolOutOfMemoryError"
            | "OutOfMemoryError"
            | "StackOverFlowError"
            | "TransactionOutOfMemoryError",
        ) => Error::new(
            EngineFull,
            "the statement needs more memory than Neo4j has for it; let it do less",
        ),
        ("TransientError", ..) => Error::new(
            Conflict,
            "lost a race with other writes (a deadlock, say), and nothing was written; try again",
        ),
        (_, "Schema", "ConstraintValidationFailed") if failure.message.contains("already exists") => {
            own_words(AlreadyExists)
        }
        (
            _,
            "Schema",
            "EquivalentSchemaRuleAlreadyExists"
            | "IndexAlreadyExists"
            | "ConstraintAlreadyExists"
            | "IndexWithNameAlreadyExists"
            | "ConstraintWithNameAlreadyExists",
        ) => own_words(AlreadyExists),
        (_, "Schema", "IndexNotFound" | "ConstraintNotFound") => own_words(NotFound),
        (_, "Schema", "IndexDropFailed" | "ConstraintDropFailed") if failure.message.contains("No such") => {
            own_words(NotFound)
        }
        (_, "Schema", "TokenNameError" | "IllegalTokenName") => own_words(InvalidArgument),
        (_, "Schema", _) => own_words(FailedPrecondition),
        (
            _,
            "Statement",
            "UnsupportedOperationError" | "UnsupportedAdministrationCommand" | "NotSystemDatabaseError",
        ) => own_words(Unimplemented),
        (_, "Statement", "EntityNotFound") => own_words(NotFound),
        ("ClientError", "Cluster", "NotALeader") => {
            Error::new(Conflict, "Neo4j has another leader now; try again")
        }
        ("ClientError", ..) => own_words(InvalidArgument),
        // Neo4j calls some mistakes in statements its own.
        ("DatabaseError", "Statement" | "Transaction" | "General", _) => Error::new(
            InvalidArgument,
            "Neo4j could not run the statement, and calls that its own failure",
        ),
        _ => Error::new(InvalidArgument, "Neo4j cannot run this statement"),
    };
    let position = position(&failure.message);
    let mut error = error.with("neo4j_code", &failure.code);
    for (key, number) in [
        ("line", position.0),
        ("column", position.1),
        ("offset", position.2),
    ] {
        if let Some(number) = number {
            error = error.with(key, number);
        }
    }
    error.caused_by(service::Error::Refused(failure))
}

/// Where a mistake is: `(line 1, column 9 (offset: 8))`.
fn position(message: &str) -> (Option<u32>, Option<u32>, Option<u32>) {
    let after = |word: &str| {
        let rest = message.rsplit_once(word)?.1;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    };
    (after("(line "), after(", column "), after("(offset: "))
}

/// Neo4j's words, as the tenant may read them.
fn words(names: Names<'_>, text: &str) -> String {
    let clean = names.scrub(text);
    if clean.len() <= MAX_TEXT {
        return clean;
    }
    let end = (0..=MAX_TEXT).rev().find(|end| clean.is_char_boundary(*end));
    format!("{}…", &clean[..end.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn positions_are_found() {
        let message =
            "Invalid input 'RETRUN': expected … (line 1, column 11 (offset: 10))\n\"MATCH (n) RETRUN n\"";
        assert_eq!(position(message), (Some(1), Some(11), Some(10)));
        assert_eq!(position("no"), (None, None, None));
    }
}
