//! Databases of all tenants over DuckDB in this process: opened on demand, closed when nobody uses them, held by one
//! replica at a time. Knows nothing of gRPC.

mod bring;
mod catalog;
mod copies;
mod databases;
mod disk;
mod entered;
mod error;
mod files;
mod functions;
mod json;
mod limits;
mod nats;
mod open;
mod options;
mod param;
mod queries;
mod registry;
mod results;
mod rows;
mod run;
mod settings;
mod sql;
mod transactions;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use isa_server::Tenant;
use parking_lot::Mutex;
use tokio::{sync::OnceCell, task::spawn_blocking};

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
    disk::Disk,
    entered::Counters,
    limits::{COUNTED, GRACE, IDLE, LOOK, OPEN, OPEN_OF_TENANT, OPENING, SWEEP, TICK},
    nats::{Holder, Leases},
    open::{Alive, Open, Shared},
    registry::{Local, Meta, Registry},
    run::Threads,
    transactions::{Statements, Transactions},
};
use super::names::{self, Key};
use crate::minio::Store;

/// How long a call waits, several times, for a database that nobody uses any more.
const MOMENT: Duration = Duration::from_millis(50);

/// How often a call that comes while its database is closed begins anew.
const TRIES: u32 = 5;

/// How long what runs in a database may take to end before it is opened again: it was told to stop.
const ENDING: Duration = Duration::from_secs(10);

/// Clones are the same one.
#[derive(Clone)]
pub(super) struct Duck(Arc<Inner>);

pub(super) struct Inner {
    root: PathBuf,
    store: Option<Store>,
    registry: Registry,
    leases: Option<Arc<Leases>>,
    disk: Arc<Disk>,
    threads: Threads,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// What DuckDB has open, also what is no longer used but has not ended.
    instances: Mutex<HashMap<Key, Weak<()>>>,
    /// What calls name, by tenant and name or id, of databases that are open.
    known: Mutex<HashMap<(String, String), Key>>,
    counters: Mutex<HashMap<String, Arc<Counters>>>,
    transactions: Arc<Transactions>,
    statements: Statements,
    stopping: AtomicBool,
    version: OnceCell<String>,
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
        let (registry, leases) = match nats {
            Some(endpoint) => {
                let (bucket, leases) = nats::connect(endpoint)?;
                (Registry::Shared(Box::new(bucket)), Some(Arc::new(leases)))
            }
            None => (Registry::Local(Local::new(root.clone())), None),
        };
        let duck = Self(Arc::new(Inner {
            disk: Arc::new(Disk::new(root.clone())),
            root,
            store,
            registry,
            leases,
            threads: Threads::default(),
            slots: Mutex::default(),
            instances: Mutex::default(),
            known: Mutex::default(),
            counters: Mutex::default(),
            transactions: Arc::default(),
            statements: Statements::default(),
            stopping: AtomicBool::new(false),
            version: OnceCell::new(),
        }));
        duck.every(TICK, |duck| async move { duck.tick().await });
        duck.every(LOOK, |duck| async move { duck.look().await });
        duck.every(SWEEP, |duck| async move { duck.sweep().await });
        // Apart from all else: whatever that waits for, leases are renewed.
        duck.every(TICK, |duck| async move {
            if let Some(leases) = &duck.0.leases {
                leases.renew().await;
            }
        });
        Ok(duck)
    }

    /// Does something again and again, as long as there is a service.
    fn every<F>(&self, pause: Duration, work: impl Fn(Self) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let weak = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(inner) = weak.upgrade() {
                work(Self(inner)).await;
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// The version of DuckDB, without the `v`. Not asked before somebody wants to know: DuckDB takes 16 MiB of memory from
    /// its first use on.
    pub(super) async fn version(&self) -> Result<&str, Error> {
        let ask = || async { spawn_blocking(open::version).await.map_err(Error::internal)? };
        self.0.version.get_or_try_init(ask).await.map(String::as_str)
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
        holder: impl Fn() -> String,
    ) -> Result<Where, Error> {
        names::check_database(given)?;
        for _ in 0..TRIES {
            if let Some(entered) = self.open_already(tenant, given) {
                return Ok(Where::Here(entered));
            }
            if let Some(found) = self.open_or_find(tenant, given, gone, &holder).await? {
                return Ok(found);
            }
        }
        Err(Error::Elsewhere("the database was just closed; try again"))
    }

    /// Opens a database that is not open here, or says who has it. `None` if it was closed in the middle of that.
    async fn open_or_find(
        &self,
        tenant: &Tenant,
        given: &str,
        gone: Option<Stale>,
        holder: impl Fn() -> String,
    ) -> Result<Option<Where>, Error> {
        let meta = self.0.registry.find(tenant.slug(), given).await?;
        let key = Key::new(tenant, &meta.id);
        if let Some(leases) = &self.0.leases {
            let revision = match leases.holder(&key.lease()).await? {
                Holder::Us => None,
                Holder::Other(_, revision) if gone.is_some_and(|gone| gone.0 == revision) => Some(revision),
                Holder::Other(holder, revision) => return Ok(Some(Where::With(holder, Stale(revision)))),
                Holder::Nobody if !self.is_given_back(leases, &key, &meta).await? => return Ok(None),
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
        Ok(opened.map_err(Error::internal)??.map(Where::Here))
    }

    /// Whether a database that nobody holds may be taken. The replica that lost it while NATS was away, and has what no copy
    /// has, takes it again as soon as it can: it has a moment to do so.
    async fn is_given_back(&self, leases: &Leases, key: &Key, meta: &Meta) -> Result<bool, Error> {
        if meta.epoch == 0 || meta.closed || self.had_last(key, meta).await {
            return Ok(true);
        }
        tokio::time::sleep(GRACE).await;
        Ok(matches!(leases.holder(&key.lease()).await?, Holder::Nobody))
    }

    /// Takes a database again that this replica lost with writes that no copy has, unless another has it.
    async fn take_again(&self, key: Key) {
        let Some(leases) = &self.0.leases else {
            return;
        };
        while !self.0.stopping.load(Relaxed) {
            match leases.take_again(&key.lease()).await {
                Ok(true) => {
                    let id = key.id.clone();
                    if let Err(error) = self.open_now(key, &id).await {
                        tracing::warn!(database = id, %error, "a database was taken again, and not opened");
                    }
                    return;
                }
                Ok(false) => return,
                // NATS is still away.
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
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
        if !self.is_held(key) {
            return None;
        }
        let slot = self.0.slots.lock().get(key).cloned()?;
        let open = slot.open.lock().clone()?;
        let good = !open.is_closed() && !open.is_broken();
        good.then(|| Entered::new(open, self.counters(&key.slug)))
    }

    async fn open_now(&self, key: Key, given: &str) -> Result<Option<Entered>, Error> {
        let slot = self.slot(&key).await?;
        let _turn = slot.turn.lock().await;
        let counters = self.counters(&key.slug);
        if let Some(entered) = self.entered(&key) {
            counters.hits.fetch_add(1, Relaxed);
            return Ok(Some(entered));
        }
        // Whoever had the turn before may have closed it, and given the lease back.
        if !self.is_current(&key, &slot) {
            return Ok(None);
        }
        if !self.is_held(&key) {
            self.forget(&key, &slot);
            return Ok(None);
        }
        counters.misses.fetch_add(1, Relaxed);
        // One that is broken goes first: a file is open once.
        let old = slot.open.lock().take();
        let broken = || Error::Broken("it failed on another statement".into());
        shut_apart(old, broken).await;
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
                self.forget(&key, &slot);
                if let Some(leases) = &self.0.leases {
                    leases.release(&key.lease()).await;
                }
                return Err(error);
            }
        };
        *slot.open.lock() = Some(Arc::clone(&open));
        Ok(Some(Entered::new(open, counters)))
    }

    /// Whether no other replica can have the database.
    fn is_held(&self, key: &Key) -> bool {
        let leases = self.0.leases.as_ref();
        leases.is_none_or(|leases| leases.is_held(&key.lease()))
    }

    async fn open_file(&self, key: &Key) -> Result<(Arc<Open>, Meta), Error> {
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        let folder = key.folder(&self.0.root);
        let alive = self.alone(key).await?;
        let unsaved = self.bring(key, &meta).await?;
        let (own, settings) = (key.clone(), meta.settings.clone());
        let shared = Shared {
            disk: Arc::clone(&self.0.disk),
            leases: self.0.leases.clone(),
        };
        let open = spawn_blocking(move || Open::at(own, folder, &settings, shared, alive))
            .await
            .map_err(Error::internal)??;
        if unsaved {
            open.wrote();
        }
        Ok((Arc::new(open), meta))
    }

    /// The right to open a database's file, once nothing has it open any more.
    async fn alone(&self, key: &Key) -> Result<Alive, Error> {
        let until = Instant::now() + ENDING;
        loop {
            match self.claim(key) {
                Some(alive) => return Ok(alive),
                None if Instant::now() > until => {
                    return Err(Error::Elsewhere(
                        "the database is opened anew when what ran in it has ended; try again",
                    ));
                }
                None => tokio::time::sleep(MOMENT).await,
            }
        }
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
        if !self.is_current(key, &slot) {
            return true;
        }
        let open = slot.open.lock().clone();
        if let Some(open) = open {
            // Ours and the slot's.
            if Arc::strong_count(&open) > 2 {
                return false;
            }
            let saved = self.save(&open).await;
            if let Err(error) = &saved {
                // It stays on the local disk; a lease that is kept keeps others from an older copy.
                tracing::warn!(database = %key, %error, "a database could not be copied before it was closed");
                if self.0.leases.is_some() && !open.is_closed() {
                    return false;
                }
            }
            let folder = open.folder.clone();
            drop(open);
            let taken = {
                let mut open = slot.open.lock();
                match open.as_ref() {
                    // Somebody came meanwhile, and may have gone again.
                    Some(one) if Arc::strong_count(one) > 1 => return false,
                    Some(one) if saved.is_ok() && one.unsaved().is_some() => return false,
                    _ => open.take(),
                }
            };
            if let Some(open) = taken {
                let _ = spawn_blocking(move || drop(open)).await;
            }
            if saved.is_ok() {
                self.note_saved(key, folder).await;
            }
        }
        if self.forget(key, &slot)
            && let Some(leases) = &self.0.leases
        {
            leases.release(&key.lease()).await;
        }
        true
    }

    fn is_current(&self, key: &Key, slot: &Arc<Slot>) -> bool {
        let slots = self.0.slots.lock();
        slots.get(key).is_some_and(|now| Arc::ptr_eq(now, slot))
    }

    /// Gives up a database's place; false if it has another by now.
    fn forget(&self, key: &Key, slot: &Arc<Slot>) -> bool {
        {
            let mut slots = self.0.slots.lock();
            if !slots.get(key).is_some_and(|now| Arc::ptr_eq(now, slot)) {
                return false;
            }
            slots.remove(key);
        }
        self.0.known.lock().retain(|_, known| known != key);
        self.0.transactions.end_all(key);
        true
    }

    /// What is to be done without a call.
    async fn tick(&self) {
        let ended = self.0.transactions.sweep();
        if !ended.is_empty() {
            drop(spawn_blocking(move || drop(ended)));
        }
        self.0.statements.sweep();
        let open: Vec<_> = {
            let slots = self.0.slots.lock();
            slots
                .iter()
                .filter_map(|(key, slot)| Some((key.clone(), Arc::clone(slot), slot.open.lock().clone()?)))
                .collect()
        };
        for (key, slot, open) in open {
            if !self.is_held(&key) {
                tracing::warn!(database = %key, "the lease of a database was lost");
                self.forget(&key, &slot);
                let unsaved = open.unsaved().is_some();
                shut_apart(Some(open), || Error::Lost).await;
                if unsaved {
                    let duck = self.clone();
                    tokio::spawn(async move { duck.take_again(key).await });
                }
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

    /// Stops what writes, where there is more on disk than there may be.
    async fn look(&self) {
        let disk = Arc::clone(&self.0.disk);
        let Ok(grown) = spawn_blocking(move || disk.measure()).await else {
            return;
        };
        let open: Vec<_> = {
            let slots = self.0.slots.lock();
            slots
                .values()
                .filter_map(|slot| slot.open.lock().clone())
                .collect()
        };
        for open in open.iter().filter(|open| grown.contains(&open.folder)) {
            tracing::warn!(database = %open.key, "what writes is stopped: the disk has what it may have");
            open.cancel_all(disk::full);
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
            futures::future::join_all(keys.iter().map(|key| self.close(key))).await;
            tokio::time::sleep(MOMENT).await;
        }
    }
}

/// Closing a database writes its file.
async fn shut_apart(open: Option<Arc<Open>>, why: impl Fn() -> Error + Send + 'static) {
    if let Some(open) = open {
        let _ = spawn_blocking(move || open.shut(why)).await;
    }
}
