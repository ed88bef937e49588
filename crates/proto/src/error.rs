//! What can go wrong, once, for every protocol: the closed set of codes with their gRPC and HTTP statuses.

mod status;

use std::{borrow::Cow, error, fmt, time::Duration};

use tonic::Code;

/// `domain` of the `google.rpc.ErrorInfo` of our errors; its `reason` is [`ErrorCode::reason`].
pub const ERROR_DOMAIN: &str = "isa";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $reason:literal, $grpc:ident, $http:literal, $retry_ms:expr;)*) => {
        /// Why a call failed. Exhaustive on purpose: a caller may match on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name on the wire, stable: `reason` of ErrorInfo.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }

            /// The gRPC status.
            pub const fn grpc(self) -> Code {
                match self { $(Self::$name => Code::$grpc,)* }
            }

            /// The HTTP status.
            pub const fn http(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }

            /// When the same call may succeed, unless the error itself says otherwise; `None` if never by waiting.
            pub const fn retry_after(self) -> Option<Duration> {
                let milliseconds: Option<u64> = match self { $(Self::$name => $retry_ms,)* };
                match milliseconds {
                    Some(milliseconds) => Some(Duration::from_millis(milliseconds)),
                    None => None,
                }
            }
        }
    };
}

codes! {
    /// The request cannot be right, whatever the state.
    InvalidArgument = "INVALID_ARGUMENT", InvalidArgument, 400, None;
    /// A number or position beyond what there is.
    OutOfRange = "OUT_OF_RANGE", OutOfRange, 400, None;
    /// No valid token or key.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, 401, None;
    /// Known, and may not.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, 403, None;
    /// Absent, or another tenant's: the same to the caller.
    NotFound = "NOT_FOUND", NotFound, 404, None;
    /// The name is taken.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists, 409, None;
    /// The state forbids it, and waiting does not change that.
    FailedPrecondition = "FAILED_PRECONDITION", FailedPrecondition, 400, None;
    /// Lost a race; the same call may succeed.
    Conflict = "CONFLICT", Aborted, 409, Some(50);
    /// The replica that held the state (transaction, session) is gone, and the state with it: begin again.
    StateLost = "STATE_LOST", Aborted, 409, None;
    /// The request or the answer has more bytes than a message may have.
    TooLarge = "TOO_LARGE", ResourceExhausted, 413, None;
    /// The tenant calls more often than it may.
    RateLimited = "RATE_LIMITED", ResourceExhausted, 429, Some(1000);
    /// The tenant has as many calls running as it may.
    TooManyCalls = "TOO_MANY_CALLS", ResourceExhausted, 429, Some(100);
    /// The tenant holds as much as it may: transactions, sessions, streams, bytes.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted, 429, None;
    /// A reader did not keep up and was cut off: it missed messages.
    SlowConsumer = "SLOW_CONSUMER", ResourceExhausted, 429, None;
    /// The engine has no room left.
    EngineFull = "ENGINE_FULL", ResourceExhausted, 507, Some(5000);
    /// The caller's deadline, or the server's own bound, has passed. A write may have happened.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, 504, None;
    /// The caller is gone.
    Cancelled = "CANCELLED", Cancelled, 499, None;
    /// This engine or version cannot do it.
    Unimplemented = "UNIMPLEMENTED", Unimplemented, 501, None;
    /// The engine does not answer. Nothing was done.
    EngineDown = "ENGINE_DOWN", Unavailable, 503, Some(1000);
    /// The connection to the engine broke, or could not be made, during the call. A write may have happened.
    EngineLost = "ENGINE_LOST", Unavailable, 503, Some(1000);
    /// The server has just started. Nothing was done.
    Starting = "STARTING", Unavailable, 503, Some(500);
    /// The server stops; another takes over. Nothing was done, or a stream ended early.
    Stopping = "STOPPING", Unavailable, 503, Some(100);
    /// Another replica that must answer does not, for now.
    ReplicaUnreachable = "REPLICA_UNREACHABLE", Unavailable, 503, Some(1000);
    /// Stored bytes are damaged.
    DataLoss = "DATA_LOSS", DataLoss, 500, None;
    /// Our mistake.
    Internal = "INTERNAL", Internal, 500, None;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.reason())
    }
}

/// A failed call: a code, what the caller may read, and what only the log may.
///
/// `Display` is the caller's text: what failed, why, and what to do. The engine's own words are the source.
pub struct Error(Box<Inner>);

struct Inner {
    code: ErrorCode,
    message: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    details: Vec<(&'static str, String)>,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            field: None,
            retry_after: code.retry_after(),
            details: Vec::new(),
            source: None,
        }))
    }

    /// INVALID_ARGUMENT: `why` says what is wrong with the field, and the message names it.
    pub fn invalid(field: impl Into<Cow<'static, str>>, why: impl fmt::Display) -> Self {
        let field = field.into();
        let mut error = Self::new(ErrorCode::InvalidArgument, format!("{field}: {why}"));
        error.0.field = Some(field);
        error
    }

    /// NOT_FOUND: of what is another tenant's, say the same as of what is absent.
    pub fn not_found(what: impl fmt::Display) -> Self {
        Self::new(ErrorCode::NotFound, format!("{what} does not exist"))
    }

    /// INTERNAL, with a cause for the log: the caller reads none of it.
    pub fn internal(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::Internal, "the server failed; its log says why").caused_by(source)
    }

    /// Names the field of the request that is to blame.
    pub fn in_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Says when to try again.
    pub fn retry_in(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds to ErrorInfo what a program may read: the engine's own code, a limit.
    pub fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.0.details.push((key, value.to_string()));
        self
    }

    /// Adds a cause, for the log alone.
    pub fn caused_by(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What the caller may read.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// When to try again, if that may help.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, " (cause: {source})")?;
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
