//! Health and figures, and a Loki that is started again.

use std::sync::Arc;

use isa_config::{EngineKind, ServiceKind};
use isa_proto::loki as pb;
use isa_testkit::Engines;

use super::{PATIENCE, SECOND, World, entry, next, now, timestamp, until};
use crate::harness::{Node, open};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loki_is_well() {
    let world = World::start().await;
    for deep_check in [false, true] {
        let request = pb::LokiHealthCheckRequest { deep_check };
        let found = world.client().health_check(request).await.unwrap().into_inner();
        assert!(found.healthy && found.can_write && found.can_read, "{found:?}");
        assert_eq!(
            (found.loki_status.as_str(), found.message.as_str()),
            ("ready", "")
        );
        assert_eq!(found.component_status["ingester"], "Running");
        assert!(found.checked_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_has_figures_and_a_quota() {
    let world = World::start().await;
    let statistics = async || {
        let request = pb::GetStatisticsRequest {
            organization_id: world.org.clone(),
            ..Default::default()
        };
        world.client().get_statistics(request).await.unwrap().into_inner()
    };
    let nothing = statistics().await;
    assert_eq!((nothing.total_entries, nothing.streams_count), (0, 0));
    let at = now() - 600 * SECOND;
    let entries = (0..10).map(|n| {
        let service = if n < 7 { "api" } else { "web" };
        entry(
            "0123456789",
            &[("service", service), ("level", "info")],
            Some(at + n * SECOND),
        )
    });
    assert!(world.batch(entries.collect()).await.success);
    world.push("0123456789", &[("zone", "a")], Some(at)).await;
    let found = statistics().await;
    assert_eq!(
        (found.total_entries, found.total_bytes, found.streams_count),
        (11, 110, 3)
    );
    assert_eq!(
        found.entries_by_service,
        [("api".into(), 7), ("web".into(), 3)].into()
    );
    assert_eq!(found.entries_by_level, [("info".into(), 10)].into());
    assert_eq!(found.top_services, ["api", "web"]);
    assert_eq!(found.metadata["retention_days"], "31");
    assert!(found.ingestion_rate.iter().any(|point| point.value > 0.0));
    assert!(found.ingestion_rate.len() <= 102);

    let request = pb::GetStatisticsRequest {
        organization_id: world.org.clone(),
        start: Some(timestamp(at)),
        end: Some(timestamp(at + 5 * SECOND)),
        ..Default::default()
    };
    let some = world.client().get_statistics(request).await.unwrap().into_inner();
    assert_eq!(some.total_entries, 6);

    let request = pb::GetUserQuotaRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let quota = world.client().get_user_quota(request).await.unwrap().into_inner();
    assert!(quota.storage_used_bytes >= 110, "{quota:?}");
    assert_eq!(
        (quota.daily_limit, quota.quota_exceeded, quota.retention_days),
        (0, false, 31)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_and_what_was_followed_outlives_a_restart() {
    let engines = tokio::task::spawn_blocking(|| Engines::start(&[EngineKind::Loki]));
    let engines = Arc::new(engines.await.unwrap());
    let endpoints = engines.endpoints().clone();
    let keep: Arc<Engines> = Arc::clone(&engines);
    let world = World::of(Node::over(ServiceKind::Loki, &open(), &endpoints, keep).await).await;
    world.push("before", &[("service", "api")], None).await;
    let request = pb::TailLogsRequest {
        organization_id: world.org.clone(),
        query: "{service=\"api\"}".into(),
        ..Default::default()
    };
    let mut tail = world.client().tail_logs(request).await.unwrap().into_inner();
    world.push("followed", &[("service", "api")], None).await;
    assert_eq!(next(&mut tail).await.unwrap().unwrap().line, "followed");

    let restarted = Arc::clone(&engines);
    tokio::task::spawn_blocking(move || restarted.isa().ok(&["restart", "loki"]))
        .await
        .unwrap();
    until("entries are written again", 3 * PATIENCE, async || {
        let request = world.push_request("after", &[("service", "api")], None);
        world.client().push_log(request).await.is_ok()
    })
    .await;
    let mut lines = world.lines("{service=\"api\"}").await;
    lines.dedup();
    assert_eq!(lines, ["before", "followed", "after"]);
    let entry = next(&mut tail).await.unwrap().unwrap();
    assert_eq!(entry.line, "after");
}
