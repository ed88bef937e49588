//! What can go wrong, and how DuckDB's own words are read.

use std::{borrow::Cow, error, fmt};

use crate::minio::StoreError;

pub(in crate::duckdb) type Cause = Box<dyn error::Error + Send + Sync>;

/// Longest of DuckDB's texts that goes on: each may be as long as the statement.
const MAX_TEXT: usize = 600;

/// Why a call failed. `grpc` says which of it the caller reads.
#[derive(Debug, thiserror::Error)]
pub(in crate::duckdb) enum Error {
    /// The request cannot be right.
    #[error("{field}: {why}")]
    Invalid { field: Cow<'static, str>, why: String },
    /// SQL that DuckDB refuses, in its words.
    #[error("{0}")]
    Sql(String),
    /// What SQL may not do here.
    #[error("{0}")]
    Denied(String),
    #[error("{0} does not exist")]
    Missing(String),
    #[error("{0} exists already")]
    Exists(String),
    #[error("{0}")]
    Precondition(String),
    /// Another transaction came between.
    #[error("{0}")]
    Conflict(String),
    /// Memory or disk of the tenant.
    #[error("{0}")]
    Exhausted(String),
    /// More than a message holds.
    #[error("the result is too large")]
    TooLarge,
    /// Large results take all the memory that they may.
    #[error("too many large results at a time")]
    Crowded,
    #[error("too many calls")]
    Busy,
    #[error("{what}, which is the limit")]
    Quota { what: &'static str, limit: usize },
    #[error("it took too long")]
    TimedOut,
    #[error("{0}")]
    Cancelled(&'static str),
    #[error("{0}")]
    Unsupported(String),
    /// The database is with another replica, or on its way.
    #[error("{0}")]
    Elsewhere(&'static str),
    /// Another replica may have the database by now, and what was done here is not in it.
    #[error("the database was lost")]
    Lost,
    #[error("the server stops")]
    Stopping,
    /// An engine that the service needs and was not given.
    #[error("{0}")]
    NoEngine(&'static str),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// NATS does not answer.
    #[error("NATS does not answer: {0}")]
    Nats(Cause),
    /// The caller's own stream broke off, or another replica's answer.
    #[error(transparent)]
    Source(#[from] isa_server::Error),
    /// A copy is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
    /// DuckDB failed, and what it has in memory is not to be used any more.
    #[error("DuckDB failed: {0}")]
    Broken(String),
    #[error("{0}")]
    Internal(Cause),
}

pub(in crate::duckdb) fn invalid(field: impl Into<Cow<'static, str>>, why: impl fmt::Display) -> Error {
    Error::Invalid {
        field: field.into(),
        why: why.to_string(),
    }
}

impl Error {
    pub(super) fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::Exhausted("the disk of this service is full; try again later".into())
            }
            _ => Self::Internal(error.into()),
        }
    }
}

impl From<duckdb::Error> for Error {
    fn from(error: duckdb::Error) -> Self {
        match error {
            duckdb::Error::DuckDBFailure(_, Some(text)) => of_text(&text),
            // Text with a NUL, a type that cannot be decoded: what the caller sent or asked for.
            other => Self::Sql(shorten(&other.to_string())),
        }
    }
}

/// DuckDB says what kind of error it is in the first words alone.
fn of_text(text: &str) -> Error {
    let (kind, rest) = text.split_once(": ").unwrap_or(("", text));
    let said = shorten(rest);
    let has = |part: &str| rest.contains(part);
    match kind {
        "Permission Error" => Error::Denied(
            "SQL cannot read or write files, load extensions, attach databases or reach the network here"
                .into(),
        ),
        "Invalid Input Error" | "Invalid Configuration Error"
            if has("configuration has been locked") || has("configuration option") =>
        {
            Error::Denied("SQL cannot change settings here; CreateDatabase takes some in `config`".into())
        }
        "Missing Extension Error" => Error::Denied("SQL cannot load extensions here".into()),
        "Catalog Error" if has("already exists") => Error::Exists(subject(rest)),
        "Catalog Error" if has("does not exist") || has("is not in the catalog") => missing(rest),
        "Binder Error" if is_absent_name(rest) => missing(rest),
        "Constraint Error" => Error::Precondition(said),
        "Dependency Error" => Error::Precondition(said),
        "TransactionContext Error" | "Transaction Error" => {
            if has("is aborted") {
                Error::Precondition(
                    "a statement of the transaction had failed, so it can only be rolled back".into(),
                )
            } else {
                Error::Conflict(said)
            }
        }
        "Out of Memory Error" => Error::Exhausted(
            "it needs more memory and temporary disk than the tenant may have; ask for less at once".into(),
        ),
        "IO Error" if has("No space left") || has("max_temp_directory_size") => {
            Error::Exhausted("the disk that the tenant may use is full".into())
        }
        "INTERRUPT Error" => Error::Cancelled("the statement was stopped"),
        "Not implemented Error" => Error::Unsupported(format!("DuckDB cannot do it: {said}")),
        "INTERNAL Error" | "FATAL Error" | "IO Error" => Error::Broken(text.to_owned()),
        "" => Error::Sql(said),
        kind => Error::Sql(format!("{kind}: {said}")),
    }
}

fn is_absent_name(text: &str) -> bool {
    (text.starts_with("Referenced ") && text.contains(" not found"))
        || text.contains("does not have a column named")
        || (text.starts_with("Column ") && text.contains("does not exist"))
}

/// The first line says what is missing; after it DuckDB guesses at what else may have been meant, which may be none of
/// the tenant's business.
fn missing(text: &str) -> Error {
    Error::Missing(subject(text))
}

fn subject(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let ends = [
        " does not exist",
        " already exists",
        " not found",
        " is not in the catalog",
    ];
    let end = ends.iter().filter_map(|end| line.find(end)).min();
    shorten(end.map_or(line, |end| &line[..end]))
}

fn shorten(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duckdbs_words_are_read() {
        assert!(
            matches!(of_text("Parser Error: syntax error at or near \"x\""), Error::Sql(text) if text.contains("Parser Error: syntax"))
        );
        assert!(
            matches!(of_text("Catalog Error: Table with name \"n\" already exists!"), Error::Exists(what) if what == "Table with name \"n\"")
        );
        assert!(
            matches!(of_text("Catalog Error: Table with name n does not exist!\nDid you mean \"secret\"?"), Error::Missing(what) if what == "Table with name n")
        );
        assert!(
            matches!(of_text("Binder Error: Referenced column \"x\" not found in FROM clause!\nCandidate bindings: \"a\""), Error::Missing(what) if what == "Referenced column \"x\"")
        );
        assert!(
            matches!(of_text("Permission Error: Cannot access file \"/etc/passwd\""), Error::Denied(text) if !text.contains("passwd"))
        );
        assert!(matches!(
            of_text("Constraint Error: Duplicate key"),
            Error::Precondition(_)
        ));
        assert!(matches!(
            of_text("TransactionContext Error: Conflict on update!"),
            Error::Conflict(_)
        ));
        assert!(matches!(
            of_text("INTERRUPT Error: Interrupted!"),
            Error::Cancelled(_)
        ));
        assert!(matches!(
            of_text("FATAL Error: database has been invalidated"),
            Error::Broken(_)
        ));
    }
}
