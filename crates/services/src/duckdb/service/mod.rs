//! Databases of all tenants over DuckDB in this process: opened on demand, closed when nobody uses them, held by one
//! replica at a time. Knows nothing of gRPC.

mod catalog;
mod copies;
mod databases;
mod entered;
mod error;
mod files;
mod functions;
mod json;
mod limits;
mod nats;
mod open;
mod param;
mod queries;
mod registry;
mod rows;
mod run;
mod sql;
mod transactions;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use isa_server::Tenant;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

pub(super) use self::{
    catalog::{Column, ColumnStats, NewTable, Table},
    databases::{NewDatabase, Summary},
    entered::Entered,
    error::{Error, invalid},
    files::{Format, Object},
    functions::{EXTENSIONS, NewFunction, check_extension},
    limits::{MAX_TIME, ROWS, TIME},
    param::{Param, Params},
    queries::{ArrowPiece, BatchItem, Piece, Query, Rows},
    rows::Cell,
    run::Pieces,
};
use self::{
    entered::Counters,
    limits::{COUNTED, IDLE, OPEN, OPEN_OF_TENANT, OPENING, TICK},
    nats::{Holder, Leases},
    open::Open,
    registry::{Local, Meta, Registry},
    run::Threads,
    transactions::{Statements, Transactions},
};
use super::names::{self, Key};
use crate::minio::Store;

/// How long a call waits, several times, for a database that nobody uses any more.
const MOMENT: Duration = Duration::from_millis(50);

/// Clones are the same one.
#[derive(Clone)]
pub(super) struct Duck(Arc<Inner>);

pub(super) struct Inner {
    root: PathBuf,
    store: Option<Store>,
    registry: Registry,
    leases: Option<Leases>,
    threads: Threads,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// What calls name, by tenant and name or id, of databases that are open.
    known: Mutex<HashMap<(String, String), Key>>,
    counters: Mutex<HashMap<String, Arc<Counters>>>,
    transactions: Arc<Transactions>,
    statements: Statements,
    stopping: AtomicBool,
    version: String,
}

/// Where a database is or will be open.
#[derive(Default)]
struct Slot {
    open: Mutex<Option<Arc<Open>>>,
    /// Opening and closing, one at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Where a database is.
pub(super) enum Where {
    Here(Entered),
    /// With the replica that made this id; and how to say that it is no more.
    With(String, Stale),
}

/// A lease as it was seen.
#[derive(Clone, Copy)]
pub(super) struct Stale(u64);

impl Duck {
    /// Over the databases below `root`. Must be called in a runtime.
    pub(super) fn new(
        root: PathBuf,
        store: Option<Store>,
        nats: Option<&isa_config::Endpoint>,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        let version = open::version().map_err(|error| error.to_string())?;
        let (registry, leases) = match nats {
            Some(endpoint) => {
                let (bucket, leases) = nats::connect(endpoint)?;
                (Registry::Shared(Box::new(bucket)), Some(leases))
            }
            None => (Registry::Local(Local::new(root.clone())), None),
        };
        let duck = Self(Arc::new(Inner {
            root,
            store,
            registry,
            leases,
            threads: Threads::default(),
            slots: Mutex::default(),
            known: Mutex::default(),
            counters: Mutex::default(),
            transactions: Arc::default(),
            statements: Statements::default(),
            stopping: AtomicBool::new(false),
            version,
        }));
        let weak = Arc::downgrade(&duck.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                Duck(inner).tick().await;
                tokio::time::sleep(TICK).await;
            }
        });
        Ok(duck)
    }

    pub(super) fn version(&self) -> &str {
        &self.0.version
    }

    fn store(&self) -> Result<&Store, Error> {
        self.0.store.as_ref().ok_or(Error::NoEngine(
            "this service has no object storage: set engines.minio.url where it runs",
        ))
    }

    fn counters(&self, slug: &str) -> Arc<Counters> {
        let mut all = self.0.counters.lock();
        if all.len() >= COUNTED && !all.contains_key(slug) {
            all.retain(|_, counters| Arc::strong_count(counters) > 1);
        }
        Arc::clone(all.entry(slug.to_owned()).or_default())
    }

    /// The database that a call names, opened if it is not. `holder` makes the id by which others find this replica.
    pub(super) async fn enter(
        &self,
        tenant: &Tenant,
        given: &str,
        gone: Option<Stale>,
        holder: impl FnOnce() -> String,
    ) -> Result<Where, Error> {
        names::check_database(given)?;
        if let Some(entered) = self.open_already(tenant, given) {
            return Ok(Where::Here(entered));
        }
        let meta = self.0.registry.find(tenant.slug(), given).await?;
        let key = Key::new(tenant, &meta.id);
        if let Some(leases) = &self.0.leases {
            let revision = match leases.holder(&key.lease()).await? {
                Holder::Us => None,
                Holder::Other(_, revision) if gone.is_some_and(|gone| gone.0 == revision) => Some(revision),
                Holder::Other(holder, revision) => return Ok(Where::With(holder, Stale(revision))),
                Holder::Nobody => Some(0),
            };
            if self.0.stopping.load(Relaxed) {
                return Err(Error::Stopping);
            }
            if let Some(revision) = revision
                && !leases.take(&key.lease(), holder(), revision).await?
            {
                return Err(Error::Elsewhere(
                    "another replica was just given the database; try again",
                ));
            }
        }
        let opening = self.clone();
        let given = given.to_owned();
        // Opened to the end also if this call is given up: the next one finds it.
        let opened = tokio::spawn(async move { opening.open_now(key, &given).await });
        let opened = tokio::time::timeout(OPENING, opened)
            .await
            .map_err(|_| Error::TimedOut)?;
        opened.map_err(Error::internal)?.map(Where::Here)
    }

    fn open_already(&self, tenant: &Tenant, given: &str) -> Option<Entered> {
        let name = (tenant.slug().to_owned(), given.to_owned());
        let key = self.0.known.lock().get(&name).cloned()?;
        let entered = self.entered(&key)?;
        self.counters(&key.slug).hits.fetch_add(1, Relaxed);
        Some(entered)
    }

    /// An open database that is good to use.
    fn entered(&self, key: &Key) -> Option<Entered> {
        if self
            .0
            .leases
            .as_ref()
            .is_some_and(|leases| !leases.is_held(&key.lease()))
        {
            return None;
        }
        let slot = self.0.slots.lock().get(key).cloned()?;
        let open = slot.open.lock().clone()?;
        let good = !open.is_closed() && !open.is_broken();
        good.then(|| Entered::new(open, self.counters(&key.slug)))
    }

    async fn open_now(&self, key: Key, given: &str) -> Result<Entered, Error> {
        let slot = self.slot(&key).await?;
        let _turn = slot.turn.lock().await;
        let counters = self.counters(&key.slug);
        if let Some(entered) = self.entered(&key) {
            counters.hits.fetch_add(1, Relaxed);
            return Ok(entered);
        }
        counters.misses.fetch_add(1, Relaxed);
        // One that is broken goes first: a file is open once.
        let old = slot.open.lock().take();
        drop_apart(old).await;
        let opened = self.open_file(&key).await;
        let open = match opened {
            Ok((open, meta)) => {
                let mut known = self.0.known.lock();
                for name in [meta.id, meta.name, given.to_owned()] {
                    known.insert((key.slug.clone(), name), key.clone());
                }
                open
            }
            Err(error) => {
                self.forget(&key);
                if let Some(leases) = &self.0.leases {
                    leases.release(&key.lease()).await;
                }
                return Err(error);
            }
        };
        *slot.open.lock() = Some(Arc::clone(&open));
        Ok(Entered::new(open, counters))
    }

    async fn open_file(&self, key: &Key) -> Result<(Arc<Open>, Meta), Error> {
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        let folder = key.folder(&self.0.root);
        self.bring(key, &meta).await?;
        let (own, settings) = (key.clone(), meta.settings.clone());
        let open = spawn_blocking(move || Open::at(own, folder, &settings))
            .await
            .map_err(Error::internal)??;
        Ok((Arc::new(open), meta))
    }

    /// A place for a database, for which another is closed if need be.
    async fn slot(&self, key: &Key) -> Result<Arc<Slot>, Error> {
        for _ in 0..OPEN {
            let victim = {
                let mut slots = self.0.slots.lock();
                if let Some(slot) = slots.get(key) {
                    return Ok(Arc::clone(slot));
                }
                let own = slots.keys().filter(|other| other.slug == key.slug).count();
                let of_tenant = own >= OPEN_OF_TENANT;
                if !of_tenant && slots.len() < OPEN {
                    let slot = Arc::new(Slot::default());
                    slots.insert(key.clone(), Arc::clone(&slot));
                    return Ok(slot);
                }
                let idle = slots
                    .iter()
                    .filter(|(other, _)| !of_tenant || other.slug == key.slug);
                let idle = idle.filter_map(|(other, slot)| {
                    let open = slot.open.lock();
                    let open = open.as_ref().filter(|open| Arc::strong_count(open) == 1)?;
                    Some((*open.used.lock(), other.clone()))
                });
                idle.min_by_key(|(used, _)| *used)
            };
            match victim {
                Some((_, victim)) => drop(self.close(&victim).await),
                // All are in use: in a moment one may not be.
                None => tokio::time::sleep(MOMENT).await,
            }
        }
        Err(Error::Busy)
    }

    /// Closes a database that nobody uses; true if it is closed.
    async fn close(&self, key: &Key) -> bool {
        let Some(slot) = self.0.slots.lock().get(key).cloned() else {
            return true;
        };
        let _turn = slot.turn.lock().await;
        let open = slot.open.lock().clone();
        if let Some(open) = open {
            // Ours and the slot's.
            if Arc::strong_count(&open) > 2 {
                return false;
            }
            if let Err(error) = self.save(&open).await {
                // It stays on the local disk; a lease that is kept keeps others from an older copy.
                tracing::warn!(database = %key, %error, "a database could not be copied before it was closed");
                if self.0.leases.is_some() && !open.is_closed() {
                    return false;
                }
            }
            drop(open);
            let taken = {
                let mut open = slot.open.lock();
                match open.as_ref() {
                    Some(one) if Arc::strong_count(one) > 1 => return false,
                    _ => open.take(),
                }
            };
            drop_apart(taken).await;
        }
        self.forget(key);
        if let Some(leases) = &self.0.leases {
            leases.release(&key.lease()).await;
        }
        true
    }

    fn forget(&self, key: &Key) {
        self.0.slots.lock().remove(key);
        self.0.known.lock().retain(|_, known| known != key);
        self.0.transactions.end_all(key);
    }

    /// What is to be done without a call.
    async fn tick(&self) {
        if let Some(leases) = &self.0.leases {
            leases.renew().await;
        }
        let ended = self.0.transactions.sweep();
        if !ended.is_empty() {
            drop(spawn_blocking(move || drop(ended)));
        }
        self.0.statements.sweep();
        let open: Vec<_> = {
            let slots = self.0.slots.lock();
            slots
                .iter()
                .filter_map(|(key, slot)| Some((key.clone(), slot.open.lock().clone()?)))
                .collect()
        };
        for (key, open) in open {
            let lost = self
                .0
                .leases
                .as_ref()
                .is_some_and(|leases| !leases.is_held(&key.lease()));
            if lost {
                tracing::warn!(database = %key, "the lease of a database was lost");
                open.set_closed();
                open.cancel_all("another replica has the database now; try again");
                self.forget(&key);
                drop_apart(Some(open)).await;
                continue;
            }
            let idle = open.used.lock().elapsed() > IDLE && self.0.transactions.count(&key) == 0;
            self.care(&open);
            drop(open);
            if idle {
                let duck = self.clone();
                tokio::spawn(async move { duck.close(&key).await });
            }
        }
    }

    /// Gives all databases to the other replicas, each when nobody uses it any more. Ends when that is done.
    pub(super) async fn stop(&self) {
        self.0.stopping.store(true, Relaxed);
        let began = Instant::now();
        loop {
            let keys: Vec<_> = self.0.slots.lock().keys().cloned().collect();
            if keys.is_empty() || began.elapsed() > OPENING {
                return;
            }
            for key in keys {
                self.close(&key).await;
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Closing a database writes its file.
async fn drop_apart(open: Option<Arc<Open>>) {
    if let Some(open) = open {
        let _ = spawn_blocking(move || drop(open)).await;
    }
}
