//! kill -9 of the engine under load: it comes back by itself, and what was acknowledged is there.

use std::time::Duration;

use isa_config::ServiceKind;

use crate::{
    load::{Load, Place},
    platform::{Platform, eventually},
};

const CALLERS: usize = 8;

/// For an engine to be started again and answer, on a busy machine.
const BACK: Duration = Duration::from_secs(60);

async fn nothing_acknowledged_is_lost(kind: ServiceKind) {
    let platform = Platform::take().await;
    let services = platform.serve(&[kind]).await;
    let place = Place::new(kind, services.channel(kind)).await;
    let load = Load::start(place, &services.channel(kind), CALLERS);
    for _ in 0..2 {
        load.more(200, BACK).await;
        let pid = platform.pid(kind).await;
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
        // The service reconnects by itself.
        load.more(50, BACK).await;
    }
    load.check(services.channel(kind)).await;
    assert!(
        services.client(kind).serves(kind).await,
        "{kind} is SERVING again"
    );
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
