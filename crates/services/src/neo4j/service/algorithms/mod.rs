//! Algorithms over a tenant's whole graph, without Neo4j's own library for them.
//!
//! They are written here because no crate has them as they are needed: to be stopped when the caller has gone, with starting
//! points by sample, and in time that does not grow with the square of the nodes (`petgraph` 0.8's PageRank does).

mod centrality;
mod communities;
#[cfg(test)]
mod karate;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Budget, Error, Graph,
    projection::{Part, Projection},
};
use crate::neo4j::names::Names;

/// Makes choices that are as good as random, and the same each time.
const SEED: u64 = 0x15A_C10D;

/// What is computed: a number for each node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Algorithm {
    PageRank { iterations: u32, damping: f64 },
    Betweenness,
}

/// How communities are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    Louvain,
    LabelPropagation,
}

/// Says when to give up.
#[derive(Clone)]
struct Stop {
    gone: Arc<AtomicBool>,
    end: Instant,
}

impl Stop {
    fn check(&self) -> Result<(), Error> {
        if self.gone.load(Ordering::Relaxed) || Instant::now() >= self.end {
            return Err(Error::OutOfTime);
        }
        Ok(())
    }
}

/// Stops what is computed when nobody waits for it any more.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where a node comes in an order that has nothing to do with its number, and is the same each time. (The finalizer of
/// SplitMix64.)
fn rank(node: u32) -> u64 {
    let number = u64::from(node) ^ SEED;
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

impl Graph {
    /// A score for each node, by its id.
    pub(crate) async fn scores(
        &self,
        names: Names<'_>,
        part: &Part,
        algorithm: Algorithm,
        budget: Budget,
    ) -> Result<Vec<(i64, f64)>, Error> {
        self.compute(names, part, budget, move |graph, stop| {
            let scores = match algorithm {
                Algorithm::PageRank { iterations, damping } => {
                    centrality::page_rank(graph, iterations, damping, stop)?
                }
                Algorithm::Betweenness => centrality::betweenness(graph, stop)?,
            };
            Ok(graph.ids.iter().copied().zip(scores).collect())
        })
        .await
    }

    /// The group of each node, by its id: the largest is 0.
    pub(crate) async fn groups(
        &self,
        names: Names<'_>,
        part: &Part,
        grouping: Grouping,
        budget: Budget,
    ) -> Result<Vec<(i64, u32)>, Error> {
        self.compute(names, part, budget, move |graph, stop| {
            let groups = communities::find(graph, grouping, stop)?;
            Ok(graph.ids.iter().copied().zip(groups).collect())
        })
        .await
    }

    /// Reads the graph, and computes apart from what answers calls.
    async fn compute<T: Send + 'static>(
        &self,
        names: Names<'_>,
        part: &Part,
        budget: Budget,
        algorithm: impl FnOnce(&Projection, &Stop) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let end = Instant::now() + budget.0;
        let turn = timeout(budget.0, Arc::clone(&self.algorithms).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Error::Crowded);
        };
        let left = Budget(end.saturating_duration_since(Instant::now()));
        let graph = self.project(names, part, left).await?;
        let gone = Arc::new(AtomicBool::new(false));
        let _waiting = Waiting(Arc::clone(&gone));
        let stop = Stop { gone, end };
        let computing = spawn_blocking(move || {
            let result = algorithm(&graph, &stop);
            drop(turn);
            result
        });
        computing
            .await
            .map_err(|error| Error::Protocol(format!("an algorithm broke off: {error}")))?
    }
}
