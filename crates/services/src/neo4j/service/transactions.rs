//! Transactions that stay open between calls.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use isa_server::StatefulId;
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::sleep,
};

use super::{Error, bolt::Lease};

/// One that nobody uses is rolled back after so long.
const IDLE: Duration = Duration::from_secs(60);

/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Of one tenant at this replica.
const MAX_OF_TENANT: usize = 16;

/// Of all tenants at this replica: half of its connections.
const MAX: usize = 32;

/// The open transactions of this replica.
pub(super) struct Transactions(Mutex<HashMap<StatefulId, Arc<Held>>>);

struct Held {
    slug: String,
    /// Calls take it one after another. `None` while it is begun, and once it has failed: a failed one stays until somebody
    /// ends it or its time is over.
    lease: Arc<AsyncMutex<Option<Lease>>>,
    until: Instant,
    used: Mutex<Instant>,
}

impl Transactions {
    /// Must be called in a runtime: a task of its own ends those whose time is over.
    pub(super) fn new() -> Arc<Self> {
        let transactions = Arc::new(Self(Mutex::default()));
        tokio::spawn(sweep(Arc::downgrade(&transactions)));
        transactions
    }

    /// Takes a place for a new one, which is free again when this is dropped.
    pub(super) fn reserve(
        self: &Arc<Self>,
        id: StatefulId,
        slug: &str,
        life: Duration,
    ) -> Result<Place, Error> {
        let mut held = self.0.lock();
        let own = held.values().filter(|held| held.slug == slug).count();
        if own >= MAX_OF_TENANT {
            return Err(Error::Transactions(own));
        }
        if held.len() >= MAX {
            return Err(Error::Transactions(held.len()));
        }
        let now = Instant::now();
        let new = Held {
            slug: slug.to_owned(),
            lease: Arc::default(),
            until: now + life,
            used: Mutex::new(now),
        };
        held.insert(id, Arc::new(new));
        Ok(Place {
            transactions: Arc::clone(self),
            id: Some(id),
        })
    }

    /// A transaction, once no other call has it.
    pub(super) async fn enter(self: &Arc<Self>, id: StatefulId, slug: &str) -> Result<InTransaction, Error> {
        let held = self
            .0
            .lock()
            .get(&id)
            .filter(|held| held.slug == slug)
            .map(Arc::clone);
        let held = held.ok_or(Error::NoTransaction)?;
        let lease = Arc::clone(&held.lease).lock_owned().await;
        if !self.0.lock().contains_key(&id) {
            return Err(Error::NoTransaction);
        }
        Ok(InTransaction {
            transactions: Arc::clone(self),
            id,
            held,
            lease,
        })
    }

    fn remove(&self, id: &StatefulId) -> Option<Arc<Held>> {
        self.0.lock().remove(id)
    }

    fn end_old(&self) {
        let now = Instant::now();
        let over = |held: &Held| {
            now > held.until || (held.used.lock().elapsed() > IDLE && Arc::strong_count(&held.lease) == 1)
        };
        let mut ended = Vec::new();
        self.0.lock().retain(|_, held| {
            let over = over(held);
            if over {
                ended.push(Arc::clone(held));
            }
            !over
        });
        for held in ended {
            // A call that still uses it has no more time than the transaction, and drops it then.
            if let Ok(mut lease) = held.lease.try_lock() {
                drop(lease.take());
            }
        }
    }
}

/// Room for a transaction that is about to begin.
pub(super) struct Place {
    transactions: Arc<Transactions>,
    id: Option<StatefulId>,
}

impl Place {
    /// The transaction has begun.
    pub(super) async fn fill(mut self, lease: Lease) -> Result<(), Error> {
        let Some(id) = self.id.take() else {
            return Ok(());
        };
        let held = self.transactions.0.lock().get(&id).map(Arc::clone);
        let held = held.ok_or(Error::NoTransaction)?;
        *held.used.lock() = Instant::now();
        *held.lease.lock().await = Some(lease);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.transactions.remove(&id);
        }
    }
}

/// A transaction while a call uses it.
///
/// Dropped while a statement runs, the statement is stopped and the whole transaction rolled back: what the call
/// would have done is not known to its caller, so nothing of it may last.
pub(crate) struct InTransaction {
    transactions: Arc<Transactions>,
    id: StatefulId,
    held: Arc<Held>,
    lease: OwnedMutexGuard<Option<Lease>>,
}

impl InTransaction {
    /// Takes the connection out: the transaction is about to end.
    pub(super) fn end(mut self) -> Result<Lease, Error> {
        self.transactions.remove(&self.id);
        self.lease.take().ok_or(Error::Failed)
    }

    pub(super) fn lease(&mut self) -> Result<&mut Lease, Error> {
        self.lease.as_mut().ok_or(Error::Failed)
    }

    /// What is left of its life.
    pub(super) fn left(&self) -> Duration {
        self.held.until.saturating_duration_since(Instant::now())
    }
}

impl Drop for InTransaction {
    fn drop(&mut self) {
        *self.held.used.lock() = Instant::now();
        let goes_on = self.lease.as_ref().is_some_and(Lease::is_open);
        if !goes_on || !self.transactions.0.lock().contains_key(&self.id) {
            drop(self.lease.take());
        }
    }
}

async fn sweep(transactions: Weak<Transactions>) {
    loop {
        sleep(SWEEP).await;
        let Some(transactions) = transactions.upgrade() else {
            return;
        };
        transactions.end_old();
    }
}
