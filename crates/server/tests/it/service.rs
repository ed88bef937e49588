//! A service that does what its request says: enough to see what happens around a handler.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use isa_proto::{loki as pb, loki::loki_service_client::LokiServiceClient};
use isa_server::{Call, Error, ErrorCode, Place, Replies, Requests, api::loki::LokiService};
use tokio::sync::Semaphore;

/// What tests see of the service from outside.
#[derive(Default)]
pub(crate) struct Seen {
    /// Handlers that run.
    pub(crate) running: AtomicUsize,
    /// Those that were dropped before their end.
    pub(crate) dropped: AtomicUsize,
    /// Messages of uploads.
    pub(crate) received: AtomicUsize,
    /// Uploads that were taken for whole.
    pub(crate) whole: AtomicUsize,
}

pub(crate) struct Odd {
    pub(crate) seen: Arc<Seen>,
    /// Lets one `block` go on for each permit.
    pub(crate) gate: Arc<Semaphore>,
}

/// Counts a handler, and notes if it was dropped.
struct Running(Arc<Seen>, bool);

impl Running {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.running.fetch_add(1, SeqCst);
        Self(Arc::clone(seen), false)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        if !self.1 {
            self.0.dropped.fetch_add(1, SeqCst);
        }
    }
}

fn entry(line: impl Into<String>) -> pb::LogEntry {
    pb::LogEntry {
        line: line.into(),
        ..Default::default()
    }
}

macro_rules! unused {
    ($($method:ident: $request:ident => $response:ident;)*) => {
        $(async fn $method(&self, _: Call, _: pb::$request) -> Result<pb::$response, Error> {
            Err(Error::new(ErrorCode::Unimplemented, "not in this test"))
        })*
    };
}

impl LokiService for Odd {
    /// Who asks.
    async fn get_labels(&self, call: Call, _: pb::GetLabelsRequest) -> Result<pb::GetLabelsResponse, Error> {
        let caller = call.caller();
        Ok(pb::GetLabelsResponse {
            labels: vec![
                caller.subject.clone(),
                caller.tenant.to_string(),
                caller.actor.clone().unwrap_or_default(),
                caller.scopes.iter().cloned().collect::<Vec<_>>().join(" "),
            ],
        })
    }

    async fn push_simple_log(
        &self,
        call: Call,
        request: pb::PushSimpleLogRequest,
    ) -> Result<pb::PushLogResponse, Error> {
        call.note(request.service.clone());
        if request.message.is_empty() {
            return Err(Error::invalid("message", "is empty"));
        }
        Ok(pb::PushLogResponse {
            success: true,
            message: call.request_id().to_owned(),
            ..Default::default()
        })
    }

    async fn push_log_stream(
        &self,
        _: Call,
        mut request: Requests<pb::PushLogRequest>,
    ) -> Result<pb::PushLogBatchResponse, Error> {
        let mut accepted_count = 0;
        while request.next().await?.is_some() {
            accepted_count += 1;
            self.seen.received.fetch_add(1, SeqCst);
        }
        self.seen.whole.fetch_add(1, SeqCst);
        Ok(pb::PushLogBatchResponse {
            success: true,
            accepted_count,
            ..Default::default()
        })
    }

    async fn query_logs(
        &self,
        _: Call,
        request: pb::QueryLogsRequest,
    ) -> Result<pb::QueryLogsResponse, Error> {
        let mut running = Running::new(&self.seen);
        let mut entries = Vec::new();
        match request.query.as_str() {
            "panic" => panic!("the password is hunter2"),
            "hang" => std::future::pending().await,
            "block" => drop(self.gate.acquire().await.map(|permit| permit.forget())),
            "large" => entries.push(entry("x".repeat(3 << 20))),
            "middling" => entries.push(entry("x".repeat(64 << 10))),
            "engine" => {
                return Err(Error::internal(
                    "connection to 10.0.0.7 failed: password is hunter2",
                ));
            }
            _ => {}
        }
        running.1 = true;
        Ok(pb::QueryLogsResponse {
            entries,
            ..Default::default()
        })
    }

    async fn tail_logs(&self, _: Call, request: pb::TailLogsRequest) -> Result<Replies<pb::LogEntry>, Error> {
        let running = Running::new(&self.seen);
        let first = stream::iter([Ok(entry("first"))]);
        let then: Replies<pb::LogEntry> = match request.query.as_str() {
            "panic" => Box::pin(stream::once(async { panic!("in mid-stream") })),
            "fail" => Box::pin(stream::once(async {
                Err(Error::new(ErrorCode::SlowConsumer, "too slow"))
            })),
            "forever" => Box::pin(stream::pending()),
            _ => Box::pin(stream::empty()),
        };
        Ok(Box::pin(first.chain(then).map(move |item| {
            let _held = &running;
            item
        })))
    }

    /// Keeps nothing, but gives ids and answers for them where they were given.
    async fn get_stream_info(
        &self,
        call: Call,
        request: pb::GetStreamInfoRequest,
    ) -> Result<pb::GetStreamInfoResponse, Error> {
        let text = if request.stream_id.is_empty() {
            call.new_id().to_string()
        } else {
            match call.locate(&request.stream_id, "stream_id")? {
                Place::Here(_) if call.is_forwarded() => format!("forwarded for {}", call.caller().subject),
                Place::Here(_) => "here".to_owned(),
                Place::There(replica) => {
                    let mut client = LokiServiceClient::new(replica.channel().await?);
                    return Ok(client
                        .get_stream_info(replica.request(request))
                        .await?
                        .into_inner());
                }
            }
        };
        let stream = pb::StreamInfo {
            stream_id: text,
            ..Default::default()
        };
        Ok(pb::GetStreamInfoResponse { stream: Some(stream) })
    }

    async fn health_check(
        &self,
        _: Call,
        _: pb::LokiHealthCheckRequest,
    ) -> Result<pb::LokiHealthCheckResponse, Error> {
        Ok(pb::LokiHealthCheckResponse {
            healthy: true,
            ..Default::default()
        })
    }

    async fn get_statistics(
        &self,
        _: Call,
        _: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(pb::GetStatisticsResponse::default())
    }

    async fn export_logs(
        &self,
        _: Call,
        _: pb::ExportLogsRequest,
    ) -> Result<Replies<pb::ExportLogsResponse>, Error> {
        Ok(Box::pin(stream::empty()))
    }

    unused! {
        push_log: PushLogRequest => PushLogResponse;
        push_log_batch: PushLogBatchRequest => PushLogBatchResponse;
        query_range: QueryRangeRequest => QueryRangeResponse;
        query_stats: QueryStatsRequest => QueryStatsResponse;
        get_label_values: GetLabelValuesRequest => GetLabelValuesResponse;
        validate_labels: ValidateLabelsRequest => ValidateLabelsResponse;
        list_streams: ListStreamsRequest => ListStreamsResponse;
        delete_stream: DeleteStreamRequest => DeleteStreamResponse;
        get_export_status: GetExportStatusRequest => GetExportStatusResponse;
        get_user_quota: GetUserQuotaRequest => GetUserQuotaResponse;
    }
}
