//! Connections of all tenants: a pool for each, and one bound for all of them together.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, atomic::AtomicU64},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, Pool, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts},
};
use parking_lot::RwLock;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{sleep, timeout},
};

use super::{
    Error,
    connect::{Connector, Login},
    lease::Lease,
    provision::Provisioner,
    session::Session,
};
use crate::postgres::names;

/// Connections of one replica for tenants' statements. Three replicas (two, and one more during a rollout) with their
/// administrative ones stay below the 200 that the platform's PostgreSQL allows.
const MAX_CONNECTIONS: usize = 60;

/// Of these, for one tenant.
pub(super) const MAX_TENANT_CONNECTIONS: usize = 32;

/// For describing tables and counting; for making tenants; for asking whether PostgreSQL answers. Apart, so that a tenant
/// who locks its tables and asks about them holds up neither health nor other tenants' first calls.
const DESCRIBING: usize = 4;
const MAKING: usize = 2;
const ASKING: usize = 1;

/// All connections of one replica.
pub(in crate::postgres) const ALL_CONNECTIONS: usize = MAX_CONNECTIONS + DESCRIBING + MAKING + ASKING;

/// How long a call waits for one of its tenant's connections to become free.
const WAIT: Duration = Duration::from_secs(10);

/// How long a new connection waits for a place among all, before others' idle ones are looked at again; and how often.
const PLACE: Duration = Duration::from_millis(250);
const ATTEMPTS: usize = 20;

/// Idle connections are closed after so long.
const IDLE: Duration = Duration::from_secs(120);

/// How often that is looked at.
const SWEEP: Duration = Duration::from_secs(15);

/// Tenants remembered at once. Others are looked up again.
const REMEMBERED: usize = 1024;

/// What is counted for all tenants.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) queries: AtomicU64,
}

/// Makes connections of one tenant, or of the administrator.
pub(super) struct Manager {
    connector: Arc<Connector>,
    tenant: Option<Tenant>,
}

struct Tenant {
    role: String,
    password: String,
    provisioner: Arc<Provisioner>,
    places: Arc<Semaphore>,
}

impl managed::Manager for Manager {
    // Boxed: it moves in and out of the pool with each call.
    type Type = Box<Session>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Session>, Error> {
        let Some(tenant) = &self.tenant else {
            let opening = self.connector.open(Login::Administrator, None);
            return Box::pin(opening).await.map(Box::new);
        };
        let place = timeout(PLACE, Arc::clone(&tenant.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Error::Busy);
        };
        let path = tenant.provisioner.search_path(&tenant.role);
        let login = Login::Tenant {
            role: &tenant.role,
            password: &tenant.password,
            path: &path,
        };
        // Boxed, as it is rare and large: every call's future would have room for it.
        Box::pin(self.connector.open(login, Some(place)))
            .await
            .map(Box::new)
    }

    async fn recycle(&self, session: &mut Box<Session>, _: &Metrics) -> RecycleResult<Error> {
        if session.is_good() {
            Ok(())
        } else {
            Err(RecycleError::message("closed, or old"))
        }
    }
}

/// The pools of a replica.
pub(super) struct Pools {
    connector: Arc<Connector>,
    describing: Pool<Manager>,
    making: Pool<Manager>,
    asking: Pool<Manager>,
    provisioner: Arc<Provisioner>,
    tenants: RwLock<HashMap<String, Arc<TenantPool>>>,
    places: Arc<Semaphore>,
    pub(super) counters: Arc<Counters>,
}

struct TenantPool {
    role: String,
    pool: Pool<Manager>,
    /// Set once its role and schema are there.
    made: OnceCell<()>,
}

impl Pools {
    /// Must be called in a runtime: a task of its own closes what is idle.
    pub(super) fn new(connector: Connector) -> Result<Arc<Self>, String> {
        let connector = Arc::new(connector);
        let administrator = || Manager {
            connector: Arc::clone(&connector),
            tenant: None,
        };
        let pools = Arc::new(Self {
            describing: pool(administrator(), DESCRIBING)?,
            making: pool(administrator(), MAKING)?,
            asking: pool(administrator(), ASKING)?,
            provisioner: Arc::new(Provisioner::new()),
            tenants: RwLock::default(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            counters: Arc::default(),
            connector: Arc::clone(&connector),
        });
        tokio::spawn(sweep(Arc::downgrade(&pools)));
        Ok(pools)
    }

    /// An administrative session for questions about a tenant's tables.
    pub(super) async fn describing(&self) -> Result<Lease, Error> {
        self.lease(&self.describing).await
    }

    /// An administrative session for the question whether PostgreSQL answers.
    pub(super) async fn asking(&self) -> Result<Lease, Error> {
        self.lease(&self.asking).await
    }

    async fn lease(&self, pool: &Pool<Manager>) -> Result<Lease, Error> {
        let session = pool.get().await.map_err(failed)?;
        Ok(Lease::new(session, Arc::clone(&self.counters)))
    }

    /// A session of the tenant, who is made if need be.
    pub(super) async fn tenant(&self, slug: &str) -> Result<Lease, Error> {
        let tenant = self.find(slug)?;
        tenant
            .made
            .get_or_try_init(|| Box::pin(self.make(&tenant, false)))
            .await?;
        let mut made_again = false;
        let mut attempts = 0;
        loop {
            self.make_room(&tenant);
            match self.lease(&tenant.pool).await {
                Ok(lease) => return Ok(lease),
                // The role is gone with the whole database, or has another password: the tenant may have set one.
                Err(error) if error.is_login_refused() && !made_again => {
                    made_again = true;
                    Box::pin(self.make(&tenant, true)).await?;
                }
                Err(Error::Busy) if attempts < ATTEMPTS && self.places.available_permits() == 0 => {
                    attempts += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn find(&self, slug: &str) -> Result<Arc<TenantPool>, Error> {
        if let Some(tenant) = self.tenants.read().get(slug) {
            return Ok(Arc::clone(tenant));
        }
        let role = names::role(slug);
        let manager = Manager {
            connector: Arc::clone(&self.connector),
            tenant: Some(Tenant {
                password: names::password(self.connector.secret(), &role),
                role: role.clone(),
                provisioner: Arc::clone(&self.provisioner),
                places: Arc::clone(&self.places),
            }),
        };
        let new = Arc::new(TenantPool {
            role,
            pool: pool(manager, MAX_TENANT_CONNECTIONS).map_err(Error::Internal)?,
            made: OnceCell::new(),
        });
        let mut tenants = self.tenants.write();
        if tenants.len() >= REMEMBERED {
            tenants.retain(|_, tenant| tenant.pool.status().size > 0);
        }
        Ok(Arc::clone(tenants.entry(slug.to_owned()).or_insert(new)))
    }

    async fn make(&self, tenant: &TenantPool, again: bool) -> Result<(), Error> {
        let session = self.making.get().await.map_err(failed)?;
        let password = names::password(self.connector.secret(), &tenant.role);
        self.provisioner
            .make(&session.client, &tenant.role, &password, again)
            .await
    }

    /// When every place is taken and the tenant has no idle connection, those of another are closed.
    fn make_room(&self, tenant: &TenantPool) {
        if self.places.available_permits() > 0 || tenant.pool.status().available > 0 {
            return;
        }
        for other in self.tenants.read().values() {
            if !other.pool.retain(|_, _| false).removed.is_empty() {
                return;
            }
        }
    }

    /// Open and idle connections.
    pub(super) fn connections(&self) -> (usize, usize) {
        let tenants = self.tenants.read();
        let mut all: Vec<Pool<Manager>> = tenants.values().map(|tenant| tenant.pool.clone()).collect();
        drop(tenants);
        all.extend([&self.describing, &self.making, &self.asking].map(Pool::clone));
        all.iter().fold((0, 0), |(open, idle), pool| {
            let status = pool.status();
            (open + status.size, idle + status.available)
        })
    }
}

fn pool(manager: Manager, most: usize) -> Result<Pool<Manager>, String> {
    let timeouts = Timeouts {
        wait: Some(WAIT),
        // The manager bounds what it does.
        create: None,
        recycle: None,
    };
    Pool::builder(manager)
        .max_size(most)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        // The one that was used last is the warmest, and the others may be closed.
        .queue_mode(managed::QueueMode::Lifo)
        .build()
        .map_err(|error| error.to_string())
}

fn failed(error: PoolError<Error>) -> Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Timeout(TimeoutType::Wait) => Error::Busy,
        PoolError::Timeout(_) => Error::Slow,
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
            Error::Internal(error.to_string())
        }
    }
}

async fn sweep(pools: Weak<Pools>) {
    loop {
        sleep(SWEEP).await;
        let Some(pools) = pools.upgrade() else {
            return;
        };
        let all: Vec<Arc<TenantPool>> = pools.tenants.read().values().cloned().collect();
        for tenant in all {
            tenant.pool.retain(|_, metrics| metrics.last_used() < IDLE);
        }
    }
}
