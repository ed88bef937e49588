use std::time::SystemTime;

use isa_proto::{duckdb as pb, prost_types::value::Kind};
use isa_server::{Call, Error, ErrorCode};

use super::{Route, Service, enter, other, sent_on};
use crate::duckdb::convert::{details, long, number};

impl Service {
    pub(super) async fn health_check(
        &self,
        call: Call,
        request: pb::HealthCheckRequest,
    ) -> Result<pb::HealthCheckResponse, Error> {
        if !request.database_id.is_empty() {
            // Whoever has no token has no databases either.
            if call.caller().subject.is_empty() {
                return Err(Error::new(
                    ErrorCode::Unauthenticated,
                    "database_id: needs a token; leave it out to ask for the service alone",
                ));
            }
            let entered = enter!(self, call, request, health_check);
            self.duck.ping(&entered).await?;
        }
        let details = match request.detailed {
            true => {
                let metrics = self.duck.metrics(None).await?;
                let version = self.duck.version().await?.to_owned();
                Some(details([
                    ("version", Kind::StringValue(version)),
                    ("open_databases", number(metrics.open)),
                    ("memory_bytes", number(metrics.memory)),
                    ("spilled_bytes", number(metrics.spilled)),
                ]))
            }
            false => None,
        };
        Ok(pb::HealthCheckResponse {
            success: true,
            healthy: true,
            status: "SERVING".into(),
            timestamp: Some(SystemTime::now().into()),
            details,
            error: String::new(),
        })
    }

    pub(super) async fn get_metrics(
        &self,
        call: Call,
        request: pb::GetMetricsRequest,
    ) -> Result<pb::GetMetricsResponse, Error> {
        let metrics = if request.database_id.is_empty() {
            self.duck.metrics(Some(call.tenant())).await?
        } else {
            let entered = enter!(self, call, request, get_metrics);
            self.duck.database_metrics(&entered).await?
        };
        Ok(pb::GetMetricsResponse {
            success: true,
            total_queries: long(metrics.queries),
            active_connections: long(metrics.active),
            avg_query_time_ms: metrics.milliseconds,
            cache_hits: long(metrics.hits),
            cache_misses: long(metrics.misses),
            metrics: Some(details([
                ("open_databases", number(metrics.open)),
                ("memory_bytes", number(metrics.memory)),
                ("spilled_bytes", number(metrics.spilled)),
                ("memory_limit_bytes", number(metrics.memory_limit)),
                ("threads", number(metrics.threads)),
            ])),
            error: String::new(),
        })
    }
}
