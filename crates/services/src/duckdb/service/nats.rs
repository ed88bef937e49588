//! Key-value buckets of NATS in which replicas share what they know: the lists of databases, and who holds which.

use std::{
    collections::HashMap,
    future::Future,
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{
        self,
        kv::{Config, CreateErrorKind, Operation, Store, UpdateErrorKind},
        stream::StorageType,
    },
};
use futures::FutureExt;
use isa_config::Endpoint;
use isa_proto::Bytes;
use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::timeout};

use super::error::Error;

const DATABASES: &str = "isa-platform-duckdb";
const LEASES: &str = "isa-platform-duckdb-leases";

/// How long NATS may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lease that is not renewed ends after so long, by NATS' clock: another replica may then have the database, which is
/// there for its callers within 15 s if its copy is small.
const LEASE: Duration = Duration::from_secs(12);

/// Its holder stops so long after it began to ask for it last: sooner, whatever the way of the answer took.
const TRUSTED: Duration = Duration::from_secs(10);

/// How soon it is renewed.
pub(super) const RENEW: Duration = Duration::from_secs(3);

/// Begins to connect. Must be called in a runtime.
pub(super) fn connect(endpoint: &Endpoint) -> Result<(Bucket, Leases), String> {
    let mut options = ConnectOptions::new()
        .name("isa-duckdb")
        .retry_on_initial_connect()
        .connection_timeout(PATIENCE);
    if let Some(password) = &endpoint.password {
        let password = password.expose().to_owned();
        options = match &endpoint.username {
            Some(user) => options.user_and_password(user.clone(), password),
            None => options.token(password),
        };
    }
    // With `retry_on_initial_connect` nothing of this waits.
    let client = options
        .connect(endpoint.url.as_str())
        .now_or_never()
        .ok_or("cannot be connected to without waiting")?
        .map_err(|error| error.kind().to_string())?;
    let leases = Leases {
        bucket: Bucket::new(client.clone(), LEASES, LEASE),
        held: Mutex::default(),
        us: Mutex::default(),
    };
    Ok((Bucket::new(client, DATABASES, Duration::ZERO), leases))
}

/// One bucket, made when it is first used.
pub(super) struct Bucket {
    client: Client,
    name: &'static str,
    age: Duration,
    store: OnceCell<Store>,
}

/// What became of a change that is good for one revision alone.
pub(super) enum Change {
    Made(u64),
    /// Another came before.
    Overtaken,
}

impl Bucket {
    fn new(client: Client, name: &'static str, age: Duration) -> Self {
        Self {
            client,
            name,
            age,
            store: OnceCell::new(),
        }
    }

    async fn store(&self) -> Result<&Store, Error> {
        let make = || async {
            let context = jetstream::new(self.client.clone());
            if let Ok(store) = context.get_key_value(self.name).await {
                return Ok(store);
            }
            let config = Config {
                bucket: self.name.to_owned(),
                history: 1,
                max_age: self.age,
                storage: StorageType::File,
                ..Default::default()
            };
            context
                .create_key_value(config)
                .await
                .map_err(|error| Error::Nats(error.into()))
        };
        patiently(self.store.get_or_try_init(make)).await
    }

    /// What is there, and its revision.
    pub(super) async fn get(&self, key: &str) -> Result<Option<(Bytes, u64)>, Error> {
        let store = self.store().await?;
        let entry =
            patiently(async { store.entry(key).await.map_err(|error| Error::Nats(error.into())) }).await?;
        Ok(entry
            .filter(|entry| entry.operation == Operation::Put)
            .map(|entry| (entry.value, entry.revision)))
    }

    /// Writes over `revision`; 0 means that nothing is there.
    pub(super) async fn put(&self, key: &str, value: Vec<u8>, revision: u64) -> Result<Change, Error> {
        let store = self.store().await?;
        let value = Bytes::from(value);
        patiently(async {
            if revision == 0 {
                return match store.create(key, value).await {
                    Ok(revision) => Ok(Change::Made(revision)),
                    Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(Change::Overtaken),
                    Err(error) => Err(Error::Nats(error.into())),
                };
            }
            match store.update(key, value, revision).await {
                Ok(revision) => Ok(Change::Made(revision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(Change::Overtaken),
                Err(error) => Err(Error::Nats(error.into())),
            }
        })
        .await
    }

    async fn delete(&self, key: &str, revision: u64) -> Result<(), Error> {
        let store = self.store().await?;
        let delete = store.delete_expect_revision(key, Some(revision));
        patiently(async { delete.await.map_err(|error| Error::Nats(error.into())) }).await
    }
}

async fn patiently<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Nats("it takes too long".into())),
    }
}

/// Who holds which database. A lease is renewed as long as its holder lives, and ends by itself after.
pub(super) struct Leases {
    bucket: Bucket,
    held: Mutex<HashMap<String, Held>>,
    /// As this process calls itself.
    us: Mutex<Option<String>>,
}

#[derive(Clone)]
struct Held {
    holder: String,
    revision: u64,
    until: Instant,
    asked: Instant,
}

/// Who holds a database.
pub(super) enum Holder {
    Us,
    Other(String, u64),
    Nobody,
}

impl Leases {
    /// Whether this process holds it, without asking.
    pub(super) fn is_held(&self, key: &str) -> bool {
        self.held
            .lock()
            .get(key)
            .is_some_and(|held| held.until > Instant::now())
    }

    pub(super) async fn holder(&self, key: &str) -> Result<Holder, Error> {
        if self.is_held(key) {
            return Ok(Holder::Us);
        }
        Ok(match self.bucket.get(key).await? {
            Some((value, revision)) => Holder::Other(String::from_utf8_lossy(&value).into_owned(), revision),
            None => Holder::Nobody,
        })
    }

    /// Takes the lease in place of `revision`, 0 for nobody's. False if another was faster.
    pub(super) async fn take(&self, key: &str, holder: String, revision: u64) -> Result<bool, Error> {
        let asked = Instant::now();
        let holder = self.us.lock().get_or_insert(holder).clone();
        match self
            .bucket
            .put(key, holder.clone().into_bytes(), revision)
            .await?
        {
            Change::Made(revision) => {
                let held = Held {
                    holder,
                    revision,
                    until: asked + TRUSTED,
                    asked,
                };
                self.held.lock().insert(key.to_owned(), held);
                Ok(true)
            }
            Change::Overtaken => Ok(false),
        }
    }

    /// Takes a lease again that this process had, if nobody has it now. False if another has.
    pub(super) async fn take_again(&self, key: &str) -> Result<bool, Error> {
        let us = self.us.lock().clone().unwrap_or_default();
        match self.holder(key).await? {
            Holder::Us => Ok(true),
            Holder::Nobody => self.take(key, us, 0).await,
            // A renewal that arrived, and whose answer did not.
            Holder::Other(holder, revision) if holder == us => self.take(key, us, revision).await,
            Holder::Other(..) => Ok(false),
        }
    }

    /// Renews what it is time for. Those that could not be, and are over, are no longer held.
    pub(super) async fn renew(&self) {
        let due: Vec<_> = {
            let held = self.held.lock();
            let due = held.iter().filter(|(_, held)| held.asked.elapsed() >= RENEW);
            due.map(|(key, held)| (key.clone(), held.clone())).collect()
        };
        futures::future::join_all(due.into_iter().map(|(key, held)| self.renew_one(key, held))).await;
        self.held.lock().retain(|_, held| held.until > Instant::now());
    }

    async fn renew_one(&self, key: String, old: Held) {
        let asked = Instant::now();
        let renewed = self
            .bucket
            .put(&key, old.holder.clone().into_bytes(), old.revision)
            .await;
        let mut held = self.held.lock();
        match renewed {
            Ok(Change::Made(revision)) => {
                if let Some(held) = held.get_mut(&key) {
                    *held = Held {
                        revision,
                        until: asked + TRUSTED,
                        asked,
                        ..old
                    };
                }
            }
            Ok(Change::Overtaken) => {
                held.remove(&key);
            }
            Err(error) => tracing::warn!(%error, "a lease of a database was not renewed"),
        }
    }

    /// Lets another have it.
    pub(super) async fn release(&self, key: &str) {
        let Some(held) = self.held.lock().remove(key) else {
            return;
        };
        if let Err(error) = self.bucket.delete(key, held.revision).await {
            tracing::info!(%error, "a lease of a database ends by itself");
        }
    }
}
