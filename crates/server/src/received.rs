//! The body of a request, as it is handed to tonic.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Frame, SizeHint};
use isa_proto::{Bytes, Error, ErrorCode};
use tonic::{Code, Status, body::Body};

/// Bytes that are read of a caller whose token is in the message: it is not known until the message is read.
const OF_STRANGERS: usize = 1 << 20;

/// Passes a body through, with two differences: strangers may not send much, and a caller who goes away in the middle is
/// an error. To tonic that is the end of the stream, as if all had been sent: half an upload would be taken for a whole.
pub(crate) struct Received {
    inner: Body,
    left: usize,
}

impl Received {
    pub(crate) fn wrap(inner: Body, stranger: bool) -> Body {
        let left = if stranger { OF_STRANGERS } else { usize::MAX };
        Body::new(Self { inner, left })
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(received) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = match received {
            Ok(frame) => frame,
            Err(_) => return Poll::Ready(Some(Err(broken()))),
        };
        if self.left != usize::MAX {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(left) = self.left.checked_sub(length) else {
                let text = "messages of more than 1 MiB need their token in the header `authorization`, not in `metadata.access_token`";
                return Poll::Ready(Some(Err(Error::new(ErrorCode::Unauthenticated, text).into())));
            };
            self.left = left;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// CANCELLED under a code that tonic does not swallow. Its details make the right one of it again.
fn broken() -> Status {
    let text = "the caller is gone in the middle of its request";
    let status = Status::from(Error::new(ErrorCode::Cancelled, text));
    Status::with_details(Code::Aborted, text, Bytes::copy_from_slice(status.details()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_request_is_cancelled_in_the_end() {
        assert_ne!(broken().code(), Code::Cancelled);
        assert_eq!(Error::from(broken()).code(), ErrorCode::Cancelled);
    }
}
