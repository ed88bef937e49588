//! What goes wrong, without gRPC.

use std::io;

use super::bolt::Failure;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A request that cannot be right.
    #[error("{field}: {why}")]
    Invalid { field: String, why: String },
    /// A statement about accounts of Neo4j.
    #[error("accounts of Neo4j are the operator's")]
    Accounts,
    #[error("{0} does not exist")]
    NotFound(&'static str),
    #[error("{0}")]
    Exists(String),
    #[error("{0}")]
    Precondition(String),
    #[error("{0}")]
    TooLarge(&'static str),
    /// A value with lists in lists in lists.
    #[error("a value is nested too deep")]
    TooDeep,
    #[error("no such transaction")]
    NoTransaction,
    #[error("{0}")]
    Quota(&'static str),
    #[error("{0} transactions are open")]
    Transactions(usize),
    /// A statement of the transaction had failed, or was given up.
    #[error("the transaction has failed")]
    Failed,
    #[error("too many algorithms run")]
    Crowded,
    #[error("no time is left")]
    OutOfTime,
    #[error("all connections are in use")]
    Busy,
    #[error("Neo4j does not answer in time")]
    Slow,
    #[error("the connection to Neo4j failed")]
    Down(#[source] io::Error),
    #[error("Neo4j refused: {0}")]
    Refused(Failure),
    /// Of several statements, this one.
    #[error("statement {0}: {1}")]
    Statement(usize, #[source] Box<Error>),
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            why: why.into(),
        }
    }

    /// The code of Neo4j.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(failure) => Some(&failure.code),
            Self::Statement(_, error) => error.code(),
            _ => None,
        }
    }

    /// Whether Neo4j says that the same may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        self.code()
            .is_some_and(|code| code.starts_with("Neo.TransientError.") && !code.ends_with(".Terminated"))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Down(error)
    }
}
