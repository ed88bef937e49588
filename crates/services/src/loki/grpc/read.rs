//! Reading: entries, figures, labels, and entries as they come.

use std::{collections::BTreeMap, time::Instant};

use futures::{StreamExt, stream};
use isa_proto::loki as pb;
use isa_server::{Call, Error, Replies};

use super::{Service, bound, error::told, names_for};
use crate::loki::{
    convert::{self, DAY, HOUR, Window},
    names::Labels,
    service::{self, Followed, Logs, Loki, MAX_ENTRIES, Ranged, all_violations},
};

/// Entries of an answer where the caller does not say how many.
const DEFAULT_ENTRIES: u32 = 100;

/// Longest that Loki waits for late entries of a tail, in seconds: its own bound.
const MAX_DELAY: u32 = 5;

fn direction(given: &str) -> Result<bool, service::Error> {
    match given.to_ascii_lowercase().as_str() {
        "" | "backward" => Ok(false),
        "forward" => Ok(true),
        _ => Err(service::Error::invalid(
            "direction",
            "must be backward or forward",
        )),
    }
}

/// Of Loki's work.
fn stats(summary: &service::Summary) -> BTreeMap<String, String> {
    [
        ("bytes_processed", summary.total_bytes_processed.to_string()),
        ("lines_processed", summary.total_lines_processed.to_string()),
        ("exec_time_seconds", summary.exec_time.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub(super) async fn query_logs(
    loki: &Loki,
    call: &Call,
    request: pb::QueryLogsRequest,
) -> Result<pb::QueryLogsResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let logs = Logs {
        query: &request.query,
        window: Window::of(request.start, request.end, HOUR)?,
        count: convert::count("limit", request.limit, DEFAULT_ENTRIES, MAX_ENTRIES)?,
        forward: direction(&request.direction)?,
    };
    let (records, summary) = loki.logs(names, logs, bound(call)).await?;
    Ok(pb::QueryLogsResponse {
        total_count: convert::signed(records.len()),
        entries: records.into_iter().map(convert::log_entry).collect(),
        stats: stats(&summary),
    })
}

pub(super) async fn query_range(
    loki: &Loki,
    call: &Call,
    request: pb::QueryRangeRequest,
) -> Result<pb::QueryRangeResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let window = Window::of(request.start, request.end, HOUR)?;
    let count = convert::count("limit", request.limit, DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let step = i64::from(request.step);
    let (ranged, summary) = loki
        .range(names, &request.query, window, step, count, bound(call))
        .await?;
    let mut response = pb::QueryRangeResponse {
        stats: stats(&summary),
        ..Default::default()
    };
    match ranged {
        Ranged::Matrix(series) => {
            "matrix".clone_into(&mut response.result_type);
            response.matrix_results = series.into_iter().map(convert::matrix).collect();
        }
        Ranged::Streams(streams) => {
            "streams".clone_into(&mut response.result_type);
            response.stream_results = streams.into_iter().map(stream_result).collect();
        }
    }
    Ok(response)
}

fn stream_result(records: Vec<service::Record>) -> pb::StreamResult {
    let stream = records
        .first()
        .map(|first| Labels::clone(&first.stream.labels))
        .unwrap_or_default();
    pb::StreamResult {
        stream,
        entries: records.into_iter().map(convert::log_entry).collect(),
    }
}

pub(super) async fn query_stats(
    loki: &Loki,
    call: &Call,
    request: pb::QueryStatsRequest,
) -> Result<pb::QueryStatsResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let window = Window::of(request.start, request.end, HOUR)?;
    let begun = Instant::now();
    let stats = loki.stats(names, &request.query, window, bound(call)).await?;
    Ok(pb::QueryStatsResponse {
        total_entries: convert::signed(stats.entries),
        total_bytes: convert::signed(stats.bytes),
        streams_count: convert::signed(stats.streams),
        query_time_ms: begun.elapsed().as_secs_f64() * 1e3,
        level_distribution: counts(stats.by_level),
        top_labels: stats.top_labels,
    })
}

pub(super) fn counts(counts: BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    counts
        .into_iter()
        .map(|(name, count)| (name, convert::signed(count)))
        .collect()
}

pub(super) async fn get_labels(
    loki: &Loki,
    call: &Call,
    request: pb::GetLabelsRequest,
) -> Result<pb::GetLabelsResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let window = Window::of(request.start, request.end, HOUR)?;
    let labels = loki.label_names(names, window, bound(call)).await?;
    Ok(pb::GetLabelsResponse { labels })
}

pub(super) async fn get_label_values(
    loki: &Loki,
    call: &Call,
    request: pb::GetLabelValuesRequest,
) -> Result<pb::GetLabelValuesResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let window = Window::of(request.start, request.end, HOUR)?;
    let values = loki
        .label_values(names, &request.label_name, &request.query, window, bound(call))
        .await?;
    Ok(pb::GetLabelValuesResponse { values })
}

pub(super) fn validate_labels(request: &pb::ValidateLabelsRequest) -> pb::ValidateLabelsResponse {
    let violations = all_violations(&request.labels);
    pb::ValidateLabelsResponse {
        valid: violations.is_empty(),
        message: if violations.is_empty() {
            "OK".to_owned()
        } else {
            match violations.len() {
                1 => "1 violation".to_owned(),
                count => format!("{count} violations"),
            }
        },
        violations,
    }
}

impl Service {
    /// Until the caller cancels, or the server stops.
    pub(super) async fn tail(
        &self,
        call: Call,
        request: pb::TailLogsRequest,
    ) -> Result<Replies<pb::LogEntry>, Error> {
        let followed = self.tell(followed(&request))?;
        let names = self.tell(names_for(&call, &request.tenant_id))?;
        let tail = self.tell(self.loki.tail(names, followed, bound(&call)).await)?;
        let upstream = self.upstream.clone();
        let entries = stream::unfold(Some(tail), move |tail| {
            let upstream = upstream.clone();
            async move {
                let mut tail = tail?;
                Some(match tail.next().await {
                    Ok(record) => (Ok(convert::log_entry(record)), Some(tail)),
                    Err(error) => (Err(told(&upstream, error)), None),
                })
            }
        });
        Ok(Box::pin(entries.take_until(async move { call.stopping().await })))
    }
}

fn followed(request: &pb::TailLogsRequest) -> Result<Followed, service::Error> {
    let count = convert::count("limit", request.limit, DEFAULT_ENTRIES, MAX_ENTRIES)?;
    let backlog = match request.start {
        None => None,
        Some(start) => {
            let start = convert::nanoseconds("start", start)?;
            if start < convert::now() - 30 * DAY {
                return Err(service::Error::invalid("start", "is more than 30 days ago"));
            }
            Some((start, count))
        }
    };
    let delay = u32::try_from(request.delay_for)
        .ok()
        .filter(|delay| *delay <= MAX_DELAY);
    let Some(delay) = delay else {
        return Err(service::Error::invalid(
            "delay_for",
            format!("must be from 0 to {MAX_DELAY} s"),
        ));
    };
    Ok(Followed {
        query: request.query.clone(),
        delay,
        backlog,
    })
}
