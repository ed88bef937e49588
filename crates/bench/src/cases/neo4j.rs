use std::{collections::BTreeMap, sync::Arc};

use isa_config::ServiceKind;
use isa_proto::{
    neo4j::{CreateNodeRequest, GetNodeRequest, RunCypherRequest, neo4j_service_client::Neo4jServiceClient},
    prost_types::{Struct, Value, value::Kind},
};
use neo4rs::{ConfigBuilder, Graph, query};

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Neo4j;

/// Connections of the engine's own client: as many as the service has.
const CONNECTIONS: usize = 64;

const ONE: &str = "RETURN $n AS n, 'name' AS name";

fn number(number: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(number)),
    }
}

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let endpoint = platform.endpoint(KIND)?;
    let config = ConfigBuilder::default()
        .uri(endpoint.url.as_str())
        .user(endpoint.username.as_deref().unwrap_or("neo4j"))
        .password(
            endpoint
                .password
                .as_ref()
                .map_or("", |password| password.expose()),
        )
        .max_connections(CONNECTIONS)
        .build()?;
    let native = Graph::connect(config)?;
    let channels = Arc::new(platform.channels(KIND).await?);
    let made = Neo4jServiceClient::new(channels.of(0))
        .create_node(CreateNodeRequest {
            labels: vec!["Bench".into()],
            properties: Some(Struct {
                fields: BTreeMap::from([("n".into(), number(1.0))]),
            }),
            ..Default::default()
        })
        .await?;
    let id = made.into_inner().node.map(|node| node.id).unwrap_or_default();

    let graph = native.clone();
    let native_row = operation(move |_| {
        let graph = graph.clone();
        async move {
            let mut rows = graph.execute(query(ONE).param("n", 1)).await?;
            while rows.next().await?.is_some() {}
            Ok(0)
        }
    });
    let row_channels = Arc::clone(&channels);
    let service_row = operation(move |caller| {
        let mut client = Neo4jServiceClient::new(row_channels.of(caller));
        let request = RunCypherRequest {
            cypher: ONE.into(),
            parameters: BTreeMap::from([("n".into(), number(1.0))]),
            ..Default::default()
        };
        async move {
            client.run_cypher(request).await?;
            Ok(0)
        }
    });
    let graph = native.clone();
    let native_get = operation(move |_| {
        let graph = graph.clone();
        async move {
            let find = query("MATCH (n:Bench) WHERE id(n) = $id RETURN n").param("id", id);
            let mut rows = graph.execute(find).await?;
            while rows.next().await?.is_some() {}
            Ok(0)
        }
    });
    let get_channels = Arc::clone(&channels);
    let service_get = operation(move |caller| {
        let mut client = Neo4jServiceClient::new(get_channels.of(caller));
        let request = GetNodeRequest {
            node_id: id,
            ..Default::default()
        };
        async move {
            client.get_node(request).await?;
            Ok(0)
        }
    });
    let native_write = operation(move |_| {
        let graph = native.clone();
        async move {
            graph
                .run(query("CREATE (n:BenchWrite {n: $n})").param("n", 1))
                .await?;
            Ok(0)
        }
    });
    let service_write = operation(move |caller| {
        let mut client = Neo4jServiceClient::new(channels.of(caller));
        let request = CreateNodeRequest {
            labels: vec!["BenchWrite".into()],
            properties: Some(Struct {
                fields: BTreeMap::from([("n".into(), number(1.0))]),
            }),
            ..Default::default()
        };
        async move {
            client.create_node(request).await?;
            Ok(0)
        }
    });
    Ok(vec![
        Case::new(KIND, "RunCypher, one row", Some(80.0), native_row, service_row),
        Case::new(KIND, "GetNode", None, native_get, service_get),
        Case::new(KIND, "CreateNode", None, native_write, service_write),
    ])
}
