//! Registration in Consul, for as long as the server runs, and whenever Consul does.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use isa_config::{ConsulConfig, Secret};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{ServiceKind, shared::Shared};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why Consul did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConsulError {
    #[error("Consul does not answer: {0}")]
    Unreachable(#[from] reqwest::Error),
    #[error("Consul answered {0}: {1}")]
    Refused(StatusCode, String),
}

/// Consul's HTTP API, as far as it is needed.
#[derive(Clone)]
pub(crate) struct Consul {
    url: Url,
    token: Option<Secret>,
    client: reqwest::Client,
    ttl: Duration,
    check: Duration,
}

/// One name of one service of this process.
#[derive(Clone)]
pub(crate) struct Registration {
    kind: ServiceKind,
    name: &'static str,
    address: SocketAddr,
    tls: bool,
}

impl Registration {
    pub(crate) fn all(kind: ServiceKind, address: SocketAddr, tls: bool) -> impl Iterator<Item = Self> {
        kind.consul_names().into_iter().map(move |name| Self {
            kind,
            name,
            address,
            tls,
        })
    }

    fn id(&self) -> String {
        format!("{}-{}", self.name, self.address)
    }

    fn ttl_check(&self) -> String {
        format!("{}:ttl", self.id())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    service: InstanceService,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceService {
    address: String,
    port: u16,
}

impl Consul {
    pub(crate) fn new(config: &ConsulConfig) -> Self {
        Self {
            url: config.url.clone(),
            token: config.token.clone(),
            client: reqwest::Client::builder()
                .timeout(TIMEOUT)
                .build()
                .unwrap_or_default(),
            ttl: Duration::from_secs(config.ttl_seconds.max(3)),
            check: Duration::from_secs(config.check_seconds.max(1)),
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.header("x-consul-token", token.expose()),
            None => request,
        }
    }

    async fn send(request: RequestBuilder) -> Result<reqwest::Response, ConsulError> {
        let answer = request.send().await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        Err(ConsulError::Refused(
            status,
            answer.text().await.unwrap_or_default(),
        ))
    }

    /// Where the healthy replicas of a service are.
    pub(crate) async fn instances(&self, kind: ServiceKind) -> Result<Vec<SocketAddr>, ConsulError> {
        let [name, _] = kind.consul_names();
        let request = self
            .request(Method::GET, &["health", "service", name])
            .query(&[("passing", "true")]);
        let instances: Vec<Instance> = Self::send(request).await?.json().await?;
        let address = |it: Instance| Some(SocketAddr::new(it.service.address.parse().ok()?, it.service.port));
        Ok(instances.into_iter().filter_map(address).collect())
    }

    async fn register(&self, it: &Registration) -> Result<(), ConsulError> {
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        // Long after it was last seen alive, so that a pause of Consul's or ours does not remove it.
        let forget_after = seconds(Duration::from_secs(60).max(2 * self.ttl));
        let body = json!({
            "ID": it.id(),
            "Name": it.name,
            "Address": it.address.ip().to_string(),
            "Port": it.address.port(),
            "Tags": ["grpc", "isa"],
            "Meta": { "service": it.kind.grpc_service(), "version": env!("CARGO_PKG_VERSION") },
            "Checks": [
                {
                    "CheckID": it.ttl_check(),
                    "Name": "renewed by the service",
                    "TTL": seconds(self.ttl),
                    "Status": "passing",
                    "DeregisterCriticalServiceAfter": forget_after,
                },
                {
                    "CheckID": format!("{}:grpc", it.id()),
                    "Name": "answers grpc.health.v1",
                    "GRPC": format!("{}/{}", it.address, it.kind.grpc_service()),
                    "GRPCUseTLS": it.tls,
                    // By address, which certificates do not name.
                    "TLSSkipVerify": it.tls,
                    "Interval": seconds(self.check),
                    "Timeout": "3s",
                },
            ],
        });
        let request = self
            .request(Method::PUT, &["agent", "service", "register"])
            .query(&[("replace-existing-checks", "true")])
            .json(&body);
        Self::send(request).await.map(drop)
    }

    async fn renew(&self, it: &Registration) -> Result<(), ConsulError> {
        Self::send(self.request(Method::PUT, &["agent", "check", "pass", &it.ttl_check()]))
            .await
            .map(drop)
    }

    async fn leave(&self, it: &Registration) -> Result<(), ConsulError> {
        Self::send(self.request(Method::PUT, &["agent", "service", "deregister", &it.id()]))
            .await
            .map(drop)
    }

    /// Registers, renews, and registers anew when Consul has forgotten, until the server stops; then leaves.
    pub(crate) async fn keep_registered(self, it: Registration, shared: Arc<Shared>) {
        let mut registered = false;
        // Not before the first call is answered.
        tokio::select! {
            () = shared.readiness.ready() => {}
            () = shared.stopping.cancelled() => return,
        }
        loop {
            let outcome = if registered {
                self.renew(&it).await
            } else {
                self.register(&it).await
            };
            match outcome {
                Ok(()) if !registered => {
                    tracing::info!(name = it.name, address = %it.address, "registered in Consul");
                    registered = true;
                }
                Ok(()) => {}
                // An agent that was started anew, or lost its data, knows nothing of us.
                Err(ConsulError::Refused(status, text)) if registered => {
                    tracing::warn!(name = it.name, %status, text, "Consul has forgotten the service, which registers anew");
                    registered = false;
                    continue_soon(&shared).await;
                    continue;
                }
                Err(error) => tracing::warn!(name = it.name, %error, "not registered in Consul; trying on"),
            }
            let pause = if registered {
                self.ttl / 3
            } else {
                Duration::from_secs(2)
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.stopping.cancelled() => break,
            }
        }
        if registered && let Err(error) = self.leave(&it).await {
            tracing::warn!(name = it.name, %error, "Consul could not be told; it forgets the service after its TTL");
        }
    }
}

/// A moment, so that a Consul that refuses everything is not hammered.
async fn continue_soon(shared: &Shared) {
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(200)) => {}
        () = shared.stopping.cancelled() => {}
    }
}
