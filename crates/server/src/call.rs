//! One call: who asks, until when, and what else a handler may need to know of it.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use isa_proto::{Error, Identity, Method};
use parking_lot::Mutex;
use tokio_util::sync::WaitForCancellationFuture;
use tonic::metadata::MetadataMap;

use crate::{Caller, Place, ServiceKind, StatefulId, Tenant, audit, limits, shared::Shared};

/// Marks a call that another replica of ours sent on: it goes no further.
pub(crate) const FORWARDED: &str = "isa-forwarded";

/// How much longer than we do a replica is to wait that a call is sent on to.
const AFTER_US: Duration = Duration::from_millis(20);

/// A call that was admitted. Handlers take it; nothing below them reads a header. Clones are the same call.
#[derive(Clone)]
pub struct Call {
    state: Arc<CallState>,
    caller: Arc<Caller>,
}

impl Call {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn tenant(&self) -> &Tenant {
        &self.caller.tenant
    }

    /// Chosen by the caller or made here; stands in the log, the audit record and the response.
    pub fn request_id(&self) -> &str {
        self.state.request_id()
    }

    /// When the answer is too late: the server drops the call then. Engines that can be told to stop are told.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline
    }

    /// What is left until the deadline, but at most `bound`.
    pub fn time_left(&self, bound: Duration) -> Duration {
        self.state.deadline.map_or(bound, |deadline| {
            deadline.saturating_duration_since(Instant::now()).min(bound)
        })
    }

    /// W3C trace context, to be handed to engines that take it.
    pub fn traceparent(&self) -> Option<&str> {
        self.state.header("traceparent")
    }

    /// Completes when the server stops. Streams that have no end of their own end then, with OK or STOPPING.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.state.shared.stopping.cancelled()
    }

    /// Does something when the server accepts no more calls, such as handing to other replicas what this one keeps. The
    /// end of the server waits for it as long as for calls. To be asked for once by a service, not by each call.
    pub fn at_the_end(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closed = self.state.shared.closed.clone();
        self.state.shared.leaving.spawn(async move {
            closed.cancelled().await;
            work.await;
        });
    }

    /// Names what a call changes in its audit record: a bucket, a table. Not its content.
    pub fn note(&self, resource: impl Into<String>) {
        let _ = self.state.resource.set(resource.into());
    }

    /// Keeps something until the answer is sent, or its caller gone.
    pub fn keep(&self, it: impl Send + 'static) {
        if let Some(admitted) = self.state.admitted.get() {
            admitted.kept.lock().push(Box::new(it));
        }
    }

    /// Whether another replica sent this call on to us.
    pub fn is_forwarded(&self) -> bool {
        self.state.headers.contains_key(FORWARDED)
    }

    /// A new id for state that this replica keeps between calls.
    pub fn new_id(&self) -> StatefulId {
        self.state.shared.replicas.new_id(self.state.kind)
    }

    /// Where the state with this id is kept. INVALID_ARGUMENT naming `field` if it is no such id, STATE_LOST if it was
    /// kept here before this process.
    pub fn locate(&self, id: &str, field: &'static str) -> Result<Place<'_>, Error> {
        let id = id
            .parse::<StatefulId>()
            .map_err(|why| Error::invalid(field, why))?;
        self.state.shared.replicas.locate(self, id)
    }

    /// The same call for another replica: credentials, deadline, trace and request id go with it.
    pub(crate) fn forwarded<M>(&self, message: M) -> tonic::Request<M> {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "x-api-key", "traceparent", "tracestate"] {
            if let Some(value) = self.state.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(FORWARDED, HeaderValue::from_static("1"));
        if let Ok(id) = HeaderValue::from_str(self.state.request_id()) {
            headers.insert("x-request-id", id);
        }
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        if let Some(deadline) = self.state.deadline {
            // A little longer: it is we who say that it has passed. The channel would call it a cancellation.
            request.set_timeout(deadline.saturating_duration_since(Instant::now()) + AFTER_US);
        }
        request
    }

    pub(crate) fn state(&self) -> &CallState {
        &self.state
    }
}

/// What the layer in front of tonic knows of a call, before and after its message is read.
pub(crate) struct CallState {
    pub(crate) shared: Arc<Shared>,
    pub(crate) kind: ServiceKind,
    pub(crate) method: &'static Method,
    pub(crate) limiter: Arc<limits::Limiter>,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) request_id: String,
    pub(crate) deadline: Option<Instant>,
    /// By header. Without one, the message decides.
    pub(crate) bearer: OnceLock<Arc<Caller>>,
    pub(crate) admitted: OnceLock<Admitted>,
    pub(crate) resource: OnceLock<String>,
    /// Of calls that change something.
    pub(crate) audit: Mutex<Option<audit::Slot>>,
}

/// What holds from admission to the end of the call.
pub(crate) struct Admitted {
    pub(crate) caller: Arc<Caller>,
    pub(crate) custom: Vec<(String, String)>,
    /// The one in the message, if there is one.
    request_id: Option<String>,
    kept: Mutex<Vec<Box<dyn Send>>>,
    _permit: limits::Permit,
}

impl CallState {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn request_id(&self) -> &str {
        let in_message = self.admitted.get().and_then(|it| it.request_id.as_deref());
        in_message.unwrap_or(&self.request_id)
    }

    /// The trace in `traceparent`: 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.header("traceparent")?
            .split('-')
            .nth(1)
            .filter(|id| id.len() == 32)
    }

    /// Whether it is not known yet who calls, and has to be.
    pub(crate) fn is_stranger(&self) -> bool {
        self.bearer.get().is_none() && !self.shared.auth.is_open()
    }

    /// Whoever is known by header is held to the limits before a byte of the message is read.
    pub(crate) fn limit_early(&self) -> Result<Option<limits::Permit>, Error> {
        match self.bearer.get() {
            Some(caller) => self.limit(&caller.tenant).map(Some),
            None => Ok(None),
        }
    }

    fn limit(&self, tenant: &Tenant) -> Result<limits::Permit, Error> {
        self.limiter.admit(tenant, self.method.server_streaming)
    }

    /// Says who asks, by header and message, and counts the call as theirs.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        identity: Identity<'_>,
        permit: Option<limits::Permit>,
    ) -> Result<Call, Error> {
        let caller = self.who(&identity).await?;
        let permit = match permit {
            // Who acts for another has its own limits, and the other theirs.
            Some(permit) if caller.actor.is_none() => permit,
            _ => self.limit(&caller.tenant)?,
        };
        let admitted = Admitted {
            caller: Arc::clone(&caller),
            custom: custom_metadata(&identity)?,
            request_id: request_id_in(&identity)?,
            kept: Mutex::default(),
            _permit: permit,
        };
        if self.admitted.set(admitted).is_err() {
            return Err(Error::internal("a call was admitted twice"));
        }
        Ok(Call {
            state: Arc::clone(self),
            caller,
        })
    }

    async fn who(&self, identity: &Identity<'_>) -> Result<Arc<Caller>, Error> {
        let auth = &self.shared.auth;
        if auth.is_open() {
            return Caller::open(identity, self.kind, self.method.name).map(Arc::new);
        }
        let bearer = match self.bearer.get() {
            Some(bearer) => Arc::clone(bearer),
            None if !identity.access_token.is_empty() => auth.verify(identity.access_token).await?,
            // Probes have no token, and learn no more than `grpc.health.v1` tells them.
            None if self.method.name == "HealthCheck" => Arc::new(Caller::new("", None)),
            None => return Err(self.shared.auth.nobody()),
        };
        Ok(match bearer.acting_for(identity, self.kind, self.method.name)? {
            Some(other) => Arc::new(other),
            None => bearer,
        })
    }
}

/// Whether it can stand in headers and logs as it is.
pub(crate) fn is_request_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn request_id_in(identity: &Identity<'_>) -> Result<Option<String>, Error> {
    match identity.request_id {
        "" => Ok(None),
        id if is_request_id(id) => Ok(Some(id.to_owned())),
        _ => Err(Error::invalid(
            "metadata.request_id",
            "must have at most 128 characters of printable ASCII without spaces",
        )),
    }
}

fn custom_metadata(identity: &Identity<'_>) -> Result<Vec<(String, String)>, Error> {
    let Some(custom) = identity.custom_metadata else {
        return Ok(Vec::new());
    };
    let field = "metadata.custom_metadata";
    if custom.len() > 16 {
        return Err(Error::invalid(
            field,
            format!("has {} entries, and may have 16", custom.len()),
        ));
    }
    if custom.iter().any(|(key, value)| key.len() + value.len() > 256) {
        return Err(Error::invalid(field, "has an entry of more than 256 bytes"));
    }
    Ok(custom
        .iter()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect())
}
