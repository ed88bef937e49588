//! All operations at once, for a long time: whether the server's memory grows.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use serde::Serialize;

use crate::{cases::Case, measure::round, process::Usage};

/// Of each operation: all of them together keep the machine busy.
const CALLERS: usize = 4;

/// Memory is looked at so often. After the first of them caches and pools are full.
const LOOKS: u32 = 10;

/// Before the last look: what was only in use is given back.
const REST: Duration = Duration::from_secs(10);

/// More than this, in parts of the memory after the first look, is growth; less is how allocators breathe.
const STEADY: f64 = 0.05;

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Soak {
    seconds: f64,
    operations: usize,
    calls: u64,
    before_mib: f64,
    /// Resident memory after each tenth of the time.
    rss_mib: Vec<f64>,
    rested_mib: f64,
}

/// Calls all operations of the services for `time`.
pub(crate) async fn soak(cases: &[Case], time: Duration, pid: u32) -> anyhow::Result<Soak> {
    let look = || Usage::of(pid).map(|usage| usage.rss_mib);
    let (before_mib, begun) = (look()?, Instant::now());
    let load = try_join_all(cases.iter().map(|case| async move {
        let callers = case.callers(&[CALLERS]).first().copied().unwrap_or(1);
        let done = round(&case.service, callers, time).await;
        done.map(|round| round.calls)
            .with_context(|| format!("{}: {}", case.kind, case.name))
    }));
    tokio::pin!(load);
    let mut rss_mib = Vec::new();
    let mut looks = tokio::time::interval(time / LOOKS);
    // The first one is at once.
    looks.tick().await;
    let calls = loop {
        tokio::select! {
            biased;
            _ = looks.tick(), if rss_mib.len() < LOOKS as usize => rss_mib.push(look()?),
            calls = &mut load => break calls?.into_iter().sum(),
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    // Calls end a little after the time is over: then this is the last tenth.
    if rss_mib.len() < LOOKS as usize {
        rss_mib.push(look()?);
    }
    tokio::time::sleep(REST).await;
    Ok(Soak {
        seconds,
        operations: cases.len(),
        calls,
        before_mib,
        rss_mib,
        rested_mib: look()?,
    })
}

impl Soak {
    /// A table of one row.
    pub(crate) fn markdown(&self) -> String {
        let first = self.rss_mib.first().copied().unwrap_or(self.before_mib);
        let last = self.rss_mib.last().copied().unwrap_or(first);
        let growth = last - first;
        let kept = growth <= first * STEADY;
        let looks: Vec<_> = self.rss_mib.iter().map(|mib| format!("{mib:.0}")).collect();
        format!(
            "| load | calls | RSS before | after each tenth | growth after the first | after a rest | budget |\n\
             |---|--:|--:|---|--:|--:|---|\n\
             | {} operations at once for {:.0} s | {} | {:.0} MiB | {} MiB | {growth:+.1} MiB | {:.0} MiB | no growth, {} |\n",
            self.operations,
            self.seconds,
            self.calls,
            self.before_mib,
            looks.join(", "),
            self.rested_mib,
            if kept { "kept" } else { "MISSED" }
        )
    }
}
