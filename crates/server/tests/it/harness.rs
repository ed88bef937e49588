//! A server with the odd service on a free port of loopback.

use std::{net::TcpListener, path::Path, sync::Arc, time::Duration};

use isa_config::{AuthMode, EngineKind, ServerConfig, ServiceKind};
use isa_proto::loki::loki_service_client::LokiServiceClient;
use isa_server::{Claims, Running, Server, Upstream, api, issue_token};
use tokio::sync::Semaphore;
use tonic::{Request, transport::Channel};

use crate::service::{Odd, Seen};

pub(crate) struct Node {
    pub(crate) running: Running,
    pub(crate) seen: Arc<Seen>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) channel: Channel,
}

pub(crate) fn open() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.auth.mode = AuthMode::Open;
    config.drain.timeout_seconds = 5;
    config
}

/// A server that wants tokens, and the folder of its keys.
pub(crate) fn required(keys: &Path) -> ServerConfig {
    let mut config = open();
    isa_server::rotate_keys(keys, 1).unwrap();
    config.auth.mode = AuthMode::Required;
    config.auth.keys_dir = Some(keys.to_owned());
    config
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

impl Node {
    pub(crate) async fn start(config: &ServerConfig) -> Self {
        Self::with(config, Upstream::in_process(EngineKind::Loki), listener()).await
    }

    pub(crate) async fn with(config: &ServerConfig, upstream: Upstream, listener: TcpListener) -> Self {
        let (seen, gate) = (Arc::<Seen>::default(), Arc::new(Semaphore::new(0)));
        let service = Odd {
            seen: Arc::clone(&seen),
            gate: Arc::clone(&gate),
        };
        let mut server = Server::new(config).unwrap();
        server.add(api::loki::mount(service), upstream, listener).unwrap();
        let running = server.start().await.unwrap();
        let address = running.addresses()[&ServiceKind::Loki];
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Self {
            running,
            seen,
            gate,
            channel,
        }
    }

    pub(crate) fn client(&self) -> LokiServiceClient<Channel> {
        LokiServiceClient::new(self.channel.clone()).max_decoding_message_size(200 << 20)
    }
}

pub(crate) fn claims(subject: &str, organization: Option<&str>, scope: &str) -> Claims {
    Claims {
        sub: subject.into(),
        org: organization.map(str::to_owned),
        roles: Default::default(),
        scope: scope.into(),
        iss: None,
        aud: None,
        iat: None,
        exp: 0,
    }
}

pub(crate) fn token(keys: &Path, claims: Claims) -> String {
    issue_token(keys, claims, Duration::from_secs(60)).unwrap()
}

pub(crate) fn bearing<M>(token: &str, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Waits for a condition, for a while.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in 10 s: {what}");
}
