//! A span for each call, which joins its caller's trace. Costs next to nothing while nobody takes spans of [`TARGET`].

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tonic::Code;
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::call::CallState;

/// Target of the spans of calls: for the filter of the layer that sends them. It does not begin with `isa`, or the log's
/// `isa=info` would take them too, and write all their fields into memory at each call.
pub const TARGET: &str = "calls";

/// Names are those of OpenTelemetry's conventions for RPC servers.
pub(crate) fn span(state: &CallState, traceparent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "call",
        otel.name = state.method.path.trim_start_matches('/'),
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = state.kind.grpc_service(),
        rpc.method = state.method.name,
        rpc.grpc.status_code = Empty,
        isa.request_id = state.request_id,
        isa.tenant = Empty,
    );
    if !span.is_disabled()
        && let Some(parent) = traceparent.and_then(parent)
    {
        // Fails only where nobody sends spans.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    span
}

/// At the end of the call.
pub(crate) fn finish(span: &Span, code: Code, tenant: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.grpc.status_code", code as i32);
    // What a server is to blame for, by the conventions; the rest is the caller's.
    let ours = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    if ours.contains(&code) {
        span.record("otel.status_code", "ERROR");
    }
    if let Some(tenant) = tenant {
        span.record("isa.tenant", tenant);
    }
}

/// W3C trace context: `00-<trace>-<span>-<flags>`.
fn parent(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || version == "ff" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?),
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn trace_contexts_are_read_as_w3c_writes_them() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(parent(good).is_some_and(|it| it.is_sampled() && it.is_remote()));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473x-00f067aa0ba902b7-01",
        ] {
            assert!(parent(bad).is_none(), "{bad}");
        }
    }
}
