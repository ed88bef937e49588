//! PostgreSQL for tenants: sessions, statements, transactions. No gRPC.

pub(super) mod builder;
mod connect;
mod describe;
mod error;
mod lease;
mod param;
mod pool;
mod provision;
mod session;
pub(super) mod statement;
mod stream;
mod tap;
mod transactions;
mod types;

use std::{ops::ControlFlow, sync::Arc};

use isa_config::Endpoint;
use isa_server::StatefulId;
use tokio_postgres::Row;

pub(super) use self::{
    builder::Invalid,
    error::Error,
    lease::Done,
    param::{Nothing, Param, Values},
    pool::ALL_CONNECTIONS,
    session::Prepared,
    statement::Refusal,
    stream::Window,
    transactions::Scope,
    types::{Codec, Raw},
};
use self::{connect::Connector, lease::Lease, pool::Pools, transactions::Transactions};

/// A statement to run, and the values that go with it.
pub(super) type Statement<'a> = (&'a str, &'a dyn Values);

/// Takes the rows that statements return.
pub(super) type Each<'a> = &'a mut (dyn FnMut(&Prepared, &Row) -> Result<(), Error> + Send);

/// What one statement of several did, or why it did not.
pub(super) type Outcome = Result<Done, Error>;

/// Tenants' data in one PostgreSQL. Clones are the same.
#[derive(Clone)]
pub(super) struct Database {
    pools: Arc<Pools>,
    transactions: Arc<Transactions>,
}

impl Database {
    /// # Errors
    /// What is wrong with the address.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        Ok(Self {
            pools: Pools::new(Connector::new(endpoint)?)?,
            transactions: Transactions::new(),
        })
    }

    /// A session for one call: that of the transaction, or one of its own.
    pub(super) async fn scope(&self, slug: &str, transaction: Option<StatefulId>) -> Result<Scope, Error> {
        Ok(match transaction {
            Some(id) => Scope::Transaction(self.transactions.enter(id, slug).await?),
            None => Scope::Own(self.pools.tenant(slug).await?),
        })
    }

    /// Opens a transaction under `id`. `isolation` is a level's name in SQL.
    pub(super) async fn begin(&self, slug: &str, id: StatefulId, isolation: &str) -> Result<(), Error> {
        let place = self.transactions.reserve(id, slug)?;
        let mut lease = self.pools.tenant(slug).await?;
        lease.begin(isolation).await?;
        place.fill(lease).await
    }

    pub(super) async fn commit(&self, slug: &str, id: StatefulId) -> Result<(), Error> {
        let mut lease = self.transactions.enter(id, slug).await?.end()?;
        lease.commit().await?;
        lease.clean().await;
        Ok(())
    }

    pub(super) async fn rollback(&self, slug: &str, id: StatefulId) -> Result<(), Error> {
        let mut lease = self.transactions.enter(id, slug).await?.end()?;
        lease.rollback().await?;
        lease.clean().await;
        Ok(())
    }

    /// Runs statements one after another, each in a transaction of its own. Fails as a whole only if PostgreSQL cannot be
    /// reached.
    pub(super) async fn batch(
        &self,
        slug: &str,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Outcome>, Error> {
        let mut lease = self.pools.tenant(slug).await?;
        let outcomes = run_all(&mut lease, statements, false).await;
        lease.clean().await;
        outcomes
    }

    /// Runs statements in one transaction. Whether it was committed; if not, the last outcome says why.
    pub(super) async fn together(
        &self,
        slug: &str,
        statements: &[Statement<'_>],
    ) -> Result<(Vec<Outcome>, bool), Error> {
        let mut lease = self.pools.tenant(slug).await?;
        lease.begin("READ COMMITTED").await?;
        let mut outcomes = run_all(&mut lease, statements, true).await?;
        let committed = if outcomes.iter().any(Result::is_err) {
            lease.rollback().await?;
            false
        } else {
            match lease.commit().await {
                Ok(()) => true,
                Err(error @ (Error::Commit(_) | Error::Failed)) => {
                    outcomes.pop();
                    outcomes.push(Err(error));
                    false
                }
                Err(error) => return Err(error),
            }
        };
        lease.clean().await;
        Ok((outcomes, committed))
    }

    /// Runs a statement and hands its rows to `each`, until that has enough.
    pub(super) async fn query(
        &self,
        mut scope: Scope,
        sql: &str,
        values: &dyn Values,
        each: impl FnMut(&Prepared, &Row) -> Result<ControlFlow<()>, Error>,
    ) -> Result<u64, Error> {
        let result = scope.lease()?.query(sql, values, each).await;
        scope.done().await;
        result
    }

    pub(super) async fn execute(
        &self,
        mut scope: Scope,
        sql: &str,
        values: &dyn Values,
    ) -> Result<Done, Error> {
        let result = scope.lease()?.execute(sql, values).await;
        scope.done().await;
        result
    }

    /// Runs statements, all or none, for the rows that they changed; `each` gets what they return, if there is one.
    pub(super) async fn change(
        &self,
        mut scope: Scope,
        statements: &[Statement<'_>],
        each: Option<Each<'_>>,
    ) -> Result<u64, Error> {
        let own = matches!(scope, Scope::Own(_)) && statements.len() > 1;
        let result = change_all(scope.lease()?, statements, own, each).await;
        scope.done().await;
        result
    }
}

async fn change_all(
    lease: &mut Lease,
    statements: &[Statement<'_>],
    own: bool,
    mut each: Option<Each<'_>>,
) -> Result<u64, Error> {
    if own {
        lease.begin("READ COMMITTED").await?;
    }
    let mut count = 0;
    for (sql, values) in statements {
        let result = match &mut each {
            Some(each) => {
                let each = |prepared: &Prepared, row: &Row| each(prepared, row).map(ControlFlow::Continue);
                lease.query(sql, *values, each).await
            }
            None => lease.execute(sql, *values).await.map(|done| done.rows),
        };
        match result {
            Ok(rows) => count += rows,
            Err(error) => {
                if own && lease.is_sound() {
                    lease.rollback().await?;
                }
                return Err(error);
            }
        }
    }
    if own {
        lease.commit().await?;
    }
    Ok(count)
}

/// Runs of one and the same statement are sent without waiting in between. With `stop`, the first failure is the last
/// outcome.
async fn run_all(lease: &mut Lease, statements: &[Statement<'_>], stop: bool) -> Result<Vec<Outcome>, Error> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(statements.len());
    for run in statements.chunk_by(|one, next| one.0 == next.0) {
        let sql = run[0].0;
        let values: Vec<&dyn Values> = run.iter().map(|(_, values)| *values).collect();
        match lease.execute_all(sql, &values).await {
            Ok(done) => outcomes.extend(done),
            // It could not even be prepared, for any of them.
            Err(error) if !error.spares_connection() => return Err(error),
            Err(error) if stop => outcomes.push(Err(error)),
            Err(error) => {
                // An error is not to be cloned: the others ask again, and are told the same.
                outcomes.push(Err(error));
                for values in &values[1..] {
                    outcomes.push(lease.execute(sql, *values).await);
                }
            }
        }
        if stop && let Some(failed) = outcomes.iter().position(Result::is_err) {
            outcomes.truncate(failed + 1);
            break;
        }
    }
    // The end of a connection is not a matter of one statement.
    let lost = |outcome: &Outcome| matches!(outcome, Err(error) if !error.spares_connection());
    match outcomes.iter().position(lost) {
        Some(at) => Err(outcomes.swap_remove(at).err().unwrap_or(Error::Slow)),
        None => Ok(outcomes),
    }
}
