//! isa.duckdb on DuckDB in this process, with real object storage and NATS beside it.

mod bounds;
mod confined;
mod copies;
mod databases;
mod files;
mod queries;
mod tables;

use std::{collections::BTreeMap, time::Duration};

use isa_config::ServiceKind;
use isa_proto::duckdb::{self as pb, duck_db_service_client::DuckDbServiceClient, value::Value as Kind};
use isa_server::Tenant;
use tonic::{Code, Status, transport::Channel};

use crate::harness::Node;

/// A service with a tenant that nobody else has, and one database of it.
struct World {
    node: Node,
    channel: Channel,
    user: String,
    db: String,
}

impl World {
    async fn start() -> Self {
        Self::on(Node::start(ServiceKind::Duckdb).await).await
    }

    async fn on(node: Node) -> Self {
        let channel = node.channel().await;
        let world = Self {
            node,
            channel,
            user: format!("user-{:x}", rand::random::<u64>()),
            db: "main-db".into(),
        };
        let made = world.create(&world.user, &world.db).await.expect("a database");
        assert_eq!(made.database_name, world.db);
        world
    }

    fn client(&self) -> DuckDbServiceClient<Channel> {
        DuckDbServiceClient::new(self.channel.clone())
            .max_decoding_message_size(128 << 20)
            .max_encoding_message_size(128 << 20)
    }

    fn tenant(&self) -> Tenant {
        Tenant::user(&self.user)
    }

    async fn create(&self, user: &str, name: &str) -> Result<pb::DatabaseInfo, Status> {
        let request = pb::CreateDatabaseRequest {
            database_name: name.into(),
            user_id: user.into(),
            organization_id: "default_org".into(),
            ..Default::default()
        };
        let answer = self.client().create_database(request).await?.into_inner();
        assert!(answer.success);
        Ok(answer.database_info.expect("its description"))
    }

    fn query_request(&self, sql: &str) -> pb::ExecuteQueryRequest {
        pb::ExecuteQueryRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
            query: sql.into(),
            ..Default::default()
        }
    }

    async fn query(&self, sql: &str) -> Result<pb::ExecuteQueryResponse, Status> {
        Ok(self
            .client()
            .execute_query(self.query_request(sql))
            .await?
            .into_inner())
    }

    /// The values of the first row, as they are.
    async fn row(&self, sql: &str) -> Vec<Kind> {
        let mut answer = self
            .query(sql)
            .await
            .unwrap_or_else(|status| panic!("{sql}: {status:?}"));
        let row = answer.rows.remove(0);
        row.values
            .into_iter()
            .map(|value| value.value.expect("a kind"))
            .collect()
    }

    async fn number(&self, sql: &str) -> i64 {
        match self.row(sql).await.remove(0) {
            Kind::IntValue(number) => number,
            other => panic!("{sql}: {other:?}"),
        }
    }

    async fn run(&self, sql: &str) -> i32 {
        self.execute(sql, "")
            .await
            .unwrap_or_else(|status| panic!("{sql}: {status:?}"))
    }

    async fn execute(&self, sql: &str, transaction: &str) -> Result<i32, Status> {
        let request = pb::ExecuteStatementRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
            statement: sql.into(),
            transaction_id: transaction.into(),
            ..Default::default()
        };
        let answer = self.client().execute_statement(request).await?.into_inner();
        assert!(answer.success);
        Ok(answer.affected_rows)
    }

    async fn begin(&self) -> Result<String, Status> {
        let request = pb::BeginTransactionRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
        };
        Ok(self
            .client()
            .begin_transaction(request)
            .await?
            .into_inner()
            .transaction_id)
    }

    fn end_request(&self, id: &str) -> pb::EndTransactionRequest {
        pb::EndTransactionRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
            transaction_id: id.into(),
        }
    }
}

fn params(given: Vec<(&str, Kind)>) -> BTreeMap<String, pb::Value> {
    let given = given.into_iter();
    given
        .map(|(name, kind)| (name.to_owned(), pb::Value { value: Some(kind) }))
        .collect()
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

/// Polls until `condition` holds.
async fn until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + within;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "not in {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.expect_err("an error");
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
