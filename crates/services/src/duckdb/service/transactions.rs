//! Transactions and prepared statements, which are kept between calls.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use isa_server::StatefulId;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::{
    entered::Entered,
    error::Error,
    limits::{
        STATEMENT_IDLE, STATEMENTS, STATEMENTS_OF_TENANT, TRANSACTION_IDLE, TRANSACTION_LIFE, TRANSACTIONS,
        TRANSACTIONS_OF_TENANT,
    },
    open::Session,
    run::Cancel,
};
use crate::duckdb::names::Key;

/// The open transactions of this replica.
#[derive(Default)]
pub(super) struct Transactions(Mutex<HashMap<StatefulId, Arc<Held>>>);

struct Held {
    entered: Entered,
    /// Calls take it one after another. `None` while a call uses it, before it has begun, and once it has ended.
    connection: Arc<Turn<Option<Session>>>,
    began: Instant,
    used: Mutex<Instant>,
    /// Whether it wrote: only then is there something to copy after its commit.
    wrote: Mutex<bool>,
    /// Stops what runs in it when its life is over.
    cancel: Mutex<Weak<Cancel>>,
}

fn ended() -> Error {
    Error::Missing("the transaction (it may have ended: unused for 60 s, after 5 min, or with a call on it that was given up)".into())
}

impl Transactions {
    /// Takes a place for a new one, which is free again when this is dropped.
    pub(super) fn reserve(self: &Arc<Self>, id: StatefulId, entered: &Entered) -> Result<Reserved, Error> {
        let mut all = self.0.lock();
        let slug = &entered.open().key.slug;
        let own = all
            .values()
            .filter(|held| held.entered.open().key.slug == *slug)
            .count();
        let what = "the tenant has all the open transactions that it may have";
        if own >= TRANSACTIONS_OF_TENANT {
            return Err(Error::Quota {
                what,
                limit: TRANSACTIONS_OF_TENANT,
            });
        }
        if all.len() >= TRANSACTIONS {
            return Err(Error::Busy);
        }
        let now = Instant::now();
        let held = Held {
            entered: entered.clone(),
            connection: Arc::default(),
            began: now,
            used: Mutex::new(now),
            wrote: Mutex::new(false),
            cancel: Mutex::default(),
        };
        all.insert(id, Arc::new(held));
        Ok(Reserved {
            all: Arc::clone(self),
            id: Some(id),
        })
    }

    /// The transaction, once no other call has it.
    pub(super) async fn enter(self: &Arc<Self>, id: StatefulId, key: &Key) -> Result<InTransaction, Error> {
        let held = self
            .0
            .lock()
            .get(&id)
            .filter(|held| held.entered.open().key == *key)
            .cloned();
        let held = held.ok_or_else(ended)?;
        let connection = Arc::clone(&held.connection).lock_owned().await;
        if connection.is_none() || !self.0.lock().contains_key(&id) {
            return Err(ended());
        }
        Ok(InTransaction {
            all: Arc::clone(self),
            id,
            held,
            connection,
            kept: false,
        })
    }

    /// Ends those whose time is over. Returns what is to be dropped where it may block.
    pub(super) fn sweep(&self) -> Vec<Session> {
        let mut over = Vec::new();
        self.0.lock().retain(|_, held| {
            let idle =
                held.used.lock().elapsed() > TRANSACTION_IDLE && Arc::strong_count(&held.connection) == 1;
            let gone = held.entered.open().is_closed() || held.entered.open().is_broken();
            let ends = idle || gone || held.began.elapsed() > TRANSACTION_LIFE;
            if ends {
                over.push(Arc::clone(held));
            }
            !ends
        });
        let mut connections = Vec::new();
        for held in over {
            match held.connection.try_lock() {
                Ok(mut connection) => connections.extend(connection.take()),
                Err(_) => {
                    if let Some(cancel) = held.cancel.lock().upgrade() {
                        cancel.fire(Error::Cancelled(
                            "the transaction had 5 minutes, and was rolled back",
                        ));
                    }
                }
            }
        }
        connections
    }

    /// Of one database.
    pub(super) fn count(&self, key: &Key) -> usize {
        self.0
            .lock()
            .values()
            .filter(|held| held.entered.open().key == *key)
            .count()
    }

    /// Ends all of a database.
    pub(super) fn end_all(&self, key: &Key) {
        self.0.lock().retain(|_, held| held.entered.open().key != *key);
    }
}

/// Room for a transaction that is about to begin.
pub(super) struct Reserved {
    all: Arc<Transactions>,
    id: Option<StatefulId>,
}

impl Reserved {
    /// It has begun on this connection.
    pub(super) fn fill(mut self, connection: Session) -> Result<(), Error> {
        let held = self.id.and_then(|id| self.all.0.lock().get(&id).cloned());
        let held = held.ok_or_else(ended)?;
        *held
            .connection
            .try_lock()
            .map_err(|_| Error::internal("a transaction was used before it began"))? = Some(connection);
        self.id = None;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.all.0.lock().remove(&id);
        }
    }
}

/// A transaction that a call uses. It ends when the call does not put its connection back.
pub(super) struct InTransaction {
    all: Arc<Transactions>,
    id: StatefulId,
    held: Arc<Held>,
    connection: OwnedMutexGuard<Option<Session>>,
    kept: bool,
}

impl InTransaction {
    pub(super) fn take(&mut self) -> Result<Session, Error> {
        self.connection.take().ok_or_else(ended)
    }

    pub(super) fn put_back(mut self, connection: Session) {
        *self.connection = Some(connection);
        *self.held.used.lock() = Instant::now();
        self.kept = true;
    }

    pub(super) fn watch(&self, cancel: &Arc<Cancel>) {
        *self.held.cancel.lock() = Arc::downgrade(cancel);
    }

    /// Notes that it writes.
    pub(super) fn wrote(&self) {
        *self.held.wrote.lock() = true;
    }

    pub(super) fn has_written(&self) -> bool {
        *self.held.wrote.lock()
    }
}

impl Drop for InTransaction {
    fn drop(&mut self) {
        // A call that only waited, or was refused, has not touched it.
        if !self.kept && self.connection.is_none() {
            self.all.0.lock().remove(&self.id);
        }
    }
}

/// The prepared statements of this replica.
#[derive(Default)]
pub(super) struct Statements(Mutex<HashMap<StatefulId, Prepared>>);

struct Prepared {
    key: Key,
    sql: Arc<str>,
    used: Instant,
}

impl Statements {
    pub(super) fn add(&self, id: StatefulId, key: &Key, sql: String) -> Result<(), Error> {
        let mut all = self.0.lock();
        let own = all
            .values()
            .filter(|statement| statement.key.slug == key.slug)
            .count();
        if own >= STATEMENTS_OF_TENANT {
            return Err(Error::Quota {
                what: "the tenant has all the prepared statements that it may have",
                limit: STATEMENTS_OF_TENANT,
            });
        }
        if all.len() >= STATEMENTS {
            return Err(Error::Busy);
        }
        let statement = Prepared {
            key: key.clone(),
            sql: sql.into(),
            used: Instant::now(),
        };
        all.insert(id, statement);
        Ok(())
    }

    pub(super) fn get(&self, id: StatefulId, key: &Key) -> Result<Arc<str>, Error> {
        let mut all = self.0.lock();
        let found = all.get_mut(&id).filter(|statement| statement.key == *key);
        let found = found.ok_or_else(|| {
            Error::Missing("the prepared statement (it is forgotten when unused for 10 min)".into())
        })?;
        found.used = Instant::now();
        Ok(Arc::clone(&found.sql))
    }

    pub(super) fn sweep(&self) {
        self.0
            .lock()
            .retain(|_, statement| statement.used.elapsed() < STATEMENT_IDLE);
    }

    pub(super) fn forget_all(&self, key: &Key) {
        self.0.lock().retain(|_, statement| statement.key != *key);
    }
}

/// What is left of a bound, for what is done in several steps.
pub(super) fn left(since: Instant, bound: Duration) -> Duration {
    bound.saturating_sub(since.elapsed())
}
