//! Zachary's karate club ("An information flow model for conflict and fission in small groups", 1977), as networkx 3.6.1 has it,
//! and what that computes of it.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use super::{super::projection::Projection, Stop};

/// Who is friends with whom outside of the club.
#[rustfmt::skip]
const FRIENDS: [(u32, u32); 78] = [
    (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (0, 10), (0, 11), (0, 12), (0, 13), (0, 17),
    (0, 19), (0, 21), (0, 31), (1, 2), (1, 3), (1, 7), (1, 13), (1, 17), (1, 19), (1, 21), (1, 30), (2, 3), (2, 7),
    (2, 8), (2, 9), (2, 13), (2, 27), (2, 28), (2, 32), (3, 7), (3, 12), (3, 13), (4, 6), (4, 10), (5, 6), (5, 10),
    (5, 16), (6, 16), (8, 30), (8, 32), (8, 33), (9, 33), (13, 33), (14, 32), (14, 33), (15, 32), (15, 33),
    (18, 32), (18, 33), (19, 33), (20, 32), (20, 33), (22, 32), (22, 33), (23, 25), (23, 27), (23, 29), (23, 32),
    (23, 33), (24, 25), (24, 27), (24, 31), (25, 31), (26, 29), (26, 33), (27, 33), (28, 31), (28, 33), (29, 32),
    (29, 33), (30, 32), (30, 33), (31, 32), (31, 33), (32, 33),
];

/// `nx.pagerank` with alpha 0.85 and without weights.
pub(super) const PAGE_RANK: [(usize, f64); 6] = [
    (0, 0.096_997_285),
    (1, 0.052_876_924),
    (2, 0.057_078_509),
    (11, 0.009_564_745),
    (32, 0.071_693_226),
    (33, 0.100_919_182),
];

/// `nx.betweenness_centrality` with normalized=False, of the graph with each friendship both ways.
pub(super) const BETWEENNESS: [(usize, f64); 6] = [
    (0, 462.142_857_143),
    (1, 56.957_142_857),
    (2, 151.701_587_302),
    (11, 0.0),
    (32, 153.380_952_381),
    (33, 321.103_174_603),
];

/// Each friendship both ways. Ids begin at 100.
pub(super) fn club() -> Projection {
    let mut edges: Vec<(u32, u32)> = FRIENDS.into_iter().flat_map(|(a, b)| [(a, b), (b, a)]).collect();
    edges.sort_unstable();
    Projection {
        ids: (100..134).collect(),
        edges,
    }
}

/// Nobody stops it.
pub(super) fn never() -> Stop {
    Stop {
        gone: Arc::new(AtomicBool::new(false)),
        end: Instant::now() + Duration::from_secs(3600),
    }
}
