//! Figures, and whether Loki is well.

use std::collections::BTreeMap;

use isa_proto::loki as pb;
use isa_server::Call;

use super::{PATIENCE, Service, bound, names, read::counts};
use crate::loki::{
    convert::{self, DAY, Window},
    service::{self, Loki},
};

/// Services and levels that are told apart.
const MAX_GROUPS: usize = 100;

/// Services that `top_services` has.
const TOP_SERVICES: usize = 10;

pub(super) async fn get_statistics(
    loki: &Loki,
    call: &Call,
    request: pb::GetStatisticsRequest,
) -> Result<pb::GetStatisticsResponse, service::Error> {
    let window = Window::of(request.start, request.end, DAY)?;
    let totals = loki.totals(names(call), window, bound(call)).await?;
    let services = largest(totals.by_service);
    let top_services = services.iter().take(TOP_SERVICES).map(|(name, _)| name.clone());
    Ok(pb::GetStatisticsResponse {
        total_entries: convert::signed(totals.entries),
        total_bytes: convert::signed(totals.bytes),
        streams_count: convert::signed(totals.streams),
        top_services: top_services.collect(),
        entries_by_service: counts(services.into_iter().collect()),
        entries_by_level: counts(largest(totals.by_level).into_iter().collect()),
        ingestion_rate: totals.rate.into_iter().map(convert::point).collect(),
        metadata: [("retention_days".to_owned(), totals.retention_days.to_string())].into(),
    })
}

/// Those with the most entries, the largest first.
fn largest(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(_, one), (_, other)| other.cmp(one));
    counts.truncate(MAX_GROUPS);
    counts
}

pub(super) async fn get_user_quota(
    loki: &Loki,
    call: &Call,
    _: pb::GetUserQuotaRequest,
) -> Result<pb::GetUserQuotaResponse, service::Error> {
    let usage = loki.usage(names(call), bound(call)).await?;
    // No operator can set a limit of bytes yet: the rate at which Loki takes them is its own.
    Ok(pb::GetUserQuotaResponse {
        daily_limit: 0,
        today_used: convert::signed(usage.today),
        storage_limit_bytes: 0,
        storage_used_bytes: convert::signed(usage.stored),
        retention_days: usage.retention_days,
        quota_exceeded: false,
    })
}

impl Service {
    pub(super) async fn health(&self, deep: bool) -> pb::LokiHealthCheckResponse {
        let mut health = pb::LokiHealthCheckResponse {
            loki_status: "disconnected".to_owned(),
            checked_at: Some(convert::timestamp(convert::now())),
            ..Default::default()
        };
        if !self.upstream.is_up() {
            "Loki does not answer".clone_into(&mut health.message);
            return health;
        }
        match self.loki.readiness(PATIENCE).await {
            Ok((true, _)) => {}
            Ok((false, waits_for)) => {
                health.loki_status = waits_for;
                "Loki is not ready".clone_into(&mut health.message);
                return health;
            }
            Err(error) => {
                tracing::warn!(%error, "Loki is not well");
                "Loki does not answer".clone_into(&mut health.message);
                return health;
            }
        }
        "ready".clone_into(&mut health.loki_status);
        (health.can_write, health.can_read) = if deep {
            self.loki.check_writing(PATIENCE).await
        } else {
            (true, true)
        };
        health.component_status = self.loki.modules(PATIENCE).await;
        health.healthy = health.can_write && health.can_read;
        if !health.healthy {
            "Loki does not write or read".clone_into(&mut health.message);
        }
        health
    }
}
