//! The body of an answer, watched to its end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Response};
use http_body::Frame;
use isa_proto::{Bytes, Error, ErrorCode};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Code, Status, body::Body};

use crate::{
    ending::Ending,
    front::{panicked, stopping, too_late},
};

/// Passes an answer through; ends it early at the deadline and when the server stops, and as INTERNAL if the handler
/// panics in it.
pub(crate) struct Tracked {
    inner: Body,
    ending: Option<Ending>,
    /// Of streams only: other answers are complete before their first byte.
    limits: Option<Limits>,
    over: bool,
}

struct Limits {
    deadline: Option<Pin<Box<Sleep>>>,
    cut_off: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Tracked {
    pub(crate) fn wrap(mut response: Response<Body>, ending: Ending, streams: bool) -> Response<Body> {
        // An answer that is all headers is an error, and has no body to watch.
        if let Some(code) = response.headers().get(Status::GRPC_STATUS) {
            let code = Code::from_bytes(code.as_bytes());
            if let Some(status) = misnamed(code, response.headers()) {
                ending.with(status.code());
                let _ = status.add_header(response.headers_mut());
            } else {
                ending.with(code);
            }
            return response;
        }
        let limits = streams.then(|| Limits {
            deadline: ending
                .deadline()
                .map(|at| Box::pin(tokio::time::sleep_until(at.into()))),
            cut_off: Box::pin(ending.state().shared.cut_off.clone().cancelled_owned()),
        });
        response.map(|inner| {
            Body::new(Self {
                inner,
                ending: Some(ending),
                limits,
                over: false,
            })
        })
    }

    fn end(&mut self, status: &Status) -> Frame<Bytes> {
        // Dropping it is what stops the handler's stream.
        self.inner = Body::empty();
        self.over = true;
        if let Some(ending) = self.ending.take() {
            ending.with(status.code());
        }
        let mut trailers = HeaderMap::new();
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }

    fn interruption(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        let limits = self.limits.as_mut()?;
        if limits.cut_off.as_mut().poll(cx).is_ready() {
            return Some(stopping());
        }
        let deadline = limits.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then(too_late)
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(error) = self.interruption(cx) {
            return Poll::Ready(Some(Ok(self.end(&error.into()))));
        }
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.inner).poll_frame(cx)));
        match polled {
            Err(panic) => Poll::Ready(Some(Ok(self.end(&panicked(&*panic).into())))),
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => {
                // An answer without trailers, as gRPC has none.
                self.over = true;
                self.ending.take();
                Poll::Ready(None)
            }
            Ok(Poll::Ready(Some(Err(status)))) => Poll::Ready(Some(Ok(self.end(&status)))),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                let Some(trailers) = frame.trailers_ref() else {
                    return Poll::Ready(Some(Ok(frame)));
                };
                let code = trailers
                    .get(Status::GRPC_STATUS)
                    .map_or(Code::Unknown, |code| Code::from_bytes(code.as_bytes()));
                if let Some(status) = misnamed(code, trailers) {
                    return Poll::Ready(Some(Ok(self.end(&status))));
                }
                self.over = true;
                if let Some(ending) = self.ending.take() {
                    ending.with(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

/// tonic's own statuses, where the contract has others: messages that are too large, and such that are none.
fn misnamed(code: Code, headers: &HeaderMap) -> Option<Status> {
    if !matches!(code, Code::OutOfRange | Code::ResourceExhausted | Code::Internal) {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    if !status.details().is_empty() {
        return None;
    }
    let error = Error::of_transport(status);
    matches!(error.code(), ErrorCode::TooLarge | ErrorCode::InvalidArgument).then(|| error.into())
}

/// The body of an answer of health or reflection, whose streams end when the server is closed: they have no other end, and
/// would hold their connections to the last.
pub(crate) struct Closing {
    inner: Body,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
}

impl Closing {
    pub(crate) fn wrap(response: Response<Body>, closed: &CancellationToken) -> Response<Body> {
        let closed = Box::pin(closed.clone().cancelled_owned());
        response.map(|inner| {
            Body::new(Self {
                inner,
                closed,
                over: false,
            })
        })
    }
}

impl http_body::Body for Closing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.closed.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        let mut trailers = HeaderMap::new();
        let _ = Status::from(stopping()).add_header(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }
}
