//! A session while a call has it: runs statements, and gives back or closes the connection, whatever happens to the call.

use std::{
    mem::ManuallyDrop,
    ops::ControlFlow,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use deadpool::managed::Object;
use futures::{StreamExt, TryStreamExt, stream};
use tokio_postgres::{Client, Row, RowStream, types::ToSql};

use super::{
    Error,
    builder::Invalid,
    connect::Canceller,
    param::{Param, Values},
    pool::{Counters, Manager},
    session::{Prepared, Session},
    statement::Refusal,
};

/// Statements on their way to PostgreSQL at once.
const PIPELINE: usize = 16;

/// Bytes of rows that nobody wants, read before the connection is closed instead.
const MAX_DRAIN: usize = 64 << 10;

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Done {
    pub(in crate::postgres) rows: u64,
    /// PostgreSQL's own words, such as `INSERT 0 3`.
    pub(in crate::postgres) tag: String,
}

/// A session that is in use.
///
/// Dropped while a statement runs, it has the statement cancelled and closes the connection; dropped within a
/// transaction, it closes the connection, which rolls back. Otherwise the session goes back to its pool.
pub(in crate::postgres) struct Lease {
    session: Option<Object<Manager>>,
    counters: Arc<Counters>,
    /// An answer is awaited.
    busy: bool,
    /// The connection is not to be used again.
    broken: bool,
    /// Statements may have left something.
    dirty: bool,
    transaction: bool,
}

impl Lease {
    pub(super) fn new(session: Object<Manager>, counters: Arc<Counters>) -> Self {
        Self {
            session: Some(session),
            counters,
            busy: false,
            broken: false,
            dirty: false,
            transaction: false,
        }
    }

    fn session(&mut self) -> Result<&mut Session, Error> {
        // Taken by `drop` alone.
        let session = self.session.as_mut();
        session
            .map(|session| &mut ***session)
            .ok_or_else(|| Error::Internal("a lease without a session".into()))
    }

    /// Whether it can be used for another call.
    pub(super) fn is_sound(&self) -> bool {
        !self.busy && !self.broken && self.session.as_ref().is_some_and(|session| session.is_good())
    }

    pub(super) fn canceller(&mut self) -> Result<Canceller, Error> {
        Ok(self.session()?.cancel.clone())
    }

    /// Notes how a request ended that was begun by setting `busy`.
    fn settle<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.busy = false;
        if let Err(error) = &result {
            self.broken |= !error.spares_connection();
        }
        result
    }

    async fn command(&mut self, sql: &str) -> Result<(), Error> {
        self.busy = true;
        let result = self.session()?.client.batch_execute(sql).await;
        self.settle(result.map_err(Error::from))
    }

    /// Prepares and begins a statement.
    async fn start(
        &mut self,
        sql: &str,
        rows: bool,
        values: &dyn Values,
    ) -> Result<(Arc<Prepared>, RowStream), Error> {
        self.busy = true;
        let mut again = !self.transaction;
        let result = loop {
            let result = self.try_start(sql, rows, values).await;
            match result {
                Err((error, true)) if error.is_stale() => {
                    self.session()?.forget(sql);
                    if !again {
                        break Err(error);
                    }
                    again = false;
                }
                Err((error, _)) => break Err(error),
                Ok(started) => break Ok(started),
            }
        };
        if result.is_err() {
            return self.settle(result);
        }
        result
    }

    /// An error says whether the statement had been prepared before.
    async fn try_start(
        &mut self,
        sql: &str,
        rows: bool,
        values: &dyn Values,
    ) -> Result<(Arc<Prepared>, RowStream), (Error, bool)> {
        let (prepared, known) = self.prepare(sql, rows).await.map_err(|error| (error, false))?;
        let params = bind(&prepared, values).map_err(|error| (error, known))?;
        self.dirty |= !prepared.plan.plain;
        self.counters.queries.fetch_add(1, Relaxed);
        let session = self.session().map_err(|error| (error, known))?;
        let started = session.client.query_raw(&prepared.statement, params).await;
        let rows = started.map_err(|error| (error.into(), known))?;
        Ok((prepared, rows))
    }

    async fn prepare(&mut self, sql: &str, rows: bool) -> Result<(Arc<Prepared>, bool), Error> {
        let transaction = self.transaction;
        let (prepared, known) = self.session()?.prepare(sql, rows).await?;
        if prepared.plan.savepoint && !transaction {
            return Err(Error::Refused(Refusal::Precondition(
                "savepoints are of transactions; name one by transaction_id",
            )));
        }
        Ok((prepared, known))
    }

    /// Runs a statement and hands each row to `each`, which may have enough of them. Rows affected.
    pub(in crate::postgres) async fn query(
        &mut self,
        sql: &str,
        values: &dyn Values,
        mut each: impl FnMut(&Prepared, &Row) -> Result<ControlFlow<()>, Error>,
    ) -> Result<u64, Error> {
        let (prepared, rows) = self.start(sql, true, values).await?;
        let mut rows = pin!(rows);
        let mut drained = 0;
        // The first failure of `each`; what follows is read and dropped.
        let mut failure = None;
        let mut enough = false;
        let result = loop {
            match rows.try_next().await {
                Ok(Some(row)) if !enough => match each(&prepared, &row) {
                    Ok(ControlFlow::Continue(())) => {}
                    Ok(ControlFlow::Break(())) => enough = true,
                    Err(error) => {
                        failure = Some(error);
                        enough = true;
                    }
                },
                Ok(Some(row)) => {
                    drained += row.raw_size_bytes();
                    // A read that goes on for long is given up; a write is let finish, and so is a transaction's
                    // statement, of which the transaction depends.
                    if drained > MAX_DRAIN && prepared.plan.reads && !self.transaction {
                        return failure.map_or(Ok(0), Err);
                    }
                }
                Ok(None) => break Ok(rows.rows_affected().unwrap_or(0)),
                Err(error) => break Err(Error::from(error)),
            }
        };
        let affected = self.settle(result)?;
        failure.map_or(Ok(affected), Err)
    }

    /// Runs a statement of our own, which has few rows.
    pub(super) async fn rows(
        &mut self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.busy = true;
        let result = async {
            let session = self.session()?;
            let (prepared, _) = session.prepare(sql, false).await?;
            Ok(session.client.query(&prepared.statement, params).await?)
        }
        .await;
        self.settle(result)
    }

    /// Runs a statement and counts its rows.
    pub(in crate::postgres) async fn execute(
        &mut self,
        sql: &str,
        values: &dyn Values,
    ) -> Result<Done, Error> {
        let (prepared, rows) = self.start(sql, false, values).await?;
        let result = count(rows).await;
        let rows = self.settle(result)?;
        Ok(done(&prepared, rows))
    }

    /// Runs one statement several times, without waiting for one answer before the next is sent.
    pub(in crate::postgres) async fn execute_all(
        &mut self,
        sql: &str,
        all: &[&dyn Values],
    ) -> Result<Vec<Result<Done, Error>>, Error> {
        self.busy = true;
        let prepared = self.prepare(sql, false).await;
        let (prepared, _) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return self.settle(Err(error)),
        };
        self.dirty |= !prepared.plan.plain;
        self.counters.queries.fetch_add(all.len() as u64, Relaxed);
        let client = &self.session()?.client;
        let sending: Vec<_> = all
            .iter()
            .map(|values| execute(client, &prepared, *values))
            .collect();
        let results: Vec<Result<Done, Error>> = stream::iter(sending).buffered(PIPELINE).collect().await;
        self.busy = false;
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            self.broken |= !error.spares_connection();
            if error.is_stale() {
                self.session()?.forget(sql);
            }
        }
        Ok(results)
    }

    /// Opens a transaction. `isolation` is a level's name in SQL.
    pub(in crate::postgres) async fn begin(&mut self, isolation: &str) -> Result<(), Error> {
        // Before the answer: whether it is open is not known when the call is dropped in between.
        self.transaction = true;
        self.command(&format!("BEGIN ISOLATION LEVEL {isolation}")).await
    }

    /// Commits. When it fails nothing was written.
    pub(in crate::postgres) async fn commit(&mut self) -> Result<(), Error> {
        // COMMIT of a transaction that has failed rolls back and is no error; SELECT is one.
        let result = self.command("SELECT 1; COMMIT").await;
        let Err(error) = result else {
            self.transaction = false;
            return Ok(());
        };
        if error.sqlstate() == Some("25P02") {
            self.rollback().await?;
            return Err(Error::Failed);
        }
        match error {
            Error::Postgres(cause) if cause.as_db_error().is_some() && !self.broken => {
                self.rollback().await?;
                Err(Error::Commit(cause))
            }
            other => Err(other),
        }
    }

    pub(in crate::postgres) async fn rollback(&mut self) -> Result<(), Error> {
        self.command("ROLLBACK").await?;
        self.transaction = false;
        Ok(())
    }

    /// Takes away what statements left in the session, unless a transaction is open. To be called at the end of a call; a
    /// lease that is dropped without it, and may hold something, closes its connection.
    pub(super) async fn clean(&mut self) {
        if self.transaction || !self.dirty || self.broken || self.busy {
            return;
        }
        self.busy = true;
        let result = match self.session() {
            Ok(session) => session.tidy().await,
            Err(error) => Err(error),
        };
        match self.settle(result) {
            Ok(()) => self.dirty = false,
            // The call has its answer; the connection is closed.
            Err(error) => tracing::debug!(%error, "a session could not be tidied"),
        }
    }

    /// Reads a result in parts of `window` rows, each when the one before it was taken. Opens a transaction if there is
    /// none, and commits it at the end.
    pub(super) async fn read(
        &mut self,
        sql: &str,
        values: &dyn Values,
        window: i32,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let own = !self.transaction;
        self.busy = true;
        let prepared = self.prepare(sql, true).await;
        let params = match &prepared {
            Ok((prepared, _)) => bind(prepared, values),
            Err(_) => Ok(Vec::new()),
        };
        let ((prepared, _), params) = match (prepared, params) {
            (Ok(prepared), Ok(params)) => (prepared, params),
            (Err(error), _) | (_, Err(error)) => return self.settle(Err(error)),
        };
        self.dirty |= !prepared.plan.plain;
        self.counters.queries.fetch_add(1, Relaxed);
        self.transaction = true;
        let result = self.portal(&prepared, params, window, sink).await;
        self.settle(result)?;
        if own {
            self.commit().await?;
        }
        Ok(())
    }

    async fn portal(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Param<'_>>,
        window: i32,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        // Portals are to be had of the driver's transactions alone. Where one is open already, beginning it once more
        // changes nothing; and it is never dropped, which would roll back: this lease knows when to.
        let transaction = ManuallyDrop::new(self.session()?.client.transaction().await?);
        let portal = transaction.bind_raw(&prepared.statement, params).await?;
        sink.begin(prepared);
        loop {
            let rows = transaction.query_portal_raw(&portal, window).await?;
            let mut rows = pin!(rows);
            while let Some(row) = rows.try_next().await? {
                if sink.take(prepared, &row)? {
                    sink.flush().await?;
                }
            }
            if rows.rows_affected().is_some() {
                return Ok(());
            }
        }
    }
}

/// Where the rows of a long result go.
pub(super) trait Sink: Send {
    /// The statement is understood, and its rows will follow.
    fn begin(&mut self, prepared: &Arc<Prepared>);

    /// Takes a row. Whether it is time to flush.
    fn take(&mut self, prepared: &Prepared, row: &Row) -> Result<bool, Error>;

    /// Waits until what was taken is on its way. An error ends the reading.
    fn flush(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        if !self.busy && !self.broken && !self.dirty && !self.transaction {
            return;
        }
        let session = Object::take(session);
        if self.busy
            && !self.broken
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Closed afterwards: PostgreSQL does not notice the end of a connection while it works for it.
            runtime.spawn(async move {
                session.cancel.cancel().await;
                drop(session);
            });
        }
    }
}

fn bind<'a>(prepared: &Prepared, values: &'a dyn Values) -> Result<Vec<Param<'a>>, Error> {
    let types = prepared.statement.params();
    if values.count() != types.len() {
        let why = format!("has {}, and the statement takes {}", values.count(), types.len());
        return Err(Invalid::new("params", why).into());
    }
    Ok(values.bind(types)?)
}

async fn execute(client: &Client, prepared: &Prepared, values: &dyn Values) -> Result<Done, Error> {
    let params = bind(prepared, values)?;
    let rows = client.query_raw(&prepared.statement, params).await?;
    Ok(done(prepared, count(rows).await?))
}

async fn count(rows: RowStream) -> Result<u64, Error> {
    let mut rows = pin!(rows);
    while rows.try_next().await?.is_some() {}
    Ok(rows.rows_affected().unwrap_or(0))
}

fn done(prepared: &Prepared, rows: u64) -> Done {
    let tag = &prepared.plan.tag;
    let tag = match tag.as_str() {
        "INSERT" => format!("INSERT 0 {rows}"),
        "SELECT" | "UPDATE" | "DELETE" | "MERGE" | "FETCH" | "MOVE" => format!("{tag} {rows}"),
        _ => tag.clone(),
    };
    Done { rows, tag }
}
