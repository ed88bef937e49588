//! The contract's service: converts, calls, converts.

mod error;
mod export;
mod monitoring;
mod read;
mod streams;
mod write;

use std::{sync::Arc, time::Duration};

use isa_proto::loki as pb;
use isa_server::{Call, Error, Replies, Requests, Upstream, api::loki::LokiService};

use super::{
    names::{Names, StreamId, check_tenant_id},
    service::{self, Loki},
};

/// Longest that Loki may take for a call that has no deadline of its own.
const BOUND: Duration = Duration::from_secs(30);

/// How long Loki may take to say that it is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// `isa.loki.LokiService`.
pub(super) struct Service {
    loki: Arc<Loki>,
    upstream: Upstream,
}

/// The names of whoever calls.
fn names(call: &Call) -> Names<'_> {
    Names::of(call.tenant().slug())
}

/// The same, where the request may name a tenant too.
fn names_for<'a>(call: &'a Call, tenant_id: &str) -> Result<Names<'a>, service::Error> {
    check_tenant_id(call.tenant(), tenant_id)?;
    Ok(names(call))
}

/// The stream that an id names, if the caller may see it. Of another's ids nothing more is looked at.
fn stream_of<'a>(call: &Call, id: &'a str) -> Result<StreamId<'a>, service::Error> {
    let id = StreamId::parse("stream_id", id)?;
    if call.caller().may_see(id.slug()) {
        Ok(id)
    } else {
        Err(service::Error::NotFound("the stream"))
    }
}

fn bound(call: &Call) -> Duration {
    call.time_left(BOUND)
}

impl Service {
    pub(super) fn new(loki: Arc<Loki>, upstream: Upstream) -> Self {
        Self { loki, upstream }
    }

    fn tell<T>(&self, result: Result<T, service::Error>) -> Result<T, Error> {
        result.map_err(|error| error::told(&self.upstream, error))
    }
}

impl LokiService for Service {
    async fn push_log(&self, call: Call, request: pb::PushLogRequest) -> Result<pb::PushLogResponse, Error> {
        self.tell(write::push_log(&self.loki, &call, request).await)
    }

    async fn push_log_batch(
        &self,
        call: Call,
        request: pb::PushLogBatchRequest,
    ) -> Result<pb::PushLogBatchResponse, Error> {
        self.tell(write::push_log_batch(&self.loki, &call, request).await)
    }

    async fn push_log_stream(
        &self,
        call: Call,
        requests: Requests<pb::PushLogRequest>,
    ) -> Result<pb::PushLogBatchResponse, Error> {
        self.push_stream(call, requests).await
    }

    async fn push_simple_log(
        &self,
        call: Call,
        request: pb::PushSimpleLogRequest,
    ) -> Result<pb::PushLogResponse, Error> {
        self.tell(write::push_simple_log(&self.loki, &call, request).await)
    }

    async fn query_logs(
        &self,
        call: Call,
        request: pb::QueryLogsRequest,
    ) -> Result<pb::QueryLogsResponse, Error> {
        self.tell(read::query_logs(&self.loki, &call, request).await)
    }

    async fn query_range(
        &self,
        call: Call,
        request: pb::QueryRangeRequest,
    ) -> Result<pb::QueryRangeResponse, Error> {
        self.tell(read::query_range(&self.loki, &call, request).await)
    }

    async fn tail_logs(
        &self,
        call: Call,
        request: pb::TailLogsRequest,
    ) -> Result<Replies<pb::LogEntry>, Error> {
        self.tail(call, request).await
    }

    async fn query_stats(
        &self,
        call: Call,
        request: pb::QueryStatsRequest,
    ) -> Result<pb::QueryStatsResponse, Error> {
        self.tell(read::query_stats(&self.loki, &call, request).await)
    }

    async fn get_labels(
        &self,
        call: Call,
        request: pb::GetLabelsRequest,
    ) -> Result<pb::GetLabelsResponse, Error> {
        self.tell(read::get_labels(&self.loki, &call, request).await)
    }

    async fn get_label_values(
        &self,
        call: Call,
        request: pb::GetLabelValuesRequest,
    ) -> Result<pb::GetLabelValuesResponse, Error> {
        self.tell(read::get_label_values(&self.loki, &call, request).await)
    }

    async fn validate_labels(
        &self,
        _: Call,
        request: pb::ValidateLabelsRequest,
    ) -> Result<pb::ValidateLabelsResponse, Error> {
        Ok(read::validate_labels(&request))
    }

    async fn list_streams(
        &self,
        call: Call,
        request: pb::ListStreamsRequest,
    ) -> Result<pb::ListStreamsResponse, Error> {
        self.tell(streams::list_streams(&self.loki, &call, request).await)
    }

    async fn get_stream_info(
        &self,
        call: Call,
        request: pb::GetStreamInfoRequest,
    ) -> Result<pb::GetStreamInfoResponse, Error> {
        self.tell(streams::get_stream_info(&self.loki, &call, request).await)
    }

    async fn delete_stream(
        &self,
        call: Call,
        request: pb::DeleteStreamRequest,
    ) -> Result<pb::DeleteStreamResponse, Error> {
        self.tell(streams::delete_stream(&self.loki, &call, request).await)
    }

    async fn export_logs(
        &self,
        call: Call,
        request: pb::ExportLogsRequest,
    ) -> Result<Replies<pb::ExportLogsResponse>, Error> {
        self.export(call, request).await
    }

    async fn get_export_status(
        &self,
        call: Call,
        request: pb::GetExportStatusRequest,
    ) -> Result<pb::GetExportStatusResponse, Error> {
        self.export_status(call, request).await
    }

    async fn get_statistics(
        &self,
        call: Call,
        request: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        self.tell(monitoring::get_statistics(&self.loki, &call, request).await)
    }

    async fn get_user_quota(
        &self,
        call: Call,
        request: pb::GetUserQuotaRequest,
    ) -> Result<pb::GetUserQuotaResponse, Error> {
        self.tell(monitoring::get_user_quota(&self.loki, &call, request).await)
    }

    async fn health_check(
        &self,
        _: Call,
        request: pb::LokiHealthCheckRequest,
    ) -> Result<pb::LokiHealthCheckResponse, Error> {
        Ok(self.health(request.deep_check).await)
    }
}
