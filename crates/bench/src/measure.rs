//! Callers that call again and again, and how long each call took.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;

/// One operation; gives the bytes that it moved.
pub(crate) type Operation = Arc<dyn Fn(usize) -> BoxFuture<'static, anyhow::Result<u64>> + Send + Sync>;

/// Wraps a closure of a caller's number.
pub(crate) fn operation<F>(call: impl Fn(usize) -> F + Send + Sync + 'static) -> Operation
where
    F: Future<Output = anyhow::Result<u64>> + Send + 'static,
{
    Arc::new(move |caller| Box::pin(call(caller)))
}

/// What happened in one round.
pub(crate) struct Round {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// Of each call, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    // Up to a minute, to three digits.
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// So many callers for so long. A call that fails ends it.
pub(crate) async fn round(operation: &Operation, callers: usize, time: Duration) -> anyhow::Result<Round> {
    let mut all = JoinSet::new();
    let start = Instant::now();
    for caller in 0..callers {
        let operation = Arc::clone(operation);
        all.spawn(async move {
            let (mut calls, mut bytes, mut latency) = (0, 0, histogram()?);
            let mut now = start;
            while now.duration_since(start) < time {
                let begun = Instant::now();
                bytes += operation(caller).await?;
                now = Instant::now();
                latency.saturating_record(
                    u64::try_from(now.duration_since(begun).as_nanos()).unwrap_or(u64::MAX),
                );
                calls += 1;
            }
            anyhow::Ok((calls, bytes, latency))
        });
    }
    let mut round = Round {
        calls: 0,
        bytes: 0,
        elapsed: Duration::ZERO,
        latency: histogram()?,
    };
    while let Some(done) = all.join_next().await {
        let (calls, bytes, latency) = done??;
        round.calls += calls;
        round.bytes += bytes;
        round.latency.add(latency)?;
    }
    round.elapsed = start.elapsed();
    Ok(round)
}

/// Rounds of one side.
#[derive(Default)]
pub(crate) struct Series {
    pub(crate) calls: u64,
    bytes: u64,
    elapsed: Duration,
    latency: Option<Histogram<u64>>,
}

/// What is reported of a side.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Figures {
    pub(crate) calls_per_second: f64,
    pub(crate) mb_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Series {
    pub(crate) fn add(&mut self, round: Round) {
        self.calls += round.calls;
        self.bytes += round.bytes;
        self.elapsed += round.elapsed;
        match &mut self.latency {
            Some(latency) => {
                // Bounds are the same: nothing can be out of them.
                let _ = latency.add(&round.latency);
            }
            None => self.latency = Some(round.latency),
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let at = |quantile| {
            let latency = self.latency.as_ref();
            latency.map_or(0.0, |latency| latency.value_at_quantile(quantile) as f64 / 1e6)
        };
        Figures {
            calls_per_second: self.calls as f64 / seconds,
            mb_per_second: self.bytes as f64 / 1e6 / seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
        }
    }
}
