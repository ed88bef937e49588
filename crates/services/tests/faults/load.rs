//! Writes that are counted: each item once, acknowledged or not, and all of them read back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use crate::place::{DEADLINE, Place};

/// Callers that write one item after another.
pub(crate) struct Load {
    pub(crate) place: Place,
    next: Arc<AtomicU64>,
    /// And when.
    acknowledged: Arc<Mutex<BTreeMap<u64, Instant>>>,
    failed: Arc<Mutex<Vec<Status>>>,
    /// From when to when the engine was away.
    away: Vec<(Instant, Instant)>,
    callers: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(place: Place, channel: &Channel, callers: usize) -> Self {
        let mut load = Self {
            place,
            next: Arc::default(),
            acknowledged: Arc::default(),
            failed: Arc::default(),
            away: Vec::new(),
            callers: JoinSet::new(),
        };
        for _ in 0..callers {
            let (place, channel) = (load.place.clone(), channel.clone());
            let (next, acknowledged, failed) = (
                Arc::clone(&load.next),
                Arc::clone(&load.acknowledged),
                Arc::clone(&load.failed),
            );
            load.callers.spawn(async move {
                loop {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    match place.write(channel.clone(), item, DEADLINE).await {
                        Ok(()) => {
                            acknowledged.lock().insert(item, Instant::now());
                        }
                        Err(status) => {
                            failed.lock().push(status);
                            // As a caller does that heeds the retry hint, if a short one.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            });
        }
        load
    }

    pub(crate) fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Waits for so many acknowledgements more.
    pub(crate) async fn more(&self, count: usize, limit: Duration) {
        let wanted = self.count() + count;
        crate::platform::eventually("writes are acknowledged", limit, || async {
            let have = self.count();
            let last = || self.failed.lock().last().map(ToString::to_string);
            if have >= wanted {
                Ok(())
            } else {
                Err(format!("{have} of {wanted}, last error {:?}", last()))
            }
        })
        .await;
    }

    /// Waits until it has gone on for so long.
    pub(crate) async fn lasts(&self, time: Duration, limit: Duration) {
        crate::platform::eventually("writes go on", limit, || async {
            let first = self.acknowledged.lock().values().min().copied();
            let since = first.map_or(Duration::ZERO, |first| first.elapsed());
            if since >= time {
                Ok(())
            } else {
                Err(format!("for {since:?} of {time:?}"))
            }
        })
        .await;
    }

    /// The engine was killed at that time, and is back.
    pub(crate) fn was_away_since(&mut self, killed: Instant) {
        self.away.push((killed, Instant::now()));
    }

    /// Stops, reads everything back, and fails if anything is gone that was acknowledged, or a failure did not say that the
    /// engine is down. What an engine holds back by what it promises may be gone.
    pub(crate) async fn check(mut self, channel: Channel) {
        self.callers.shutdown().await;
        let kind = self.place.kind;
        let there: BTreeSet<u64> = self.place.read(channel).await.into_iter().collect();
        let acknowledged = self.acknowledged.lock().clone();
        let held_back = self.place.holds_back();
        let may_be_lost = |at: Instant| {
            let mut away = self.away.iter();
            !held_back.is_zero() && away.any(|(killed, back)| at + held_back >= *killed && at < *back)
        };
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|(item, at)| !there.contains(item) && !may_be_lost(**at))
            .map(|(item, _)| item)
            .collect();
        assert!(
            lost.is_empty(),
            "{kind}: {} of {} acknowledged writes are lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        let failed = self.failed.lock();
        let wrong: Vec<_> = failed.iter().filter(|status| !says_down(status)).collect();
        assert!(
            wrong.is_empty(),
            "{kind}: {} of {} failures do not say that the engine is down, such as {:?}",
            wrong.len(),
            failed.len(),
            wrong[0]
        );
    }
}

/// What a call may get while its engine is away.
pub(crate) fn says_down(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        // Tonic's client ends a call by itself at the deadline that it sent.
        Code::Cancelled => status.message().contains("Timeout expired"),
        _ => false,
    }
}
