use std::time::{Duration, Instant};

use tonic::{Code, Request};

use super::*;

/// Waits, a second at most, until so many connections of a role are in a state.
pub(super) async fn until_connections(there: &tokio_postgres::Client, role: &str, state: &str, count: i64) {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND {state}");
    let began = Instant::now();
    loop {
        let found: i64 = there.query_one(&sql, &[&role]).await.unwrap().get(0);
        if found == count {
            return;
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{found} connections with {state}, not {count}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_stopped_at_the_server() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let (there, role) = (bench.administrator().await, bench.schema());
    let sleeping = "query LIKE '%pg_sleep%' AND state = 'active'";
    let id = bench.begin().await;
    bench
        .in_transaction(&id, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    for transaction in [String::new(), id.clone()] {
        let mut request = Request::new(pb::ExecuteRequest {
            metadata: bench.metadata(),
            sql: "SELECT pg_sleep(50)".into(),
            transaction_id: transaction,
            ..Default::default()
        });
        request.set_timeout(Duration::from_millis(500));
        let (call, ()) = tokio::join!(
            bench.client.execute(request),
            until_connections(&there, &role, sleeping, 1)
        );
        let code = call.expect_err("no answer").code();
        assert!(
            [Code::DeadlineExceeded, Code::Cancelled].contains(&code),
            "{code}"
        );
        until_connections(&there, &role, sleeping, 0).await;
    }
    // And with it the transaction that it was in.
    refused(
        bench.in_transaction(&id, "SELECT 1").await,
        Code::NotFound,
        "transaction",
    );
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_is_replaced() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let id = bench.begin().await;
    let there = bench.administrator().await;
    let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1";
    let killed: i64 = there.query_one(kill, &[&bench.schema()]).await.unwrap().get(0);
    assert!(killed >= 1, "{killed}");
    until_connections(&there, &bench.schema(), "true", 0).await;
    // At most one call may hit each dead connection before its end is noticed.
    let began = Instant::now();
    while let Err(status) = bench.query("SELECT 1", vec![]).await {
        assert_eq!(status.code(), Code::Unavailable, "{}", status.message());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let lost = bench.in_transaction(&id, "SELECT 1").await.unwrap_err();
    assert!(
        [Code::NotFound, Code::Unavailable].contains(&lost.code()),
        "{lost:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_figures_are_told() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t AS SELECT generate_series(1, 1000)")
        .await
        .unwrap();
    let health = bench.client.health_check(pb::HealthCheckRequest {
        metadata: None,
        detailed: true,
    });
    let health = health.await.unwrap().into_inner();
    assert!(health.healthy && health.status == "SERVING", "{health:?}");
    let there = bench.administrator().await;
    let version: String = there.query_one("SHOW server_version", &[]).await.unwrap().get(0);
    assert!(version.starts_with(&health.version) && !health.version.is_empty());
    let details = health.details.expect("details").fields;
    for name in ["latency_ms", "open_connections", "idle_connections"] {
        assert!(
            matches!(details[name].kind, Some(Kind::NumberValue(_))),
            "{details:?}"
        );
    }
    let stats = bench.client.get_stats(pb::GetStatsRequest {
        metadata: bench.metadata(),
    });
    let stats = stats.await.unwrap().into_inner();
    let (pool, database) = (stats.pool_stats.unwrap(), stats.db_stats.unwrap());
    assert!(
        pool.open_connections >= 1 && pool.total_queries >= 1 && pool.max_connections > 1,
        "{pool:?}"
    );
    assert_eq!((database.total_tables, database.version), (1, health.version));
    assert!(database.database_size_bytes > 8192 && database.total_connections >= 1);
    assert!(database.uptime_since.is_some());
}
