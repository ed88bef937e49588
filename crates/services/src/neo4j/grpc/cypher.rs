//! Raw Cypher.

use std::time::Duration;

use isa_proto::{neo4j as pb, prost_types::Value};
use isa_server::{Call, Error, ErrorCode, StatefulId};

use super::{Neo4j, TIME, budget, database};
use crate::neo4j::{
    convert,
    service::{self, Access, Answer, Budget, Statement, Summary},
};

/// Who may send it: it sees the graphs of all tenants.
const SCOPE: &str = "neo4j:cypher";

/// Longest time that a statement may be given.
const MAX_MS: i32 = 3_600_000;

/// Statements of one batch.
const MAX_BATCH: usize = 1000;

pub(super) fn allowed(call: &Call) -> Result<(), Error> {
    call.caller().require_scope(SCOPE)
}

fn time(call: &Call, given: Option<i32>) -> Result<Budget, Error> {
    let bound = match given {
        None | Some(0) => TIME,
        Some(time @ 1..=MAX_MS) => Duration::from_millis(time.unsigned_abs().into()),
        Some(_) => {
            return Err(Error::invalid(
                "timeout_ms",
                format!("is not between 1 and {MAX_MS}"),
            ));
        }
    };
    Ok(Budget(call.time_left(bound)))
}

fn statement(
    cypher: String,
    parameters: std::collections::BTreeMap<String, Value>,
) -> Result<Statement, service::Error> {
    if cypher.trim().is_empty() {
        return Err(service::Error::invalid("cypher", "is empty"));
    }
    if service::concerns_accounts(&cypher) {
        return Err(service::Error::Accounts);
    }
    Ok(Statement {
        text: cypher,
        params: convert::parameters("parameters", parameters)?,
    })
}

fn summary(summary: &Summary) -> pb::QuerySummary {
    let count = |name| i32::try_from(summary.count(name)).unwrap_or(i32::MAX);
    pb::QuerySummary {
        query_type: summary.kind.clone(),
        nodes_created: count("nodes-created"),
        nodes_deleted: count("nodes-deleted"),
        relationships_created: count("relationships-created"),
        relationships_deleted: count("relationships-deleted"),
        properties_set: count("properties-set"),
        labels_added: count("labels-added"),
        labels_removed: count("labels-removed"),
        indexes_added: count("indexes-added"),
        indexes_removed: count("indexes-removed"),
        constraints_added: count("constraints-added"),
        constraints_removed: count("constraints-removed"),
        #[allow(clippy::cast_precision_loss)] // Less than an hour.
        execution_time_ms: summary.milliseconds() as f64,
    }
}

fn response(answer: Answer) -> Result<pb::RunCypherResponse, service::Error> {
    let summary = summary(&answer.summary);
    let columns = answer.summary.columns;
    Ok(pb::RunCypherResponse {
        metadata: None,
        rows: convert::rows(&columns, answer.rows)?,
        columns,
        summary: Some(summary),
    })
}

impl Neo4j {
    pub(super) async fn cypher(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::RunCypherRequest,
    ) -> Result<pb::RunCypherResponse, Error> {
        database(request.database.as_deref())?;
        let budget = time(call, request.timeout_ms)?;
        let told = |error| self.told(call, error);
        let statement = statement(request.cypher, request.parameters).map_err(told)?;
        let mut scope = self.scope(call, transaction).await?;
        let answer = self
            .graph
            .run(&mut scope, &statement, Access::Write, budget)
            .await;
        answer.and_then(response).map_err(told)
    }

    pub(super) async fn cypher_read(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::RunCypherReadRequest,
    ) -> Result<pb::RunCypherReadResponse, Error> {
        database(request.database.as_deref())?;
        let budget = time(call, request.timeout_ms)?;
        let told = |error| self.told(call, error);
        let statement = statement(request.cypher, request.parameters).map_err(told)?;
        let answer = if transaction.is_none() {
            self.graph.read(&statement, budget).await
        } else {
            let mut scope = self.scope(call, transaction).await?;
            // The transaction itself may write, so Neo4j would not refuse it.
            let reads = self.graph.only_reads(&mut scope, &statement, budget).await;
            if !reads.map_err(told)? {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    "cypher: writes, which RunCypherRead may not; call RunCypher or RunCypherWrite",
                )
                .in_field("cypher"));
            }
            self.graph.run(&mut scope, &statement, Access::Read, budget).await
        };
        let answer = answer.and_then(response).map_err(told)?;
        Ok(pb::RunCypherReadResponse {
            metadata: None,
            rows: answer.rows,
            columns: answer.columns,
            summary: answer.summary,
        })
    }

    pub(super) async fn cypher_batch(
        &self,
        call: &Call,
        request: pb::RunCypherBatchRequest,
    ) -> Result<pb::RunCypherBatchResponse, Error> {
        database(request.database.as_deref())?;
        if request.queries.is_empty() || request.queries.len() > MAX_BATCH {
            return Err(Error::invalid(
                "queries",
                format!("are {}, not 1 to {MAX_BATCH}", request.queries.len()),
            ));
        }
        let told = |error| self.told(call, error);
        let mut statements = Vec::with_capacity(request.queries.len());
        for (at, query) in request.queries.into_iter().enumerate() {
            let statement = statement(query.cypher, query.parameters).map_err(|error| match error {
                service::Error::Invalid { field, why } => {
                    service::Error::invalid(format!("queries[{at}].{field}"), why)
                }
                error => error,
            });
            statements.push(statement.map_err(told)?);
        }
        let answers = self.graph.batch(&statements, budget(call)).await.map_err(told)?;
        let results: Result<Vec<_>, _> = answers.into_iter().map(response).collect();
        Ok(pb::RunCypherBatchResponse {
            metadata: None,
            results: results.map_err(told)?,
        })
    }
}
