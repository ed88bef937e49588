//! Nodes.

use super::{Access, Answer, Budget, Error, Graph, Map, Node, Scope, Statement, Value, run::MAX_ROWS};
use crate::neo4j::names::{self, Names};

/// Which nodes, and which page of them.
#[derive(Debug, Default)]
pub(crate) struct NodeQuery {
    pub(crate) label: Option<String>,
    pub(crate) properties: Map,
    pub(crate) limit: usize,
    pub(crate) skip: i64,
}

/// A condition for each property, and its parameters. A property that is to be null must be absent.
pub(super) fn conditions(variable: &str, properties: Map, statement: &mut String) -> Result<Map, Error> {
    let mut params = Map::new();
    for (at, (key, value)) in properties.into_iter().enumerate() {
        let key = names::word(&format!("properties.{key}"), &key)?;
        if value == Value::Null {
            statement.push_str(&format!(" AND {variable}.{key} IS NULL"));
        } else {
            statement.push_str(&format!(" AND {variable}.{key} = $p{at}"));
            params.push((format!("p{at}"), value));
        }
    }
    Ok(params)
}

/// The node that is the first value.
pub(super) fn node(answer: Answer) -> Option<Node> {
    match answer.first()?.into_iter().next() {
        Some(Value::Node(node)) => Some(*node),
        _ => None,
    }
}

const NODE: &str = "the node";

impl Graph {
    pub(crate) async fn create_node(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        labels: &[String],
        properties: Map,
        budget: Budget,
    ) -> Result<Node, Error> {
        let text = format!("CREATE (n{} $properties) RETURN n", names.labels(labels)?);
        let statement = Statement::new(text).with("properties", Value::Map(properties));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        node(answer).ok_or_else(|| Error::Protocol("Neo4j made no node".into()))
    }

    pub(crate) async fn node(
        &self,
        names: Names<'_>,
        id: i64,
        budget: Budget,
    ) -> Result<Option<Node>, Error> {
        let text = format!("MATCH (n:{}) WHERE id(n) = $id RETURN n", names.tenant());
        let statement = Statement::new(text).with("id", Value::Int(id));
        self.read(&statement, budget).await.map(node)
    }

    pub(crate) async fn update_node(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        id: i64,
        properties: Map,
        replace: bool,
        budget: Budget,
    ) -> Result<Node, Error> {
        let text = format!(
            "MATCH (n:{}) WHERE id(n) = $id SET n {} $properties RETURN n",
            names.tenant(),
            if replace { "=" } else { "+=" }
        );
        let statement = Statement::new(text)
            .with("id", Value::Int(id))
            .with("properties", Value::Map(properties));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        node(answer).ok_or(Error::NotFound(NODE))
    }

    /// How many relationships went with it.
    pub(crate) async fn delete_node(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        id: i64,
        detach: bool,
        budget: Budget,
    ) -> Result<i64, Error> {
        let tenant = names.tenant();
        // In a transaction Neo4j itself would find out only at the commit.
        let text = if detach {
            format!("MATCH (n:{tenant}) WHERE id(n) = $id DETACH DELETE n RETURN 0")
        } else {
            format!(
                "MATCH (n:{tenant}) WHERE id(n) = $id WITH n, COUNT {{ (n)--() }} AS degree \
                 FOREACH (gone IN CASE degree WHEN 0 THEN [n] ELSE [] END | DELETE gone) RETURN degree"
            )
        };
        let statement = Statement::new(text).with("id", Value::Int(id));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        let relationships = answer.summary.count("relationships-deleted");
        match answer.first() {
            None => Err(Error::NotFound(NODE)),
            Some(row) if row.first() != Some(&Value::Int(0)) => Err(Error::Precondition(
                "the node has relationships; delete these first, or set detach".into(),
            )),
            Some(_) => Ok(relationships),
        }
    }

    /// The node, and whether it was made.
    pub(crate) async fn merge_node(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        labels: &[String],
        wanted: Map,
        set: Map,
        budget: Budget,
    ) -> Result<(Node, bool), Error> {
        let mut pattern = Vec::with_capacity(wanted.len());
        let mut params = Map::new();
        for (at, (key, value)) in wanted.into_iter().enumerate() {
            let key = names::word(&format!("match_properties.{key}"), &key)?;
            pattern.push(format!("{key}: $p{at}"));
            params.push((format!("p{at}"), value));
        }
        params.push(("set".into(), Value::Map(set)));
        let statement = Statement {
            text: format!(
                "MERGE (n{} {{{}}}) WITH n LIMIT 2 WITH collect(n) AS found \
                 FOREACH (one IN CASE size(found) WHEN 1 THEN found ELSE [] END | SET one += $set) \
                 RETURN found[0], size(found)",
                names.labels(labels)?,
                pattern.join(", ")
            ),
            params,
        };
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        let made = answer.summary.count("nodes-created") > 0;
        match answer.first().as_deref() {
            Some([Value::Node(node), Value::Int(1)]) => Ok(((**node).clone(), made)),
            Some([_, Value::Int(2)]) => Err(Error::Precondition(
                "several nodes have these labels and properties; name more of them in match_properties"
                    .into(),
            )),
            _ => Err(Error::Protocol("Neo4j merged no node".into())),
        }
    }

    /// A page of nodes, and how many there are on all pages.
    pub(crate) async fn find_nodes(
        &self,
        names: Names<'_>,
        query: NodeQuery,
        budget: Budget,
    ) -> Result<(Vec<Node>, i64), Error> {
        let label = names.label("label", query.label.as_deref())?;
        let mut wanted = format!("MATCH (n:{label}) WHERE true");
        let params = conditions("n", query.properties, &mut wanted)?;
        let page = Statement {
            text: format!("{wanted} RETURN n ORDER BY id(n) SKIP $skip LIMIT $limit"),
            params: params.clone(),
        };
        let limit = query.limit.min(MAX_ROWS);
        let page = page
            .with("skip", Value::Int(query.skip))
            .with("limit", Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let rows = self.read(&page, budget).await?.rows;
        let found = rows.len();
        let total = match i64::try_from(found) {
            // The last page says how many there are.
            Ok(count) if found < limit && (found > 0 || query.skip == 0) => query.skip.saturating_add(count),
            _ => {
                let text = format!("{wanted} RETURN count(n)");
                self.read(&Statement { text, params }, budget).await?.number()
            }
        };
        let nodes = rows.into_iter().filter_map(|row| match row.into_iter().next() {
            Some(Value::Node(node)) => Some(*node),
            _ => None,
        });
        Ok((nodes.collect(), total))
    }
}
