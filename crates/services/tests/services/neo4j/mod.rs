//! isa.neo4j on a real Neo4j. What the service did is looked at with a client of Neo4j's own.

mod algorithms;
mod cypher;
mod faults;
mod graph;
mod paths;
mod schema;
mod tenants;
mod transactions;
mod values;

use std::{collections::BTreeMap, time::Duration};

use isa_config::{Endpoint, ServiceKind};
use isa_proto::{
    common::RequestMetadata,
    neo4j::{self as pb, neo4j_service_client::Neo4jServiceClient},
    prost_types::{ListValue, Struct, Value, value::Kind},
};
use isa_server::Tenant;
use tonic::{Code, Status, transport::Channel};

use crate::harness::Node;

type Client = Neo4jServiceClient<Channel>;

/// A service with a tenant that nobody else has, and Neo4j's own client.
struct World {
    /// Kept for as long as the test uses it.
    _node: Node,
    client: Client,
    engine: neo4rs::Graph,
    user: String,
}

impl World {
    async fn start() -> Self {
        Self::of(Node::start(ServiceKind::Neo4j).await).await
    }

    async fn of(node: Node) -> Self {
        Self {
            client: client(&node).await,
            engine: engine(&node.engine),
            _node: node,
            user: uuid::Uuid::new_v4().to_string(),
        }
    }

    fn metadata(&self) -> Option<RequestMetadata> {
        metadata(&self.user)
    }

    fn slug(&self) -> String {
        Tenant::user(&self.user).slug().to_owned()
    }

    /// The label of the tenant's nodes.
    fn label(&self) -> String {
        format!("_isa_{}", self.slug())
    }

    async fn create<const N: usize>(&self, labels: &[&str], properties: [(&str, Value); N]) -> pb::Node {
        self.try_create(labels, properties).await.unwrap()
    }

    async fn try_create<const N: usize>(
        &self,
        labels: &[&str],
        properties: [(&str, Value); N],
    ) -> Result<pb::Node, Status> {
        let request = pb::CreateNodeRequest {
            metadata: self.metadata(),
            labels: texts(labels),
            properties: Some(fields(properties)),
            ..Default::default()
        };
        let answer = self.client.clone().create_node(request).await?.into_inner();
        assert!(answer.metadata.unwrap().success);
        Ok(answer.node.unwrap())
    }

    async fn relate(&self, from: i64, kind: &str, to: i64) -> pb::Relationship {
        let request = pb::CreateRelationshipRequest {
            metadata: self.metadata(),
            start_node_id: from,
            end_node_id: to,
            r#type: kind.into(),
            ..Default::default()
        };
        let answer = self.client.clone().create_relationship(request).await.unwrap();
        answer.into_inner().relationship.unwrap()
    }

    /// Nodes in a row, each related to the next.
    async fn chain(&self, count: usize) -> Vec<i64> {
        let mut ids: Vec<i64> = Vec::new();
        for at in 0..count {
            let id = self.create(&["Link"], [("at", number(at as f64))]).await.id;
            if let Some(last) = ids.last() {
                self.relate(*last, "NEXT", id).await;
            }
            ids.push(id);
        }
        ids
    }

    async fn get(&self, id: i64) -> Option<pb::Node> {
        let request = pb::GetNodeRequest {
            metadata: self.metadata(),
            node_id: id,
            ..Default::default()
        };
        let answer = self.client.clone().get_node(request).await.unwrap().into_inner();
        assert_eq!(answer.found, answer.node.is_some());
        answer.node
    }

    async fn cypher<const N: usize>(
        &self,
        cypher: &str,
        parameters: [(&str, Value); N],
    ) -> Result<pb::RunCypherResponse, Status> {
        let request = pb::RunCypherRequest {
            metadata: self.metadata(),
            cypher: cypher.into(),
            parameters: fields(parameters).fields,
            ..Default::default()
        };
        Ok(self.client.clone().run_cypher(request).await?.into_inner())
    }

    /// The one value of the one row.
    async fn value<const N: usize>(&self, cypher: &str, parameters: [(&str, Value); N]) -> Value {
        let answer = self.cypher(cypher, parameters).await.unwrap();
        assert_eq!(answer.rows.len(), 1, "{cypher}");
        let fields = answer.rows.into_iter().next().unwrap().fields;
        assert_eq!(fields.len(), 1, "{cypher}");
        fields.into_values().next().unwrap()
    }

    async fn begin(&self) -> String {
        let request = pb::BeginTransactionRequest {
            metadata: self.metadata(),
            ..Default::default()
        };
        let answer = self.client.clone().begin_transaction(request).await.unwrap();
        answer.into_inner().transaction_id
    }

    async fn commit(&self, id: &str) -> Result<(), Status> {
        let request = pb::CommitTransactionRequest {
            metadata: self.metadata(),
            transaction_id: id.into(),
        };
        let answer = self
            .client
            .clone()
            .commit_transaction(request)
            .await?
            .into_inner();
        assert!(answer.success);
        Ok(())
    }

    async fn rollback(&self, id: &str) -> Result<(), Status> {
        let request = pb::RollbackTransactionRequest {
            metadata: self.metadata(),
            transaction_id: id.into(),
        };
        let answer = self
            .client
            .clone()
            .rollback_transaction(request)
            .await?
            .into_inner();
        assert!(answer.success);
        Ok(())
    }

    async fn cypher_in(&self, id: &str, cypher: &str) -> Result<pb::RunCypherResponse, Status> {
        let request = pb::RunCypherRequest {
            metadata: self.metadata(),
            cypher: cypher.into(),
            transaction_id: id.into(),
            ..Default::default()
        };
        Ok(self.client.clone().run_cypher(request).await?.into_inner())
    }

    /// What Neo4j itself gives.
    async fn look<T: serde::de::DeserializeOwned>(&self, cypher: &str, column: &str) -> Vec<T> {
        let mut rows = self.engine.execute(neo4rs::query(cypher)).await.unwrap();
        let mut values = Vec::new();
        while let Some(row) = rows.next().await.unwrap() {
            values.push(row.get(column).unwrap());
        }
        values
    }

    /// Nodes of the tenant, as Neo4j counts them.
    async fn count(&self) -> i64 {
        let cypher = format!("MATCH (n:`{}`) RETURN count(n) AS count", self.label());
        self.look(&cypher, "count").await[0]
    }

    /// Statements that Neo4j is running and that have this word.
    async fn running(&self, word: &str) -> usize {
        let cypher = format!(
            "SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery CONTAINS '{word}' \
             AND NOT currentQuery CONTAINS 'SHOW' RETURN currentQuery AS query"
        );
        self.look::<String>(&cypher, "query").await.len()
    }
}

fn engine(endpoint: &Endpoint) -> neo4rs::Graph {
    neo4rs::Graph::new(
        endpoint.url.as_str(),
        endpoint.username.as_deref().unwrap(),
        endpoint.password.as_ref().unwrap().expose(),
    )
    .unwrap()
}

async fn client(node: &Node) -> Client {
    Neo4jServiceClient::new(node.channel().await).max_decoding_message_size(128 << 20)
}

fn metadata(user: &str) -> Option<RequestMetadata> {
    Some(RequestMetadata {
        user_id: user.into(),
        ..Default::default()
    })
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn kind(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn number(number: f64) -> Value {
    kind(Kind::NumberValue(number))
}

fn text(text: &str) -> Value {
    kind(Kind::StringValue(text.into()))
}

fn boolean(value: bool) -> Value {
    kind(Kind::BoolValue(value))
}

fn null() -> Value {
    kind(Kind::NullValue(0))
}

fn list(values: Vec<Value>) -> Value {
    kind(Kind::ListValue(ListValue { values }))
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Struct {
    let fields: BTreeMap<String, Value> = pairs.map(|(name, value)| (name.to_owned(), value)).into();
    Struct { fields }
}

fn object<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    kind(Kind::StructValue(fields(pairs)))
}

/// A value with its type.
fn typed(name: &str, value: &str) -> Value {
    object([("@type", text(name)), ("value", text(value))])
}

/// Polls until `condition` holds.
async fn until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + within;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "not in {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, words: &str) {
    let status = result.expect_err("a refusal");
    assert_eq!(status.code(), code, "{}", status.message());
    assert!(
        status.message().contains(words),
        "{words:?} in {:?}",
        status.message()
    );
}
