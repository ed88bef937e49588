//! Statements: run, streamed, in batches, prepared, in transactions.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_ipc::writer::StreamWriter;
use duckdb::{
    Connection,
    arrow::{
        array::{Array, RecordBatch, StructArray},
        compute::concat_batches,
        datatypes::Schema,
    },
    params_from_iter,
};
use isa_server::StatefulId;

use super::{
    Duck,
    entered::Entered,
    error::{Error, invalid},
    limits::{BATCH, MAX_TIME, PIECE_BYTES, RESPONSE_BYTES, TIME, TOGETHER_BYTES},
    param::{self, Params},
    results::{Held, Results},
    rows::{Cell, Head, rows},
    run::{On, Pieces, Sink, run, stream},
    sql::{Kind, Statement},
    transactions::InTransaction,
};

/// A statement to run.
#[derive(Debug, Clone, Default)]
pub(in crate::duckdb) struct Query {
    pub(in crate::duckdb) sql: String,
    pub(in crate::duckdb) params: Params,
    pub(in crate::duckdb) limit: Duration,
    /// In place of `sql`.
    pub(in crate::duckdb) statement: Option<StatefulId>,
    pub(in crate::duckdb) transaction: Option<StatefulId>,
}

/// A result in one piece.
#[derive(Debug, Default)]
pub(in crate::duckdb) struct Rows {
    pub(in crate::duckdb) head: Head,
    pub(in crate::duckdb) rows: Vec<Vec<Cell>>,
    pub(in crate::duckdb) time: Duration,
    /// To be kept until they are sent.
    pub(in crate::duckdb) held: Held,
}

/// Some rows of a result.
#[derive(Debug)]
pub(in crate::duckdb) struct Piece {
    /// In the first one.
    pub(in crate::duckdb) head: Option<Head>,
    pub(in crate::duckdb) rows: Vec<Vec<Cell>>,
    pub(in crate::duckdb) last: bool,
    pub(in crate::duckdb) time: Duration,
}

/// A part of an Arrow IPC stream.
#[derive(Debug)]
pub(in crate::duckdb) struct ArrowPiece {
    pub(in crate::duckdb) bytes: Vec<u8>,
    pub(in crate::duckdb) rows: usize,
}

/// What became of a statement.
#[derive(Debug, Default)]
pub(in crate::duckdb) struct Done {
    pub(in crate::duckdb) affected: u64,
    pub(in crate::duckdb) time: Duration,
}

/// What became of a statement of a batch.
pub(in crate::duckdb) enum BatchItem {
    Done(u64),
    Failed(Error),
    Undone,
    NotRun,
}

impl Duck {
    /// What is to be run, and where.
    async fn resolve(
        &self,
        entered: &Entered,
        field: &'static str,
        query: &Query,
    ) -> Result<(Statement, On), Error> {
        let key = &entered.open().key;
        let sql = match query.statement {
            Some(_) if !query.sql.is_empty() => {
                return Err(invalid(field, "must be empty where `statement_id` is set"));
            }
            Some(id) => self.0.statements.get(id, key)?.to_string(),
            None => query.sql.clone(),
        };
        let statement = Statement::read(field, &sql)?;
        if statement.kind == Kind::Write && !statement.shrinks {
            entered.open().check_room()?;
        }
        let on = match query.transaction {
            Some(id) => On::Transaction(self.0.transactions.enter(id, key).await?),
            None => On::Own,
        };
        if statement.kind == Kind::Write
            && let On::Transaction(transaction) = &on
        {
            transaction.wrote();
        }
        Ok((statement, on))
    }

    /// Notes a write that is acknowledged now. Those of a transaction are, when it is committed.
    fn note_write(entered: &Entered, statement: &Statement, query: &Query) {
        if statement.kind == Kind::Write && query.transaction.is_none() {
            entered.open().wrote();
        }
    }

    /// Runs a statement and returns up to `most` of its rows.
    pub(in crate::duckdb) async fn query(
        &self,
        entered: &Entered,
        query: Query,
        most: usize,
    ) -> Result<Rows, Error> {
        let (statement, on) = self.resolve(entered, "query", &query).await?;
        let (sql, params) = (statement.text.clone(), query.params.clone());
        let results = self.0.threads.results.clone();
        let began = Instant::now();
        let result = run(&self.0.threads, entered, on, query.limit, move |connection| {
            gather(connection, &sql, &params, most, &results)
        })
        .await;
        Self::note_write(entered, &statement, &query);
        let mut rows = result?;
        rows.time = began.elapsed();
        Ok(rows)
    }

    /// How a statement would be run, as text.
    pub(in crate::duckdb) async fn explain(
        &self,
        entered: &Entered,
        query: Query,
    ) -> Result<(String, Duration), Error> {
        let (statement, on) = self.resolve(entered, "query", &query).await?;
        let sql = format!("EXPLAIN {}", statement.text);
        // What itself explains is not run by another EXPLAIN either.
        let statement = Statement::read("query", &sql)?;
        let (params, results) = (query.params, self.0.threads.results.clone());
        let began = Instant::now();
        let rows = run(&self.0.threads, entered, on, query.limit, move |connection| {
            gather(connection, &statement.text, &params, 100, &results)
        })
        .await?;
        let last = rows.rows.into_iter().filter_map(|mut row| match row.pop() {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        });
        Ok((last.collect::<Vec<_>>().join("\n"), began.elapsed()))
    }

    /// Runs a statement; its rows, at most `most`, come as they are found.
    ///
    /// `convert` runs where the rows are made: values that another thread takes apart keep both waiting for the allocator.
    pub(in crate::duckdb) async fn query_stream<R: Send + 'static>(
        &self,
        entered: &Entered,
        query: Query,
        most: usize,
        convert: fn(Piece) -> R,
    ) -> Result<(R, Pieces<R>), Error> {
        let (statement, on) = self.resolve(entered, "query", &query).await?;
        let (sql, params) = (statement.text.clone(), query.params.clone());
        let work = move |connection: &Connection, sink: &Sink<R>| {
            pour(connection, &sql, &params, most, |piece| sink.send(convert(piece)))
        };
        let streamed = stream(&self.0.threads, entered, on, query.limit, work).await;
        Self::note_write(entered, &statement, &query);
        streamed
    }

    /// The same in Arrow's form.
    pub(in crate::duckdb) async fn query_arrow(
        &self,
        entered: &Entered,
        query: Query,
        most: usize,
    ) -> Result<(ArrowPiece, Pieces<ArrowPiece>), Error> {
        let (statement, on) = self.resolve(entered, "query", &query).await?;
        let (sql, params) = (statement.text.clone(), query.params.clone());
        let work = move |connection: &Connection, sink: &Sink<ArrowPiece>| {
            pour_arrow(connection, &sql, &params, most, sink)
        };
        let streamed = stream(&self.0.threads, entered, on, query.limit, work).await;
        Self::note_write(entered, &statement, &query);
        streamed
    }

    /// Runs a statement and counts the rows it changed.
    pub(in crate::duckdb) async fn execute(&self, entered: &Entered, query: Query) -> Result<Done, Error> {
        let (statement, on) = self.resolve(entered, "statement", &query).await?;
        let (running, params) = (statement.clone(), query.params.clone());
        let began = Instant::now();
        let result = run(&self.0.threads, entered, on, query.limit, move |connection| {
            change(connection, &running, &params)
        })
        .await;
        Self::note_write(entered, &statement, &query);
        Ok(Done {
            affected: result?,
            time: began.elapsed(),
        })
    }

    /// Runs statements in order; all or none, if `whole`.
    pub(in crate::duckdb) async fn batch(
        &self,
        entered: &Entered,
        statements: Vec<String>,
        whole: bool,
    ) -> Result<(Vec<BatchItem>, Duration), Error> {
        if statements.is_empty() || statements.len() > BATCH {
            return Err(invalid(
                "statements",
                format_args!("are {}, and must be 1 to {BATCH}", statements.len()),
            ));
        }
        let began = Instant::now();
        let open = Arc::clone(entered.open());
        let result = run(&self.0.threads, entered, On::Own, MAX_TIME, move |connection| {
            let read = |sql: &String| {
                let statement = Statement::read("statements", sql)?;
                if statement.kind == Kind::Write && !statement.shrinks {
                    open.check_room()?;
                }
                Ok::<_, Error>(statement)
            };
            let run_one = |sql: &String| read(sql).and_then(|it| change(connection, &it, &Params::new()));
            if whole {
                return in_transaction_whole(connection, &statements, run_one);
            }
            let mut items = Vec::with_capacity(statements.len());
            for sql in &statements {
                items.push(match run_one(sql) {
                    Ok(affected) => BatchItem::Done(affected),
                    Err(error @ (Error::Broken(_) | Error::Cancelled(_) | Error::TimedOut)) => {
                        return Err(error);
                    }
                    Err(error) => BatchItem::Failed(error),
                });
            }
            Ok(items)
        })
        .await;
        entered.open().wrote();
        Ok((result?, began.elapsed()))
    }

    /// Keeps a statement. The types of its parameters.
    pub(in crate::duckdb) async fn prepare(
        &self,
        entered: &Entered,
        id: StatefulId,
        sql: &str,
    ) -> Result<Vec<String>, Error> {
        let statement = Statement::read("statement", sql)?;
        let text = statement.text.clone();
        let types = run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            let prepared = connection.prepare(&text)?;
            // The client does not tell what DuckDB infers.
            Ok(vec!["UNKNOWN".to_owned(); prepared.parameter_count()])
        })
        .await?;
        self.0.statements.add(id, &entered.open().key, statement.text)?;
        Ok(types)
    }

    pub(in crate::duckdb) async fn begin(&self, entered: &Entered, id: StatefulId) -> Result<(), Error> {
        let reserved = self.0.transactions.reserve(id, entered)?;
        let open = Arc::clone(entered.open());
        let connection = run(&self.0.threads, entered, On::Own, TIME, move |_| {
            let connection = open.connect()?;
            connection.execute_batch("BEGIN")?;
            Ok(connection)
        })
        .await?;
        reserved.fill(connection)
    }

    /// Ends a transaction.
    pub(in crate::duckdb) async fn end(
        &self,
        entered: &Entered,
        id: StatefulId,
        commit: bool,
    ) -> Result<(), Error> {
        let transaction = self.0.transactions.enter(id, &entered.open().key).await?;
        let wrote = commit && transaction.has_written();
        let ended = run(&self.0.threads, entered, On::Own, MAX_TIME, move |_| {
            end(transaction, commit)
        })
        .await;
        if wrote {
            entered.open().wrote();
        }
        ended
    }
}

/// Whatever comes of it, the transaction is over.
fn end(mut transaction: InTransaction, commit: bool) -> Result<(), Error> {
    let connection = transaction.take()?;
    if !commit {
        // One that DuckDB has given up already is rolled back all the same.
        let _ = connection.execute_batch("ROLLBACK");
        return Ok(());
    }
    connection
        .execute_batch("COMMIT")
        .map_err(|error| match Error::from(error) {
            Error::Precondition(why) | Error::Sql(why) => {
                Error::Conflict(format!("DuckDB did not commit, and nothing was written: {why}"))
            }
            other => other,
        })
}

fn in_transaction_whole(
    connection: &Connection,
    statements: &[String],
    run_one: impl Fn(&String) -> Result<u64, Error>,
) -> Result<Vec<BatchItem>, Error> {
    connection.execute_batch("BEGIN")?;
    let mut items = Vec::with_capacity(statements.len());
    for sql in statements {
        match run_one(sql) {
            Ok(affected) => items.push(BatchItem::Done(affected)),
            Err(error) => {
                let _ = connection.execute_batch("ROLLBACK");
                if matches!(error, Error::Broken(_) | Error::Cancelled(_) | Error::TimedOut) {
                    return Err(error);
                }
                items = items.into_iter().map(|_| BatchItem::Undone).collect();
                items.push(BatchItem::Failed(error));
                items.resize_with(statements.len(), || BatchItem::NotRun);
                return Ok(items);
            }
        }
    }
    connection.execute_batch("COMMIT")?;
    Ok(items)
}

/// Runs `work` in a transaction of its own.
pub(super) fn in_transaction<T>(
    connection: &Connection,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    connection.execute_batch("BEGIN")?;
    match work() {
        Ok(done) => {
            connection.execute_batch("COMMIT")?;
            Ok(done)
        }
        Err(error) => {
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// A statement that was executed, of which the rows are read as they come.
fn executed<'a>(
    connection: &'a Connection,
    sql: &str,
    params: &Params,
) -> Result<duckdb::Statement<'a>, Error> {
    let mut statement = connection.prepare(sql)?;
    let values = param::bind(&statement, params)?;
    drop(statement.stream_arrow(params_from_iter(values))?);
    Ok(statement)
}

/// Rows that are held at once, up to what a response may have.
pub(super) fn gather(
    connection: &Connection,
    sql: &str,
    params: &Params,
    most: usize,
    results: &Results,
) -> Result<Rows, Error> {
    let statement = executed(connection, sql, params)?;
    let head = Head::of(&statement)?;
    let mut found = Vec::new();
    let (mut size, mut memory) = (head.size(), 0);
    let mut held = Held::default();
    while found.len() < most
        && let Some(batch) = statement.step()?
    {
        for row in rows(&head, &batch).take(most - found.len()) {
            let row = row?;
            size += row.iter().map(Cell::size).sum::<usize>();
            if size > RESPONSE_BYTES {
                return Err(Error::TooLarge);
            }
            memory += row.iter().map(Cell::memory).sum::<usize>();
            results.grow(&mut held, memory)?;
            found.push(row);
        }
    }
    Ok(Rows {
        head,
        rows: found,
        time: Duration::ZERO,
        held,
    })
}

fn pour(
    connection: &Connection,
    sql: &str,
    params: &Params,
    most: usize,
    sink: impl Fn(Piece) -> Result<(), Error>,
) -> Result<(), Error> {
    let began = Instant::now();
    let statement = executed(connection, sql, params)?;
    let head = Head::of(&statement)?;
    let mut first = Some(head.clone());
    let mut left = most;
    let mut send = |rows: Vec<Vec<Cell>>, last: bool| {
        sink(Piece {
            head: first.take(),
            rows,
            last,
            time: began.elapsed(),
        })
    };
    while left > 0
        && let Some(batch) = statement.step()?
    {
        let mut piece = Vec::with_capacity(batch.len().min(left));
        let mut size = 0;
        for row in rows(&head, &batch).take(left) {
            let row = row?;
            let own = row.iter().map(Cell::size).sum::<usize>();
            if own > RESPONSE_BYTES {
                return Err(Error::TooLarge);
            }
            if size > 0 && size + own > PIECE_BYTES {
                left -= piece.len();
                send(mem::take(&mut piece), false)?;
                size = 0;
            }
            size += own;
            piece.push(row);
        }
        left -= piece.len().min(left);
        send(piece, false)?;
    }
    send(Vec::new(), true)
}

fn pour_arrow(
    connection: &Connection,
    sql: &str,
    params: &Params,
    most: usize,
    sink: &Sink<ArrowPiece>,
) -> Result<(), Error> {
    let statement = executed(connection, sql, params)?;
    let schema = statement.schema();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(Error::internal)?;
    sink.send(ArrowPiece {
        bytes: mem::take(writer.get_mut()),
        rows: 0,
    })?;
    let mut send = |batches: &mut Vec<RecordBatch>| {
        let batch = concat_batches(&schema, &*batches).map_err(Error::internal)?;
        batches.clear();
        // Wide rows go in several pieces.
        let pieces = batch.get_array_memory_size().div_ceil(PIECE_BYTES).max(1);
        let step = batch.num_rows().div_ceil(pieces).max(1);
        let mut at = 0;
        while at < batch.num_rows() {
            let part = batch.slice(at, step.min(batch.num_rows() - at));
            writer.write(&part).map_err(Error::internal)?;
            let bytes = mem::take(writer.get_mut());
            if bytes.len() > RESPONSE_BYTES {
                return Err(Error::TooLarge);
            }
            at += part.num_rows();
            sink.send(ArrowPiece {
                bytes,
                rows: part.num_rows(),
            })?;
        }
        Ok(())
    };
    // DuckDB gives 2048 rows at a time, and each piece wakes a thread: the first goes as it comes, and each later one is about
    // twice as large as the one before.
    let (mut left, mut size, mut together, mut held) = (most, 0, 0, Vec::new());
    while left > 0
        && let Some(batch) = statement.step()?
    {
        let batch = record_batch(&schema, batch)?;
        let batch = batch.slice(0, batch.num_rows().min(left));
        left -= batch.num_rows();
        size += batch.get_array_memory_size();
        held.push(batch);
        if size >= together {
            together = (2 * mem::take(&mut size)).min(TOGETHER_BYTES);
            send(&mut held)?;
        }
    }
    send(&mut held)?;
    writer.finish().map_err(Error::internal)?;
    sink.send(ArrowPiece {
        bytes: mem::take(writer.get_mut()),
        rows: 0,
    })
}

fn record_batch(schema: &Arc<Schema>, batch: StructArray) -> Result<RecordBatch, Error> {
    let (_, columns, _) = batch.into_parts();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(Error::internal)
}

/// Runs a statement to its end; how many rows it changed.
pub(super) fn change(connection: &Connection, statement: &Statement, params: &Params) -> Result<u64, Error> {
    if statement.kind != Kind::Write || statement.returning {
        // What comes of it is not kept.
        let executed = executed(connection, &statement.text, params)?;
        let mut rows = 0;
        while let Some(batch) = executed.step()? {
            rows += batch.len() as u64;
        }
        return Ok(if statement.returning { rows } else { 0 });
    }
    let mut prepared = connection.prepare(&statement.text)?;
    let values = param::bind(&prepared, params)?;
    Ok(prepared.execute(params_from_iter(values))? as u64)
}
