//! The checks of `isa verify` on a cluster: through port-forwards, with the credentials of its Secrets; and the way to the
//! building blocks, which are asked for their health.

use std::{collections::BTreeMap, time::Duration};

use futures::stream::{self, StreamExt, TryStreamExt};
use isa_checks::Report;
use isa_config::{Endpoint, Endpoints, EngineKind, Secret, ServiceKind};
use k8s_openapi::api::core::v1::{Pod, Secret as KubeSecret};
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    Cluster, Error,
    forward::Forward,
    pods::{PodState, is_over, is_ready, statuses},
    references,
};

/// Forwards opened at once.
const PARALLEL: usize = 4;

/// The engines of a namespace, reachable from here for as long as this is held.
#[derive(Default)]
pub struct Engines {
    pub endpoints: Endpoints,
    /// Engines that are not there: not deployed, or their image cannot be had. With the reason.
    pub absent: BTreeMap<EngineKind, String>,
    /// Engines that are there and not ready, with what their pods are doing.
    pub down: BTreeMap<EngineKind, String>,
    /// How many servers of Consul there should be.
    consul: usize,
    _forwards: Vec<Forward>,
}

/// One engine that was looked for.
enum Found {
    Reachable(Endpoint, Vec<Forward>),
    Absent(String),
    Down(String),
}

/// Opens the way to every engine; with `only`, to those.
pub async fn engines(cluster: &Cluster, namespace: &str, only: &[EngineKind]) -> Result<Engines, Error> {
    let pods = pods(cluster, namespace).await?;
    let of = |kind: EngineKind| of_app(&pods, kind.name());
    let wanted = EngineKind::ALL
        .into_iter()
        // It runs inside the services that use it.
        .filter(|kind| *kind != EngineKind::Duckdb && (only.is_empty() || only.contains(kind)));
    let found: Vec<(EngineKind, Found)> =
        stream::iter(wanted.map(|kind| (kind, of(kind))))
            .map(|(kind, pods)| async move {
                Ok::<_, Error>((kind, reach(cluster, namespace, kind, &pods).await?))
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
    let mut engines = Engines {
        consul: of(EngineKind::Consul).len(),
        ..Engines::default()
    };
    for (kind, found) in found {
        match found {
            Found::Reachable(endpoint, forwards) => {
                engines.endpoints.insert(kind, endpoint);
                engines._forwards.extend(forwards);
            }
            Found::Absent(why) => drop(engines.absent.insert(kind, why)),
            Found::Down(why) => drop(engines.down.insert(kind, why)),
        }
    }
    Ok(engines)
}

async fn pods(cluster: &Cluster, namespace: &str) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = cluster.api(namespace);
    let every = ListParams::default();
    let mut pods = cluster.within("list pods", api.list(&every)).await?.items;
    pods.retain(|pod| !is_over(pod));
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

fn of_app<'a>(pods: &'a [Pod], app: &str) -> Vec<&'a Pod> {
    let own = |pod: &&Pod| pod.labels().get("app").is_some_and(|label| label == app);
    pods.iter().filter(own).collect()
}

/// The building blocks of a namespace, one replica of each reachable from here for as long as this is held.
#[derive(Default)]
pub struct Services {
    /// Its port on 127.0.0.1.
    pub ports: BTreeMap<ServiceKind, u16>,
    /// Those of which no replica is ready, with what one of them is doing.
    pub down: BTreeMap<ServiceKind, String>,
    _forwards: Vec<Forward>,
}

/// Opens the way to every building block that is deployed; with `only`, to those over these engines.
pub async fn services(cluster: &Cluster, namespace: &str, only: &[EngineKind]) -> Result<Services, Error> {
    let pods = pods(cluster, namespace).await?;
    let mut services = Services::default();
    let wanted = ServiceKind::ALL
        .into_iter()
        .filter(|kind| only.is_empty() || only.contains(&kind.engine()));
    for kind in wanted {
        let replicas = of_app(&pods, &format!("{kind}-grpc"));
        let Some(first) = replicas.first() else { continue };
        match replicas.iter().find(|pod| is_ready(pod)) {
            Some(pod) => {
                let forward = Forward::open(cluster, namespace, &pod.name_any(), kind.port()).await?;
                services.ports.insert(kind, forward.port);
                services._forwards.push(forward);
            }
            None => drop(services.down.insert(kind, not_ready(first))),
        }
    }
    Ok(services)
}

impl Engines {
    /// Checks every engine that is ready, as `isa verify` does, and that Consul's servers are a quorum. `each` is
    /// called as each report is finished.
    pub async fn verify(&self, limit: Duration, mut each: impl FnMut(&Report)) -> Vec<Report> {
        let quorum = async {
            let endpoint = self.endpoints.get(&EngineKind::Consul)?;
            Some(isa_checks::consul_quorum(endpoint, self.consul, limit).await)
        };
        // It asks three times and changes nothing, so it is there before the reports are.
        let quorum = quorum.await;
        let complete = |report: &Report| {
            let mut report = report.clone();
            if let Some(step) = quorum.clone().filter(|_| report.engine == EngineKind::Consul) {
                report.took += step.took;
                report.steps.push(step);
            }
            report
        };
        let reports = isa_checks::verify(&self.endpoints, limit, |report| each(&complete(report))).await;
        reports.iter().map(complete).collect()
    }
}

async fn reach(cluster: &Cluster, namespace: &str, kind: EngineKind, pods: &[&Pod]) -> Result<Found, Error> {
    let Some(first) = pods.first() else {
        return Ok(Found::Absent(format!("not deployed in {namespace}")));
    };
    // The first one that is ready: what is registered with one server of Consul is renewed and removed there.
    let Some(pod) = pods.iter().find(|pod| is_ready(pod)) else {
        let why = not_ready(first);
        return Ok(if imageless(first) {
            Found::Absent(why)
        } else {
            Found::Down(why)
        });
    };
    let mut forwards = Vec::new();
    let mut local = BTreeMap::new();
    for port in kind.ports().iter().filter(|port| needed(kind, port.name)) {
        let forward = Forward::open(cluster, namespace, &pod.name_any(), port.default).await?;
        local.insert(port.name, forward.port);
        forwards.push(forward);
    }
    let main = kind
        .ports()
        .first()
        .and_then(|port| local.get(port.name))
        .copied()
        .unwrap_or_default();
    let mut endpoint = Endpoint::new(url(kind, main));
    if let Some(grpc) = local.get("grpc") {
        endpoint = endpoint.with_url("grpc", format!("http://127.0.0.1:{grpc}"));
    }
    match credentials(cluster, namespace, kind, pod, &mut endpoint).await? {
        Ok(()) => Ok(Found::Reachable(endpoint, forwards)),
        Err(why) => Ok(Found::Down(why)),
    }
}

fn not_ready(pod: &Pod) -> String {
    let state = PodState::of(pod, k8s_openapi::jiff::Timestamp::now());
    format!("pod {} is not ready ({})", state.name, state.doing)
}

/// Whether nobody has brought the image to the node: then the engine is not there, rather than broken.
fn imageless(pod: &Pod) -> bool {
    let waiting = |reason: &str| matches!(reason, "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull");
    statuses(pod).iter().any(|s| {
        let state = s.state.as_ref().and_then(|s| s.waiting.as_ref());
        state.and_then(|w| w.reason.as_deref()).is_some_and(waiting)
    })
}

/// The ports that the checks use: the main one, and Qdrant's gRPC.
fn needed(kind: EngineKind, port: &str) -> bool {
    kind.ports().first().is_some_and(|main| main.name == port) || kind == EngineKind::Qdrant
}

fn url(kind: EngineKind, port: u16) -> String {
    let (scheme, path) = match kind {
        EngineKind::Redis => ("redis", ""),
        EngineKind::Nats => ("nats", ""),
        EngineKind::Mosquitto => ("mqtt", ""),
        EngineKind::Postgres => ("postgres", "/isa"),
        EngineKind::Neo4j => ("bolt", ""),
        EngineKind::Consul
        | EngineKind::Minio
        | EngineKind::Qdrant
        | EngineKind::Loki
        | EngineKind::Grafana
        | EngineKind::Duckdb => ("http", ""),
    };
    format!("{scheme}://127.0.0.1:{port}{path}")
}

/// Fills in the credentials from the Secret that the pod itself uses. The inner error is the engine's own trouble.
async fn credentials(
    cluster: &Cluster,
    namespace: &str,
    kind: EngineKind,
    pod: &Pod,
    endpoint: &mut Endpoint,
) -> Result<Result<(), String>, Error> {
    let (username, password) = match kind {
        // Reachable inside the cluster only; tenants and agents show no password.
        EngineKind::Consul | EngineKind::Loki | EngineKind::Duckdb => return Ok(Ok(())),
        EngineKind::Redis => (None, "password"),
        EngineKind::Qdrant => (None, "api-key"),
        EngineKind::Minio
        | EngineKind::Nats
        | EngineKind::Mosquitto
        | EngineKind::Postgres
        | EngineKind::Neo4j
        | EngineKind::Grafana => (Some("username"), "password"),
    };
    // Kustomize may have put a hash behind the name.
    let spec = serde_json::to_value(&pod.spec).unwrap_or_default();
    let prefix = format!("{}-", kind.name());
    let used = references::secrets(&spec)
        .into_iter()
        .find(|name| name == kind.name() || name.starts_with(&prefix));
    let name = used.unwrap_or_else(|| kind.name().to_owned());
    let secrets: Api<KubeSecret> = cluster.api(namespace);
    let secret = cluster
        .within(&format!("read Secret {name}"), secrets.get_opt(&name))
        .await?;
    let Some(data) = secret.and_then(|s| s.data) else {
        return Ok(Err(format!(
            "Secret {name}, with its credentials, does not exist or is empty"
        )));
    };
    let read = |key: &str| {
        let value = data
            .get(key)
            .and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
        value.ok_or_else(|| format!("Secret {name} has no key {key}"))
    };
    let mut fill = || {
        endpoint.username = username.map(&read).transpose()?;
        endpoint.password = Some(Secret::new(read(password)?));
        Ok(())
    };
    Ok(fill())
}
