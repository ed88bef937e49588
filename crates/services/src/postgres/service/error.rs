use super::{builder::Invalid, statement::Refusal};

/// Why a call on PostgreSQL failed. `grpc` says which of it the caller reads.
#[derive(Debug, thiserror::Error)]
pub(in crate::postgres) enum Error {
    /// PostgreSQL's answer, or the end of the connection to it.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// No connection.
    #[error("connect to PostgreSQL")]
    Connect(#[source] std::io::Error),
    #[error("PostgreSQL does not answer in time")]
    Slow,
    /// Every connection that may be open is in use.
    #[error("every connection is in use")]
    Busy,
    #[error("{}: {}", .0.field, .0.why)]
    Invalid(Invalid),
    #[error("the statement is not run: {0:?}")]
    Refused(Refusal),
    /// A column of a type whose values cannot be sent, in a statement that cannot be changed to send text.
    #[error("column {column:?} is of type {kind}")]
    Column { column: String, kind: String },
    /// More than a response holds.
    #[error("the result is too large")]
    TooLarge,
    /// No such transaction, or another tenant's.
    #[error("no such transaction")]
    NoTransaction,
    #[error("{0} transactions are open")]
    Transactions(usize),
    /// COMMIT found that a statement of the transaction had failed.
    #[error("the transaction had failed")]
    Failed,
    /// PostgreSQL did not commit.
    #[error("PostgreSQL refused to commit")]
    Commit(#[source] tokio_postgres::Error),
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Postgres(error) => Some(error.as_db_error()?.code().code()),
            _ => None,
        }
    }

    /// The role or its password is not what PostgreSQL has.
    pub(super) fn is_login_refused(&self) -> bool {
        matches!(self.sqlstate(), Some("28P01" | "28000"))
    }

    /// A statement that was prepared before is so no more, or would give other columns.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Postgres(error) => error.as_db_error().is_some_and(|error| {
                let code = error.code().code();
                code == "26000" || (code == "0A000" && error.message().starts_with("cached plan"))
            }),
            _ => false,
        }
    }

    /// Whether the connection is as good as before.
    pub(super) fn spares_connection(&self) -> bool {
        match self {
            // Some end it: FATAL.
            Self::Postgres(error) => error
                .as_db_error()
                .is_some_and(|error| error.severity() == "ERROR"),
            Self::Connect(_) | Self::Slow | Self::Internal(_) => false,
            _ => true,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
