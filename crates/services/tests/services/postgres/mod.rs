//! The building block over a real PostgreSQL, which the tests look into as its administrator.

mod isolation;
mod life;
mod sql;
mod stream;
mod structured;
mod transactions;
mod types;

use std::collections::BTreeMap;

use isa_config::ServiceKind;
use isa_proto::{
    common::RequestMetadata,
    postgres::{self as pb, postgres_service_client::PostgresServiceClient},
    prost_types::{ListValue, Struct, Value, value::Kind},
};
use isa_server::Tenant;
use tokio_postgres::NoTls;
use tonic::{Code, Status, transport::Channel};

use crate::harness::Node;

/// A service, and one tenant of it that no other test has.
struct Bench {
    node: Node,
    client: PostgresServiceClient<Channel>,
    user: String,
}

impl Bench {
    async fn start() -> Self {
        let node = Node::start(ServiceKind::Postgres).await;
        Self {
            client: client(&node).await,
            node,
            user: uuid::Uuid::new_v4().to_string(),
        }
    }

    fn metadata(&self) -> Option<RequestMetadata> {
        metadata(&self.user)
    }

    /// The tenant's schema, and role.
    fn schema(&self) -> String {
        schema(&self.user)
    }

    async fn query(&mut self, sql: &str, params: Vec<Value>) -> Result<Vec<Struct>, Status> {
        query(&mut self.client, &self.user, sql, params).await
    }

    /// The one value of the one row.
    async fn value(&mut self, sql: &str, params: Vec<Value>) -> Result<Value, Status> {
        let rows = self.query(sql, params).await?;
        assert_eq!(rows.len(), 1, "{sql}");
        let fields = rows.into_iter().next().expect("a row").fields;
        assert_eq!(fields.len(), 1, "{sql}");
        Ok(fields.into_values().next().expect("a value"))
    }

    async fn execute(&mut self, sql: &str) -> Result<pb::ExecuteResponse, Status> {
        execute_in(&mut self.client, &self.user, sql, "").await
    }

    async fn begin(&mut self) -> String {
        let request = pb::BeginTransactionRequest {
            metadata: self.metadata(),
            ..Default::default()
        };
        let begun = self.client.begin_transaction(request).await;
        begun.expect("a transaction").into_inner().transaction_id
    }

    async fn in_transaction(&mut self, id: &str, sql: &str) -> Result<pb::ExecuteResponse, Status> {
        execute_in(&mut self.client, &self.user, sql, id).await
    }

    async fn commit(&mut self, id: &str) -> Result<(), Status> {
        let request = pb::CommitTransactionRequest {
            metadata: self.metadata(),
            transaction_id: id.into(),
        };
        let done = self.client.commit_transaction(request).await?;
        assert!(done.into_inner().success);
        Ok(())
    }

    /// The engine itself.
    async fn administrator(&self) -> tokio_postgres::Client {
        let engine = &self.node.engine;
        let mut config: tokio_postgres::Config = engine.url.parse().expect("an address");
        config.user(engine.username.as_deref().expect("a user"));
        config.password(engine.password.as_ref().expect("a password").expose());
        let (client, connection) = config.connect(NoTls).await.expect("a connection");
        tokio::spawn(connection);
        client
    }
}

async fn client(node: &Node) -> PostgresServiceClient<Channel> {
    PostgresServiceClient::new(node.channel().await).max_decoding_message_size(128 << 20)
}

fn metadata(user: &str) -> Option<RequestMetadata> {
    Some(RequestMetadata {
        user_id: user.into(),
        ..Default::default()
    })
}

fn schema(user: &str) -> String {
    format!("t_{}", Tenant::user(user).slug())
}

async fn query(
    client: &mut PostgresServiceClient<Channel>,
    user: &str,
    sql: &str,
    params: Vec<Value>,
) -> Result<Vec<Struct>, Status> {
    let request = pb::QueryRequest {
        metadata: metadata(user),
        sql: sql.into(),
        params,
        ..Default::default()
    };
    let response = client.query(request).await?.into_inner();
    assert!(response.metadata.is_some_and(|metadata| metadata.success));
    assert_eq!(usize::try_from(response.row_count), Ok(response.rows.len()));
    Ok(response.rows)
}

async fn execute_in(
    client: &mut PostgresServiceClient<Channel>,
    user: &str,
    sql: &str,
    transaction: &str,
) -> Result<pb::ExecuteResponse, Status> {
    let request = pb::ExecuteRequest {
        metadata: metadata(user),
        sql: sql.into(),
        transaction_id: transaction.into(),
        ..Default::default()
    };
    Ok(client.execute(request).await?.into_inner())
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
