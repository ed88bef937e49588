//! Real engines that faults are done to, and the services over them.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use isa_config::{AuthMode, Endpoint, Endpoints, EngineKind, ServerConfig, ServiceKind};
use isa_server::{Running, Server};
use isa_testkit::Engines;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, MutexGuard};
use tonic::transport::Channel;

use crate::wire::Client;

/// The services that faults are tried with. All of them, as soon as they exist.
pub(crate) const SERVICES: [ServiceKind; 8] = [
    ServiceKind::Redis,
    ServiceKind::Postgres,
    ServiceKind::Minio,
    ServiceKind::Nats,
    ServiceKind::Qdrant,
    ServiceKind::Neo4j,
    ServiceKind::Mqtt,
    ServiceKind::Loki,
];

/// Engines that all tests share; they stop with the last of these.
static SHARED: Mutex<Weak<Engines>> = Mutex::new(Weak::new());

/// One fault at a time.
static TURN: Turn<()> = Turn::const_new(());

/// The engines, for as long as it is one test's turn.
pub(crate) struct Platform {
    engines: Arc<Engines>,
    _turn: MutexGuard<'static, ()>,
}

impl Platform {
    pub(crate) async fn take() -> Self {
        // Before the turn: engines stay from test to test.
        let engines = tokio::task::spawn_blocking(shared).await.expect("engines");
        Self {
            engines,
            _turn: TURN.lock().await,
        }
    }

    /// The same with engines that no other test has. They stop with it.
    pub(crate) async fn of(kinds: &'static [EngineKind]) -> Self {
        let turn = TURN.lock().await;
        let engines = tokio::task::spawn_blocking(|| Engines::start(kinds)).await;
        Self {
            engines: Arc::new(engines.expect("engines")),
            _turn: turn,
        }
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        self.engines.endpoints()
    }

    pub(crate) fn endpoint(&self, kind: ServiceKind) -> Endpoint {
        self.engines.endpoint(kind.engine())
    }

    /// The services in one server, once their engines answer.
    pub(crate) async fn serve(&self, kinds: &[ServiceKind]) -> Services {
        let mut config = ServerConfig::default();
        config.auth.mode = AuthMode::Open;
        config.limits.default.calls_per_second = 0;
        let mut server = Server::new(&config).expect("a server");
        let mut upstreams = Vec::new();
        for kind in kinds {
            let (mount, upstream) =
                isa_services::mount(*kind, self.engines.endpoints()).expect("the service");
            let listener = TcpListener::bind((config.bind, 0)).expect("a port");
            server
                .add(mount, upstream.clone(), listener)
                .expect("a mounted service");
            upstreams.push(upstream);
        }
        let running = server.start().await.expect("a running server");
        for upstream in upstreams {
            let mut changes = upstream.changes();
            let up = changes.wait_for(|state| *state == isa_server::EngineState::Up);
            up.await.expect("the engine answers");
        }
        let mut channels = BTreeMap::new();
        for (kind, address) in running.addresses() {
            let channel = Channel::from_shared(format!("http://{address}")).expect("an address");
            channels.insert(*kind, channel.connect().await.expect("a connection"));
        }
        Services { channels, running }
    }

    /// What `isa status` says of the engine behind a service.
    pub(crate) async fn status(&self, kind: ServiceKind) -> Result<serde_json::Value, String> {
        let engines = Arc::clone(&self.engines);
        let look = tokio::task::spawn_blocking(move || engines.isa().engine(kind.engine()));
        look.await.expect("isa status")
    }

    pub(crate) async fn pid(&self, kind: ServiceKind) -> u32 {
        let status = self.status(kind).await.expect("the engine's status");
        let pid = status["pid"].as_u64().expect("a pid");
        u32::try_from(pid).expect("a pid")
    }

    /// Sends a signal to the engine's own process and to its children: PostgreSQL has one for each connection.
    pub(crate) async fn signal(&self, kind: ServiceKind, signal: &str) {
        send_signal(&family(self.pid(kind).await), signal).await;
    }

    /// Stops the engine's processes until this is dropped.
    pub(crate) async fn pause(&self, kind: ServiceKind) -> Paused {
        let pid = self.pid(kind).await;
        // The parent first: it has no more children after that.
        send_signal(&[pid], "-STOP").await;
        let paused = Paused(family(pid));
        send_signal(&paused.0, "-STOP").await;
        paused
    }
}

/// An engine that stands still.
pub(crate) struct Paused(Vec<u32>);

impl Drop for Paused {
    fn drop(&mut self) {
        let pids = self.0.iter().map(u32::to_string);
        let _ = std::process::Command::new("kill")
            .arg("-CONT")
            .args(pids)
            .status();
    }
}

async fn send_signal(pids: &[u32], signal: &str) {
    // Children may be gone by now: that is no failure.
    let _ = tokio::process::Command::new("kill")
        .arg(signal)
        .args(pids.iter().map(u32::to_string))
        .stderr(std::process::Stdio::null())
        .status()
        .await;
}

/// A process and its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(parent) = family.get(at) {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let children = children.unwrap_or_default();
        family.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    family
}

/// Services that run, and a connection to each.
pub(crate) struct Services {
    channels: BTreeMap<ServiceKind, Channel>,
    running: Running,
}

impl Services {
    pub(crate) fn channel(&self, kind: ServiceKind) -> Channel {
        self.channels[&kind].clone()
    }

    pub(crate) fn url(&self, kind: ServiceKind) -> String {
        format!("http://{}", self.running.addresses()[&kind])
    }

    pub(crate) fn client(&self, kind: ServiceKind) -> Client {
        Client {
            channel: self.channel(kind),
            token: None,
            deadline: None,
        }
    }

    /// Stops as SIGTERM does; whether every call ended by itself.
    pub(crate) async fn drain(self) -> bool {
        self.running.drain().await
    }
}

/// Looks until a condition holds, and fails naming it, and what was seen last, when `limit` is over.
pub(crate) async fn eventually<T, F>(condition: &str, limit: Duration, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let until = Instant::now() + limit;
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if Instant::now() >= until => {
                panic!("not within {limit:?}: {condition}; last seen: {seen}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What is not random enough to be left out of a name.
pub(crate) fn unique() -> String {
    format!("zq{}", hex::encode(rand::random::<[u8; 4]>()))
}

fn shared() -> Arc<Engines> {
    let mut shared = SHARED.lock();
    if let Some(engines) = shared.upgrade() {
        return engines;
    }
    let engines: Vec<EngineKind> = SERVICES.iter().map(|kind| kind.engine()).collect();
    let engines = Arc::new(Engines::start(&engines));
    *shared = Arc::downgrade(&engines);
    engines
}
