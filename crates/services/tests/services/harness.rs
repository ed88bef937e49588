use std::{
    any::Any,
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Weak},
};

use isa_config::{AuthMode, Endpoint, Endpoints, ServerConfig, ServiceKind};
use isa_server::{Running, Server};
use isa_testkit::Engines;
use parking_lot::Mutex;
use tonic::transport::Channel;

/// Engines that all running tests of a service share; they stop with the last of these.
static SHARED: Mutex<BTreeMap<ServiceKind, Arc<Mutex<Weak<Engines>>>>> = Mutex::new(BTreeMap::new());

/// A service in this process, over a real engine.
pub(crate) struct Node {
    pub(crate) engine: Endpoint,
    /// Where the service listens, `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    running: Running,
    _engines: Arc<dyn Any + Send + Sync>,
}

impl Node {
    /// An open server: who calls is what requests say.
    pub(crate) async fn start(kind: ServiceKind) -> Self {
        Self::with(kind, &open()).await
    }

    pub(crate) async fn with(kind: ServiceKind, config: &ServerConfig) -> Self {
        let engines = engines(kind).await;
        Self::over(kind, config, &engines.endpoints().clone(), engines).await
    }

    /// An open server over engines that no other test has: one may break them.
    pub(crate) async fn alone(kind: ServiceKind) -> Self {
        let kinds = [&[kind.engine()], kind.also_uses()].concat();
        let engines = tokio::task::spawn_blocking(move || Engines::start(&kinds));
        let engines = Arc::new(engines.await.expect("the engines"));
        Self::over(kind, &open(), &engines.endpoints().clone(), engines).await
    }

    /// An open server over an engine that the test itself runs.
    pub(crate) async fn at(kind: ServiceKind, engine: Endpoint) -> Self {
        let endpoints = Endpoints::from([(kind.engine(), engine)]);
        Self::over(kind, &open(), &endpoints, Arc::new(())).await
    }

    /// Over engines of the test's own, which `keep` keeps running.
    pub(crate) async fn over(
        kind: ServiceKind,
        config: &ServerConfig,
        endpoints: &Endpoints,
        keep: Arc<dyn Any + Send + Sync>,
    ) -> Self {
        let listener = TcpListener::bind((config.bind, 0)).expect("a port");
        Self::listening(kind, config, endpoints, keep, listener).await
    }

    /// At an address that the test chose.
    pub(crate) async fn listening(
        kind: ServiceKind,
        config: &ServerConfig,
        endpoints: &Endpoints,
        keep: Arc<dyn Any + Send + Sync>,
        listener: TcpListener,
    ) -> Self {
        let engine = endpoints[&kind.engine()].clone();
        let (mount, upstream) = isa_services::mount(kind, endpoints).expect("the service");
        let mut server = Server::new(config).expect("a server");
        server
            .add(mount, upstream.clone(), listener)
            .expect("a mounted service");
        let running = server.start().await.expect("a running server");
        let mut changes = upstream.changes();
        changes
            .wait_for(|state| *state == isa_server::EngineState::Up)
            .await
            .expect("the engine answers");
        let url = format!("http://{}", running.addresses()[&kind]);
        Self {
            engine,
            url,
            running,
            _engines: keep,
        }
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(self.url.clone())
            .expect("an address")
            .connect()
            .await
            .expect("a connection")
    }

    /// Stops the service as SIGTERM does; whether every call ended by itself.
    pub(crate) async fn drain(self) -> bool {
        self.running.drain().await
    }
}

/// Callers are who they say.
pub(crate) fn open() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.auth.mode = AuthMode::Open;
    config
}

/// The engines that all running tests of the service share: its own, and those that it may use beside.
pub(crate) async fn engines(kind: ServiceKind) -> Arc<Engines> {
    tokio::task::spawn_blocking(move || shared(kind))
        .await
        .expect("engines")
}

fn shared(kind: ServiceKind) -> Arc<Engines> {
    let of_kind = Arc::clone(SHARED.lock().entry(kind).or_default());
    // Held while they start: the others wait for the same ones.
    let mut shared = of_kind.lock();
    if let Some(engines) = shared.upgrade() {
        return engines;
    }
    let kinds = [&[kind.engine()], kind.also_uses()].concat();
    let engines = Arc::new(Engines::start(&kinds));
    *shared = Arc::downgrade(&engines);
    engines
}
