//! What the tenant's graph has, and what Neo4j is.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::timeout;

use super::{
    Budget, Error, Graph, Statement, Value,
    bolt::{Connection, Mode},
};
use crate::neo4j::names::Names;

/// How long Neo4j may take to say that it is there.
const PROBE: Duration = Duration::from_secs(5);

/// Figures of one tenant.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) nodes: i64,
    pub(crate) relationships: i64,
    /// How many nodes have the label.
    pub(crate) labels: BTreeMap<String, i64>,
    /// How many relationships have the type.
    pub(crate) kinds: BTreeMap<String, i64>,
}

/// What Neo4j says of itself.
#[derive(Debug, Default)]
pub(crate) struct Components {
    pub(crate) version: String,
    pub(crate) edition: String,
}

impl Graph {
    pub(crate) async fn figures(&self, names: Names<'_>, budget: Budget) -> Result<Figures, Error> {
        let tenant = names.tenant();
        let count = Statement::new(format!("MATCH (n:{tenant}) RETURN count(n)"));
        let labels = Statement::new(format!(
            "MATCH (n:{tenant}) UNWIND labels(n) AS label WITH label WHERE label STARTS WITH $prefix \
             RETURN label, count(*)"
        ))
        .with("prefix", Value::text(names.prefix()));
        let kinds = Statement::new(format!(
            "MATCH (:{tenant})-[r]->(:{tenant}) RETURN type(r), count(*)"
        ));
        let nodes = self.read(&count, budget).await?.number();
        let labels = counts(self.read(&labels, budget).await?.rows)
            .filter_map(|(label, count)| names.given(&label).map(|label| (label.to_owned(), count)))
            .collect();
        let kinds: BTreeMap<String, i64> = counts(self.read(&kinds, budget).await?.rows).collect();
        Ok(Figures {
            nodes,
            relationships: kinds.values().sum(),
            labels,
            kinds,
        })
    }

    /// How many property keys there are on nodes and relationships.
    pub(crate) async fn property_keys(&self, names: Names<'_>, budget: Budget) -> Result<i64, Error> {
        let tenant = names.tenant();
        let statement = Statement::new(format!(
            "CALL {{ MATCH (n:{tenant}) UNWIND keys(n) AS key RETURN key UNION \
             MATCH (:{tenant})-[r]->(:{tenant}) UNWIND keys(r) AS key RETURN key }} RETURN count(key)"
        ));
        self.read(&statement, budget).await.map(super::Answer::number)
    }

    /// The databases but for Neo4j's own: name, state, and whether it is the default.
    pub(crate) async fn databases(&self, budget: Budget) -> Result<Vec<(String, String, bool)>, Error> {
        let statement = Statement::new(
            "SHOW DATABASES YIELD name, currentStatus, default WHERE name <> 'system' \
             RETURN name, currentStatus, default ORDER BY name",
        );
        let rows = self.read(&statement, budget).await?.rows;
        let databases = rows.into_iter().filter_map(|row| match row.as_slice() {
            [Value::Text(name), Value::Text(state), Value::Bool(default)] => {
                Some((name.clone(), state.clone(), *default))
            }
            _ => None,
        });
        Ok(databases.collect())
    }

    /// Asks Neo4j what it is.
    pub(crate) async fn components(&self) -> Result<Components, Error> {
        let asking = async {
            let mut lease = self.asking.lease().await?;
            ask(lease.on()?).await
        };
        timeout(PROBE, asking).await.map_err(|_| Error::Slow)?
    }
}

async fn ask(connection: &mut Connection) -> Result<Components, Error> {
    let statement = Statement::new(
        "CALL dbms.components() YIELD name, versions, edition WHERE name = 'Neo4j Kernel' \
         RETURN versions[0], edition",
    );
    connection.run(&statement, Some((Mode::Read, PROBE)));
    connection.pull(1);
    connection.sent().await?;
    let mut summary = connection.columns().await?;
    let mut found = Components::default();
    connection
        .rows(&mut summary, &mut |row, _| {
            let mut row = row.into_iter().map(|value| value.into_text().unwrap_or_default());
            found.version = row.next().unwrap_or_default();
            found.edition = row.next().unwrap_or_default();
            Ok(())
        })
        .await?;
    Ok(found)
}

fn counts(rows: Vec<Vec<Value>>) -> impl Iterator<Item = (String, i64)> {
    rows.into_iter().filter_map(|row| {
        let mut row = row.into_iter();
        Some((row.next()?.into_text()?, row.next()?.as_int()?))
    })
}
