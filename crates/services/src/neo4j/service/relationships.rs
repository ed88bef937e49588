//! Relationships. One is the tenant's if both of its nodes are.

use super::{
    Access, Answer, Budget, Error, Graph, Map, Relationship, Scope, Statement, Value, nodes::conditions,
    run::MAX_ROWS,
};
use crate::neo4j::names::{self, Names};

/// Which relationships.
#[derive(Debug, Default)]
pub(crate) struct RelationshipQuery {
    pub(crate) start: Option<i64>,
    pub(crate) end: Option<i64>,
    pub(crate) kind: Option<String>,
    pub(crate) properties: Map,
    pub(crate) limit: usize,
}

/// The relationship that is the first value.
fn relationship(answer: Answer) -> Option<Relationship> {
    match answer.first()?.into_iter().next() {
        Some(Value::Relationship(relationship)) => Some(*relationship),
        _ => None,
    }
}

/// A type as it stands in a pattern: none stands for all.
pub(super) fn kind(field: &str, kind: Option<&str>) -> Result<String, Error> {
    match kind {
        None | Some("") => Ok(String::new()),
        Some(kind) => Ok(format!(":{}", names::word(field, kind)?)),
    }
}

const RELATIONSHIP: &str = "the relationship";

/// The beginning of statements about one relationship.
fn one(names: Names<'_>) -> String {
    let tenant = names.tenant();
    format!("MATCH (a:{tenant})-[r]->(b:{tenant}) WHERE id(r) = $id")
}

impl Graph {
    pub(crate) async fn create_relationship(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        ends: (i64, i64),
        kind: &str,
        properties: Map,
        budget: Budget,
    ) -> Result<Relationship, Error> {
        let tenant = names.tenant();
        let kind = names::word("type", kind)?;
        let text = format!(
            "MATCH (a:{tenant}) WHERE id(a) = $start MATCH (b:{tenant}) WHERE id(b) = $end \
             CREATE (a)-[r:{kind} $properties]->(b) RETURN r"
        );
        let statement = Statement::new(text)
            .with("start", Value::Int(ends.0))
            .with("end", Value::Int(ends.1))
            .with("properties", Value::Map(properties));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        relationship(answer).ok_or(Error::NotFound("the start node or the end node"))
    }

    pub(crate) async fn relationship(
        &self,
        names: Names<'_>,
        id: i64,
        budget: Budget,
    ) -> Result<Option<Relationship>, Error> {
        let statement = Statement::new(format!("{} RETURN r", one(names))).with("id", Value::Int(id));
        self.read(&statement, budget).await.map(relationship)
    }

    pub(crate) async fn update_relationship(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        id: i64,
        properties: Map,
        replace: bool,
        budget: Budget,
    ) -> Result<Relationship, Error> {
        let sign = if replace { "=" } else { "+=" };
        let statement = Statement::new(format!("{} SET r {sign} $properties RETURN r", one(names)))
            .with("id", Value::Int(id))
            .with("properties", Value::Map(properties));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        relationship(answer).ok_or(Error::NotFound(RELATIONSHIP))
    }

    pub(crate) async fn delete_relationship(
        &self,
        names: Names<'_>,
        scope: &mut Scope,
        id: i64,
        budget: Budget,
    ) -> Result<(), Error> {
        let statement =
            Statement::new(format!("{} DELETE r RETURN true", one(names))).with("id", Value::Int(id));
        let answer = self.run(scope, &statement, Access::Write, budget).await?;
        answer.first().map(drop).ok_or(Error::NotFound(RELATIONSHIP))
    }

    /// The first relationships, and how many there are.
    pub(crate) async fn find_relationships(
        &self,
        names: Names<'_>,
        query: RelationshipQuery,
        budget: Budget,
    ) -> Result<(Vec<Relationship>, i64), Error> {
        let tenant = names.tenant();
        let kind = kind("type", query.kind.as_deref())?;
        let mut wanted = format!("MATCH (a:{tenant})-[r{kind}]->(b:{tenant}) WHERE true");
        let mut params = conditions("r", query.properties, &mut wanted)?;
        for (variable, name, id) in [("a", "start", query.start), ("b", "end", query.end)] {
            if let Some(id) = id {
                wanted.push_str(&format!(" AND id({variable}) = ${name}"));
                params.push((name.into(), Value::Int(id)));
            }
        }
        let limit = query.limit.min(MAX_ROWS);
        let page = Statement {
            text: format!("{wanted} RETURN r ORDER BY id(r) LIMIT $limit"),
            params: params.clone(),
        };
        let page = page.with("limit", Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let rows = self.read(&page, budget).await?.rows;
        let total = match i64::try_from(rows.len()) {
            Ok(count) if rows.len() < limit => count,
            _ => {
                let text = format!("{wanted} RETURN count(r)");
                self.read(&Statement { text, params }, budget).await?.number()
            }
        };
        let relationships = rows.into_iter().filter_map(|row| match row.into_iter().next() {
            Some(Value::Relationship(relationship)) => Some(*relationship),
            _ => None,
        });
        Ok((relationships.collect(), total))
    }
}
