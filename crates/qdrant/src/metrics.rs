//! Counts of answers, in Prometheus' text format, under the names that Qdrant has for them.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use parking_lot::Mutex;

use crate::{VERSION, server::Protocol, service::Usage};

#[derive(Default)]
pub(crate) struct Metrics {
    answers: Mutex<BTreeMap<Labels, Answers>>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    protocol: Protocol,
    method: String,
    endpoint: String,
    /// HTTP status, or gRPC code.
    status: String,
}

#[derive(Default)]
struct Answers {
    count: u64,
    seconds: f64,
}

/// Counts the answer to a request.
pub(crate) async fn count(
    State((metrics, protocol)): State<(Arc<Metrics>, Protocol)>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let grpc = protocol == Protocol::Grpc;
    // Of what callers choose, only what is known becomes a label: each label is kept for ever.
    let pattern = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let endpoint = match pattern {
        None => "unknown".to_owned(),
        // The pattern has the service alone.
        Some(_) if grpc => request.uri().path().to_owned(),
        Some(pattern) => pattern.to_owned(),
    };
    let method = match request.method() {
        // Not shown.
        _ if grpc => String::new(),
        known @ (&Method::GET
        | &Method::POST
        | &Method::PUT
        | &Method::PATCH
        | &Method::DELETE
        | &Method::HEAD) => known.to_string(),
        _ => "other".to_owned(),
    };
    let response = next.run(request).await;
    let status = if grpc {
        // An error is all headers; the code of a success follows in trailers.
        let code = response
            .headers()
            .get("grpc-status")
            .and_then(|code| code.to_str().ok());
        code.unwrap_or("0").to_owned()
    } else {
        response.status().as_u16().to_string()
    };
    // What any method gets that does not exist, and any at all without the key.
    let endpoint = match (grpc, status.as_str()) {
        (true, "12") => "unimplemented".to_owned(),
        (true, "16") => "unauthenticated".to_owned(),
        _ => endpoint,
    };
    let mut answers = metrics.answers.lock();
    let entry = answers
        .entry(Labels {
            protocol,
            method,
            endpoint,
            status,
        })
        .or_default();
    entry.count += 1;
    entry.seconds += start.elapsed().as_secs_f64();
    response
}

impl Metrics {
    pub(crate) fn render(&self, usage: &Usage) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, labels: &str, value: u64| {
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}"
            );
        };
        let version = format!("{{name=\"qdrant\",version=\"{VERSION}\"}}");
        gauge("app_info", "information about qdrant server", &version, 1);
        gauge(
            "collections_total",
            "number of collections",
            "",
            usage.collections as u64,
        );
        gauge(
            "open_shards",
            "collections that are open",
            "",
            usage.open_shards as u64,
        );
        gauge(
            "journal_bytes",
            "writes that are only in the journals",
            "",
            usage.journal_bytes,
        );
        let answers = self.answers.lock();
        for (protocol, prefix) in [(Protocol::Rest, "rest"), (Protocol::Grpc, "grpc")] {
            let name = format!("{prefix}_responses_total");
            let _ = writeln!(
                text,
                "# HELP {name} total number of responses\n# TYPE {name} counter"
            );
            for (labels, value) in answers.iter().filter(|(labels, _)| labels.protocol == protocol) {
                let _ = writeln!(text, "{name}{labels} {}", value.count);
            }
            let name = format!("{prefix}_responses_duration_seconds");
            let _ = writeln!(text, "# HELP {name} response duration\n# TYPE {name} summary");
            for (labels, value) in answers.iter().filter(|(labels, _)| labels.protocol == protocol) {
                let _ = writeln!(
                    text,
                    "{name}_sum{labels} {}\n{name}_count{labels} {}",
                    value.seconds, value.count
                );
            }
        }
        text
    }
}

impl std::fmt::Display for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.protocol == Protocol::Rest {
            write!(f, "{{method=\"{}\",", self.method)?;
        } else {
            f.write_str("{")?;
        }
        write!(f, "endpoint=\"{}\",status=\"{}\"}}", self.endpoint, self.status)
    }
}
