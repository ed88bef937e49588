//! The running platform: `Platform::start` brings everything up, `shutdown` takes it down.

use std::{
    collections::BTreeMap,
    io,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use isa_config::{Config, Endpoints, EngineKind, ServiceKind};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    control, engines,
    locate::{Located, locate},
    ports::{self, Assigned, Block, PortsBusy},
    process::{self, Spawner},
    state::{self, Lock, StateDir},
    status::{EngineStatus, PlatformStatus, ServiceStatus, State},
    supervisor::{Order, Role, Supervisor, Unit},
};

/// Why the platform could not be started. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Ports(#[from] PortsBusy),
    #[error("cannot {what}: {source}")]
    Io { what: &'static str, source: io::Error },
}

/// What all tasks of a running platform share.
pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) state: StateDir,
    pub(crate) spawner: Spawner,
    pub(crate) endpoints: Endpoints,
    pub(crate) engines: watch::Sender<BTreeMap<EngineKind, EngineStatus>>,
    services: watch::Sender<BTreeMap<ServiceKind, ServiceStatus>>,
    pub(crate) tasks: TaskTracker,
    orders: BTreeMap<EngineKind, mpsc::Sender<Order>>,
    started: Instant,
    started_at: DateTime<Utc>,
}

/// A running platform. Dropping it kills the engines; `shutdown` stops them in order.
pub struct Platform {
    inner: Arc<Inner>,
    listeners: BTreeMap<ServiceKind, TcpListener>,
    stop: CancellationToken,
    _block: Option<Block>,
    _lock: Lock,
}

impl Platform {
    /// Takes the state folder, finds the engines and their ports, and starts them all. Returns when the tasks run;
    /// `changes` tells how far they are. Ports of `config.services` are held for whoever serves these, see `listeners`.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let started = Instant::now();
        let io = |what| move |source| Error::Io { what, source };
        let state = StateDir::new(&config).map_err(io("find the state folder"))?;
        state.create(&config)?;
        let lock = state.lock()?;
        let credentials = state.credentials()?;
        process::raise_file_limit();

        let kinds = EngineKind::ALL
            .into_iter()
            .filter(|&kind| config.engine(kind).enabled);
        let located: Vec<_> = kinds.map(|kind| (kind, locate(&config, kind))).collect();
        let processes: Vec<_> = located
            .iter()
            .filter(|(_, l)| matches!(l, Located::Program(_)))
            .map(|(k, _)| *k)
            .collect();
        let can_be_had = |kind: EngineKind| {
            let found = located.iter().find(|(k, _)| *k == kind);
            found.is_some_and(|(_, located)| !matches!(located, Located::Missing { .. }))
        };
        let mut services = config.services.clone().unwrap_or_default();
        services.retain(|service| can_be_had(service.engine()));
        let Assigned {
            engines: mut ports,
            block,
            services: listeners,
        } = ports::assign(&config, &processes, &services)?;

        let (mut units, mut statuses, mut endpoints) = (Vec::new(), BTreeMap::new(), Endpoints::new());
        for (kind, located) in located {
            let ports = ports.remove(&kind).unwrap_or_default();
            let credential = credentials.get(&kind).cloned();
            let mut status = EngineStatus::new(kind, config.implementation(kind));
            status.ports = ports
                .iter()
                .map(|(&name, &number)| (name.to_owned(), number))
                .collect();
            status.port = kind
                .ports()
                .first()
                .and_then(|spec| ports.get(spec.name))
                .copied();
            let own = engines::endpoint(kind, config.bind, &ports, credential.as_ref(), &state);
            let (role, endpoint) = match located {
                Located::External(endpoint) => {
                    status.source = Some("url".into());
                    status.port = url::Url::parse(&endpoint.url).ok().and_then(|u| u.port());
                    (Role::Served, endpoint)
                }
                Located::BuiltIn { version } => {
                    status.source = Some("built in".into());
                    status.version = Some(version);
                    (Role::Served, own)
                }
                Located::Program(program) => {
                    status.source = Some(program.source.to_string());
                    status.version = Some(program.version.clone());
                    status.implementation = program.implementation.clone();
                    (
                        Role::Process {
                            program,
                            ports,
                            credential,
                        },
                        own,
                    )
                }
                Located::Missing { why, how } => {
                    status.status = State::Missing;
                    status.message = Some(format!("{why}; {how}"));
                    statuses.insert(kind, status);
                    units.push(Unit {
                        kind,
                        role: Role::Missing,
                        endpoint: own,
                    });
                    continue;
                }
            };
            status.url = Some(endpoint.url.clone());
            endpoints.insert(kind, endpoint.clone());
            statuses.insert(kind, status);
            units.push(Unit { kind, role, endpoint });
        }
        state.write_endpoints(&endpoints)?;
        let services: BTreeMap<_, _> = listeners
            .iter()
            .filter_map(|(&kind, listener)| Some((kind, listener.local_addr().ok()?)))
            .collect();
        state.write_services(&services)?;
        let services = services.into_iter().map(|(name, address)| {
            let status = ServiceStatus {
                name,
                status: State::Waiting,
                address: Some(address),
                ready_ms: None,
                message: None,
            };
            (name, status)
        });
        let listener =
            control::listen(&state).map_err(io("listen on the control socket of the state folder"))?;
        let spawner = Spawner::start().map_err(io("start a thread"))?;

        let (orders, receivers): (BTreeMap<_, _>, Vec<_>) = units
            .iter()
            .map(|unit| {
                // One order at a time for an engine: a second one waits in its sender.
                let (sender, receiver) = mpsc::channel(1);
                ((unit.kind, sender), receiver)
            })
            .unzip();
        let inner = Arc::new(Inner {
            config,
            state,
            spawner,
            endpoints,
            engines: watch::Sender::new(statuses),
            services: watch::Sender::new(services.collect()),
            tasks: TaskTracker::new(),
            orders,
            started,
            started_at: Utc::now(),
        });
        let stop = CancellationToken::new();
        for (unit, orders) in units.into_iter().zip(receivers) {
            let supervisor = Supervisor {
                inner: inner.clone(),
                unit,
                orders,
                stop: stop.clone(),
            };
            inner.tasks.spawn(supervisor.run());
        }
        inner
            .tasks
            .spawn(control::serve(listener, inner.clone(), stop.clone()));
        Ok(Self {
            inner,
            listeners,
            stop,
            _block: block,
            _lock: lock,
        })
    }

    /// What the building blocks listen on: bound, for whoever serves them. Given once.
    pub fn listeners(&mut self) -> BTreeMap<ServiceKind, TcpListener> {
        std::mem::take(&mut self.listeners)
    }

    pub fn endpoints(&self) -> &Endpoints {
        &self.inner.endpoints
    }

    pub fn state(&self) -> &StateDir {
        &self.inner.state
    }

    /// For whoever serves them: says how far a building block is.
    pub fn report(&self) -> Report {
        Report(Arc::clone(&self.inner))
    }

    /// Wakes at each change of a building block's state.
    pub fn service_changes(&self) -> watch::Receiver<BTreeMap<ServiceKind, ServiceStatus>> {
        self.inner.services.subscribe()
    }

    /// Wakes at each change of an engine's state.
    pub fn changes(&self) -> watch::Receiver<BTreeMap<EngineKind, EngineStatus>> {
        self.inner.engines.subscribe()
    }

    pub fn status(&self) -> PlatformStatus {
        self.inner.status()
    }

    /// Stops every engine, each within its time limit, and lets go of the state folder.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        let _ = std::fs::remove_file(self.inner.state.socket());
    }
}

/// Says in the platform's status how far the building blocks are.
pub struct Report(Arc<Inner>);

impl Report {
    /// `message` says why it is not ready.
    pub fn set(&self, kind: ServiceKind, state: State, message: Option<String>) {
        let elapsed = self.0.elapsed();
        self.0.services.send_modify(|all| {
            if let Some(service) = all.get_mut(&kind) {
                if state == State::Ready {
                    service.ready_ms.get_or_insert(elapsed);
                }
                service.status = state;
                service.message = message;
            }
        });
    }
}

impl Inner {
    /// Milliseconds since the start.
    fn elapsed(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Changes what is known of an engine, and wakes those who wait for it.
    pub(crate) fn set(&self, kind: EngineKind, state: State, change: impl FnOnce(&mut EngineStatus)) {
        let elapsed = self.elapsed();
        self.engines.send_modify(|all| {
            if let Some(engine) = all.get_mut(&kind) {
                if state == State::Ready && engine.ready_ms.is_none() {
                    engine.ready_ms = Some(elapsed);
                }
                engine.enter(state);
                change(engine);
            }
        });
    }

    pub(crate) fn state_of(&self, kind: EngineKind) -> State {
        self.engines
            .borrow()
            .get(&kind)
            .map_or(State::Missing, |e| e.status)
    }

    pub(crate) fn status(&self) -> PlatformStatus {
        let mut engines: Vec<_> = self.engines.borrow().values().cloned().collect();
        for engine in &mut engines {
            engine.rss_bytes = engine.pid.and_then(process::resident_bytes);
        }
        let services: Vec<_> = self.services.borrow().values().cloned().collect();
        let times: Vec<_> = engines
            .iter()
            .filter(|e| e.status != State::Missing)
            .map(|e| e.ready_ms)
            .chain(services.iter().map(|s| s.ready_ms))
            .collect();
        PlatformStatus {
            running: true,
            pid: Some(std::process::id()),
            state_dir: self.state.root().to_owned(),
            started_at: Some(self.started_at),
            rss_bytes: process::resident_bytes(std::process::id()),
            first_ready_ms: times.iter().flatten().min().copied(),
            all_ready_ms: times
                .iter()
                .copied()
                .collect::<Option<Vec<_>>>()
                .and_then(|all| all.into_iter().max()),
            engines,
            services,
        }
    }

    pub(crate) async fn restart(&self, kind: EngineKind) -> Result<(), String> {
        self.order(kind, Order::Restart).await
    }

    pub(crate) async fn reset(&self, kind: EngineKind) -> Result<(), String> {
        self.order(kind, Order::Reset).await
    }

    async fn order(
        &self,
        kind: EngineKind,
        order: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Order,
    ) -> Result<(), String> {
        let stopping = || "the platform is stopping".to_owned();
        let sender = self
            .orders
            .get(&kind)
            .ok_or_else(|| format!("{kind} is not enabled in this platform"))?;
        let (reply, answer) = oneshot::channel();
        sender.send(order(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// Waits until no platform runs in the folder, or `limit` is over; says which.
pub async fn wait_until_free(state: &StateDir, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while state.owner().is_some() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}
