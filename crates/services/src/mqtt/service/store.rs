//! What outlives a restart: devices, webhooks, figures and what waits to be delivered, in NATS.
//!
//! Why JetStream's key-value buckets, and not tables of PostgreSQL: they are as durable (NATS runs with `sync_interval:
//! always`, an acknowledged write is on the disk); each key has a revision, so that replicas change a record only as they
//! have read it; and a bucket can be watched, so that every replica hears of a change and answers from memory. The queue
//! of the webhooks is a stream beside them. With tables, replicas would have to ask for every message of a device.

use std::{future::Future, time::Duration};

use async_nats::{
    Client, ConnectOptions,
    connection::State,
    jetstream::{
        self,
        kv::{self, CreateErrorKind, Operation, UpdateErrorKind},
        stream::StorageType,
    },
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use isa_config::Endpoint;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

use super::Error;

/// Longest that NATS may take where no call sets a limit.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often a record that others change too is tried.
const ATTEMPTS: usize = 32;

/// Records that are read at once.
const AT_ONCE: usize = 16;

/// How long an attempt to connect may take, and how long to wait between attempts at most.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A bucket, made when it is first used.
pub(super) struct Bucket {
    name: &'static str,
    max_age: Duration,
    max_bytes: i64,
    cell: OnceCell<kv::Store>,
}

impl Bucket {
    const fn new(name: &'static str, max_age: Duration, max_bytes: i64) -> Self {
        Self {
            name,
            max_age,
            max_bytes,
            cell: OnceCell::const_new(),
        }
    }
}

/// NATS, as this service uses it.
pub(super) struct Store {
    client: Client,
    pub(super) jetstream: jetstream::Context,
    pub(super) devices: Bucket,
    pub(super) webhooks: Bucket,
    /// What each replica has counted, for a little more than a day.
    pub(super) replicas: Bucket,
    /// What devices have sent, for a little more than 7 days.
    pub(super) metrics: Bucket,
}

/// A record as it stands.
pub(super) struct Stood<T> {
    pub(super) value: T,
    pub(super) revision: u64,
}

impl Store {
    /// Begins to connect. Must be called in a runtime.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self, String> {
        let mut options = ConnectOptions::new()
            .name("isa mqtt")
            .retry_on_initial_connect()
            .ping_interval(Duration::from_secs(10))
            .connection_timeout(CONNECT_TIMEOUT)
            .reconnect_delay_callback(|attempts| {
                let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
                Duration::from_millis(10)
                    .saturating_mul(1 << exponent)
                    .min(MAX_RECONNECT_DELAY)
            });
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
        let hour = Duration::from_secs(60 * 60);
        Ok(Self {
            jetstream: jetstream::new(client.clone()),
            client,
            // NATS sets this much aside, of the 10 GB that it has for all tenants' streams.
            devices: Bucket::new("isa-mqtt-devices", Duration::ZERO, 256 << 20),
            webhooks: Bucket::new("isa-mqtt-webhooks", Duration::ZERO, 64 << 20),
            replicas: Bucket::new("isa-mqtt-replicas", hour * 48, 64 << 20),
            metrics: Bucket::new("isa-mqtt-metrics", hour * 24 * 8, 512 << 20),
        })
    }

    /// Fails at once while there is no connection: the client would keep what it is given until there is one.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.client.connection_state() == State::Connected {
            Ok(())
        } else {
            Err(Error::store("not connected"))
        }
    }

    pub(super) async fn bucket(&self, bucket: &Bucket) -> Result<kv::Store, Error> {
        self.check()?;
        let store = bucket
            .cell
            .get_or_try_init(|| async {
                let config = kv::Config {
                    bucket: bucket.name.to_owned(),
                    history: 1,
                    max_age: bucket.max_age,
                    max_bytes: bucket.max_bytes,
                    storage: StorageType::File,
                    ..Default::default()
                };
                let made = self.jetstream.create_key_value(config).await;
                match made {
                    Ok(store) => Ok(store),
                    // There, as another version of this service or an operator made it.
                    Err(_) => self
                        .jetstream
                        .get_key_value(bucket.name)
                        .await
                        .map_err(Error::store),
                }
            })
            .await?;
        Ok(store.clone())
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        bucket: &Bucket,
        key: &str,
    ) -> Result<Option<Stood<T>>, Error> {
        let entry = self
            .bucket(bucket)
            .await?
            .entry(key)
            .await
            .map_err(Error::store)?;
        entry
            .filter(|entry| entry.operation == Operation::Put)
            .map(|entry| {
                Ok(Stood {
                    value: parse(&entry.value)?,
                    revision: entry.revision,
                })
            })
            .transpose()
    }

    /// The revision; `None` if the key is taken.
    pub(super) async fn create(
        &self,
        bucket: &Bucket,
        key: &str,
        value: &impl Serialize,
    ) -> Result<Option<u64>, Error> {
        let bucket = self.bucket(bucket).await?;
        match bucket.create(key, json(value)?).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(Error::store(error)),
        }
    }

    pub(super) async fn put(&self, bucket: &Bucket, key: &str, value: &impl Serialize) -> Result<(), Error> {
        let bucket = self.bucket(bucket).await?;
        bucket
            .put(key, json(value)?)
            .await
            .map(drop)
            .map_err(Error::store)
    }

    /// Changes a record as it stands; `None` if there is none.
    pub(super) async fn change<T: Serialize + DeserializeOwned>(
        &self,
        bucket: &Bucket,
        key: &str,
        mut change: impl FnMut(&mut T) -> Result<(), Error>,
    ) -> Result<Option<Stood<T>>, Error> {
        let store = self.bucket(bucket).await?;
        for _ in 0..ATTEMPTS {
            let Some(mut stood) = self.get::<T>(bucket, key).await? else {
                return Ok(None);
            };
            change(&mut stood.value)?;
            match store.update(key, json(&stood.value)?, stood.revision).await {
                Ok(revision) => {
                    stood.revision = revision;
                    return Ok(Some(stood));
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(Error::store(error)),
            }
        }
        Err(Error::Conflict(
            "others changed it all the while; try again".into(),
        ))
    }

    /// Removes a record as it stands. The revision of the removal; `None` if there is none.
    pub(super) async fn remove(&self, bucket: &Bucket, key: &str) -> Result<Option<u64>, Error> {
        let store = self.bucket(bucket).await?;
        for _ in 0..ATTEMPTS {
            let entry = store.entry(key).await.map_err(Error::store)?;
            let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) else {
                return Ok(None);
            };
            if store
                .delete_expect_revision(key, Some(entry.revision))
                .await
                .is_ok()
            {
                return Ok(Some(entry.revision + 1));
            }
            self.check()?;
        }
        Err(Error::Conflict(
            "others changed it all the while; try again".into(),
        ))
    }

    /// The records whose keys fit a filter.
    pub(super) async fn find<T: DeserializeOwned + Send>(
        &self,
        bucket: &Bucket,
        filter: &str,
    ) -> Result<Vec<(String, T)>, Error> {
        let store = self.bucket(bucket).await?;
        let subjects = format!("{}{filter}", store.prefix);
        let subjects = store.stream.info_with_subjects(subjects).await;
        let subjects: Vec<(String, usize)> = subjects
            .map_err(Error::store)?
            .try_collect()
            .await
            .map_err(Error::store)?;
        let keys = subjects
            .into_iter()
            .filter_map(|(subject, _)| subject.strip_prefix(&store.prefix).map(str::to_owned));
        let records = futures::stream::iter(keys)
            .map(|key| async move {
                let stood = self.get::<T>(bucket, &key).await?;
                Ok::<_, Error>(stood.map(|stood| (key, stood.value)))
            })
            .buffer_unordered(AT_ONCE);
        records
            .try_filter_map(|record| async move { Ok(record) })
            .try_collect()
            .await
    }
}

pub(super) fn parse<T: DeserializeOwned>(value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| Error::unexpected(format_args!("a record: {error}")))
}

fn json(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(Error::unexpected)
}

/// The future's own result, or that there was no time.
pub(crate) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, future)
        .await
        .unwrap_or(Err(Error::TimedOut))
}
