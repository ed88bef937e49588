//! Whether Loki is well.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Error, Loki, lanes::Lanes, logql, query::Logs, wire::Line};
use crate::loki::{
    convert::{self, SECOND, Window},
    names::{Labels, Names},
};

/// Between two looks for the entry of a deep check.
const LOOK: Duration = Duration::from_millis(50);

impl Loki {
    /// Fails if Loki does not say that it is ready.
    pub(crate) async fn ready(&self, limit: Duration) -> Result<(), Error> {
        match self.readiness(limit).await? {
            (true, _) => Ok(()),
            (false, waits_for) => Err(Error::down(waits_for)),
        }
    }

    /// Whether Loki is ready, or what it waits for.
    pub(crate) async fn readiness(&self, limit: Duration) -> Result<(bool, String), Error> {
        let (status, text) = self.http.text(Names::of_health(), "/ready", limit).await?;
        let line = text.lines().next().unwrap_or_default();
        Ok((status.is_success(), line.chars().take(200).collect()))
    }

    /// Loki's modules and their states; none if it does not say.
    pub(crate) async fn modules(&self, limit: Duration) -> BTreeMap<String, String> {
        let Ok((_, text)) = self.http.text(Names::of_health(), "/services", limit).await else {
            return BTreeMap::new();
        };
        modules(&text)
    }

    /// Writes an entry, which is no tenant's, and reads it: whether it could be written, and whether read.
    pub(crate) async fn check_writing(&self, limit: Duration) -> (bool, bool) {
        let names = Names::of_health();
        let now = convert::now();
        let word = format!("{:016x}", rand::random::<u64>());
        // One stream for all checks ever made.
        let labels = logql::stream(&Labels::from([("service".to_owned(), "isa-health".to_owned())]));
        let line = Line {
            at: now,
            text: word.clone(),
        };
        let end = Instant::now() + limit;
        let push = Lanes::push(&self.lanes, names, &labels, vec![line]);
        match tokio::time::timeout_at(end, push).await {
            Ok(Ok(refused)) if refused.is_empty() => {}
            _ => return (false, false),
        }
        let logs = Logs {
            query: "",
            window: Window {
                start: now - SECOND,
                end: now + SECOND,
            },
            count: 1000,
            forward: false,
        };
        while Instant::now() < end {
            let left = end.saturating_duration_since(Instant::now());
            if let Ok((found, _)) = self.logs(names, logs, left).await
                && found.iter().any(|record| record.line == word)
            {
                return (true, true);
            }
            sleep(LOOK).await;
        }
        (true, false)
    }
}

/// Of `ingester => Running`, a line for each.
fn modules(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(" => "))
        .map(|(name, state)| (name.trim().to_owned(), state.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_read() {
        let found = modules("ring => Running\nquerier => Starting\n\nnonsense\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found["querier"], "Starting");
    }
}
