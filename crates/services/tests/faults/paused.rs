//! An engine that stands still (SIGSTOP): calls fail in time, the service stays up and says so for itself alone.

use std::time::{Duration, Instant};

use isa_config::ServiceKind;

use crate::{
    load::says_down,
    place::Place,
    platform::{Platform, SERVICES, Services, eventually},
    wire::{self, Reading},
};

/// How long all engines stand still at once.
const PAUSE: Duration = Duration::from_secs(30);

/// A service notices after two probes of 2 s.
const NOTICED: Duration = Duration::from_secs(12);

/// A call's deadline, and how much later its answer may come.
const DEADLINE: Duration = Duration::from_secs(1);
const SLACK: Duration = Duration::from_secs(1);

const ONE: Reading = Reading {
    messages: 1,
    silence: Duration::from_secs(5),
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stands_still_stops_its_own_service_only() {
    let platform = Platform::take().await;
    let services = platform.serve(&SERVICES).await;
    let mut places = Vec::new();
    for kind in SERVICES {
        places.push(Place::new(kind, services.channel(kind)).await);
    }
    for place in &places {
        let paused = platform.pause(place.kind).await;
        // At once, before anybody has noticed, and later.
        fails_in_time(&services, place, 0).await;
        await_health(&services, place.kind, false).await;
        fails_in_time(&services, place, 1).await;
        says_so(&services, place.kind).await;
        for other in SERVICES.into_iter().filter(|other| *other != place.kind) {
            assert!(
                services.client(other).serves(other).await,
                "{other} is SERVING while {} stands",
                place.kind
            );
        }
        drop(paused);
        comes_back(&services, place).await;
    }

    let mut paused = Vec::new();
    for kind in SERVICES {
        paused.push(platform.pause(kind).await);
    }
    let until = Instant::now() + PAUSE;
    let mut item = 1000;
    while Instant::now() < until {
        for place in &places {
            fails_in_time(&services, place, item).await;
            item += 1;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    for kind in SERVICES {
        says_so(&services, kind).await;
    }
    paused.clear();
    for place in &places {
        comes_back(&services, place).await;
    }
}

async fn fails_in_time(services: &Services, place: &Place, item: u64) {
    let started = Instant::now();
    let answer = place.reach(services.channel(place.kind), item, DEADLINE).await;
    let took = started.elapsed();
    let status = answer.expect_err("nothing is acknowledged");
    assert!(says_down(&status), "{}: {status:?}", place.kind);
    assert!(
        took < DEADLINE + SLACK,
        "{}: {took:?} for a call of {DEADLINE:?}",
        place.kind
    );
}

async fn await_health(services: &Services, kind: ServiceKind, expected: bool) {
    eventually(&format!("{kind} serves: {expected}"), NOTICED, || async {
        let serves = services.client(kind).serves(kind).await;
        if serves == expected {
            Ok(())
        } else {
            Err(serves.to_string())
        }
    })
    .await;
}

/// `HealthCheck` answers, and says that the engine does not.
async fn says_so(services: &Services, kind: ServiceKind) {
    let method = wire::method(kind, "HealthCheck");
    let started = Instant::now();
    let answer = services
        .client(kind)
        .call(&method, vec![Default::default()], ONE)
        .await;
    assert!(answer.is_ok(), "{kind}: HealthCheck: {answer:?}");
    let healthy = answer.messages[0].get_field_by_name("healthy");
    assert_eq!(
        healthy.and_then(|value| value.as_bool()),
        Some(false),
        "{kind}: {answer:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{kind}: HealthCheck took {:?}",
        started.elapsed()
    );
}

async fn comes_back(services: &Services, place: &Place) {
    await_health(services, place.kind, true).await;
    let item = std::sync::atomic::AtomicU64::new(1_000_000);
    eventually(&format!("{} takes writes again", place.kind), NOTICED, || {
        let item = item.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let write = place.reach(services.channel(place.kind), item, DEADLINE);
        async { write.await.map_err(|status| format!("{status:?}")) }
    })
    .await;
}
