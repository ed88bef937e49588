use qdrant_edge::OperationError;

/// Why a request fails, in the classes that both protocols know. The texts follow Qdrant's own, because its clients
/// show them to people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("Not found: {0}")]
    NotFound(String),
    #[error("Wrong input: {0}")]
    AlreadyExists(String),
    /// The request itself is wrong; the text names the field.
    #[error("Wrong input: {0}")]
    Invalid(String),
    #[error("Not supported by the built-in vector engine: {0}")]
    Unsupported(String),
    /// Try again later.
    #[error("Service busy: {0}")]
    Busy(String),
    #[error("Service internal error: {0}")]
    Internal(String),
}

impl Failure {
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    pub(crate) fn unsupported(text: impl Into<String>) -> Self {
        Self::Unsupported(text.into())
    }

    pub(crate) fn no_collection(name: &str) -> Self {
        Self::NotFound(format!("Collection `{name}` doesn't exist!"))
    }

    /// An I/O error of the engine's own files.
    pub(crate) fn io(action: &str, path: &std::path::Path, source: &std::io::Error) -> Self {
        Self::Internal(format!("cannot {action} {}: {source}", path.display()))
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        use OperationError as E;
        match error {
            E::PointIdError { .. } => Self::NotFound(error.to_string()),
            E::WrongVectorDimension { .. }
            | E::VectorNameNotExists { .. }
            | E::TypeError { .. }
            | E::TypeInferenceError { .. }
            | E::ValidationError { .. }
            | E::WrongSparse
            | E::WrongMulti
            | E::MissingRangeIndexForOrderBy { .. }
            | E::MissingMapIndexForFacet { .. }
            | E::VariableTypeError { .. }
            | E::NonFiniteNumber { .. } => Self::Invalid(error.to_string()),
            E::Cancelled { .. } | E::Timeout { .. } => Self::Busy(error.to_string()),
            // Without the backtrace that the engine adds to them.
            E::ServiceError { description, .. } => Self::Internal(description),
            E::InconsistentStorage { .. } | E::OutOfMemory { .. } => Self::Internal(error.to_string()),
        }
    }
}
