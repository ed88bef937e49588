//! Indexes and constraints, on the labels that are the tenant's alone.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Access, Budget, Error, Graph, Scope, Statement, Value};
use crate::neo4j::names::{self, Names};

/// Most properties of one index or constraint: Neo4j itself takes no more than 64.
const MAX_PROPERTIES: usize = 32;

/// Indexes and constraints of a tenant, together: each costs memory and files at Neo4j.
const MAX_OF_TENANT: i64 = 100;

/// How often is looked whether an index is filled.
const LOOK: Duration = Duration::from_millis(50);

/// Before the end of a call's time that much is left for its answer.
const SLACK: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexKind {
    Range,
    Text,
    Point,
    Fulltext,
}

#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) labels: Vec<String>,
    pub(crate) properties: Vec<String>,
    pub(crate) state: String,
}

#[derive(Debug)]
pub(crate) struct Constraint {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) label: String,
    pub(crate) properties: Vec<String>,
}

/// `n.key` for each key.
fn keys(properties: &[String]) -> Result<Vec<String>, Error> {
    if properties.is_empty() {
        return Err(Error::invalid("properties", "are none"));
    }
    if properties.len() > MAX_PROPERTIES {
        return Err(Error::invalid(
            "properties",
            format!("are more than {MAX_PROPERTIES}"),
        ));
    }
    let key = |key: &String| names::word("properties", key).map(|key| format!("n.{key}"));
    properties.iter().map(key).collect()
}

fn label(names: Names<'_>, label: &str) -> Result<String, Error> {
    if label.is_empty() {
        return Err(Error::invalid("label", "is empty"));
    }
    names.label("label", Some(label))
}

impl Graph {
    /// Makes an index, and waits until it is filled, or as long as there is time.
    pub(crate) async fn create_index(
        &self,
        names: Names<'_>,
        name: &str,
        on: (&str, &[String]),
        kind: IndexKind,
        budget: Budget,
    ) -> Result<(), Error> {
        let end = Instant::now() + budget.0.saturating_sub(SLACK);
        let full = names.schema("index_name", name)?;
        let (label, keys) = (label(names, on.0)?, keys(on.1)?);
        if keys.len() > 1 && matches!(kind, IndexKind::Text | IndexKind::Point) {
            return Err(Error::invalid(
                "properties",
                "are several, and an index of this type has one",
            ));
        }
        let (word, keys) = match kind {
            IndexKind::Range => ("RANGE", format!("({})", keys.join(", "))),
            IndexKind::Text => ("TEXT", format!("({})", keys.join(", "))),
            IndexKind::Point => ("POINT", format!("({})", keys.join(", "))),
            IndexKind::Fulltext => ("FULLTEXT", format!("EACH [{}]", keys.join(", "))),
        };
        let text = format!("CREATE {word} INDEX {full} FOR (n:{label}) ON {keys}");
        self.make(names, (name, &full), text, budget).await?;
        self.filled(&full, end, budget).await
    }

    pub(crate) async fn create_constraint(
        &self,
        names: Names<'_>,
        name: &str,
        on: (&str, &[String]),
        budget: Budget,
    ) -> Result<(), Error> {
        let full = names.schema("constraint_name", name)?;
        let (label, keys) = (label(names, on.0)?, keys(on.1)?.join(", "));
        let text = format!("CREATE CONSTRAINT {full} FOR (n:{label}) REQUIRE ({keys}) IS UNIQUE");
        self.make(names, (name, &full), text, budget).await
    }

    /// Runs what makes an index or constraint of this name, as it was given and as Neo4j has it.
    async fn make(
        &self,
        names: Names<'_>,
        (name, full): (&str, &str),
        text: String,
        budget: Budget,
    ) -> Result<(), Error> {
        let others = Statement::new(
            "SHOW INDEXES YIELD name WHERE name STARTS WITH $prefix AND name <> $name RETURN count(*)",
        )
        .with("prefix", Value::text(names.prefix()))
        .with("name", Value::text(full));
        // A race makes a few more, which does no harm.
        if self.read(&others, budget).await?.number() >= MAX_OF_TENANT {
            return Err(Error::Quota(
                "the tenant has 100 indexes and constraints, which is the limit; drop one",
            ));
        }
        let mut scope = Scope::Own(self.pool.lease().await?);
        let made = self
            .run(&mut scope, &Statement::new(text), Access::Write, budget)
            .await;
        let code = match &made {
            Ok(_) => return Ok(()),
            Err(error) => error.code().unwrap_or_default().to_owned(),
        };
        match code.rsplit('.').next() {
            Some("EquivalentSchemaRuleAlreadyExists") => Ok(()),
            Some("IndexWithNameAlreadyExists" | "ConstraintWithNameAlreadyExists") => Err(Error::Exists(
                format!("{name:?} is the name of another index or constraint"),
            )),
            Some("IndexAlreadyExists" | "ConstraintAlreadyExists") => Err(Error::Exists(
                "there is an index or constraint on this label and these properties".into(),
            )),
            _ => made.map(drop),
        }
    }

    async fn filled(&self, full: &str, end: Instant, budget: Budget) -> Result<(), Error> {
        let look = Statement::new("SHOW INDEXES YIELD name, state WHERE name = $name RETURN state")
            .with("name", Value::text(full));
        loop {
            let row = self.read(&look, budget).await?.first();
            let state = row.and_then(|row| row.into_iter().next()?.into_text());
            match state.as_deref() {
                Some("POPULATING") if Instant::now() < end => sleep(LOOK).await,
                Some("FAILED") => {
                    return Err(Error::Precondition(
                        "Neo4j could not fill the index: a value of a node does not fit into one; drop it again".into(),
                    ));
                }
                _ => return Ok(()),
            }
        }
    }

    async fn drop_named(&self, what: &str, full: &str, budget: Budget) -> Result<(), Error> {
        let mut scope = Scope::Own(self.pool.lease().await?);
        let statement = Statement::new(format!("DROP {what} {full}"));
        self.run(&mut scope, &statement, Access::Write, budget)
            .await
            .map(drop)
    }

    pub(crate) async fn drop_index(&self, names: Names<'_>, name: &str, budget: Budget) -> Result<(), Error> {
        let full = names.schema("index_name", name)?;
        let look = Statement::new(
            "SHOW INDEXES YIELD name, owningConstraint WHERE name = $name RETURN owningConstraint",
        )
        .with("name", Value::text(full.as_str()));
        match self.read(&look, budget).await?.first() {
            None => return Err(Error::NotFound("the index")),
            Some(row) if row.first() != Some(&Value::Null) => {
                return Err(Error::Precondition(
                    "the index is that of a constraint; drop the constraint".into(),
                ));
            }
            Some(_) => {}
        }
        let dropped = self.drop_named("INDEX", &full, budget).await;
        absent(dropped, "the index")
    }

    pub(crate) async fn drop_constraint(
        &self,
        names: Names<'_>,
        name: &str,
        budget: Budget,
    ) -> Result<(), Error> {
        let full = names.schema("constraint_name", name)?;
        let dropped = self.drop_named("CONSTRAINT", &full, budget).await;
        absent(dropped, "the constraint")
    }

    /// Sorted by name.
    pub(crate) async fn indexes(&self, names: Names<'_>, budget: Budget) -> Result<Vec<Index>, Error> {
        let statement = Statement::new(
            "SHOW INDEXES YIELD name, type, labelsOrTypes, properties, state WHERE name STARTS WITH $prefix \
             RETURN name, type, labelsOrTypes, properties, state ORDER BY name",
        )
        .with("prefix", Value::text(names.prefix()));
        let rows = self.read(&statement, budget).await?.rows;
        let index = |row: Vec<Value>| {
            let mut row = row.into_iter();
            let mut text = || row.next().and_then(Value::into_text);
            let (name, kind) = (text()?, text()?);
            let labels = row.next()?.into_texts();
            let properties = row.next()?.into_texts();
            Some(Index {
                name: names.given(&name)?.to_owned(),
                kind,
                labels: labels
                    .iter()
                    .filter_map(|label| names.given(label).map(str::to_owned))
                    .collect(),
                properties,
                state: row.next()?.into_text()?,
            })
        };
        Ok(rows.into_iter().filter_map(index).collect())
    }

    /// Sorted by name.
    pub(crate) async fn constraints(
        &self,
        names: Names<'_>,
        budget: Budget,
    ) -> Result<Vec<Constraint>, Error> {
        let statement = Statement::new(
            "SHOW CONSTRAINTS YIELD name, type, labelsOrTypes, properties WHERE name STARTS WITH $prefix \
             RETURN name, type, labelsOrTypes[0], properties ORDER BY name",
        )
        .with("prefix", Value::text(names.prefix()));
        let rows = self.read(&statement, budget).await?.rows;
        let constraint = |row: Vec<Value>| {
            let mut row = row.into_iter();
            let mut text = || row.next().and_then(Value::into_text);
            let (name, kind, label) = (text()?, text()?, text()?);
            Some(Constraint {
                name: names.given(&name)?.to_owned(),
                kind,
                label: names.given(&label)?.to_owned(),
                properties: row.next()?.into_texts(),
            })
        };
        Ok(rows.into_iter().filter_map(constraint).collect())
    }
}

/// Neo4j's refusal to drop what is not there.
fn absent(dropped: Result<(), Error>, what: &'static str) -> Result<(), Error> {
    match dropped {
        Err(error)
            if error.code().is_some_and(|code| {
                [
                    "IndexNotFound",
                    "ConstraintNotFound",
                    "IndexDropFailed",
                    "ConstraintDropFailed",
                ]
                .iter()
                .any(|known| code.ends_with(known))
            }) =>
        {
            Err(Error::NotFound(what))
        }
        result => result,
    }
}
