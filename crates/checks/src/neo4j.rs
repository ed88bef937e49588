use std::time::Duration;

use isa_config::{Endpoint, EngineKind};
use neo4rs::{ConfigBuilder, Graph, Neo4jClientErrorKind, Neo4jErrorKind, Query, query};
use serde::de::DeserializeOwned;

use crate::{
    Error, Probe,
    address::Address,
    error::shorten,
    run::{Run, Stop, unique_name},
};

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    let (_, version) = connect(endpoint).await?;
    Ok(Probe { version })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let (graph, _) = &run.step("connect", connect(endpoint)).await?;
    let id = unique_name();
    let made = async {
        run.step("node written", write(graph, &id)).await?;
        run.step("node read back", read(graph, &id)).await
    }
    .await;
    let removed = run.remove("node deleted", &id, delete(graph, &id)).await;
    made.and(removed)
}

/// Connects and asks for the version.
async fn connect(endpoint: &Endpoint) -> Result<(Graph, Option<String>), Error> {
    let what = "connect";
    let address = Address::main(EngineKind::Neo4j, endpoint)?;
    let config = ConfigBuilder::new()
        .uri(address.url.as_str())
        .user(endpoint.username.as_deref().unwrap_or("neo4j"))
        .password(endpoint.password.as_ref().map_or("", |p| p.expose()))
        .max_connections(1)
        // The check's own limit ends requests.
        .connection_timeout(Duration::from_secs(3600))
        .build()
        .map_err(|e| failed(what, e))?;
    let graph = Graph::connect(config).map_err(|e| failed(what, e))?;
    let ask = query("CALL dbms.components() YIELD versions RETURN versions[0] AS version");
    let versions: Vec<String> = execute(what, &graph, ask, "version").await?;
    Ok((graph, versions.first().map(|v| shorten(v))))
}

async fn write(graph: &Graph, id: &str) -> Result<(), Error> {
    let create = query("CREATE (n:IsaVerify {id: $id}) RETURN n.id AS id").param("id", id);
    expect(
        "write a node",
        execute("write a node", graph, create, "id").await?,
        id,
    )
}

async fn read(graph: &Graph, id: &str) -> Result<(), Error> {
    let find = query("MATCH (n:IsaVerify {id: $id}) RETURN n.id AS id").param("id", id);
    expect(
        "read the node",
        execute("read the node", graph, find, "id").await?,
        id,
    )
}

async fn delete(graph: &Graph, id: &str) -> Result<(), Error> {
    let delete =
        query("MATCH (n:IsaVerify {id: $id}) DETACH DELETE n RETURN count(n) AS gone").param("id", id);
    execute::<i64>("delete the node", graph, delete, "gone")
        .await
        .map(drop)
}

fn expect(what: &'static str, got: Vec<String>, id: &str) -> Result<(), Error> {
    if got == [id] {
        Ok(())
    } else {
        Err(Error::wrong(
            what,
            format!("the one node {id}"),
            format!("{got:?}"),
        ))
    }
}

/// Runs a query in a transaction of its own and returns a column. Only transactions fail at once; what the client
/// runs without one it tries again, a minute long.
async fn execute<T: DeserializeOwned>(
    what: &'static str,
    graph: &Graph,
    query: Query,
    column: &str,
) -> Result<Vec<T>, Error> {
    let run = async {
        let mut transaction = graph.start_txn().await?;
        let mut rows = transaction.execute(query).await?;
        let mut values = Vec::new();
        while let Some(row) = rows.next(transaction.handle()).await? {
            values.push(row.get(column)?);
        }
        transaction.commit().await?;
        Ok(values)
    };
    run.await.map_err(|e| failed(what, e))
}

fn failed(what: &'static str, error: neo4rs::Error) -> Error {
    match error {
        neo4rs::Error::AuthenticationError(why) => Error::unauthorized(what, why),
        neo4rs::Error::Neo4j(answer) => {
            let text = format!("{}: {}", answer.code(), answer.message());
            match answer.kind() {
                Neo4jErrorKind::Client(Neo4jClientErrorKind::Security(_)) => Error::unauthorized(what, text),
                _ => Error::wrong(what, "success", text),
            }
        }
        other => Error::protocol(what, other),
    }
}
