//! Neighbours and paths. Every node of a path is the tenant's.

use std::collections::HashSet;

use super::{
    Budget, Error, Graph, Node, Path, Relationship, Statement, Value,
    relationships::kind,
    run::{MAX_ROWS, Room},
};
use crate::neo4j::names::Names;

/// Which way relationships are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Outgoing,
    Incoming,
    Both,
}

/// From where to where, and over what.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) kind: Option<String>,
    pub(crate) depth: u32,
}

/// What is around a node.
#[derive(Debug, Default)]
pub(crate) struct Neighbors {
    pub(crate) nodes: Vec<Node>,
    pub(crate) relationships: Vec<Relationship>,
}

impl Graph {
    /// What is within `depth` steps. It is found step by step: as one pattern, Neo4j would follow every way to each node.
    pub(crate) async fn neighbors(
        &self,
        names: Names<'_>,
        id: i64,
        over: Option<&str>,
        direction: Direction,
        depth: u32,
        budget: Budget,
    ) -> Result<Neighbors, Error> {
        let kind = kind("relationship_type", over)?;
        if self.node(names, id, budget).await?.is_none() {
            return Err(Error::NotFound("the node"));
        }
        let tenant = names.tenant();
        let (left, right) = match direction {
            Direction::Outgoing => ("-", "->"),
            Direction::Incoming => ("<-", "-"),
            Direction::Both => ("-", "-"),
        };
        let text = format!(
            "MATCH (a:{tenant}){left}[r{kind}]{right}(b:{tenant}) WHERE id(a) IN $from RETURN DISTINCT r, b"
        );
        let mut found = Neighbors::default();
        let mut seen = HashSet::from([id]);
        let mut crossed = HashSet::new();
        let mut from = vec![Value::Int(id)];
        let mut room = Room::default();
        for _ in 0..depth {
            if from.is_empty() {
                break;
            }
            let statement =
                Statement::new(text.as_str()).with("from", Value::List(std::mem::take(&mut from)));
            let mut next = Vec::new();
            let mut each = |row: Vec<Value>, bytes: usize| {
                room.bytes(bytes)?;
                let mut row = row.into_iter();
                if let (Some(Value::Relationship(relationship)), Some(Value::Node(node))) =
                    (row.next(), row.next())
                {
                    if crossed.insert(relationship.id) {
                        found.relationships.push(*relationship);
                    }
                    if seen.insert(node.id) {
                        room.row()?;
                        next.push(Value::Int(node.id));
                        found.nodes.push(*node);
                    }
                }
                Ok(())
            };
            self.stream(&statement, budget, &mut each).await?;
            from = next;
        }
        found.nodes.sort_by_key(|node| node.id);
        found.relationships.sort_by_key(|relationship| relationship.id);
        Ok(found)
    }

    /// A path with the fewest steps; `None` if there is none of this length.
    pub(crate) async fn shortest_path(
        &self,
        names: Names<'_>,
        route: &Route,
        budget: Budget,
    ) -> Result<Option<Path>, Error> {
        let kind = kind("relationship_type", route.kind.as_deref())?;
        let tenant = names.tenant();
        if route.start == route.end {
            // Neo4j looks for no way from a node to itself. There is one, of no steps.
            let node = self.node(names, route.start, budget).await?;
            let node = node.ok_or(Error::NotFound("the start node or the end node"))?;
            return Ok(Some(Path {
                nodes: vec![node],
                relationships: Vec::new(),
            }));
        }
        let depth = route.depth;
        let text = format!(
            "MATCH (a:{tenant}) WHERE id(a) = $start MATCH (b:{tenant}) WHERE id(b) = $end \
             OPTIONAL MATCH p = shortestPath((a)-[{kind}*1..{depth}]-(b)) WHERE all(n IN nodes(p) WHERE n:{tenant}) \
             RETURN p"
        );
        let answer = self.read(&ends(text, route), budget).await?;
        match answer.first() {
            None => Err(Error::NotFound("the start node or the end node")),
            Some(row) => Ok(row.into_iter().next().and_then(path)),
        }
    }

    /// Paths that use no relationship twice, shortest first.
    pub(crate) async fn all_paths(
        &self,
        names: Names<'_>,
        route: &Route,
        limit: usize,
        budget: Budget,
    ) -> Result<Vec<Path>, Error> {
        let kind = kind("relationship_type", route.kind.as_deref())?;
        let tenant = names.tenant();
        let both = format!("MATCH (a:{tenant}) WHERE id(a) = $start MATCH (b:{tenant}) WHERE id(b) = $end");
        let there = self
            .read(&ends(format!("{both} RETURN count(*)"), route), budget)
            .await?;
        if there.number() == 0 {
            return Err(Error::NotFound("the start node or the end node"));
        }
        let mut paths = Vec::new();
        let mut room = Room::default();
        // Length by length: so it ends with the first that has enough, and Neo4j has nothing to sort.
        for length in 1..=route.depth {
            let left = limit.min(MAX_ROWS) - paths.len();
            if left == 0 {
                break;
            }
            let text = format!(
                "{both} MATCH p = (a)-[{kind}*{length}..{length}]-(b) WHERE all(n IN nodes(p) WHERE n:{tenant}) \
                 RETURN p LIMIT $limit"
            );
            let statement =
                ends(text, route).with("limit", Value::Int(i64::try_from(left).unwrap_or(i64::MAX)));
            let mut each = |row: Vec<Value>, bytes: usize| {
                room.take(bytes)?;
                paths.extend(row.into_iter().next().and_then(path));
                Ok(())
            };
            self.stream(&statement, budget, &mut each).await?;
        }
        Ok(paths)
    }
}

fn ends(text: String, route: &Route) -> Statement {
    Statement::new(text)
        .with("start", Value::Int(route.start))
        .with("end", Value::Int(route.end))
}

fn path(value: Value) -> Option<Path> {
    match value {
        Value::Path(path) => Some(*path),
        _ => None,
    }
}
