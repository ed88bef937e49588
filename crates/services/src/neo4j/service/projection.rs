//! A tenant's graph in memory: what is connected with what, and nothing else.

use super::{Budget, Error, Graph, Statement, Value, relationships::kind};
use crate::neo4j::names::Names;

/// Most nodes, and most relationships: of these an algorithm needs some 16 bytes for each.
const MAX_NODES: usize = 1_000_000;
const MAX_RELATIONSHIPS: usize = 10_000_000;

/// Which part of the tenant's graph: all of it where nothing is said.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) label: Option<String>,
    pub(crate) kind: Option<String>,
}

/// Nodes are numbered from 0, in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Projection {
    pub(super) ids: Vec<i64>,
    /// Start and end of each relationship, sorted.
    pub(super) edges: Vec<(u32, u32)>,
}

/// The neighbours of each node, one after another.
pub(super) struct Adjacency {
    offsets: Vec<usize>,
    targets: Vec<u32>,
}

impl Adjacency {
    /// `edges` are sorted by their first.
    pub(super) fn new(nodes: usize, edges: &[(u32, u32)]) -> Self {
        let mut offsets = vec![0; nodes + 1];
        for (from, _) in edges {
            offsets[index(*from) + 1] += 1;
        }
        for node in 0..nodes {
            offsets[node + 1] += offsets[node];
        }
        Self {
            offsets,
            targets: edges.iter().map(|(_, to)| *to).collect(),
        }
    }

    pub(super) fn of(&self, node: usize) -> &[u32] {
        &self.targets[self.offsets[node]..self.offsets[node + 1]]
    }
}

pub(super) fn index(node: u32) -> usize {
    // Lossless wherever this runs.
    node as usize
}

impl Graph {
    /// Reads it as a stream.
    pub(super) async fn project(
        &self,
        names: Names<'_>,
        part: &Part,
        budget: Budget,
    ) -> Result<Projection, Error> {
        let label = names.label("label", part.label.as_deref())?;
        let kind = kind("relationship_type", part.kind.as_deref())?;
        let mut graph = Projection::default();

        let nodes = Statement::new(format!("MATCH (n:{label}) RETURN id(n)"));
        let ids = &mut graph.ids;
        let mut each = |row: Vec<Value>, _| {
            if ids.len() >= MAX_NODES {
                return Err(Error::TooLarge(
                    "the graph has more than 1000000 nodes; name a label",
                ));
            }
            ids.extend(row.first().and_then(Value::as_int));
            Ok(())
        };
        self.stream(&nodes, budget, &mut each).await?;
        graph.ids.sort_unstable();
        graph.ids.dedup();

        let relationships = Statement::new(format!(
            "MATCH (a:{label})-[r{kind}]->(b:{label}) RETURN id(a), id(b)"
        ));
        let (ids, edges) = (&graph.ids, &mut graph.edges);
        let number = |value: Option<&Value>| {
            let found = ids.binary_search(&value?.as_int()?).ok()?;
            u32::try_from(found).ok()
        };
        let mut each = |row: Vec<Value>, _| {
            if edges.len() >= MAX_RELATIONSHIPS {
                return Err(Error::TooLarge(
                    "the graph has more than 10000000 relationships; name a label or a type",
                ));
            }
            // Nodes that are new since a moment ago are not in it.
            edges.extend(number(row.first()).zip(number(row.get(1))));
            Ok(())
        };
        self.stream(&relationships, budget, &mut each).await?;
        graph.edges.sort_unstable();
        Ok(graph)
    }
}
