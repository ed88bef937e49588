//! kill -9 of the engine under load: it comes back by itself, and what was acknowledged is there.

use std::time::{Duration, Instant};

use isa_config::ServiceKind;
use isa_proto::postgres::{QueryRequest, postgres_service_client::PostgresServiceClient};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    gone::postgres_itself,
    load::Load,
    place::Place,
    platform::{Platform, eventually, unique},
};

const CALLERS: usize = 8;

/// For an engine to be started again and answer, on a busy machine.
const BACK: Duration = Duration::from_secs(60);

async fn nothing_acknowledged_is_lost(kind: ServiceKind) {
    let platform = Platform::take().await;
    let services = platform.serve(&[kind]).await;
    let place = Place::new(kind, services.channel(kind)).await;
    let long_enough = place.holds_back() * 2;
    let mut load = Load::start(place, &services.channel(kind), CALLERS);
    for _ in 0..2 {
        load.more(200, BACK).await;
        load.lasts(long_enough, BACK).await;
        let pid = platform.pid(kind).await;
        let killed = Instant::now();
        platform.signal(kind, "-KILL").await;
        eventually("isa starts the engine again", BACK, || async {
            let status = platform.status(kind).await?;
            let now = status["pid"].as_u64();
            if status["status"] == "Ready" && now.is_some() && now != Some(u64::from(pid)) {
                Ok(())
            } else {
                Err(status.to_string())
            }
        })
        .await;
        load.was_away_since(killed);
        // The service reconnects by itself.
        load.more(50, BACK).await;
    }
    load.check(services.channel(kind)).await;
    assert!(
        services.client(kind).serves(kind).await,
        "{kind} is SERVING again"
    );
}

/// Nobody knows how far such a call came, which is another answer than "nothing was done".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_engine_is_killed_says_that_it_may_have_happened() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Postgres;
    let services = platform.serve(&[kind]).await;
    let engine = postgres_itself(&platform).await;
    let mark = unique();
    let request = QueryRequest {
        sql: format!("select pg_sleep(60) /* {mark} */"),
        ..Default::default()
    };
    let mut client = PostgresServiceClient::new(services.channel(kind));
    let call = tokio::spawn(async move { client.query(request).await });
    let running =
        "select 1 from pg_stat_activity where query like $1 and state = 'active' and pid <> pg_backend_pid()";
    let like = format!("%{mark}%");
    eventually("PostgreSQL runs the statement", BACK, || async {
        let rows = engine.query(running, &[&like]).await.expect("an answer");
        rows.first().map(drop).ok_or_else(|| "no statement".to_owned())
    })
    .await;
    platform.signal(kind, "-KILL").await;
    let status = call.await.expect("the call").expect_err("cut off");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let reason = status.get_details_error_info().expect("a reason").reason;
    assert_eq!(reason, "ENGINE_LOST", "{status:?}");
    // The next test finds it up.
    eventually("PostgreSQL serves again", BACK, || async {
        let serves = services.client(kind).serves(kind).await;
        serves.then_some(()).ok_or_else(|| "NOT_SERVING".to_owned())
    })
    .await;
}

macro_rules! for_each {
    ($($name:ident = $kind:ident;)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            nothing_acknowledged_is_lost(ServiceKind::$kind).await;
        })*
    };
}

for_each! {
    redis_is_killed = Redis;
    postgres_is_killed = Postgres;
    minio_is_killed = Minio;
    nats_is_killed = Nats;
    qdrant_is_killed = Qdrant;
    neo4j_is_killed = Neo4j;
    mosquitto_is_killed = Mqtt;
    loki_is_killed = Loki;
}
