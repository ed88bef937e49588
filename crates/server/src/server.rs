//! The builder through which every service is mounted, and the life of what it builds.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic_health::server::HealthReporter;

use crate::{
    Readiness, ServerError, ServiceKind, Upstream, admin, beside,
    connection::Door,
    consul::{Consul, Registration},
    front::{Dispatch, Front},
    limits::Limiter,
    metrics,
    shared::{Shared, check_address},
    tls,
};
use isa_config::ServerConfig;

/// Time to write what is left to be written, once everything was cut off.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// An implementation of a service, ready to be mounted. Made by `mount` of its module in [`crate::api`].
pub struct Mount {
    kind: ServiceKind,
    /// Given the largest message in bytes.
    build: Box<dyn FnOnce(usize) -> Dispatch + Send>,
}

impl Mount {
    pub(crate) fn new(kind: ServiceKind, build: impl FnOnce(usize) -> Dispatch + Send + 'static) -> Self {
        Self {
            kind,
            build: Box::new(build),
        }
    }

    pub fn kind(&self) -> ServiceKind {
        self.kind
    }
}

/// Services that are to be served together.
pub struct Server {
    config: ServerConfig,
    shared: Arc<Shared>,
    tls: Arc<ArcSwapOption<rustls::ServerConfig>>,
    services: Vec<(Front, TcpListener, HealthReporter)>,
}

impl Server {
    /// Reads keys and certificates, and starts to keep the record of changes. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// A file cannot be read, or nobody could call.
    pub fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        metrics::install();
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
        Ok(Self {
            config: config.clone(),
            shared: Arc::new(Shared::new(config)?),
            tls: Arc::new(ArcSwapOption::new(tls)),
            services: Vec::new(),
        })
    }

    /// What keeps calls from being answered; see [`Readiness::hold`].
    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// Adds a service on a listener of its own, with everything around it.
    ///
    /// # Errors
    /// The server is open and the listener is not on a loopback address.
    pub fn add(
        &mut self,
        mount: Mount,
        upstream: Upstream,
        listener: std::net::TcpListener,
    ) -> Result<(), ServerError> {
        let kind = mount.kind;
        let failed = |e| ServerError::Listen(kind, e);
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        check_address(&self.config, address)?;
        self.shared.replicas.listens(kind, address);

        let (reporter, beside) = beside::beside(kind)?;
        let front = Front::new(
            Arc::clone(&self.shared),
            kind,
            upstream,
            Arc::new(Limiter::new(self.config.limits.clone())),
            (mount.build)(self.shared.max_message),
            beside,
        );
        self.services.push((front, listener, reporter));
        Ok(())
    }

    /// Serves what was added.
    ///
    /// # Errors
    /// Nothing was added, or the address for metrics is taken.
    pub async fn start(self) -> Result<Running, ServerError> {
        if self.services.is_empty() {
            return Err(ServerError::Nothing);
        }
        let (connections, force) = (TaskTracker::new(), CancellationToken::new());
        let mut doors = JoinSet::new();
        let mut background = JoinSet::new();
        let mut addresses = BTreeMap::new();
        let (mut limiters, mut upstreams) = (Vec::new(), Vec::new());
        let mut registrations = JoinSet::new();

        let mut admin_address = None;
        if let Some(address) = self.config.admin {
            let failed = |e| ServerError::Admin(address, e);
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            admin_address = Some(listener.local_addr().map_err(failed)?);
            background.spawn(admin::serve(listener, Arc::clone(&self.shared)));
        }
        background.spawn(metrics::keep_folding());
        let consul = self.config.consul.as_ref().map(Consul::new);
        for (front, listener, reporter) in self.services {
            let kind = front.kind;
            let address = listener.local_addr().map_err(|e| ServerError::Listen(kind, e))?;
            addresses.insert(kind, address);
            limiters.push(Arc::clone(&front.limiter));
            upstreams.push(front.upstream.clone());
            let front = Arc::new(front);
            beside::set_health(&front, &reporter).await;
            background.spawn(beside::report_health(Arc::clone(&front), reporter));
            if let Some(consul) = &consul {
                let advertised = self.shared.replicas.address(kind).unwrap_or(address);
                for it in Registration::all(kind, advertised, self.config.tls.is_some()) {
                    registrations.spawn(consul.clone().keep_registered(it, Arc::clone(&self.shared)));
                }
            }
            let door = Door {
                front,
                listener,
                tls: Arc::clone(&self.tls),
                transport: self.config.transport.clone(),
                connections: connections.clone(),
                force: force.clone(),
            };
            doors.spawn(door.run());
        }
        Ok(Running {
            config: self.config,
            shared: self.shared,
            tls: self.tls,
            limiters,
            upstreams,
            addresses,
            admin_address,
            connections,
            force,
            doors,
            background,
            registrations,
        })
    }
}

/// Services that are served. Dropped without [`Running::drain`], everything is cut off.
pub struct Running {
    config: ServerConfig,
    shared: Arc<Shared>,
    tls: Arc<ArcSwapOption<rustls::ServerConfig>>,
    limiters: Vec<Arc<Limiter>>,
    upstreams: Vec<Upstream>,
    addresses: BTreeMap<ServiceKind, SocketAddr>,
    admin_address: Option<SocketAddr>,
    connections: TaskTracker,
    force: CancellationToken,
    doors: JoinSet<()>,
    background: JoinSet<()>,
    registrations: JoinSet<()>,
}

impl Running {
    /// Where each service listens.
    pub fn addresses(&self) -> &BTreeMap<ServiceKind, SocketAddr> {
        &self.addresses
    }

    /// Where metrics and probes are answered.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    pub fn readiness(&self) -> &Readiness {
        &self.shared.readiness
    }

    /// Takes new limits, keys, API keys and certificates, without touching connections or running calls.
    ///
    /// # Errors
    /// A file cannot be read, or what cannot change has changed; then nothing is taken.
    pub fn reload(&mut self, config: &ServerConfig) -> Result<(), ServerError> {
        let fixed = [
            ("server.auth.mode", self.config.auth.mode != config.auth.mode),
            ("server.tls", self.config.tls.is_some() != config.tls.is_some()),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, changed)| *changed) {
            return Err(ServerError::Fixed(key));
        }
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
        self.shared.auth.reload(&config.auth)?;
        self.tls.store(tls);
        for limiter in &self.limiters {
            limiter.reload(config.limits.clone());
        }
        self.config.limits = config.limits.clone();
        self.config.auth = config.auth.clone();
        self.config.tls.clone_from(&config.tls);
        Ok(())
    }

    /// Stops: leaves Consul and says so in health, goes on for `drain.linger_seconds`, accepts nothing more, lets running
    /// calls end for `drain.timeout_seconds`, and cuts off what is left. Whether nothing was.
    pub async fn drain(mut self) -> bool {
        self.shared.stopping.cancel();
        let linger = Duration::from_secs(self.config.drain.linger_seconds);
        let left = async { while self.registrations.join_next().await.is_some() {} };
        // A Consul that hangs does not hold us up for longer than its own timeout.
        let (_, ()) = tokio::join!(timeout(Duration::from_secs(4), left), tokio::time::sleep(linger));
        self.shared.closed.cancel();
        while self.doors.join_next().await.is_some() {}
        self.connections.close();
        let time = Duration::from_secs(self.config.drain.timeout_seconds);
        self.shared.leaving.close();
        let (clean, left) = tokio::join!(
            timeout(time, self.connections.wait()),
            timeout(time, self.shared.leaving.wait())
        );
        if left.is_err() {
            tracing::warn!("a service was not done with its last work at the end of the drain");
        }
        let clean = clean.is_ok();
        self.shared.cut_off.cancel();
        if !clean {
            tracing::warn!("calls were still running at the end of the drain, and were cut off");
            if timeout(LAST_WORDS, self.connections.wait()).await.is_err() {
                self.force.cancel();
                self.connections.wait().await;
            }
        }
        self.shared.audit.flush().await;
        self.background.shutdown().await;
        self.upstreams.iter().for_each(Upstream::leave);
        clean
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.closed.cancel();
        self.shared.cut_off.cancel();
        self.force.cancel();
    }
}
