//! Groups of nodes that are closely knit. Directions are not heeded; relationships side by side weigh as many.

use std::cmp::Reverse;

use super::{
    super::{
        Error,
        projection::{Projection, index},
    },
    Grouping, Stop, rank,
};

/// Rounds over all nodes, at most: after a few nothing moves any more.
const ROUNDS: usize = 100;

/// How many nodes are looked at before somebody may say stop.
const BETWEEN_CHECKS: usize = 4096;

/// A graph without directions. Weights are counts of relationships, so everything is exact.
struct Weighted {
    offsets: Vec<usize>,
    links: Vec<(u32, u32)>,
    /// Twice the weight that a node has with itself.
    loops: Vec<i64>,
}

impl Weighted {
    fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32, u32)> + Clone, mut loops: Vec<i64>) -> Self {
        let mut offsets = vec![0; nodes + 1];
        for (from, to, weight) in edges.clone() {
            if from == to {
                loops[index(from)] += 2 * i64::from(weight);
            } else {
                offsets[index(from) + 1] += 1;
                offsets[index(to) + 1] += 1;
            }
        }
        for node in 0..nodes {
            offsets[node + 1] += offsets[node];
        }
        let mut next = offsets.clone();
        let mut links = vec![(0, 0); offsets[nodes]];
        for (from, to, weight) in edges.filter(|(from, to, _)| from != to) {
            for (one, other) in [(from, to), (to, from)] {
                links[next[index(one)]] = (other, weight);
                next[index(one)] += 1;
            }
        }
        Self {
            offsets,
            links,
            loops,
        }
    }

    fn nodes(&self) -> usize {
        self.loops.len()
    }

    fn of(&self, node: usize) -> &[(u32, u32)] {
        &self.links[self.offsets[node]..self.offsets[node + 1]]
    }
}

/// The group of each node; the largest is 0.
pub(super) fn find(graph: &Projection, grouping: Grouping, stop: &Stop) -> Result<Vec<u32>, Error> {
    let nodes = graph.ids.len();
    let edges = graph.edges.iter().map(|(from, to)| (*from, *to, 1));
    let weighted = Weighted::new(nodes, edges, vec![0; nodes]);
    let groups = match grouping {
        Grouping::Louvain => louvain(weighted, stop)?,
        Grouping::LabelPropagation => label_propagation(&weighted, stop)?,
    };
    Ok(largest_first(&groups))
}

/// What a node has in common with each group around it.
struct Shares {
    weights: Vec<i64>,
    groups: Vec<u32>,
}

impl Shares {
    fn new(nodes: usize) -> Self {
        Self {
            weights: vec![0; nodes],
            groups: Vec::new(),
        }
    }

    fn gather(&mut self, graph: &Weighted, node: usize, group: &[u32]) {
        for old in self.groups.drain(..) {
            self.weights[index(old)] = 0;
        }
        for (other, weight) in graph.of(node) {
            let of = group[index(*other)];
            if self.weights[index(of)] == 0 {
                self.groups.push(of);
            }
            self.weights[index(of)] += i64::from(*weight);
        }
    }
}

/// Blondel and others, "Fast unfolding of communities in large networks" (2008).
fn louvain(mut graph: Weighted, stop: &Stop) -> Result<Vec<u32>, Error> {
    let mut groups: Vec<u32> = (0..number(graph.nodes())).collect();
    loop {
        let nodes = graph.nodes();
        let (moved, count) = numbered(&move_nodes(&graph, stop)?);
        for group in &mut groups {
            *group = moved[index(*group)];
        }
        if count == nodes {
            return Ok(groups);
        }
        graph = merged(&graph, &moved, count);
    }
}

/// Moves each node to where it makes the most of modularity, until none moves.
fn move_nodes(graph: &Weighted, stop: &Stop) -> Result<Vec<u32>, Error> {
    let nodes = graph.nodes();
    let degree: Vec<i64> = (0..nodes)
        .map(|node| graph.loops[node] + graph.of(node).iter().map(|(_, w)| i64::from(*w)).sum::<i64>())
        .collect();
    let all: i64 = degree.iter().sum();
    let mut group: Vec<u32> = (0..number(nodes)).collect();
    let mut total = degree.clone();
    let mut shares = Shares::new(nodes);
    for _ in 0..ROUNDS {
        let mut moved = false;
        for node in 0..nodes {
            if node % BETWEEN_CHECKS == 0 {
                stop.check()?;
            }
            let own = group[node];
            shares.gather(graph, node, &group);
            total[index(own)] -= degree[node];
            // The gain of modularity, times what all have in common: whole numbers, below 10^15.
            let gain = |of: u32| shares.weights[index(of)] * all - total[index(of)] * degree[node];
            let mut best = (gain(own), own);
            for of in &shares.groups {
                let gain = gain(*of);
                if gain > best.0 || (gain == best.0 && best.1 != own && *of < best.1) {
                    best = (gain, *of);
                }
            }
            total[index(best.1)] += degree[node];
            group[node] = best.1;
            moved |= best.1 != own;
        }
        if !moved {
            break;
        }
    }
    Ok(group)
}

/// The graph whose nodes are the groups.
fn merged(graph: &Weighted, group: &[u32], count: usize) -> Weighted {
    let mut loops = vec![0; count];
    let mut edges: Vec<(u32, u32, u32)> = Vec::new();
    for node in 0..graph.nodes() {
        let own = group[node];
        loops[index(own)] += graph.loops[node];
        for (other, weight) in graph.of(node) {
            let of = group[index(*other)];
            if own == of {
                // Met from both ends.
                loops[index(own)] += i64::from(*weight);
            } else if own < of {
                edges.push((own, of, *weight));
            }
        }
    }
    edges.sort_unstable();
    edges.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 = kept.2.saturating_add(next.2);
        }
        same
    });
    Weighted::new(count, edges.iter().copied(), loops)
}

/// Raghavan and others, "Near linear time algorithm to detect community structures in large-scale networks" (2007). The order and
/// the choice between equals are as good as random, or one group would flood the next, and the same each time.
fn label_propagation(graph: &Weighted, stop: &Stop) -> Result<Vec<u32>, Error> {
    let nodes = graph.nodes();
    let mut group: Vec<u32> = (0..number(nodes)).collect();
    let mut order = group.clone();
    order.sort_by_cached_key(|node| rank(*node));
    let mut shares = Shares::new(nodes);
    for _ in 0..ROUNDS {
        let mut changed = false;
        for (at, node) in order.iter().map(|node| index(*node)).enumerate() {
            if at % BETWEEN_CHECKS == 0 {
                stop.check()?;
            }
            let own = group[node];
            shares.gather(graph, node, &group);
            let mut best = (shares.weights[index(own)], own);
            for of in &shares.groups {
                let weight = shares.weights[index(*of)];
                if weight > best.0 || (weight == best.0 && best.1 != own && rank(*of) < rank(best.1)) {
                    best = (weight, *of);
                }
            }
            group[node] = best.1;
            changed |= best.1 != own;
        }
        if !changed {
            break;
        }
    }
    Ok(group)
}

fn number(count: usize) -> u32 {
    // There are at most a million nodes.
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Groups numbered by their first nodes, and how many there are.
fn numbered(groups: &[u32]) -> (Vec<u32>, usize) {
    let mut numbers = vec![u32::MAX; groups.len()];
    let mut count = 0;
    let mut numbered = Vec::with_capacity(groups.len());
    for group in groups {
        let slot = &mut numbers[index(*group)];
        if *slot == u32::MAX {
            *slot = number(count);
            count += 1;
        }
        numbered.push(*slot);
    }
    (numbered, count)
}

/// Of groups alike in size, the one with the first node comes first.
fn largest_first(groups: &[u32]) -> Vec<u32> {
    let (numbered, count) = numbered(groups);
    let mut sizes = vec![0_u32; count];
    for group in &numbered {
        sizes[index(*group)] += 1;
    }
    let mut order: Vec<u32> = (0..number(count)).collect();
    order.sort_by_key(|group| Reverse(sizes[index(*group)]));
    let mut place = vec![0; count];
    for (at, group) in order.iter().enumerate() {
        place[index(*group)] = number(at);
    }
    numbered.iter().map(|group| place[index(*group)]).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::karate, *};

    /// Newman's modularity of a grouping of the karate club, each friendship once.
    fn modularity(groups: &[u32]) -> f64 {
        let club = karate::club();
        let all = club.edges.len() as f64;
        let mut degree = vec![0.0; club.ids.len()];
        for (from, _) in &club.edges {
            degree[index(*from)] += 1.0;
        }
        let inside = club
            .edges
            .iter()
            .filter(|(from, to)| groups[index(*from)] == groups[index(*to)])
            .count() as f64;
        let mut expected = 0.0;
        for (one, a) in degree.iter().enumerate() {
            for (other, b) in degree.iter().enumerate() {
                if groups[one] == groups[other] {
                    expected += a * b / all;
                }
            }
        }
        (inside - expected) / all
    }

    #[test]
    fn louvain_finds_the_sides_of_the_karate_club() {
        let groups = find(&karate::club(), Grouping::Louvain, &karate::never()).unwrap();
        let quality = modularity(&groups);
        // The best that there is has 0.4198 (Brandes and others, "On modularity clustering", 2008).
        assert!((0.40..=0.4198).contains(&quality), "{quality}");
        assert_ne!(groups[0], groups[33], "the trainer and the administrator");
        assert_eq!(
            groups,
            find(&karate::club(), Grouping::Louvain, &karate::never()).unwrap()
        );
    }

    #[test]
    fn two_cliques_with_a_bridge_are_two_groups() {
        let clique = |from: u32| (from..from + 5).flat_map(move |a| (a + 1..from + 5).map(move |b| (a, b)));
        let mut edges: Vec<(u32, u32)> = clique(0).chain(clique(5)).collect();
        edges.push((4, 5));
        edges.sort_unstable();
        let graph = Projection {
            ids: (0..11).collect(),
            edges,
        };
        for grouping in [Grouping::Louvain, Grouping::LabelPropagation] {
            let groups = find(&graph, grouping, &karate::never()).unwrap();
            // The last has no friends.
            assert_eq!(groups, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2], "{grouping:?}");
        }
    }

    #[test]
    fn the_largest_is_the_first() {
        assert_eq!(largest_first(&[4, 2, 2, 0, 0]), [2, 0, 0, 1, 1]);
        assert_eq!(largest_first(&[]), [0; 0]);
    }
}
