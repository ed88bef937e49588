//! Tenants' graphs in one Neo4j. No gRPC.

mod accounts;
mod algorithms;
mod bolt;
mod error;
mod figures;
mod nodes;
mod paths;
mod projection;
mod relationships;
mod run;
mod schema;
mod transactions;

use std::{sync::Arc, time::Duration};

use isa_config::Endpoint;
use isa_server::StatefulId;
use tokio::{sync::Semaphore, time::timeout};

pub(crate) use self::{
    accounts::concerns_accounts,
    algorithms::{Algorithm, Grouping},
    bolt::{
        Duration as Span, Failure, Map, Moment, Node, Path, Point, Relationship, Statement, Summary, Value,
        Zone,
    },
    error::Error,
    nodes::NodeQuery,
    paths::{Direction, Route},
    projection::Part,
    relationships::RelationshipQuery,
    run::{Access, Answer, Budget, MAX_ROWS},
    schema::{Constraint, Index, IndexKind},
};
use self::{
    bolt::{Address, Lease, Pool},
    transactions::{InTransaction, Transactions},
};

/// Connections of one replica. Neo4j has 400 threads for them, and three replicas (two, and one more during a rollout) stay
/// far below.
const CONNECTIONS: usize = 64;

/// For asking whether Neo4j answers. Apart, so that tenants' statements do not hold up health; two, so that one which is
/// stuck does not either.
const ASKING: usize = 2;

/// How long a transaction may take to begin or to end. A commit waits for the disk.
const ENDING: Duration = Duration::from_secs(30);

/// Algorithms that run at once, for all tenants: each may take some 200 MB and a core.
const ALGORITHMS: usize = 2;

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Graph {
    pool: Pool,
    asking: Pool,
    transactions: Arc<Transactions>,
    algorithms: Arc<Semaphore>,
}

/// A connection of a call's own, or that of a transaction.
pub(crate) enum Scope {
    Own(Lease),
    Transaction(Box<InTransaction>),
}

impl Graph {
    /// Must be called in a runtime.
    ///
    /// # Errors
    /// What is wrong with the address.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let address = Arc::new(Address::new(endpoint)?);
        Ok(Self {
            pool: Pool::new(Arc::clone(&address), CONNECTIONS)?,
            asking: Pool::new(address, ASKING)?,
            transactions: Transactions::new(),
            algorithms: Arc::new(Semaphore::new(ALGORITHMS)),
        })
    }

    /// A connection for one call: that of the transaction, or one of its own.
    pub(crate) async fn scope(&self, slug: &str, transaction: Option<StatefulId>) -> Result<Scope, Error> {
        Ok(match transaction {
            Some(id) => Scope::Transaction(Box::new(self.transactions.enter(id, slug).await?)),
            None => Scope::Own(self.pool.lease().await?),
        })
    }

    /// Opens a transaction under `id`, which lives for `life`.
    pub(crate) async fn begin(&self, slug: &str, id: StatefulId, life: Duration) -> Result<(), Error> {
        let place = self.transactions.reserve(id, slug, life)?;
        let mut lease = self.pool.lease().await?;
        let connection = lease.on()?;
        connection.begin(bolt::Mode::Write, life);
        in_time(connection.begun()).await?;
        place.fill(lease).await
    }

    pub(crate) async fn commit(&self, slug: &str, id: StatefulId) -> Result<(), Error> {
        let mut lease = self.transactions.enter(id, slug).await?.end()?;
        in_time(lease.on()?.commit()).await
    }

    /// One that has failed is rolled back already.
    pub(crate) async fn rollback(&self, slug: &str, id: StatefulId) -> Result<(), Error> {
        match self.transactions.enter(id, slug).await?.end() {
            Ok(mut lease) => in_time(lease.on()?.rollback()).await,
            Err(Error::Failed) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn in_time(ending: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    timeout(ENDING, ending).await.map_err(|_| Error::OutOfTime)?
}
