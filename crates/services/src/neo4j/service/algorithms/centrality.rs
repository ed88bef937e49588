//! How much a node matters.

use super::{
    super::{
        Error,
        projection::{Adjacency, Projection, index},
    },
    Stop, rank,
};

/// Once all scores together change by less, more rounds change nothing.
const SETTLED: f64 = 1e-12;

/// Exact up to so many nodes; beyond, from so many starting points.
const STARTS: usize = 5000;

/// Scores add up to 1. What has no way out leads everywhere.
#[allow(clippy::cast_precision_loss)] // Counts of at most a million.
pub(super) fn page_rank(
    graph: &Projection,
    iterations: u32,
    damping: f64,
    stop: &Stop,
) -> Result<Vec<f64>, Error> {
    let nodes = graph.ids.len();
    if nodes == 0 {
        return Ok(Vec::new());
    }
    let out = Adjacency::new(nodes, &graph.edges);
    let count = nodes as f64;
    let mut scores = vec![1.0 / count; nodes];
    for _ in 0..iterations {
        stop.check()?;
        let dead_ends: f64 = (0..nodes)
            .filter(|node| out.of(*node).is_empty())
            .map(|node| scores[node])
            .sum();
        let mut next = vec![(1.0 - damping + damping * dead_ends) / count; nodes];
        for (node, score) in scores.iter().enumerate() {
            let targets = out.of(node);
            let share = damping * score / targets.len() as f64;
            for target in targets {
                next[index(*target)] += share;
            }
        }
        let change: f64 = scores.iter().zip(&next).map(|(was, is)| (was - is).abs()).sum();
        scores = next;
        if change < SETTLED {
            break;
        }
    }
    Ok(scores)
}

/// Brandes, "A faster algorithm for betweenness centrality" (2001). Relationships side by side count once.
#[allow(clippy::cast_precision_loss)] // Counts of at most a million.
pub(super) fn betweenness(graph: &Projection, stop: &Stop) -> Result<Vec<f64>, Error> {
    let nodes = graph.ids.len();
    let mut edges: Vec<(u32, u32)> = graph
        .edges
        .iter()
        .filter(|(from, to)| from != to)
        .copied()
        .collect();
    edges.dedup();
    let out = Adjacency::new(nodes, &edges);
    let mut scores = vec![0.0; nodes];
    let mut distance = vec![u32::MAX; nodes];
    let mut ways = vec![0.0_f64; nodes];
    let mut share = vec![0.0_f64; nodes];
    // In the order in which they are reached.
    let mut reached: Vec<u32> = Vec::new();
    let starts = starts(nodes);
    for start in &starts {
        stop.check()?;
        distance[index(*start)] = 0;
        ways[index(*start)] = 1.0;
        reached.push(*start);
        let mut at = 0;
        while let Some(from) = reached.get(at).map(|node| index(*node)) {
            at += 1;
            for to in out.of(from) {
                let to_at = index(*to);
                if distance[to_at] == u32::MAX {
                    distance[to_at] = distance[from] + 1;
                    reached.push(*to);
                }
                if distance[to_at] == distance[from] + 1 {
                    ways[to_at] += ways[from];
                }
            }
        }
        // Backwards. Who comes before whom is seen by the distances: no lists of them are kept.
        for node in reached.iter().rev().map(|node| index(*node)) {
            let mut through = 0.0;
            for to in out.of(node).iter().map(|to| index(*to)) {
                if distance[to] == distance[node] + 1 {
                    through += ways[node] / ways[to] * (1.0 + share[to]);
                }
            }
            share[node] = through;
            if node != index(*start) {
                scores[node] += through;
            }
        }
        for node in reached.drain(..).map(index) {
            distance[node] = u32::MAX;
            ways[node] = 0.0;
            share[node] = 0.0;
        }
    }
    if starts.len() < nodes {
        let scale = nodes as f64 / starts.len() as f64;
        scores.iter_mut().for_each(|score| *score *= scale);
    }
    Ok(scores)
}

/// All nodes, or the same sample each time.
fn starts(nodes: usize) -> Vec<u32> {
    let mut all: Vec<u32> = (0..u32::try_from(nodes).unwrap_or(u32::MAX)).collect();
    if nodes > STARTS {
        all.sort_by_cached_key(|node| rank(*node));
        all.truncate(STARTS);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{super::karate, *};

    #[track_caller]
    fn near(found: f64, known: f64) {
        assert!((found - known).abs() < 1e-6, "{found} is not {known}");
    }

    #[test]
    fn page_rank_of_the_karate_club() {
        let scores = page_rank(&karate::club(), 200, 0.85, &karate::never()).unwrap();
        near(scores.iter().sum(), 1.0);
        for (node, known) in karate::PAGE_RANK {
            near(scores[node], known);
        }
    }

    #[test]
    fn dead_ends_keep_the_sum() {
        let graph = Projection {
            ids: vec![10, 20, 30],
            edges: vec![(0, 1), (0, 2)],
        };
        let scores = page_rank(&graph, 100, 0.85, &karate::never()).unwrap();
        near(scores.iter().sum(), 1.0);
        near(scores[1], scores[2]);
        assert!(scores[1] > scores[0]);
        assert!(
            page_rank(&Projection::default(), 20, 0.85, &karate::never())
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn betweenness_of_the_karate_club() {
        let scores = betweenness(&karate::club(), &karate::never()).unwrap();
        for (node, known) in karate::BETWEENNESS {
            near(scores[node], known);
        }
    }

    #[test]
    fn betweenness_heeds_directions_and_counts_twins_once() {
        // 0 -> 1 -> 2, the first twice; 2 -> 2.
        let graph = Projection {
            ids: vec![1, 2, 3],
            edges: vec![(0, 1), (0, 1), (1, 2), (2, 2)],
        };
        let scores = betweenness(&graph, &karate::never()).unwrap();
        assert_eq!(scores, [0.0, 1.0, 0.0]);
    }

    #[test]
    fn a_sample_is_the_same_each_time() {
        let sample = starts(20_000);
        assert_eq!(sample.len(), STARTS);
        assert_eq!(sample, starts(20_000));
        assert_eq!(starts(STARTS).len(), STARTS);
    }

    #[test]
    fn nobody_waits_and_it_ends() {
        let stop = karate::never();
        stop.gone.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(
            betweenness(&karate::club(), &stop),
            Err(Error::OutOfTime)
        ));
    }
}
