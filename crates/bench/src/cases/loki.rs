use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use isa_config::ServiceKind;
use isa_proto::{
    loki::{
        ExportFormat, ExportLogsRequest, LogEntry, PushLogBatchRequest, PushLogRequest, QueryLogsRequest,
        loki_service_client::LokiServiceClient,
    },
    prost_types::Timestamp,
};
use serde_json::{Value, json};

use super::Case;
use crate::{
    measure::operation,
    platform::{Authorized, Platform},
};

const KIND: ServiceKind = ServiceKind::Loki;

/// Of a line, in bytes.
const LINE: usize = 100;

/// Entries that are read and exported: 10 MB of lines of 1 KiB.
const STORED: usize = 10_000;
const STORED_LINE: usize = 1024;

/// Entries of a page of Loki's own, at most.
const PAGE: usize = 5000;

/// Callers that export at once.
const STREAMS: usize = 4;

/// Of Loki's own client.
const TENANT: &str = "bench-native";

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_nanos()).unwrap_or_default()
}

fn time(at: i64) -> Timestamp {
    Timestamp {
        seconds: at / 1_000_000_000,
        nanos: i32::try_from(at % 1_000_000_000).unwrap_or_default(),
    }
}

fn entry(service: &str, line: String, at: i64) -> LogEntry {
    LogEntry {
        timestamp: Some(time(at)),
        line,
        labels: [("service".to_owned(), service.to_owned())].into(),
        ..Default::default()
    }
}

/// Lines that are not all alike: they are packed on their way.
fn line(n: usize, length: usize) -> String {
    let mut line = format!("{n:08} ");
    let mut word = n as u64 | 1;
    while line.len() < length {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        line += &format!("{:x} ", word >> 40);
    }
    line.truncate(length);
    line
}

/// Loki over its own HTTP API.
#[derive(Clone)]
struct Native {
    http: reqwest::Client,
    url: String,
}

impl Native {
    async fn push(&self, service: &str, values: Vec<Value>) -> anyhow::Result<()> {
        let body = json!({"streams": [{"stream": {"service": service}, "values": values}]});
        let request = self.http.post(format!("{}/loki/api/v1/push", self.url));
        let request = request.header("X-Scope-OrgID", TENANT).json(&body);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Entries of a stream, the oldest first: the bytes of their lines, and the time of the last.
    async fn read(&self, service: &str, start: i64, count: usize) -> anyhow::Result<(u64, usize, i64)> {
        let parameters = [
            ("query", format!("{{service=\"{service}\"}}")),
            ("start", start.to_string()),
            ("end", now().to_string()),
            ("limit", count.to_string()),
            ("direction", "forward".to_owned()),
        ];
        let request = self.http.get(format!("{}/loki/api/v1/query_range", self.url));
        let request = request.header("X-Scope-OrgID", TENANT).query(&parameters);
        let answer: Value = request.send().await?.error_for_status()?.json().await?;
        let streams = answer["data"]["result"].as_array();
        let values = streams
            .into_iter()
            .flatten()
            .filter_map(|s| s["values"].as_array());
        let (mut bytes, mut entries, mut last) = (0, 0, start);
        for value in values.flatten() {
            bytes += value[1].as_str().map_or(0, str::len) as u64;
            entries += 1;
            last = value[0].as_str().unwrap_or_default().parse()?;
        }
        Ok((bytes, entries, last))
    }
}

fn timed(line: &str, at: i64) -> Value {
    json!([at.to_string(), line])
}

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let native = Native {
        http: reqwest::Client::builder().no_proxy().build()?,
        url: platform.endpoint(KIND)?.url.clone(),
    };
    let channels = Arc::new(platform.channels(KIND).await?);
    let begin = now() - 60_000_000_000;
    fill(&native, large(channels.of(0)), begin).await?;

    let client = native.clone();
    let native_push = operation(move |caller| {
        let client = client.clone();
        async move {
            client
                .push("bench", vec![timed(&line(caller, LINE), now())])
                .await?;
            Ok(0)
        }
    });
    let push_channels = Arc::clone(&channels);
    let service_push = operation(move |caller| {
        let mut client = LokiServiceClient::new(push_channels.of(caller));
        async move {
            let request = PushLogRequest {
                entry: Some(entry("bench", line(caller, LINE), now())),
                ..Default::default()
            };
            client.push_log(request).await?;
            Ok(0)
        }
    });

    let client = native.clone();
    let native_query = operation(move |_| {
        let client = client.clone();
        async move { Ok(client.read("stored", begin, 100).await?.0) }
    });
    let query_channels = Arc::clone(&channels);
    let service_query = operation(move |caller| {
        let mut client = large(query_channels.of(caller));
        async move {
            let request = QueryLogsRequest {
                query: "{service=\"stored\"}".into(),
                start: Some(time(begin)),
                direction: "forward".into(),
                ..Default::default()
            };
            let entries = client.query_logs(request).await?.into_inner().entries;
            Ok(entries.iter().map(|entry| entry.line.len() as u64).sum())
        }
    });

    let native_export = operation(move |_| {
        let client = native.clone();
        async move {
            let (mut bytes, mut start) = (0, begin);
            loop {
                let (page, entries, last) = client.read("stored", start, PAGE).await?;
                bytes += page;
                if entries < PAGE {
                    return Ok(bytes);
                }
                start = last + 1;
            }
        }
    });
    let service_export = operation(move |caller| {
        let mut client = large(channels.of(caller));
        async move {
            let request = ExportLogsRequest {
                query: "{service=\"stored\"}".into(),
                start: Some(time(begin)),
                format: ExportFormat::ExportText.into(),
                ..Default::default()
            };
            let mut pieces = client.export_logs(request).await?.into_inner();
            let mut bytes = 0;
            while let Some(piece) = pieces.message().await? {
                bytes += piece.data.len() as u64;
            }
            Ok(bytes)
        }
    });
    Ok(vec![
        Case::new(KIND, "PushLog, 100 B", Some(40.0), native_push, service_push),
        Case::new(KIND, "QueryLogs, 100 of 1 KiB", None, native_query, service_query).at_most(32),
        Case::new(KIND, "ExportLogs, 10 MiB", None, native_export, service_export).at_most(STREAMS),
    ])
}

/// What is read: the same for both.
async fn fill(native: &Native, mut client: LokiServiceClient<Authorized>, begin: i64) -> anyhow::Result<()> {
    for page in (0..STORED).step_by(1000) {
        let lines: Vec<_> = (page..page + 1000)
            .map(|n| {
                let at = begin + i64::try_from(n).unwrap_or_default();
                (line(n, STORED_LINE), at)
            })
            .collect();
        let values = lines.iter().map(|(line, at)| timed(line, *at)).collect();
        native.push("stored", values).await?;
        let entries = lines.into_iter().map(|(line, at)| entry("stored", line, at));
        let request = PushLogBatchRequest {
            entries: entries.collect(),
            ..Default::default()
        };
        client.push_log_batch(request).await?;
    }
    Ok(())
}

fn large(channel: Authorized) -> LokiServiceClient<Authorized> {
    LokiServiceClient::new(channel).max_decoding_message_size(64 << 20)
}
