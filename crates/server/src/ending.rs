//! The end of a call, however it comes: answered, refused, cut off, or its caller gone. Counted and recorded once.

use std::{sync::Arc, time::Instant};

use chrono::Utc;
use tonic::Code;
use tracing::Span;

use crate::{
    audit::Record,
    call::CallState,
    metrics::{self, MethodMetrics},
    trace,
};

pub(crate) struct Ending {
    state: Arc<CallState>,
    metrics: Arc<MethodMetrics>,
    started: Instant,
    span: Span,
    /// CANCELLED until something better is known: who drops a call without an answer is its caller.
    code: Code,
}

impl Ending {
    pub(crate) fn new(
        state: Arc<CallState>,
        metrics: Arc<MethodMetrics>,
        started: Instant,
        span: Span,
    ) -> Self {
        metrics.begin();
        Self {
            state,
            metrics,
            started,
            span,
            code: Code::Cancelled,
        }
    }

    pub(crate) fn with(mut self, code: Code) {
        self.code = code;
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.state.deadline
    }

    pub(crate) fn state(&self) -> &CallState {
        &self.state
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let time = self.started.elapsed();
        self.metrics.end(self.code, time);
        let admitted = self.state.admitted.get();
        let caller = admitted.map(|it| &it.caller).or_else(|| self.state.bearer.get());
        trace::finish(&self.span, self.code, caller.map(|it| it.tenant.name()));
        let Some(slot) = self.state.audit.lock().take() else {
            return;
        };
        let Some(caller) = caller else {
            // Nobody asked: the number of these is in the metrics.
            return;
        };
        slot.fill(Record {
            time: Utc::now(),
            request_id: self.state.request_id().to_owned(),
            subject: caller.subject.clone(),
            actor: caller.actor.clone(),
            tenant: caller.tenant.name().to_owned(),
            service: self.state.kind.name(),
            method: self.state.method.name,
            status: metrics::name(self.code),
            milliseconds: time.as_secs_f64() * 1000.0,
            peer: self.state.peer.map(|peer| peer.ip().to_string()),
            resource: self.state.resource.get().cloned(),
            custom: admitted.map(|it| it.custom.clone()).unwrap_or_default(),
        });
    }
}
