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

use super::{Error, connect::Canceller, lease::Lease};

/// One that nobody uses is rolled back after so long.
const IDLE: Duration = Duration::from_secs(60);

/// And any, after so long.
const LIFE: Duration = Duration::from_secs(300);

/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// Of one tenant at this replica.
pub(in crate::postgres) const MAX_OF_TENANT: usize = 16;

/// Of all tenants at this replica: about half of its connections.
pub(in crate::postgres) const MAX: usize = 32;

/// The open transactions of this replica.
pub(super) struct Transactions(Mutex<HashMap<StatefulId, Arc<Held>>>);

struct Held {
    slug: String,
    /// Calls take it one after another. `None` while it is begun, and once it has ended.
    lease: Arc<AsyncMutex<Option<Lease>>>,
    began: Instant,
    used: Mutex<Instant>,
    /// Stops what runs in it when its life is over.
    cancel: Mutex<Option<Canceller>>,
}

impl Transactions {
    /// Must be called in a runtime: a task of its own ends those whose time is over.
    pub(super) fn new() -> Arc<Self> {
        let transactions = Arc::new(Self(Mutex::default()));
        tokio::spawn(sweep(Arc::downgrade(&transactions)));
        transactions
    }

    /// Takes a place for a new one, which is free again when this is dropped.
    pub(super) fn reserve(self: &Arc<Self>, id: StatefulId, slug: &str) -> Result<Place, Error> {
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
            began: now,
            used: Mutex::new(now),
            cancel: Mutex::default(),
        };
        held.insert(id, Arc::new(new));
        Ok(Place {
            transactions: Arc::clone(self),
            id: Some(id),
        })
    }

    /// The session of a transaction, once no other call has it.
    pub(super) async fn enter(self: &Arc<Self>, id: StatefulId, slug: &str) -> Result<InTransaction, Error> {
        let held = self
            .0
            .lock()
            .get(&id)
            .filter(|held| held.slug == slug)
            .map(Arc::clone);
        let held = held.ok_or(Error::NoTransaction)?;
        let lease = Arc::clone(&held.lease).lock_owned().await;
        if lease.is_none() || !self.0.lock().contains_key(&id) {
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
        let over = |held: &Held| {
            held.began.elapsed() > LIFE
                || (held.used.lock().elapsed() > IDLE && Arc::strong_count(&held.lease) == 1)
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
            // Its connection is closed, which rolls back, now or when the call that uses it is done.
            match held.lease.try_lock() {
                Ok(mut lease) => drop(lease.take()),
                Err(_) => {
                    if let Some(cancel) = held.cancel.lock().take() {
                        tokio::spawn(async move { cancel.cancel().await });
                    }
                }
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
    pub(super) async fn fill(mut self, mut lease: Lease) -> Result<(), Error> {
        let Some(id) = self.id.take() else {
            return Ok(());
        };
        let held = self.transactions.0.lock().get(&id).map(Arc::clone);
        let held = held.ok_or(Error::NoTransaction)?;
        *held.cancel.lock() = Some(lease.canceller()?);
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
/// Dropped while a statement runs, the statement is cancelled and the whole transaction rolled back: what the call
/// would have done is not known to its caller, so nothing of it may last.
pub(in crate::postgres) struct InTransaction {
    transactions: Arc<Transactions>,
    id: StatefulId,
    held: Arc<Held>,
    lease: OwnedMutexGuard<Option<Lease>>,
}

impl InTransaction {
    /// Takes the session out: the transaction is about to end.
    pub(super) fn end(mut self) -> Result<Lease, Error> {
        self.transactions.remove(&self.id);
        self.lease.take().ok_or(Error::NoTransaction)
    }

    pub(super) fn lease(&mut self) -> Result<&mut Lease, Error> {
        self.lease.as_mut().ok_or(Error::NoTransaction)
    }
}

impl Drop for InTransaction {
    fn drop(&mut self) {
        *self.held.used.lock() = Instant::now();
        let sound = self.lease.as_ref().is_some_and(Lease::is_sound);
        if !sound || !self.transactions.0.lock().contains_key(&self.id) {
            self.transactions.remove(&self.id);
            drop(self.lease.take());
        }
    }
}

/// A session of a call's own, or that of a transaction.
pub(in crate::postgres) enum Scope {
    Own(Lease),
    Transaction(InTransaction),
}

impl Scope {
    pub(in crate::postgres) fn lease(&mut self) -> Result<&mut Lease, Error> {
        match self {
            Self::Own(lease) => Ok(lease),
            Self::Transaction(transaction) => transaction.lease(),
        }
    }

    /// To be called when a call is done with it, whether it failed or not.
    pub(in crate::postgres) async fn done(mut self) {
        if let Ok(lease) = self.lease() {
            lease.clean().await;
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
