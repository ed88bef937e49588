//! The service: converts, calls, converts.

mod error;
mod structured;

use std::ops::ControlFlow;

use futures::StreamExt;
use isa_proto::{
    postgres::{self as pb, postgres_service_client::PostgresServiceClient},
    prost_types::{Struct, Value, value::Kind},
};
use isa_server::{
    Call, EngineState, Error, Place, Replies, StatefulId, Upstream, api::postgres::PostgresService,
};

use super::{
    convert::{self, Owned, Params, Rows},
    names,
    service::{self, ALL_CONNECTIONS, Database, Nothing, Outcome, Scope, Statement, Values, Window},
};

/// Statements of one batch.
const MAX_OPERATIONS: usize = 1000;

/// Rows of one part of a stream: when nothing is said, and at most.
const BATCH_ROWS: i32 = 500;
const MAX_BATCH_ROWS: i32 = 10_000;

/// Bytes of one part of a stream, but for its last row.
const BATCH_BYTES: usize = 1 << 20;

/// What another replica may answer: as much as we may.
const MAX_FORWARDED: usize = 128 << 20;

/// The building block.
pub(super) struct Postgres {
    pub(super) database: Database,
    pub(super) upstream: Upstream,
}

/// The id of a call's transaction, if it names one. A call whose transaction is at another replica is sent there, and its
/// answer returned.
macro_rules! transaction {
    ($call:ident, $request:ident, $method:ident) => {
        if $request.transaction_id.is_empty() {
            None
        } else {
            match $call.locate(&$request.transaction_id, "transaction_id")? {
                Place::Here(id) => Some(id),
                Place::There(replica) => {
                    let client = PostgresServiceClient::new(replica.channel().await?);
                    let mut client = client.max_decoding_message_size(MAX_FORWARDED);
                    let request = replica.request($request);
                    return Ok(client.$method(request).await?.into_inner());
                }
            }
        }
    };
}

impl Postgres {
    fn failed(&self, call: &Call, error: service::Error) -> Error {
        error::of(error, &names::role(call.tenant().slug()), &self.upstream)
    }

    async fn scope(&self, call: &Call, transaction: Option<StatefulId>) -> Result<Scope, Error> {
        let scope = self.database.scope(call.tenant().slug(), transaction).await;
        scope.map_err(|error| self.failed(call, error))
    }

    async fn all_rows(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        sql: &str,
        values: &dyn Values,
    ) -> Result<Vec<Struct>, Error> {
        let scope = self.scope(call, transaction).await?;
        let mut rows = Rows::default();
        let each = |prepared: &_, row: &_| rows.push(prepared, row).map(ControlFlow::Continue);
        let done = self.database.query(scope, sql, values, each).await;
        done.map_err(|error| self.failed(call, error))?;
        Ok(rows.rows)
    }

    fn result(&self, call: &Call, outcome: Outcome) -> pb::ExecuteResult {
        match outcome {
            Ok(done) => pb::ExecuteResult {
                rows_affected: done.rows.try_into().unwrap_or(i64::MAX),
                command_tag: done.tag,
                error: String::new(),
            },
            Err(error) => pb::ExecuteResult {
                error: error::line(error, &names::role(call.tenant().slug()), &self.upstream),
                ..pb::ExecuteResult::default()
            },
        }
    }
}

impl PostgresService for Postgres {
    async fn query(&self, call: Call, request: pb::QueryRequest) -> Result<pb::QueryResponse, Error> {
        let transaction = transaction!(call, request, query);
        own_schema(&request.schema)?;
        let values = Params(&request.params);
        let rows = self.all_rows(&call, transaction, &request.sql, &values).await?;
        Ok(pb::QueryResponse {
            metadata: None,
            row_count: count(&rows),
            rows,
        })
    }

    async fn query_row(
        &self,
        call: Call,
        request: pb::QueryRowRequest,
    ) -> Result<pb::QueryRowResponse, Error> {
        let transaction = transaction!(call, request, query_row);
        own_schema(&request.schema)?;
        let values = Params(&request.params);
        let scope = self.scope(&call, transaction).await?;
        let mut rows = Rows::default();
        let first = |prepared: &_, row: &_| rows.push(prepared, row).map(ControlFlow::Break);
        let done = self.database.query(scope, &request.sql, &values, first).await;
        done.map_err(|error| self.failed(&call, error))?;
        let row = rows.rows.pop();
        Ok(pb::QueryRowResponse {
            metadata: None,
            found: row.is_some(),
            row,
        })
    }

    async fn execute(&self, call: Call, request: pb::ExecuteRequest) -> Result<pb::ExecuteResponse, Error> {
        let transaction = transaction!(call, request, execute);
        own_schema(&request.schema)?;
        let values = Params(&request.params);
        let scope = self.scope(&call, transaction).await?;
        let done = self.database.execute(scope, &request.sql, &values).await;
        let done = done.map_err(|error| self.failed(&call, error))?;
        Ok(pb::ExecuteResponse {
            metadata: None,
            rows_affected: done.rows.try_into().unwrap_or(i64::MAX),
            command_tag: done.tag,
        })
    }

    async fn execute_batch(
        &self,
        call: Call,
        request: pb::ExecuteBatchRequest,
    ) -> Result<pb::ExecuteBatchResponse, Error> {
        own_schema(&request.schema)?;
        let values = operations(&request.operations)?;
        let statements = statements(&request.operations, &values);
        let outcomes = self.database.batch(call.tenant().slug(), &statements).await;
        let outcomes = outcomes.map_err(|error| self.failed(&call, error))?;
        let mut results = Vec::with_capacity(outcomes.len());
        results.extend(outcomes.into_iter().map(|outcome| self.result(&call, outcome)));
        let total = results
            .iter()
            .fold(0_i64, |sum, result| sum.saturating_add(result.rows_affected));
        Ok(pb::ExecuteBatchResponse {
            metadata: None,
            results,
            total_rows_affected: total.try_into().unwrap_or(i32::MAX),
        })
    }

    async fn select_from(
        &self,
        call: Call,
        request: pb::SelectFromRequest,
    ) -> Result<pb::SelectFromResponse, Error> {
        let transaction = transaction!(call, request, select_from);
        self.select(&call, transaction, &request).await
    }

    async fn insert_into(
        &self,
        call: Call,
        request: pb::InsertIntoRequest,
    ) -> Result<pb::InsertIntoResponse, Error> {
        let transaction = transaction!(call, request, insert_into);
        self.insert(&call, transaction, request).await
    }

    async fn update_table(
        &self,
        call: Call,
        request: pb::UpdateTableRequest,
    ) -> Result<pb::UpdateTableResponse, Error> {
        let transaction = transaction!(call, request, update_table);
        self.update(&call, transaction, &request).await
    }

    async fn delete_from(
        &self,
        call: Call,
        request: pb::DeleteFromRequest,
    ) -> Result<pb::DeleteFromResponse, Error> {
        let transaction = transaction!(call, request, delete_from);
        self.delete(&call, transaction, &request).await
    }

    async fn begin_transaction(
        &self,
        call: Call,
        request: pb::BeginTransactionRequest,
    ) -> Result<pb::BeginTransactionResponse, Error> {
        let level = request.isolation_level.replace('_', " ");
        let level = match level.trim().to_ascii_lowercase().as_str() {
            "" | "read committed" => "READ COMMITTED",
            "repeatable read" => "REPEATABLE READ",
            "serializable" => "SERIALIZABLE",
            _ => {
                return Err(Error::invalid(
                    "isolation_level",
                    "is none of `read committed`, `repeatable read`, `serializable`",
                ));
            }
        };
        let id = call.new_id();
        let begun = self.database.begin(call.tenant().slug(), id, level).await;
        begun.map_err(|error| self.failed(&call, error))?;
        Ok(pb::BeginTransactionResponse {
            metadata: None,
            transaction_id: id.to_string(),
        })
    }

    async fn commit_transaction(
        &self,
        call: Call,
        request: pb::CommitTransactionRequest,
    ) -> Result<pb::CommitTransactionResponse, Error> {
        let id = named(transaction!(call, request, commit_transaction))?;
        let done = self.database.commit(call.tenant().slug(), id).await;
        done.map_err(|error| self.failed(&call, error))?;
        Ok(pb::CommitTransactionResponse {
            metadata: None,
            success: true,
        })
    }

    async fn rollback_transaction(
        &self,
        call: Call,
        request: pb::RollbackTransactionRequest,
    ) -> Result<pb::RollbackTransactionResponse, Error> {
        let id = named(transaction!(call, request, rollback_transaction))?;
        let done = self.database.rollback(call.tenant().slug(), id).await;
        done.map_err(|error| self.failed(&call, error))?;
        Ok(pb::RollbackTransactionResponse {
            metadata: None,
            success: true,
        })
    }

    async fn execute_in_transaction(
        &self,
        call: Call,
        request: pb::ExecuteInTransactionRequest,
    ) -> Result<pb::ExecuteInTransactionResponse, Error> {
        own_schema(&request.schema)?;
        let values = operations(&request.operations)?;
        let statements = statements(&request.operations, &values);
        let done = self.database.together(call.tenant().slug(), &statements).await;
        let (outcomes, committed) = done.map_err(|error| self.failed(&call, error))?;
        let results = outcomes.into_iter().map(|outcome| self.result(&call, outcome));
        Ok(pb::ExecuteInTransactionResponse {
            metadata: None,
            results: results.collect(),
            committed,
        })
    }

    async fn get_table_info(
        &self,
        call: Call,
        request: pb::GetTableInfoRequest,
    ) -> Result<pb::GetTableInfoResponse, Error> {
        self.table_info(&call, request).await
    }

    async fn list_tables(
        &self,
        call: Call,
        request: pb::ListTablesRequest,
    ) -> Result<pb::ListTablesResponse, Error> {
        own_schema(&request.schema)?;
        let tables = self.database.tables(call.tenant().slug()).await;
        Ok(pb::ListTablesResponse {
            metadata: None,
            tables: tables.map_err(|error| self.failed(&call, error))?,
        })
    }

    async fn table_exists(
        &self,
        call: Call,
        request: pb::TableExistsRequest,
    ) -> Result<pb::TableExistsResponse, Error> {
        own_schema(&request.schema)?;
        structured::check_table(&request.table)?;
        let exists = self.database.exists(call.tenant().slug(), &request.table).await;
        Ok(pb::TableExistsResponse {
            metadata: None,
            exists: exists.map_err(|error| self.failed(&call, error))?,
        })
    }

    async fn health_check(
        &self,
        _: Call,
        request: pb::HealthCheckRequest,
    ) -> Result<pb::HealthCheckResponse, Error> {
        let mut response = pb::HealthCheckResponse::default();
        let mut details = Struct::default();
        let mut detail = |name: &str, kind| details.fields.insert(name.into(), Value { kind: Some(kind) });
        let answer = match self.upstream.state() {
            EngineState::Up => self.database.version().await.ok(),
            EngineState::Starting | EngineState::Down { .. } => None,
        };
        response.healthy = answer.is_some();
        response.status = if answer.is_some() {
            "SERVING"
        } else {
            "NOT_SERVING"
        }
        .into();
        match answer {
            Some((version, took)) => {
                detail("latency_ms", Kind::NumberValue(took.as_secs_f64() * 1000.0));
                response.version = version;
            }
            None => {
                detail("error", Kind::StringValue("PostgreSQL does not answer".into()));
            }
        }
        let connections = self.database.connections();
        detail("open_connections", whole(connections.open));
        detail("idle_connections", whole(connections.idle));
        response.details = request.detailed.then_some(details);
        Ok(response)
    }

    async fn get_stats(&self, call: Call, _: pb::GetStatsRequest) -> Result<pb::GetStatsResponse, Error> {
        let figures = self.database.figures(call.tenant().slug()).await;
        let figures = figures.map_err(|error| self.failed(&call, error))?;
        let connections = self.database.connections();
        let small = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(pb::GetStatsResponse {
            metadata: None,
            pool_stats: Some(pb::ConnectionPoolStats {
                max_connections: small(ALL_CONNECTIONS),
                open_connections: small(connections.open),
                idle_connections: small(connections.idle),
                active_connections: small(connections.open.saturating_sub(connections.idle)),
                total_queries: connections.queries.try_into().unwrap_or(i64::MAX),
            }),
            db_stats: Some(pb::DatabaseStats {
                version: figures.version,
                database_size_bytes: figures.bytes,
                total_tables: figures.tables.try_into().unwrap_or(i32::MAX),
                total_connections: figures.connections,
                uptime_since: Some(figures.since.into()),
            }),
        })
    }

    async fn query_stream(
        &self,
        call: Call,
        request: pb::QueryStreamRequest,
    ) -> Result<Replies<pb::QueryStreamResponse>, Error> {
        let transaction = if request.transaction_id.is_empty() {
            None
        } else {
            match call.locate(&request.transaction_id, "transaction_id")? {
                Place::Here(id) => Some(id),
                Place::There(replica) => {
                    let client = PostgresServiceClient::new(replica.channel().await?);
                    let mut client = client.max_decoding_message_size(MAX_FORWARDED);
                    let request = replica.request(request);
                    let replies = client.query_stream(request).await?.into_inner();
                    return Ok(Box::pin(replies.map(|reply| reply.map_err(Error::from))));
                }
            }
        };
        own_schema(&request.schema)?;
        let rows = match request.batch_rows {
            0 => BATCH_ROWS,
            rows @ 1..=MAX_BATCH_ROWS => rows,
            _ => {
                return Err(Error::invalid(
                    "batch_rows",
                    "is not between 1 and 10000, or 0 for 500",
                ));
            }
        };
        let window = Window {
            rows,
            bytes: BATCH_BYTES,
        };
        let scope = self.scope(&call, transaction).await?;
        let values = Owned(request.params);
        let batches = self
            .database
            .stream(scope, request.sql, values, window, convert::list)
            .await;
        let batches = batches.map_err(|error| self.failed(&call, error))?;
        let upstream = self.upstream.clone();
        let role = names::role(call.tenant().slug());
        let mut first = true;
        Ok(Box::pin(batches.map(move |batch| {
            let batch = batch.map_err(|error| error::of(error, &role, &upstream))?;
            let mut response = pb::QueryStreamResponse {
                rows: batch.rows,
                ..pb::QueryStreamResponse::default()
            };
            if std::mem::take(&mut first) {
                for (name, kind, _) in batch.prepared.columns() {
                    response.columns.push(name.to_owned());
                    response.column_types.push(kind.to_owned());
                }
            }
            Ok(response)
        })))
    }
}

/// `schema` is the tenant's own, whatever its name in PostgreSQL.
fn own_schema(schema: &str) -> Result<(), Error> {
    match schema {
        "" | "public" => Ok(()),
        _ => Err(Error::not_found(format_args!("schema {schema:?}")).in_field("schema")),
    }
}

fn named(transaction: Option<StatefulId>) -> Result<StatefulId, Error> {
    transaction.ok_or_else(|| Error::invalid("transaction_id", "is empty"))
}

fn count(rows: &[Struct]) -> i32 {
    rows.len().try_into().unwrap_or(i32::MAX)
}

#[allow(clippy::cast_precision_loss)] // A handful.
fn whole(number: usize) -> Kind {
    Kind::NumberValue(number as f64)
}

/// The values of each statement of a batch.
fn operations(operations: &[pb::BatchOperation]) -> Result<Vec<Params<'_>>, Error> {
    match operations.len() {
        0 => Err(Error::invalid("operations", "is empty")),
        1..=MAX_OPERATIONS => Ok(operations.iter().map(|it| Params(&it.params)).collect()),
        many => Err(Error::invalid(
            "operations",
            format!("has {many} statements, and may have {MAX_OPERATIONS}"),
        )),
    }
}

fn statements<'a>(operations: &'a [pb::BatchOperation], values: &'a [Params<'a>]) -> Vec<Statement<'a>> {
    let pairs = operations.iter().zip(values);
    pairs
        .map(|(operation, values)| {
            let values: &dyn Values = if operation.params.is_empty() {
                &Nothing
            } else {
                values
            };
            (operation.sql.as_str(), values)
        })
        .collect()
}
