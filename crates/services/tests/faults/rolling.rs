//! A rolling restart with requests in flight: no call that was accepted fails, and none is done twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use isa_config::ServiceKind;
use parking_lot::RwLock;
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use crate::{
    place::{DEADLINE, Place},
    platform::{Platform, SERVICES, eventually, unique},
};

const CALLERS: usize = 8;

/// Replicas behind one address, as a client sees them.
type Replicas = Arc<RwLock<Vec<Channel>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_accepted_call() {
    let platform = Platform::take().await;
    for kind in SERVICES {
        roll(&platform, kind).await;
    }
}

async fn roll(platform: &Platform, kind: ServiceKind) {
    let mut first = platform.serve(&[kind]).await;
    let mut second = platform.serve(&[kind]).await;
    let place = Place::new(kind, first.channel(kind)).await;
    let lazily = |url: String| Channel::from_shared(url).expect("an address").connect_lazy();
    let replicas: Replicas = Arc::new(RwLock::new(vec![
        lazily(first.url(kind)),
        lazily(second.url(kind)),
    ]));

    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (place, replicas) = (place.clone(), Arc::clone(&replicas));
        let (next, stop) = (Arc::clone(&next), Arc::clone(&stop));
        callers.spawn(async move {
            let (mut done, mut failed) = (Vec::new(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let item = next.fetch_add(1, Ordering::Relaxed);
                match write(&place, &replicas, caller, item).await {
                    Ok(()) => done.push(item),
                    Err(status) => failed.push(status),
                }
            }
            (done, failed)
        });
    }

    for round in 0..2 {
        let goal = next.load(Ordering::Relaxed) + 200;
        eventually("callers get on", Duration::from_secs(30), || async {
            let now = next.load(Ordering::Relaxed);
            if now >= goal { Ok(()) } else { Err(now.to_string()) }
        })
        .await;
        // A call that takes its time is in flight when its replica is told to stop.
        let held = unique();
        if kind == ServiceKind::Redis {
            place.slow(second.channel(kind), &held).await.expect("the lock");
        }
        let (slow, channel, name) = (place.clone(), first.channel(kind), held.clone());
        let in_flight = tokio::spawn(async move { slow.slow(channel, &name).await });
        tokio::time::sleep(Duration::from_millis(100)).await;

        let fresh = platform.serve(&[kind]).await;
        replicas.write().push(lazily(fresh.url(kind)));
        let clean = first.drain().await;
        replicas.write().remove(0);
        assert!(clean, "{kind}: calls were cut off in round {round}");
        let mut slow = in_flight.await.expect("the slow call");
        // Who only waits for a lock may be sent to another replica, which is a refusal: nothing was done.
        if kind == ServiceKind::Redis && slow.as_ref().is_err_and(was_refused) {
            slow = place.slow(fresh.channel(kind), &held).await;
        }
        assert!(
            slow.is_ok(),
            "{kind}: accepted before the drain, and failed: {slow:?}"
        );
        first = second;
        second = fresh;
    }

    stop.store(true, Ordering::Relaxed);
    let (mut done, mut failed) = (BTreeSet::new(), Vec::new());
    while let Some(caller) = callers.join_next().await {
        let (of_one, errors) = caller.expect("a caller");
        done.extend(of_one);
        failed.extend(errors);
    }
    assert!(
        failed.is_empty(),
        "{kind}: {} calls failed, such as {:?}",
        failed.len(),
        failed[0]
    );
    // What was refused was not done: otherwise its second try did it twice.
    let mut there: BTreeMap<u64, u32> = BTreeMap::new();
    for item in place.read(second.channel(kind)).await {
        *there.entry(item).or_default() += 1;
    }
    let lost: Vec<_> = done.iter().filter(|item| !there.contains_key(item)).collect();
    assert!(lost.is_empty(), "{kind}: lost {lost:?}");
    if kind != ServiceKind::Minio {
        let twice: Vec<_> = there.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "{kind}: done twice {twice:?}");
    }
    first.drain().await;
    second.drain().await;
}

/// Tries one replica after another, for as long as they refuse.
async fn write(place: &Place, replicas: &Replicas, caller: usize, item: u64) -> Result<(), Status> {
    for attempt in 0..100 {
        let channel = {
            let replicas = replicas.read();
            replicas[(caller + attempt) % replicas.len()].clone()
        };
        match place.write(channel, item, DEADLINE).await {
            Err(status) if was_refused(&status) => tokio::time::sleep(Duration::from_millis(5)).await,
            answer => return answer,
        }
    }
    Err(Status::unavailable("every replica refused, for all the time"))
}

/// Whether the server says that it has not accepted the call, or the client that it was never sent.
fn was_refused(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // Hyper's word for a request that waited for its turn on a connection that closed.
        Code::Cancelled => status.message().contains("operation was canceled"),
        // HTTP/2 says that calls which get this were not looked at; other clients than tonic's say UNAVAILABLE.
        Code::Internal => format!("{status:?}").contains("GoAway(b\"\", NO_ERROR, Remote)"),
        _ => false,
    }
}
