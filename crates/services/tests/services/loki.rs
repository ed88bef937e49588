//! isa.loki on a real Loki. What the service did is looked at over Loki's own HTTP API.

mod export;
mod life;
mod reads;
mod streams;
mod tail;
mod writes;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use isa_config::ServiceKind;
use isa_proto::{
    loki::{self as pb, loki_service_client::LokiServiceClient},
    prost_types::Timestamp,
};
use isa_server::Tenant;
use serde_json::Value;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::harness::Node;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

const SECOND: i64 = 1_000_000_000;

/// A service with a tenant that nobody else has, and Loki itself.
struct World {
    node: Node,
    channel: Channel,
    http: reqwest::Client,
    org: String,
}

impl World {
    async fn start() -> Self {
        Self::of(Node::start(ServiceKind::Loki).await).await
    }

    async fn of(node: Node) -> Self {
        let channel = node.channel().await;
        Self {
            node,
            channel,
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
            org: format!("org-{:x}", rand::random::<u64>()),
        }
    }

    fn client(&self) -> LokiServiceClient<Channel> {
        LokiServiceClient::new(self.channel.clone())
            .max_decoding_message_size(128 << 20)
            .max_encoding_message_size(128 << 20)
    }

    fn slug(&self) -> String {
        Tenant::organization(&self.org).slug().to_owned()
    }

    /// Asks Loki itself, for the tenant.
    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let answer = self
            .http
            .get(format!("{}{path}", self.node.engine.url))
            .header("X-Scope-OrgID", self.slug())
            .query(parameters)
            .send()
            .await
            .expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.expect("JSON")
    }

    /// What Loki has of a selector, the oldest first: labels, nanoseconds and line.
    async fn stored(&self, selector: &str) -> Vec<(BTreeMap<String, String>, i64, String)> {
        let start = (now() - 8 * 24 * 3600 * SECOND).to_string();
        let end = (now() + 3600 * SECOND).to_string();
        let parameters = [
            ("query", selector),
            ("start", &start),
            ("end", &end),
            ("limit", "5000"),
            ("direction", "forward"),
        ];
        let answer = self.ask("/loki/api/v1/query_range", &parameters).await;
        let mut found = Vec::new();
        for stream in answer["data"]["result"].as_array().expect("streams") {
            let labels: BTreeMap<String, String> =
                serde_json::from_value(stream["stream"].clone()).expect("labels");
            for value in stream["values"].as_array().expect("values") {
                let at = value[0].as_str().expect("a time").parse().expect("a time");
                found.push((labels.clone(), at, value[1].as_str().expect("a line").to_owned()));
            }
        }
        found.sort_by_key(|(_, at, _)| *at);
        found
    }

    fn push_request(&self, line: &str, labels: &[(&str, &str)], at: Option<i64>) -> pb::PushLogRequest {
        pb::PushLogRequest {
            organization_id: self.org.clone(),
            entry: Some(entry(line, labels, at)),
            ..Default::default()
        }
    }

    /// Writes an entry; the id of its stream.
    async fn push(&self, line: &str, labels: &[(&str, &str)], at: Option<i64>) -> String {
        let request = self.push_request(line, labels, at);
        let answer = self
            .client()
            .push_log(request)
            .await
            .expect("written")
            .into_inner();
        assert!(answer.success);
        answer.stream_id
    }

    async fn batch(&self, entries: Vec<pb::LogEntry>) -> pb::PushLogBatchResponse {
        let request = pb::PushLogBatchRequest {
            organization_id: self.org.clone(),
            entries,
            ..Default::default()
        };
        self.client()
            .push_log_batch(request)
            .await
            .expect("an answer")
            .into_inner()
    }

    fn query(&self, query: &str) -> pb::QueryLogsRequest {
        pb::QueryLogsRequest {
            organization_id: self.org.clone(),
            query: query.to_owned(),
            limit: 5000,
            direction: "forward".into(),
            ..Default::default()
        }
    }

    /// Lines of a query of the last hour, the oldest first.
    async fn lines(&self, query: &str) -> Vec<String> {
        let answer = self
            .client()
            .query_logs(self.query(query))
            .await
            .expect("entries");
        let entries = answer.into_inner().entries;
        entries.into_iter().map(|entry| entry.line).collect()
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    i64::try_from(now.as_nanos()).expect("a time")
}

fn timestamp(at: i64) -> Timestamp {
    Timestamp {
        seconds: at / SECOND,
        nanos: i32::try_from(at % SECOND).expect("nanoseconds"),
    }
}

fn nanoseconds(at: Option<Timestamp>) -> i64 {
    let at = at.expect("a time");
    at.seconds * SECOND + i64::from(at.nanos)
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn entry(line: &str, pairs: &[(&str, &str)], at: Option<i64>) -> pb::LogEntry {
    pb::LogEntry {
        timestamp: at.map(timestamp),
        line: line.to_owned(),
        labels: labels(pairs),
        ..Default::default()
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("a message in time")
}

/// Polls until `condition` holds.
async fn until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + within;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "not in {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.expect_err("an error");
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
