//! Numbers for Prometheus: of every call by method, of every engine. One recorder for the process.

use std::{sync::OnceLock, time::Duration};

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tonic::Code;

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Upper bounds of the buckets of call times, in seconds.
const BUCKETS: &[f64] = &[
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// Installs the recorder, once. Numbers go nowhere if the process has one of another kind.
pub(crate) fn install() -> Option<&'static PrometheusHandle> {
    let handle = RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(BUCKETS)
            .ok()?
            .build_recorder();
        let handle = recorder.handle();
        if let Err(error) = metrics::set_global_recorder(recorder) {
            tracing::warn!(%error, "numbers are not shown");
            return None;
        }
        describe();
        Some(handle)
    });
    handle.as_ref()
}

fn describe() {
    metrics::describe_counter!("isa_calls_total", "Calls that ended, by gRPC status.");
    metrics::describe_histogram!(
        "isa_call_seconds",
        metrics::Unit::Seconds,
        "Time of calls, streams included."
    );
    metrics::describe_gauge!("isa_calls_running", "Calls that run.");
    metrics::describe_gauge!("isa_engine_up", "Whether the engine behind the service answers.");
    metrics::describe_gauge!("isa_connections", "Connections that are open.");
}

/// All numbers, in Prometheus' text format.
pub fn render() -> String {
    install().map(PrometheusHandle::render).unwrap_or_default()
}

/// Folds what was recorded into buckets. Must run now and then, or what was recorded piles up.
pub(crate) async fn keep_folding() {
    let Some(handle) = install() else { return };
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.run_upkeep();
    }
}

/// The numbers of one method, looked up once.
pub(crate) struct MethodMetrics {
    service: &'static str,
    method: &'static str,
    calls: [OnceLock<Counter>; 17],
    seconds: Histogram,
    running: Gauge,
}

impl MethodMetrics {
    pub(crate) fn new(service: &'static str, method: &'static str) -> Self {
        Self {
            service,
            method,
            calls: [const { OnceLock::new() }; 17],
            seconds: metrics::histogram!("isa_call_seconds", "service" => service, "method" => method),
            running: metrics::gauge!("isa_calls_running", "service" => service),
        }
    }

    pub(crate) fn begin(&self) {
        self.running.increment(1.0);
    }

    pub(crate) fn end(&self, code: Code, time: Duration) {
        self.running.decrement(1.0);
        self.seconds.record(time.as_secs_f64());
        let Some(calls) = self.calls.get(code as usize) else {
            return;
        };
        calls
            .get_or_init(|| {
                metrics::counter!(
                    "isa_calls_total", "service" => self.service, "method" => self.method, "code" => name(code)
                )
            })
            .increment(1);
    }
}

/// The name of a status as people write it.
pub(crate) const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
