use std::sync::Arc;

use futures::TryStreamExt;
use isa_config::ServiceKind;
use isa_proto::{
    postgres::{
        ExecuteRequest, QueryRequest, QueryStreamRequest, postgres_service_client::PostgresServiceClient,
    },
    prost_types::{Value, value::Kind},
};
use tokio_postgres::{Client, NoTls, Statement};

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Postgres;

/// Connections of the engine's own client.
const CONNECTIONS: usize = 16;

const CREATE: &str = "create table if not exists bench (id int8 primary key, name text)";
const FILL: &str =
    "insert into bench select n, 'name ' || n from generate_series(1, 1000) n on conflict do nothing";
const SELECT: &str = "select id, name from bench where id = $1::int8";
const ROWS: &str = "select n as id, repeat('x', 100) as name from generate_series(1, 100000) n";

/// Bytes of a row of `ROWS`: its number and its text.
const ROW: u64 = 108;

/// Connections that callers share: statements of several wait in line on each.
struct Native(Vec<(Client, Statement)>);

impl Native {
    async fn connect(url: &str) -> anyhow::Result<Self> {
        let mut all = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute(&format!("{CREATE}; {FILL}")).await?;
            let statement = client.prepare(SELECT).await?;
            all.push((client, statement));
        }
        Ok(Self(all))
    }

    fn of(&self, caller: usize) -> &(Client, Statement) {
        &self.0[caller % CONNECTIONS]
    }
}

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let native = Arc::new(Native::connect(platform.engine_url(KIND)?.as_str()).await?);
    let channels = Arc::new(platform.channels(KIND).await?);
    let mut client = PostgresServiceClient::new(channels.of(0));
    for sql in [CREATE, FILL] {
        let request = ExecuteRequest {
            sql: sql.into(),
            ..Default::default()
        };
        client.execute(request).await?;
    }

    let by_client = Arc::clone(&native);
    let native_row = operation(move |caller| {
        let native = Arc::clone(&by_client);
        async move {
            let (client, statement) = native.of(caller);
            client.query_one(statement, &[&7_i64]).await?;
            Ok(0)
        }
    });
    let row_channels = Arc::clone(&channels);
    let service_row = operation(move |caller| {
        let mut client = PostgresServiceClient::new(row_channels.of(caller));
        async move {
            let request = QueryRequest {
                sql: SELECT.into(),
                params: vec![Value {
                    kind: Some(Kind::NumberValue(7.0)),
                }],
                ..Default::default()
            };
            let rows = client.query(request).await?.into_inner().row_count;
            anyhow::ensure!(rows == 1, "{rows} rows");
            Ok(0)
        }
    });
    let native_rows = operation(move |caller| {
        let native = Arc::clone(&native);
        async move {
            let (client, _) = native.of(caller);
            let none: [i32; 0] = [];
            let rows = client.query_raw(ROWS, none).await?;
            let mut rows = std::pin::pin!(rows);
            let mut bytes = 0;
            while let Some(row) = rows.try_next().await? {
                // Read, as a program would.
                std::hint::black_box((row.get::<_, i32>(0), row.get::<_, &str>(1)));
                bytes += ROW;
            }
            Ok(bytes)
        }
    });
    let service_rows = operation(move |caller| {
        let mut client = PostgresServiceClient::new(channels.of(caller));
        async move {
            let request = QueryStreamRequest {
                sql: ROWS.into(),
                ..Default::default()
            };
            let mut batches = client.query_stream(request).await?.into_inner();
            let mut bytes = 0;
            while let Some(batch) = batches.message().await? {
                bytes += ROW * batch.rows.len() as u64;
            }
            Ok(bytes)
        }
    });
    Ok(vec![
        Case::new(KIND, "Query, one row", Some(40.0), native_row, service_row),
        Case::new(KIND, "QueryStream, 100k rows", None, native_rows, service_rows).at_most(4),
    ])
}
