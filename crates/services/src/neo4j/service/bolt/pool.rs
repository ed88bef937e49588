//! Connections that are kept. One comes back when nothing is left on it of the call that had it.

use std::{sync::Arc, time::Duration};

use deadpool::{
    Runtime,
    managed::{
        self, Metrics, Object, PoolError, QueueMode, RecycleError, RecycleResult, TimeoutType, Timeouts,
    },
};
use tokio::time::timeout;

use super::connection::{Address, Connection};
use crate::neo4j::service::Error;

/// How long a call waits for a connection to become free.
const WAIT: Duration = Duration::from_secs(10);

/// How long a connection may take to become clean. Stopping a statement is a matter of milliseconds.
const CLEANING: Duration = Duration::from_secs(5);

struct Manager {
    address: Arc<Address>,
}

impl managed::Manager for Manager {
    // Boxed: it moves in and out of the pool with each call.
    type Type = Box<Connection>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Connection>, Error> {
        // Boxed, as it is rare and large: every call's future would have room for it.
        Box::pin(self.address.open()).await.map(Box::new)
    }

    async fn recycle(&self, connection: &mut Box<Connection>, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_clean() && connection.is_alive() {
            Ok(())
        } else {
            Err(RecycleError::message("closed"))
        }
    }
}

/// Clones are the same.
#[derive(Clone)]
pub(crate) struct Pool(managed::Pool<Manager>);

impl Pool {
    pub(crate) fn new(address: Arc<Address>, most: usize) -> Result<Self, String> {
        let timeouts = Timeouts {
            wait: Some(WAIT),
            // The manager bounds what it does.
            create: None,
            recycle: None,
        };
        managed::Pool::builder(Manager { address })
            .max_size(most)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            // The one that was used last is the warmest.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    pub(crate) async fn lease(&self) -> Result<Lease, Error> {
        match self.0.get().await {
            Ok(connection) => Ok(Lease(Some(connection))),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(TimeoutType::Wait)) => Err(Error::Busy),
            Err(PoolError::Timeout(_)) => Err(Error::Slow),
            Err(error) => Err(Error::Protocol(error.to_string())),
        }
    }
}

/// A connection while a call has it.
///
/// Dropped with anything left on it (a statement that runs, a transaction, rows), all of that is ended at Neo4j before
/// another call gets the connection; if this takes too long it is closed.
pub(crate) struct Lease(Option<Object<Manager>>);

impl Lease {
    pub(crate) fn on(&mut self) -> Result<&mut Connection, Error> {
        match &mut self.0 {
            Some(connection) => Ok(connection),
            // Taken out by `drop` alone.
            None => Err(Error::Protocol("the connection was given back".into())),
        }
    }

    /// Holds a transaction that may go on.
    pub(crate) fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|connection| connection.is_open())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else {
            return;
        };
        if connection.is_clean() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if !matches!(timeout(CLEANING, connection.reset()).await, Ok(Ok(()))) {
                        drop(Object::take(connection));
                    }
                });
            }
            Err(_) => drop(Object::take(connection)),
        }
    }
}
