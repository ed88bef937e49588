//! What stands between tonic and a service: every call is admitted here, with its message in hand, and every failure
//! becomes a status here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::SystemTime,
};

use futures::{Stream, stream};
use isa_proto::{Answer, Error, ErrorCode, Identified, Identity, common::ResponseMetadata};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use crate::{Call, call::CallState, front::panicked, limits::Permit};

/// What a method with a stream of responses returns.
pub type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Error>> + Send>>;

/// What a method with a stream of requests takes.
pub struct Requests<T> {
    first: Option<T>,
    rest: Streaming<T>,
    /// Whom the first message names.
    user: String,
    organization: String,
}

impl<T: Identified> Requests<T> {
    /// The next message; `None` at the end. Every message must name the caller or nobody.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(message) = self.rest.message().await.map_err(Error::of_transport)? else {
            return Ok(None);
        };
        let Identity {
            user_id,
            organization_id,
            ..
        } = message.identity();
        for (field, now, first) in [
            ("user_id", user_id, &self.user),
            ("organization_id", organization_id, &self.organization),
        ] {
            if !now.is_empty() && now != first {
                return Err(Error::invalid(
                    field,
                    "is not that of the first message; start another call for it",
                ));
            }
        }
        Ok(Some(message))
    }
}

/// What tonic sends of [`Replies`].
pub struct StatusStream<T> {
    replies: Replies<T>,
    call: Call,
}

impl<T: Send + 'static> Stream for StatusStream<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.replies.as_mut().poll_next(cx)));
        let next = match polled {
            Ok(polled) => ready!(polled),
            // Caught here it is an error like others: tonic first sends the replies before it, which it may still hold.
            Err(panic) => {
                self.replies = Box::pin(stream::empty());
                Some(Err(panicked(&*panic)))
            }
        };
        Poll::Ready(next.map(|item| item.map_err(|error| failed(self.call.state(), error))))
    }
}

pub(crate) async fn unary<M, R, F>(
    request: Request<M>,
    run: impl FnOnce(Call, M) -> F,
) -> Result<Response<R>, Status>
where
    M: Identified,
    R: Answer + Message,
    F: Future<Output = Result<R, Error>>,
{
    let (state, permit, message) = open(request)?;
    let result = async {
        let call = state.admit(message.identity(), permit).await?;
        run(call, message).await
    };
    let reply = result.await.map_err(|error| failed(&state, error))?;
    finish(&state, reply)
}

pub(crate) async fn replies<M, R, F>(
    request: Request<M>,
    run: impl FnOnce(Call, M) -> F,
) -> Result<Response<StatusStream<R>>, Status>
where
    M: Identified,
    F: Future<Output = Result<Replies<R>, Error>>,
{
    let (state, permit, message) = open(request)?;
    let result = async {
        let call = state.admit(message.identity(), permit).await?;
        let replies = run(call.clone(), message).await?;
        Ok::<_, Error>(StatusStream { replies, call })
    };
    let replies = result.await.map_err(|error| failed(&state, error))?;
    let mut response = Response::new(replies);
    // Chunks of files and rows are many and large: packing them costs more than it saves on a cluster's network.
    response.disable_compression();
    Ok(response)
}

pub(crate) async fn requests<M, R, F>(
    request: Request<Streaming<M>>,
    run: impl FnOnce(Call, Requests<M>) -> F,
) -> Result<Response<R>, Status>
where
    M: Identified,
    R: Answer + Message,
    F: Future<Output = Result<R, Error>>,
{
    let (state, permit, mut rest) = open(request)?;
    let result = async {
        let first = rest.message().await.map_err(Error::of_transport)?;
        let identity = first.as_ref().map(Identified::identity).unwrap_or_default();
        let (user, organization) = (identity.user_id.to_owned(), identity.organization_id.to_owned());
        let call = state.admit(identity, permit).await?;
        let requests = Requests {
            first,
            rest,
            user,
            organization,
        };
        run(call, requests).await
    };
    let reply = result.await.map_err(|error| failed(&state, error))?;
    finish(&state, reply)
}

/// What the layer left for us.
fn open<M>(request: Request<M>) -> Result<(Arc<CallState>, Option<Permit>, M), Status> {
    let (_, mut extensions, message) = request.into_parts();
    let Some(Arrival { state, permit }) = extensions.remove::<Arrival>() else {
        // Not to be reached: there is no way in but through the layer.
        return Err(Error::internal("a call came past the layer").into());
    };
    Ok((state, permit.0.lock().take(), message))
}

/// Carries a call through tonic's extensions.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) state: Arc<CallState>,
    pub(crate) permit: Carried,
}

/// Extensions must be clonable, and a permit is not.
#[derive(Clone)]
pub(crate) struct Carried(pub(crate) Arc<parking_lot::Mutex<Option<Permit>>>);

fn finish<R: Answer + Message>(state: &CallState, mut reply: R) -> Result<Response<R>, Status> {
    if let Some(place) = reply.metadata() {
        let metadata = place.get_or_insert_with(|| ResponseMetadata {
            success: true,
            ..ResponseMetadata::default()
        });
        state.request_id().clone_into(&mut metadata.request_id);
        metadata.timestamp = Some(SystemTime::now().into());
        if let Some(trace) = state.trace_id() {
            metadata.trace_id = trace.to_owned();
        }
    }
    let length = reply.encoded_len();
    // tonic checks the packed length alone, and the limit is for both.
    if length > state.shared.max_message {
        return Err(failed(state, Error::too_large()));
    }
    let mut response = Response::new(reply);
    if length < state.shared.compress_from {
        response.disable_compression();
    }
    Ok(response)
}

/// Logs what the caller is not told.
fn failed(state: &CallState, error: Error) -> Status {
    let source = std::error::Error::source(&error);
    match error.code() {
        ErrorCode::Internal | ErrorCode::DataLoss => tracing::error!(
            method = state.method.path, request_id = state.request_id(), cause = source, code = %error.code(), "{error}"
        ),
        ErrorCode::EngineDown
        | ErrorCode::EngineLost
        | ErrorCode::EngineFull
        | ErrorCode::ReplicaUnreachable => tracing::warn!(
            method = state.method.path, request_id = state.request_id(), cause = source, code = %error.code(), "{error}"
        ),
        _ => tracing::debug!(
            method = state.method.path, request_id = state.request_id(), cause = source, code = %error.code(), "{error}"
        ),
    }
    error.into()
}
