//! DuckDB has no server: beside the service stands the library itself, over a file of its own.

use std::sync::Arc;

use duckdb::Connection;
use futures::TryStreamExt;
use isa_config::ServiceKind;
use isa_proto::duckdb::{
    CreateDatabaseRequest, ExecuteQueryRequest, ExecuteStatementRequest,
    duck_db_service_client::DuckDbServiceClient,
};
use tokio::task::spawn_blocking;

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Duckdb;

const DATABASE: &str = "bench";

/// Rows of the table that is read whole: 16 MB of numbers.
const ROWS: u64 = 1_000_000;

const MAKE: &str = "create table t as select range a, range * 2 b from range(1000000)";
const ONE: &str = "select a, b from t where a = 4711";
const SUM: &str = "select sum(a * b) from t";
const ALL: &str = "select * from t";

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let folder = tempfile::tempdir()?;
    let native = Connection::open(folder.path().join("native.duckdb"))?;
    native.execute_batch(MAKE)?;
    let native = Arc::new(parking_lot::Mutex::new((native, folder)));
    let channels = Arc::new(platform.channels(KIND).await?);
    let mut client = DuckDbServiceClient::new(channels.of(0));
    client
        .create_database(CreateDatabaseRequest {
            database_name: DATABASE.into(),
            ..Default::default()
        })
        .await?;
    client
        .execute_statement(ExecuteStatementRequest {
            database_id: DATABASE.into(),
            statement: MAKE.into(),
            ..Default::default()
        })
        .await?;
    let request = |sql: &str| ExecuteQueryRequest {
        database_id: DATABASE.into(),
        query: sql.into(),
        ..Default::default()
    };

    let of_library = |sql: &'static str, bytes: u64| {
        let native = Arc::clone(&native);
        operation(move |_| {
            let native = Arc::clone(&native);
            async move {
                // As the service does: a connection for each statement.
                let work = move || {
                    let connection = native.lock().0.try_clone()?;
                    let mut statement = connection.prepare(sql)?;
                    drop(statement.stream_arrow([])?);
                    let mut rows = 0;
                    while let Some(batch) = statement.step()? {
                        rows += duckdb::arrow::array::Array::len(&batch);
                    }
                    anyhow::ensure!(rows > 0, "no rows");
                    anyhow::Ok(bytes)
                };
                spawn_blocking(work).await?
            }
        })
    };
    let of_service = |sql: &str| {
        let (channels, request) = (Arc::clone(&channels), request(sql));
        operation(move |caller| {
            let mut client = DuckDbServiceClient::new(channels.of(caller));
            let request = request.clone();
            async move {
                client.execute_query(request).await?;
                Ok(0)
            }
        })
    };
    let arrow = {
        let (channels, request) = (Arc::clone(&channels), request(ALL));
        operation(move |caller| {
            let mut client =
                DuckDbServiceClient::new(channels.of(caller)).max_decoding_message_size(64 << 20);
            let request = request.clone();
            async move {
                let chunks = client.execute_query_arrow(request).await?.into_inner();
                let rows = chunks
                    .try_fold(0, |rows, chunk| async move { Ok(rows + chunk.row_count) })
                    .await?;
                anyhow::ensure!(u64::try_from(rows)? == ROWS, "{rows} rows");
                Ok(16 * ROWS)
            }
        })
    };
    let rows = {
        let (channels, request) = (Arc::clone(&channels), request(ALL));
        operation(move |caller| {
            let mut client =
                DuckDbServiceClient::new(channels.of(caller)).max_decoding_message_size(64 << 20);
            let request = request.clone();
            async move {
                let chunks = client.execute_query_stream(request).await?.into_inner();
                let rows = chunks
                    .try_fold(0, |rows, chunk| async move { Ok(rows + chunk.rows.len() as u64) })
                    .await?;
                anyhow::ensure!(rows == ROWS, "{rows} rows");
                Ok(16 * ROWS)
            }
        })
    };
    Ok(vec![
        Case::new(
            KIND,
            "ExecuteQuery, one row of a million",
            None,
            of_library(ONE, 0),
            of_service(ONE),
        ),
        Case::new(
            KIND,
            "ExecuteQuery, sum of a million",
            None,
            of_library(SUM, 0),
            of_service(SUM),
        ),
        Case::new(
            KIND,
            "ExecuteQueryArrow, a million rows",
            None,
            of_library(ALL, 16 * ROWS),
            arrow,
        )
        .at_most(2),
        Case::new(
            KIND,
            "ExecuteQueryStream, a million rows",
            None,
            of_library(ALL, 16 * ROWS),
            rows,
        )
        .at_most(2),
    ])
}
