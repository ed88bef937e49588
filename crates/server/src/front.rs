//! The one way in: every request passes here before tonic sees it, whatever its service.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use futures::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use isa_proto::{Error, ErrorCode, METHODS, Method};
use parking_lot::Mutex;
use tonic::{Status, body::Body, codegen::BoxFuture};
use tracing::Instrument;

use crate::{
    ServiceKind, Upstream,
    beside::Beside,
    body::{Closing, Tracked},
    call::CallState,
    ending::Ending,
    guard::{Arrival, Carried},
    limits::{Limiter, Permit},
    metrics::MethodMetrics,
    received::Received,
    shared::Shared,
    trace,
};

/// Hands a request to a generated server.
pub(crate) type Dispatch = Box<dyn Fn(Request<Body>) -> BoxFuture<Response<Body>, Infallible> + Send + Sync>;

/// One service on one listener, with all that is around it.
pub(crate) struct Front {
    pub(crate) shared: Arc<Shared>,
    pub(crate) kind: ServiceKind,
    pub(crate) upstream: Upstream,
    pub(crate) limiter: Arc<Limiter>,
    methods: HashMap<&'static str, Entry>,
    service: Dispatch,
    /// Health and reflection, by the beginning of their paths. They are open to all, and say nothing of any tenant.
    beside: Beside,
}

struct Entry {
    method: &'static Method,
    metrics: Arc<MethodMetrics>,
}

impl Front {
    pub(crate) fn new(
        shared: Arc<Shared>,
        kind: ServiceKind,
        upstream: Upstream,
        limiter: Arc<Limiter>,
        service: Dispatch,
        beside: Beside,
    ) -> Self {
        let ours = METHODS
            .iter()
            .filter(|method| method.service == kind.grpc_service());
        let methods = ours.map(|method| {
            let metrics = Arc::new(MethodMetrics::new(kind.name(), method.name));
            (method.path, Entry { method, metrics })
        });
        Self {
            methods: methods.collect(),
            shared,
            kind,
            upstream,
            limiter,
            service,
            beside,
        }
    }

    pub(crate) async fn answer(&self, request: Request<Body>, peer: Option<SocketAddr>) -> Response<Body> {
        let path = request.uri().path();
        if let Some(entry) = self.methods.get(path) {
            return self.call(entry, request, peer).await;
        }
        if let Some((_, dispatch)) = self
            .beside
            .iter()
            .find(|(beginning, _)| path.starts_with(beginning))
        {
            let answer = AssertUnwindSafe(dispatch(request)).catch_unwind().await;
            return match answer {
                Ok(Ok(response)) => Closing::wrap(response, &self.shared.closed),
                Err(panic) => Status::from(panicked(&*panic)).into_http(),
            };
        }
        let name = self.kind.grpc_service();
        let error = Error::new(
            ErrorCode::Unimplemented,
            format!("there is no such method here; this address serves {name}"),
        );
        Status::from(error).into_http()
    }

    async fn call(&self, entry: &Entry, request: Request<Body>, peer: Option<SocketAddr>) -> Response<Body> {
        let started = Instant::now();
        let state = Arc::new(self.arrival(entry.method, &request, peer, started));
        let span = trace::span(&state, state.header("traceparent"));
        let ending = Ending::new(
            Arc::clone(&state),
            Arc::clone(&entry.metrics),
            started,
            span.clone(),
        );
        let work = async {
            let permit = self.prepare(&state).await?;
            let (mut parts, mut body) = request.into_parts();
            if state.is_stranger() || state.method.client_streaming {
                body = Received::wrap(body, state.is_stranger());
            }
            parts.extensions.insert(Arrival {
                state: Arc::clone(&state),
                permit: Carried(Arc::new(Mutex::new(permit))),
            });
            let Ok(response) = (self.service)(Request::from_parts(parts, body)).await;
            Ok(response)
        };
        let work = AssertUnwindSafe(within(state.deadline, work)).catch_unwind();
        let outcome: Result<Response<Body>, Error> = tokio::select! {
            biased;
            outcome = work.instrument(span) => outcome.unwrap_or_else(|panic| Err(panicked(&*panic))),
            () = self.shared.cut_off.cancelled() => Err(stopping()),
        };
        let mut response = outcome.unwrap_or_else(|error| Status::from(error).into_http());
        if let Ok(id) = HeaderValue::from_str(state.request_id()) {
            response.headers_mut().insert("x-request-id", id);
        }
        let streams = entry.method.server_streaming;
        Tracked::wrap(response, ending, streams)
    }

    fn arrival(
        &self,
        method: &'static Method,
        request: &Request<Body>,
        peer: Option<SocketAddr>,
        started: Instant,
    ) -> CallState {
        let headers = request.headers();
        let asked = grpc_timeout(headers);
        // Streams last as long as somebody listens; uploads, as long as somebody sends.
        let unary = !method.client_streaming && !method.server_streaming;
        let bound = unary.then_some(self.shared.default_deadline);
        let time = match (asked, bound) {
            (Some(asked), Some(bound)) => Some(asked.min(bound)),
            (asked, bound) => asked.or(bound),
        };
        CallState {
            shared: Arc::clone(&self.shared),
            kind: self.kind,
            method,
            limiter: Arc::clone(&self.limiter),
            headers: headers.clone(),
            peer,
            request_id: request_id(headers),
            deadline: time.and_then(|time| started.checked_add(time)),
            bearer: OnceLock::new(),
            admitted: OnceLock::new(),
            resource: OnceLock::new(),
            audit: Mutex::new(None),
        }
    }

    /// All that can be known before the message is read.
    async fn prepare(&self, state: &CallState) -> Result<Option<Permit>, Error> {
        if !self.shared.readiness.is_ready() {
            return Err(Error::new(
                ErrorCode::Starting,
                "the server is starting; try again",
            ));
        }
        let checks_health = state.method.name == "HealthCheck";
        if !checks_health {
            self.upstream.check()?;
        }
        if !self.shared.auth.is_open() {
            match self.shared.auth.by_headers(&state.headers).await? {
                Some(caller) => drop(state.bearer.set(caller)),
                None if state.method.token_in_request || checks_health => {}
                None => return Err(self.shared.auth.nobody()),
            }
        }
        let permit = state.limit_early()?;
        if !state.method.reads_only {
            let slot = self.shared.audit.slot().await?;
            *state.audit.lock() = Some(slot);
        }
        Ok(permit)
    }
}

async fn within<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), work)
            .await
            .unwrap_or_else(|_| Err(too_late())),
        None => work.await,
    }
}

pub(crate) fn too_late() -> Error {
    Error::new(
        ErrorCode::DeadlineExceeded,
        "the deadline has passed; what was asked may have been done",
    )
}

pub(crate) fn stopping() -> Error {
    Error::new(
        ErrorCode::Stopping,
        "the server stops; call again, and another will answer",
    )
}

pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!(panic = text, "a call panicked");
    Error::internal(format!("panic: {text}"))
}

/// The time that the caller gives us, from `grpc-timeout`: at most 8 digits, and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

/// The caller's own, if it can stand in logs; else one made here.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
    match given {
        Some(id) if crate::call::is_request_id(id) => id.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            grpc_timeout(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for nonsense in ["", "m", "1", "123456789m", "-1m", "1x", "é"] {
            assert_eq!(
                nonsense.is_ascii().then(|| read(nonsense)).flatten(),
                None,
                "{nonsense}"
            );
        }
    }
}
