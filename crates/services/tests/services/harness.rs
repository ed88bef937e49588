use std::{
    net::TcpListener,
    sync::{Arc, Weak},
};

use isa_config::{AuthMode, Endpoint, EngineKind, ServerConfig, ServiceKind};
use isa_server::{Running, Server};
use isa_testkit::Engines;
use parking_lot::Mutex;
use tonic::transport::Channel;

/// Engines that all running tests share; they stop with the last of these.
static SHARED: Mutex<Weak<Engines>> = Mutex::new(Weak::new());

/// A service in this process, over a real engine.
pub(crate) struct Node {
    pub(crate) engine: Endpoint,
    /// Where the service listens, `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    running: Running,
    _engines: Arc<Engines>,
}

impl Node {
    /// An open server: who calls is what requests say.
    pub(crate) async fn start(kind: ServiceKind) -> Self {
        let mut config = ServerConfig::default();
        config.auth.mode = AuthMode::Open;
        Self::with(kind, &config).await
    }

    pub(crate) async fn with(kind: ServiceKind, config: &ServerConfig) -> Self {
        let engines = tokio::task::spawn_blocking(shared).await.expect("engines");
        let engine = engines.endpoint(kind.engine());
        let (mount, upstream) = isa_services::mount(kind, &engine).expect("the service");
        let mut server = Server::new(config).expect("a server");
        let listener = TcpListener::bind((config.bind, 0)).expect("a port");
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
            _engines: engines,
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

fn shared() -> Arc<Engines> {
    let mut shared = SHARED.lock();
    if let Some(engines) = shared.upgrade() {
        return engines;
    }
    let kinds = [
        EngineKind::Redis,
        EngineKind::Postgres,
        EngineKind::Minio,
        EngineKind::Nats,
    ];
    let engines = Arc::new(Engines::start(&kinds));
    *shared = Arc::downgrade(&engines);
    engines
}
