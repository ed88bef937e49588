//! Databases: made, listed, described, removed, counted.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use isa_server::Tenant;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{
    Duck,
    copies::now,
    entered::Entered,
    error::{Error, invalid},
    limits::{MEMORY, NOTES, NOTES_BYTES, THREADS},
    open::Open,
    registry::Meta,
    run::{On, run},
    settings::{Settings, check_settings},
};
use crate::duckdb::names::{self, Key};

/// How long the end of what runs in a database is waited for that is deleted by force.
const FORCE: Duration = Duration::from_secs(10);

/// How long a question takes that the service itself asks.
const OWN: Duration = Duration::from_secs(30);

/// A database to make.
#[derive(Debug, Clone, Default)]
pub(in crate::duckdb) struct NewDatabase {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) user: String,
    pub(in crate::duckdb) organization: String,
    pub(in crate::duckdb) bucket: String,
    pub(in crate::duckdb) notes: BTreeMap<String, String>,
    pub(in crate::duckdb) settings: Settings,
}

/// A database as it is described.
#[derive(Debug)]
pub(in crate::duckdb) struct Summary {
    pub(in crate::duckdb) meta: Meta,
    pub(in crate::duckdb) tables: u64,
    pub(in crate::duckdb) bytes: u64,
    /// Microseconds since 1970.
    pub(in crate::duckdb) accessed: i64,
}

/// Figures of a database or a tenant.
#[derive(Debug, Default)]
pub(in crate::duckdb) struct Metrics {
    pub(in crate::duckdb) queries: u64,
    pub(in crate::duckdb) active: u64,
    pub(in crate::duckdb) milliseconds: f64,
    pub(in crate::duckdb) hits: u64,
    pub(in crate::duckdb) misses: u64,
    pub(in crate::duckdb) open: u64,
    pub(in crate::duckdb) memory: u64,
    pub(in crate::duckdb) spilled: u64,
    pub(in crate::duckdb) memory_limit: u64,
    pub(in crate::duckdb) threads: u64,
}

impl Duck {
    /// Makes a database. Its id.
    pub(in crate::duckdb) async fn create(&self, tenant: &Tenant, new: NewDatabase) -> Result<String, Error> {
        names::check_name("database_name", &new.name)?;
        check_settings(&new.settings)?;
        let bytes: usize = new.notes.iter().map(|(key, value)| key.len() + value.len()).sum();
        if new.notes.len() > NOTES || bytes > NOTES_BYTES {
            return Err(invalid(
                "metadata",
                format_args!("may have {NOTES} entries of {NOTES_BYTES} bytes in all"),
            ));
        }
        if !new.bucket.is_empty() {
            let bucket = names::bucket(tenant.slug(), &new.bucket)?;
            self.store()?.bucket_info(&bucket).await?;
        }
        self.0.disk.check()?;
        let id = names::new_id();
        self.add(tenant, id.clone(), new, 0).await?;
        Ok(id)
    }

    pub(super) async fn add(
        &self,
        tenant: &Tenant,
        id: String,
        new: NewDatabase,
        bytes: u64,
    ) -> Result<(), Error> {
        let created = now();
        let meta = Meta {
            id,
            name: new.name,
            user: new.user,
            organization: new.organization,
            bucket: new.bucket,
            created,
            accessed: created,
            notes: new.notes,
            settings: new.settings,
            bytes,
            ..Meta::default()
        };
        self.0.registry.add(tenant.slug(), meta).await
    }

    /// The databases whose name contains `filter`, from the one at `first`, and how many there are in all.
    pub(in crate::duckdb) async fn list(
        &self,
        tenant: &Tenant,
        filter: &str,
        first: usize,
        most: usize,
    ) -> Result<(Vec<Summary>, usize), Error> {
        let all = self.0.registry.list(tenant.slug()).await?;
        let filter = filter.to_lowercase();
        let found: Vec<_> = all
            .iter()
            .filter(|meta| meta.name.to_lowercase().contains(&filter))
            .collect();
        let count = found.len();
        let mut page = Vec::new();
        for meta in found.into_iter().skip(first).take(most) {
            let key = Key::new(tenant, &meta.id);
            page.push(match self.entered(&key) {
                Some(entered) => self.summary(&entered, meta.clone()).await?,
                // As it was when it was closed, or last copied where it is open.
                None => Summary {
                    tables: meta.tables,
                    bytes: meta.bytes,
                    accessed: meta.accessed,
                    meta: meta.clone(),
                },
            });
        }
        Ok((page, count))
    }

    pub(in crate::duckdb) async fn describe(&self, entered: &Entered) -> Result<Summary, Error> {
        let key = &entered.open().key;
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        self.summary(entered, meta).await
    }

    async fn summary(&self, entered: &Entered, meta: Meta) -> Result<Summary, Error> {
        let open = Arc::clone(entered.open());
        let (tables, bytes) = spawn_blocking(move || open.summary())
            .await
            .map_err(Error::internal)??;
        Ok(Summary {
            meta,
            tables,
            bytes,
            accessed: now(),
        })
    }

    /// Removes the database, with its copies if asked to.
    pub(in crate::duckdb) async fn delete(
        &self,
        entered: Entered,
        copies: bool,
        force: bool,
    ) -> Result<(), Error> {
        let open = Arc::clone(entered.open());
        drop(entered);
        let key = open.key.clone();
        let busy = || open.active() + self.0.transactions.count(&key);
        if !force && busy() > 0 {
            return Err(Error::Precondition(
                "the database is in use by queries or transactions; wait, or set `force`".into(),
            ));
        }
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        // From here on nothing begins in it, and nobody finds it.
        self.0.registry.remove(&key.slug, &key.id).await?;
        open.set_closed();
        let until = Instant::now() + FORCE;
        while busy() > 0 && Instant::now() < until {
            open.cancel_all(|| Error::Cancelled("the database was deleted"));
            self.0.transactions.end_all(&key);
            sleep(Duration::from_millis(10)).await;
        }
        let slot = self.0.slots.lock().get(&key).cloned();
        if let Some(slot) = slot {
            self.forget(&key, &slot);
        }
        self.0.statements.forget_all(&key);
        let folder = open.folder.clone();
        let closing = spawn_blocking(move || {
            open.shut(|| Error::Cancelled("the database was deleted"));
            fs::remove_dir_all(folder)
        });
        if let Err(error) = closing.await.map_err(Error::internal)? {
            tracing::warn!(database = %key, %error, "the folder of a deleted database stays");
        }
        if copies {
            self.remove_copy(&key, &meta).await?;
        }
        if let Some(leases) = &self.0.leases {
            leases.release(&key.lease()).await;
        }
        Ok(())
    }

    /// Asks DuckDB for something.
    pub(in crate::duckdb) async fn ping(&self, entered: &Entered) -> Result<(), Error> {
        run(&self.0.threads, entered, On::Own, OWN, |connection| {
            Ok(connection.execute_batch("SELECT 1")?)
        })
        .await
    }

    /// Figures of one database.
    pub(in crate::duckdb) async fn database_metrics(&self, entered: &Entered) -> Result<Metrics, Error> {
        let open = entered.open();
        let figures = &open.figures;
        let counters = self.counters(&open.key.slug);
        let (memory, spilled) = memory(vec![Arc::clone(open)]).await?;
        Ok(Metrics {
            queries: figures.queries.load(Relaxed),
            active: open.active() as u64,
            milliseconds: average(figures.queries.load(Relaxed), figures.microseconds.load(Relaxed)),
            hits: counters.hits.load(Relaxed),
            misses: counters.misses.load(Relaxed),
            open: 1,
            memory,
            spilled,
            memory_limit: MEMORY,
            threads: THREADS,
        })
    }

    /// Figures of all that a tenant has open; of all tenants, if none is named.
    pub(in crate::duckdb) async fn metrics(&self, tenant: Option<&Tenant>) -> Result<Metrics, Error> {
        let open: Vec<Arc<Open>> = {
            let slots = self.0.slots.lock();
            let own = slots
                .iter()
                .filter(|(key, _)| tenant.is_none_or(|tenant| tenant.slug() == key.slug));
            own.filter_map(|(_, slot)| slot.open.lock().clone()).collect()
        };
        let mut metrics = Metrics {
            open: open.len() as u64,
            active: open.iter().map(|open| open.active() as u64).sum(),
            memory_limit: MEMORY * open.len() as u64,
            threads: THREADS * open.len() as u64,
            ..Metrics::default()
        };
        if let Some(tenant) = tenant {
            let counters = self.counters(tenant.slug());
            metrics.queries = counters.queries.load(Relaxed);
            metrics.milliseconds = average(metrics.queries, counters.microseconds.load(Relaxed));
            metrics.hits = counters.hits.load(Relaxed);
            metrics.misses = counters.misses.load(Relaxed);
        }
        (metrics.memory, metrics.spilled) = memory(open).await?;
        Ok(metrics)
    }
}

async fn memory(open: Vec<Arc<Open>>) -> Result<(u64, u64), Error> {
    let sum = move || {
        let mut sum = (0, 0);
        for open in open {
            let (memory, spilled) = open.memory()?;
            sum = (sum.0 + memory, sum.1 + spilled);
        }
        Ok(sum)
    };
    spawn_blocking(sum).await.map_err(Error::internal)?
}

fn average(queries: u64, microseconds: u64) -> f64 {
    if queries == 0 {
        return 0.0;
    }
    microseconds as f64 / queries as f64 / 1000.0
}
