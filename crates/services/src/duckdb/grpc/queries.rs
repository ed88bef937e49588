use std::{convert, time::Duration};

use futures::{StreamExt, stream};
use isa_proto::{Bytes, duckdb as pb};
use isa_server::{Call, Error, Place, Replies, StatefulId};

use super::{Route, Service, enter, enter_stream, kept, kept_stream, other, sent_on};
use crate::duckdb::{
    convert::{int, long, milliseconds, params, rows},
    service::{self, ArrowPiece, BatchItem, MAX_TIME, Piece, Pieces, Query, ROWS, TIME, invalid},
};

impl Service {
    pub(super) async fn execute_query(
        &self,
        call: Call,
        mut request: pb::ExecuteQueryRequest,
    ) -> Result<pb::ExecuteQueryResponse, Error> {
        let transaction = kept!(call, request, transaction_id, execute_query);
        let statement = kept!(call, request, statement_id, execute_query);
        let entered = enter!(self, call, request, execute_query);
        let most = most(request.max_rows)?.unwrap_or(ROWS);
        let explain = request.explain;
        let query = query(&call, &mut request, statement, transaction)?;
        if explain {
            let (plan, time) = self.duck.explain(&entered, query).await?;
            return Ok(pb::ExecuteQueryResponse {
                success: true,
                execution_time_ms: milliseconds(time),
                query_plan: plan,
                ..Default::default()
            });
        }
        let found = self.duck.query(&entered, query, most).await?;
        call.keep(found.held);
        Ok(pb::ExecuteQueryResponse {
            success: true,
            row_count: int(found.rows.len() as u64),
            columns: found.head.names,
            column_types: found.head.types,
            rows: rows(found.rows),
            execution_time_ms: milliseconds(found.time),
            query_plan: String::new(),
            error: String::new(),
        })
    }

    pub(super) async fn execute_query_stream(
        &self,
        call: Call,
        mut request: pb::ExecuteQueryRequest,
    ) -> Result<Replies<pb::QueryResultChunk>, Error> {
        let transaction = kept_stream!(call, request, transaction_id, execute_query_stream);
        let statement = kept_stream!(call, request, statement_id, execute_query_stream);
        let entered = enter_stream!(self, call, request, execute_query_stream);
        let most = most(request.max_rows)?.unwrap_or(usize::MAX);
        not_explained(&request)?;
        let query = query(&call, &mut request, statement, transaction)?;
        let (first, rest) = self.duck.query_stream(&entered, query, most, chunk).await?;
        Ok(replies(first, rest, convert::identity))
    }

    pub(super) async fn execute_query_arrow(
        &self,
        call: Call,
        mut request: pb::ExecuteQueryRequest,
    ) -> Result<Replies<pb::ArrowChunk>, Error> {
        let transaction = kept_stream!(call, request, transaction_id, execute_query_arrow);
        let statement = kept_stream!(call, request, statement_id, execute_query_arrow);
        let entered = enter_stream!(self, call, request, execute_query_arrow);
        let most = most(request.max_rows)?.unwrap_or(usize::MAX);
        not_explained(&request)?;
        let query = query(&call, &mut request, statement, transaction)?;
        let (first, rest) = self.duck.query_arrow(&entered, query, most).await?;
        Ok(replies(first, rest, |piece: ArrowPiece| pb::ArrowChunk {
            ipc: Bytes::from(piece.bytes),
            row_count: long(piece.rows as u64),
        }))
    }

    pub(super) async fn execute_statement(
        &self,
        call: Call,
        request: pb::ExecuteStatementRequest,
    ) -> Result<pb::ExecuteStatementResponse, Error> {
        let transaction = kept!(call, request, transaction_id, execute_statement);
        let statement = kept!(call, request, statement_id, execute_statement);
        let entered = enter!(self, call, request, execute_statement);
        call.note(request.database_id.as_str());
        let query = Query {
            sql: request.statement,
            params: params(request.parameters)?,
            limit: call.time_left(MAX_TIME),
            statement,
            transaction,
        };
        let done = self.duck.execute(&entered, query).await?;
        Ok(pb::ExecuteStatementResponse {
            success: true,
            affected_rows: int(done.affected),
            execution_time_ms: milliseconds(done.time),
            message: "done".into(),
            error: String::new(),
        })
    }

    pub(super) async fn execute_batch(
        &self,
        call: Call,
        request: pb::ExecuteBatchRequest,
    ) -> Result<pb::ExecuteBatchResponse, Error> {
        let entered = enter!(self, call, request, execute_batch);
        call.note(request.database_id.as_str());
        let (items, time) = self
            .duck
            .batch(&entered, request.statements, request.transaction)
            .await?;
        let results: Vec<_> = items.into_iter().map(batch_result).collect();
        Ok(pb::ExecuteBatchResponse {
            success: results.iter().all(|result| result.success),
            results,
            total_execution_time_ms: milliseconds(time),
            error: String::new(),
        })
    }

    pub(super) async fn prepare_statement(
        &self,
        call: Call,
        request: pb::PrepareStatementRequest,
    ) -> Result<pb::PrepareStatementResponse, Error> {
        let entered = enter!(self, call, request, prepare_statement);
        let id = call.new_id();
        let types = self.duck.prepare(&entered, id, &request.statement).await?;
        Ok(pb::PrepareStatementResponse {
            success: true,
            statement_id: id.to_string(),
            parameter_types: types,
            error: String::new(),
        })
    }

    pub(super) async fn begin_transaction(
        &self,
        call: Call,
        request: pb::BeginTransactionRequest,
    ) -> Result<pb::BeginTransactionResponse, Error> {
        let entered = enter!(self, call, request, begin_transaction);
        let id = call.new_id();
        self.duck.begin(&entered, id).await?;
        Ok(pb::BeginTransactionResponse {
            success: true,
            transaction_id: id.to_string(),
        })
    }

    pub(super) async fn commit_transaction(
        &self,
        call: Call,
        request: pb::EndTransactionRequest,
    ) -> Result<pb::EndTransactionResponse, Error> {
        let id = kept!(call, request, transaction_id, commit_transaction);
        let entered = enter!(self, call, request, commit_transaction);
        self.duck.end(&entered, named(id)?, true).await?;
        Ok(pb::EndTransactionResponse { success: true })
    }

    pub(super) async fn rollback_transaction(
        &self,
        call: Call,
        request: pb::EndTransactionRequest,
    ) -> Result<pb::EndTransactionResponse, Error> {
        let id = kept!(call, request, transaction_id, rollback_transaction);
        let entered = enter!(self, call, request, rollback_transaction);
        self.duck.end(&entered, named(id)?, false).await?;
        Ok(pb::EndTransactionResponse { success: true })
    }
}

fn named(id: Option<StatefulId>) -> Result<StatefulId, service::Error> {
    id.ok_or_else(|| invalid("transaction_id", "is empty"))
}

/// The statement of a request, whose fields are taken from it.
fn query(
    call: &Call,
    request: &mut pb::ExecuteQueryRequest,
    statement: Option<StatefulId>,
    transaction: Option<StatefulId>,
) -> Result<Query, service::Error> {
    let limit = match u64::try_from(request.timeout_seconds) {
        Ok(0) => TIME,
        Ok(seconds) if seconds <= MAX_TIME.as_secs() => Duration::from_secs(seconds),
        _ => {
            return Err(invalid(
                "timeout_seconds",
                format_args!("must be 0 to {}", MAX_TIME.as_secs()),
            ));
        }
    };
    Ok(Query {
        sql: std::mem::take(&mut request.query),
        params: params(std::mem::take(&mut request.parameters))?,
        limit: call.time_left(limit),
        statement,
        transaction,
    })
}

/// How many rows are asked for; `None` if nothing is said.
fn most(rows: i32) -> Result<Option<usize>, service::Error> {
    match usize::try_from(rows) {
        Ok(0) => Ok(None),
        Ok(rows) => Ok(Some(rows)),
        Err(_) => Err(invalid("max_rows", "must be 0 or more")),
    }
}

fn not_explained(request: &pb::ExecuteQueryRequest) -> Result<(), service::Error> {
    if request.explain {
        return Err(invalid("explain", "is answered by ExecuteQuery alone"));
    }
    Ok(())
}

fn chunk(piece: Piece) -> pb::QueryResultChunk {
    let head = piece.head.unwrap_or_default();
    pb::QueryResultChunk {
        success: true,
        columns: head.names,
        column_types: head.types,
        rows: rows(piece.rows),
        is_last: piece.last,
        execution_time_ms: milliseconds(piece.time),
        error: String::new(),
    }
}

fn replies<P, R>(first: P, rest: Pieces<P>, convert: fn(P) -> R) -> Replies<R>
where
    P: Send + 'static,
    R: Send + 'static,
{
    let rest = stream::try_unfold(rest, move |mut rest| async move {
        match rest.next().await {
            Ok(Some(piece)) => Ok(Some((convert(piece), rest))),
            Ok(None) => Ok(None),
            Err(error) => Err(Error::from(error)),
        }
    });
    Box::pin(stream::iter([Ok(convert(first))]).chain(rest))
}

fn batch_result(item: BatchItem) -> pb::BatchResult {
    let failed = |why: String| pb::BatchResult {
        success: false,
        affected_rows: 0,
        error: why,
    };
    match item {
        BatchItem::Done(affected) => pb::BatchResult {
            success: true,
            affected_rows: int(affected),
            error: String::new(),
        },
        BatchItem::Failed(error) => failed(Error::from(error).message().to_owned()),
        BatchItem::Undone => failed("undone".into()),
        BatchItem::NotRun => failed("not run".into()),
    }
}
