//! One connection, with the statements that are prepared on it.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Statement, types::Type};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Error,
    connect::Canceller,
    statement::{self, Nests, Plan},
    types::Codec,
};

/// Statements prepared on one connection at once.
const STATEMENTS: usize = 128;

/// Longer ones are prepared for each call: few come twice, and this bounds what a cache holds to 1 MiB.
const MAX_CACHED: usize = 8 << 10;

/// Older connections are replaced, so that what PostgreSQL caches for one does not grow for ever.
const MAX_AGE: Duration = Duration::from_secs(1800);

/// What RESET ALL and its kin are for: settings, cursors, temporary tables, subscriptions and locks that a statement left.
/// DISCARD ALL would also drop what is prepared.
const TIDY: &str = "CLOSE ALL; RESET ALL; UNLISTEN *; DISCARD SEQUENCES; DISCARD TEMP; SELECT pg_catalog.pg_advisory_unlock_all()";

/// A statement that PostgreSQL knows on one connection.
#[derive(Debug)]
pub(in crate::postgres) struct Prepared {
    pub(in crate::postgres) plan: Plan,
    pub(super) statement: Statement,
    /// How each column is read; `None` if there is one that cannot be.
    pub(super) codecs: Option<Vec<Codec>>,
    /// The columns' types, also of those that come as text instead.
    types: Vec<Type>,
}

impl Prepared {
    /// Names, types and readers of the columns.
    pub(in crate::postgres) fn columns(&self) -> impl Iterator<Item = (&str, &str, &Codec)> {
        let codecs = self.codecs.as_deref().unwrap_or_default();
        let columns = self.statement.columns().iter().zip(&self.types).zip(codecs);
        columns.map(|((column, kind), codec)| (column.name(), kind.name(), codec))
    }
}

/// A connection. Lives in a pool, and is used by one call at a time.
pub(in crate::postgres) struct Session {
    pub(super) client: Client,
    pub(super) cancel: Canceller,
    cache: HashMap<String, Cached>,
    /// Counts uses of the cache.
    clock: u64,
    born: Instant,
    _task: AbortOnDropHandle<()>,
}

struct Cached {
    prepared: Arc<Prepared>,
    used: u64,
}

impl Session {
    pub(super) fn new(client: Client, cancel: Canceller, task: AbortOnDropHandle<()>, born: Instant) -> Self {
        Self {
            client,
            cancel,
            cache: HashMap::new(),
            clock: 0,
            born,
            _task: task,
        }
    }

    /// Whether it may serve another call.
    pub(super) fn is_good(&self) -> bool {
        !self.client.is_closed() && self.born.elapsed() < MAX_AGE
    }

    /// The statement, prepared; and whether it was so before. With `rows`, its columns are such that they can be read.
    pub(super) async fn prepare(&mut self, sql: &str, rows: bool) -> Result<(Arc<Prepared>, bool), Error> {
        self.clock += 1;
        if let Some(cached) = self.cache.get_mut(sql)
            && (!rows || cached.prepared.codecs.is_some())
        {
            cached.used = self.clock;
            return Ok((Arc::clone(&cached.prepared), true));
        }
        let plan = statement::plan(sql)?;
        let mut statement = self.client.prepare(sql).await?;
        let mut codecs = read(&statement);
        let types = statement
            .columns()
            .iter()
            .map(|column| column.type_().clone())
            .collect();
        if rows && codecs.is_none() {
            (statement, codecs) = self.prepare_as_text(sql, &plan, &statement).await?;
        }
        let prepared = Arc::new(Prepared {
            plan,
            statement,
            codecs,
            types,
        });
        if sql.len() <= MAX_CACHED {
            self.remember(sql, &prepared);
        }
        Ok((prepared, false))
    }

    fn remember(&mut self, sql: &str, prepared: &Arc<Prepared>) {
        if self.cache.len() >= STATEMENTS
            && let Some(oldest) = self.cache.iter().min_by_key(|(_, cached)| cached.used)
        {
            let oldest = oldest.0.clone();
            self.cache.remove(&oldest);
        }
        let cached = Cached {
            prepared: Arc::clone(prepared),
            used: self.clock,
        };
        self.cache.insert(sql.to_owned(), cached);
    }

    /// The same statement with those columns cast to text whose binary form is not read here.
    async fn prepare_as_text(
        &self,
        sql: &str,
        plan: &Plan,
        statement: &Statement,
    ) -> Result<(Statement, Option<Vec<Codec>>), Error> {
        let columns = statement.columns();
        let unread = columns.iter().find(|column| Codec::of(column.type_()).is_none());
        let failed = || {
            let (column, kind) = unread.map_or(("", ""), |column| (column.name(), column.type_().name()));
            Error::Column {
                column: column.to_owned(),
                kind: kind.to_owned(),
            }
        };
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let names: Vec<String> = columns.iter().map(|column| quoted(column.name())).collect();
        let casts: Vec<String> = columns
            .iter()
            .zip(&names)
            .map(|(column, name)| match Codec::of(column.type_()) {
                Some(_) => name.clone(),
                None => format!("{name}::{} AS {name}", Codec::cast(column.type_())),
            })
            .collect();
        let (names, casts) = (names.join(", "), casts.join(", "));
        // On lines of its own: it may end with a comment.
        let inner = &sql[..plan.end];
        let wrapped = match plan.nests {
            Nests::With => {
                format!("WITH isa_rows ({names}) AS (\n{inner}\n) SELECT {casts} FROM isa_rows")
            }
            Nests::From => format!("SELECT {casts} FROM (\n{inner}\n) AS isa_rows ({names})"),
            Nests::No => return Err(failed()),
        };
        let wrapped = self.client.prepare(&wrapped).await.map_err(|error| {
            tracing::debug!(%error, "a statement could not be changed to give text");
            failed()
        })?;
        let codecs = read(&wrapped);
        Ok((wrapped, codecs))
    }

    /// Forgets a statement that is not what it was.
    pub(super) fn forget(&mut self, sql: &str) {
        self.cache.remove(sql);
    }

    /// Takes away what statements left in the session.
    pub(super) async fn tidy(&self) -> Result<(), Error> {
        Ok(self.client.batch_execute(TIDY).await?)
    }
}

fn read(statement: &Statement) -> Option<Vec<Codec>> {
    let columns = statement.columns().iter();
    columns.map(|column| Codec::of(column.type_())).collect()
}
