//! Errors as gRPC carries them: a status with `google.rpc.ErrorInfo`, and `RetryInfo` and `BadRequest` where they say more.

use std::{borrow::Cow, collections::HashMap};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{ERROR_DOMAIN, Error, ErrorCode};

/// Text that reaches the caller stands in a header: longer is cut.
const MAX_MESSAGE: usize = 1024;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let inner = *error.0;
        let info = inner
            .details
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        let mut details =
            ErrorDetails::with_error_info(inner.code.reason(), ERROR_DOMAIN, info.collect::<HashMap<_, _>>());
        if let Some(delay) = inner.retry_after {
            details.set_retry_info(Some(delay));
        }
        let message = shorten(inner.message);
        if let Some(field) = inner.field {
            details.add_bad_request_violation(shorten(field), message.clone());
        }
        Self::with_error_details(inner.code.grpc(), message, details)
    }
}

impl From<Status> for Error {
    /// The error that a server of ours made this of; otherwise the nearest to the gRPC code.
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let ours = details
            .error_info()
            .filter(|info| info.domain == ERROR_DOMAIN)
            .and_then(|info| ErrorCode::ALL.iter().find(|code| code.reason() == info.reason));
        let code = ours.copied().unwrap_or_else(|| nearest(&status));
        let mut error = Self::new(code, status.message().to_owned());
        error.0.retry_after = details
            .retry_info()
            .and_then(|info| info.retry_delay)
            .or_else(|| code.retry_after());
        error.0.field = details
            .bad_request()
            .and_then(|request| request.field_violations.first())
            .map(|violation| violation.field.clone().into());
        error
    }
}

impl Error {
    /// What tonic's own status means that it gives when it cannot read a request or write a response.
    pub fn of_transport(status: Status) -> Self {
        let unreadable = [
            "failed to decode Protobuf message",
            "Error decompressing",
            "protocol error: received message with invalid compression flag",
            "Unexpected EOF decoding stream",
        ];
        let ours = !status.details().is_empty();
        if !ours
            && status.code() == Code::Internal
            && unreadable.iter().any(|text| status.message().starts_with(text))
        {
            let text =
                "the request cannot be read: it is not the message that the contract has for this method";
            return Self::new(ErrorCode::InvalidArgument, text).caused_by(status);
        }
        let error = Self::from(status);
        if !ours && error.code() == ErrorCode::TooLarge {
            return Self::too_large();
        }
        error
    }

    /// TOO_LARGE: a request or an answer has more bytes than a message may have.
    pub fn too_large() -> Self {
        Self::new(
            ErrorCode::TooLarge,
            "a message is larger than the limit (100 MiB, or `server.transport.max_message_mib`); send or ask for it in parts",
        )
    }
}

fn nearest(status: &Status) -> ErrorCode {
    // tonic says OUT_OF_RANGE of a message that is too large, in these words; nothing else starts with them.
    let too_large = |text: &str| {
        text.starts_with("Error, decoded message length too large")
            || text.starts_with("Error, encoded message length too large")
            || text.starts_with("Error decompressing: size limit")
    };
    match status.code() {
        Code::Ok | Code::Unknown | Code::Internal => ErrorCode::Internal,
        Code::OutOfRange | Code::ResourceExhausted if too_large(status.message()) => ErrorCode::TooLarge,
        Code::InvalidArgument => ErrorCode::InvalidArgument,
        Code::OutOfRange => ErrorCode::OutOfRange,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists => ErrorCode::AlreadyExists,
        Code::FailedPrecondition => ErrorCode::FailedPrecondition,
        Code::Aborted => ErrorCode::Conflict,
        Code::ResourceExhausted => ErrorCode::QuotaExceeded,
        Code::DeadlineExceeded => ErrorCode::DeadlineExceeded,
        Code::Cancelled => ErrorCode::Cancelled,
        Code::Unimplemented => ErrorCode::Unimplemented,
        Code::Unavailable => ErrorCode::ReplicaUnreachable,
        Code::DataLoss => ErrorCode::DataLoss,
    }
}

/// At most [`MAX_MESSAGE`] bytes, in whole characters.
fn shorten(text: Cow<'static, str>) -> String {
    let mut text = text.into_owned();
    if text.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        let mut reasons = BTreeSet::new();
        for code in ErrorCode::ALL {
            assert!(reasons.insert(code.reason()), "{code} is there once");
            let error = Error::new(*code, "text")
                .in_field("key")
                .retry_in(Duration::from_millis(1500));
            let status = Status::from(error);
            assert_eq!(status.code(), code.grpc());
            let back = Error::from(status);
            assert_eq!(back.code(), *code);
            assert_eq!(back.message(), "text");
            assert_eq!(back.retry_after(), Some(Duration::from_millis(1500)));
            assert_eq!(back.0.field.as_deref(), Some("key"));
        }
    }

    #[test]
    fn waiting_is_advised_only_where_it_helps() {
        for code in ErrorCode::ALL {
            let may_help = matches!(
                code.grpc(),
                Code::Unavailable | Code::Aborted | Code::ResourceExhausted
            );
            assert!(may_help || code.retry_after().is_none(), "{code}");
            assert!(
                code.grpc() != Code::Unavailable || code.retry_after().is_some(),
                "{code}"
            );
        }
    }

    #[test]
    fn what_tonic_says_is_said_better() {
        for (status, code) in [
            (
                Status::internal("failed to decode Protobuf message: invalid varint"),
                ErrorCode::InvalidArgument,
            ),
            (
                Status::out_of_range(
                    "Error, decoded message length too large: found 2 bytes, the limit is: 1 bytes",
                ),
                ErrorCode::TooLarge,
            ),
            (Status::from(Error::internal("x")), ErrorCode::Internal),
            (
                Status::from(Error::new(ErrorCode::OutOfRange, "x")),
                ErrorCode::OutOfRange,
            ),
        ] {
            assert_eq!(Error::of_transport(status.clone()).code(), code, "{status}");
        }
    }

    #[test]
    fn causes_stay_with_us_and_long_names_are_cut() {
        let status = Status::from(Error::internal("password is x"));
        assert!(!format!("{status:?}").contains("password"));
        let status = Status::from(Error::not_found("ü".repeat(5000)));
        assert!(
            status.message().len() <= MAX_MESSAGE + 3,
            "{}",
            status.message().len()
        );
    }
}
