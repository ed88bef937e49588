//! What the caller reads of an error: of mistakes in its own SQL PostgreSQL's words, of all else ours.

use std::borrow::Cow;

use isa_server::{Error, ErrorCode, Upstream};
use tokio_postgres::error::{DbError, ErrorPosition};

use crate::postgres::{
    names,
    service::{self, Refusal},
};

/// Longest of PostgreSQL's texts that goes on; each may be as long as the statement.
const MAX_TEXT: usize = 600;

/// The caller's error. `role` is the tenant's, which is not named to it.
pub(super) fn of(error: service::Error, role: &str, upstream: &Upstream) -> Error {
    use service::Error as Why;
    match error {
        Why::Postgres(cause) => match cause.as_db_error() {
            Some(answer) => of_answer(answer, role).unwrap_or_else(|| upstream.failed(cause)),
            None => upstream.failed(cause),
        },
        Why::Connect(cause) => upstream.failed(cause),
        Why::Slow => upstream.failed(error),
        Why::Busy => Error::new(
            ErrorCode::TooManyCalls,
            "all connections that the tenant may have are in use; wait for calls or transactions to end",
        ),
        Why::Invalid(why) => Error::invalid(why.field, why.why),
        Why::Refused(Refusal::Invalid(why)) => Error::invalid("sql", why),
        Why::Refused(Refusal::Denied(why)) => {
            Error::new(ErrorCode::PermissionDenied, format!("sql: {why}")).in_field("sql")
        }
        Why::Refused(Refusal::Precondition(why)) => {
            Error::new(ErrorCode::FailedPrecondition, format!("sql: {why}")).in_field("sql")
        }
        Why::Column { column, kind } => Error::invalid(
            "sql",
            format!(
                "column {column:?} is of type {kind}, whose values come as text; write {column}::text in this statement"
            ),
        ),
        Why::TooLarge => Error::new(
            ErrorCode::TooLarge,
            "the result has more than 100000 rows, or more bytes than a message may have; use LIMIT or QueryStream. If the statement writes, it has written",
        )
        .with("rows", 100_000),
        Why::NoTransaction => Error::not_found("the transaction (it may have ended: unused for 60 s, after 5 min, or by a call on it that was given up)")
            .in_field("transaction_id"),
        Why::Transactions(open) => Error::new(
            ErrorCode::QuotaExceeded,
            format!("{open} transactions are open, which is the limit; commit or roll back one"),
        )
        .with("limit", open),
        Why::Failed => Error::new(
            ErrorCode::Conflict,
            "a statement of the transaction had failed, so it was rolled back: nothing was written",
        ),
        Why::Commit(cause) => {
            let why = cause.as_db_error().map(|answer| describe(answer, role)).unwrap_or_default();
            let state = cause.code().map(|code| code.code().to_owned()).unwrap_or_default();
            Error::new(
                ErrorCode::Conflict,
                format!("PostgreSQL did not commit, and nothing was written: {why}"),
            )
            .with("sqlstate", state)
        }
        Why::Internal(_) => Error::internal(error),
    }
}

/// The text of one failed statement of several, which begins with its SQLSTATE. An error of ours has that of an invalid
/// parameter.
pub(super) fn line(error: service::Error, role: &str, upstream: &Upstream) -> String {
    let state = match &error {
        service::Error::Postgres(cause) | service::Error::Commit(cause) => {
            cause.code().map(|code| code.code().to_owned())
        }
        _ => None,
    };
    let state = state.unwrap_or_else(|| "22023".into());
    format!("{state}: {}", of(error, role, upstream).message())
}

/// `None` if PostgreSQL cannot work at all.
fn of_answer(answer: &DbError, role: &str) -> Option<Error> {
    use ErrorCode::{
        AlreadyExists, Conflict, DataLoss, DeadlineExceeded, EngineFull, FailedPrecondition, InvalidArgument,
        NotFound, PermissionDenied, QuotaExceeded,
    };
    let state = answer.code().code();
    let class = state.get(..2).unwrap_or_default();
    let own_words = |code| Error::new(code, describe(answer, role));
    let error = match (class, state) {
        (_, "23505") => own_words(AlreadyExists),
        ("23", _) => own_words(FailedPrecondition),
        (_, "42P01" | "42703" | "42704" | "3F000") => own_words(NotFound),
        (_, "42P04" | "42P05" | "42P06" | "42P07" | "42710" | "42723" | "42701") => own_words(AlreadyExists),
        (_, "42501") => own_words(PermissionDenied),
        // A transaction that was aborted, or the like; the wrong state of a table or cursor.
        ("25" | "55" | "2B" | "2D" | "3B" | "24" | "34", code) if code != "55P03" => {
            own_words(FailedPrecondition)
        }
        (_, "55P03") => Error::new(Conflict, "another statement held a lock for too long; try again"),
        ("40", _) => own_words(Conflict),
        // The plan of a statement that was prepared became another between two calls.
        (_, "26000") => Error::new(Conflict, "the statement has to be prepared anew; try again"),
        ("0A", _) if answer.message().starts_with("cached plan") => {
            Error::new(Conflict, "a table of the statement has changed; try again")
        }
        ("0A" | "0L" | "20" | "21" | "22" | "2F" | "38" | "39" | "42" | "44" | "54" | "P0", _) => {
            own_words(InvalidArgument)
        }
        (_, "57014") => Error::new(
            DeadlineExceeded,
            "the statement took longer than it may (60 s, or what the transaction had left) and was cancelled",
        ),
        (_, "53400") => Error::new(
            QuotaExceeded,
            "the statement needs more temporary space than a tenant may have (1 GiB); let it sort or join less",
        ),
        (_, "53300") => Error::new(EngineFull, "PostgreSQL has no connection left; try again")
            .caused_by(answer.message().to_owned()),
        ("53", _) => Error::new(
            EngineFull,
            "PostgreSQL has no room left (memory or disk) for this",
        )
        .caused_by(answer.message().to_owned()),
        (_, "XX001" | "XX002") => Error::new(DataLoss, "PostgreSQL found damaged data; see its log")
            .caused_by(answer.message().to_owned()),
        ("08" | "57" | "28", _) => return None,
        // Files, its own inner states: of a statement that asks for something strange, and with words that are not
        // the caller's business.
        _ => Error::new(InvalidArgument, "PostgreSQL cannot run this statement")
            .caused_by(answer.message().to_owned()),
    };
    Some(details(error, answer, state))
}

fn details(error: Error, answer: &DbError, state: &str) -> Error {
    let mut error = error.with("sqlstate", state);
    if let Some(ErrorPosition::Original(position)) = answer.position() {
        error = error.with("position", position);
    }
    if let Some(constraint) = answer.constraint() {
        error = error.with("constraint", constraint);
    }
    error
}

/// PostgreSQL's words: what, where, and what to do.
fn describe(answer: &DbError, role: &str) -> String {
    let mut text = cut(answer.message()).into_owned();
    if let Some(ErrorPosition::Original(position)) = answer.position() {
        text.push_str(&format!(" at character {position}"));
    }
    text.push_str(&format!(" (SQLSTATE {})", answer.code().code()));
    for (name, more) in [("detail", answer.detail()), ("hint", answer.hint())] {
        if let Some(more) = more {
            text.push_str(&format!("; {name}: {}", cut(more)));
        }
    }
    names::scrub(&text, role)
}

fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
    format!("{}…", &text[..end.unwrap_or(0)]).into()
}
