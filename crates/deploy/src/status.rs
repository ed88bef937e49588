//! What runs in a namespace, by layer and system.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, ResourceExt};
use serde::Serialize;

use crate::{
    Cluster, Error,
    objects::since,
    pods::{PodState, is_over},
    wait::{daemon_set, deployment, stateful_set},
};

/// The layers from below, as tables list them.
const LAYERS: [&str; 4] = ["infrastructure", "grpc-services", "gateway", "applications"];

/// One system.
#[derive(Debug, Clone, Serialize)]
pub struct SystemStatus {
    pub name: String,
    pub layer: String,
    pub kind: &'static str,
    pub ready: i32,
    pub wanted: i32,
    /// Whether all of it is ready in its newest version.
    pub done: bool,
    /// `Ready`, or what its pods are doing.
    pub status: String,
    pub restarts: i32,
    pub age_seconds: u64,
    pub images: Vec<String>,
    pub pods: Vec<PodState>,
}

/// Everything that runs pods in a namespace, layer by layer; empty where nothing is deployed.
pub async fn status(cluster: &Cluster, namespace: &str) -> Result<Vec<SystemStatus>, Error> {
    let all = Default::default();
    let pods: Api<Pod> = cluster.api(namespace);
    let sets: Api<StatefulSet> = cluster.api(namespace);
    let deployments: Api<Deployment> = cluster.api(namespace);
    let daemons: Api<DaemonSet> = cluster.api(namespace);
    let (pods, sets, deployments, daemons) = futures::try_join!(
        cluster.within("list pods", pods.list(&all)),
        cluster.within("list statefulsets", sets.list(&all)),
        cluster.within("list deployments", deployments.list(&all)),
        cluster.within("list daemonsets", daemons.list(&all)),
    )?;
    let now = Timestamp::now();
    let of = |kind, metadata: &ObjectMeta, template, selector, state| {
        system(kind, metadata, template, selector, state, &pods.items, now)
    };
    let sets = sets.items.iter().map(|o| {
        of(
            "StatefulSet",
            &o.metadata,
            &o.spec.template,
            &o.spec.selector,
            stateful_set(o),
        )
    });
    let deployments = deployments.items.iter().map(|o| {
        of(
            "Deployment",
            &o.metadata,
            &o.spec.template,
            &o.spec.selector,
            deployment(o),
        )
    });
    let daemons = daemons.items.iter().map(|o| {
        of(
            "DaemonSet",
            &o.metadata,
            &o.spec.template,
            &o.spec.selector,
            daemon_set(o),
        )
    });
    let mut systems: Vec<_> = sets.chain(deployments).chain(daemons).collect();
    systems.sort_by_key(|s| (layer_order(&s.layer), s.name.clone()));
    Ok(systems)
}

/// The place of a layer among the others.
pub(crate) fn layer_order(layer: &str) -> usize {
    LAYERS.iter().position(|l| *l == layer).unwrap_or(LAYERS.len())
}

fn system(
    kind: &'static str,
    metadata: &ObjectMeta,
    template: &PodTemplateSpec,
    selector: &LabelSelector,
    (ready, wanted, done): (i32, i32, bool),
    pods: &[Pod],
    now: Timestamp,
) -> SystemStatus {
    let labels = metadata.labels.clone().unwrap_or_default();
    let chosen = selector.match_labels.clone().unwrap_or_default();
    let selected = |pod: &&Pod| !is_over(pod) && matches(&chosen, pod.labels());
    let pods: Vec<_> = pods
        .iter()
        .filter(selected)
        .map(|pod| PodState::of(pod, now))
        .collect();
    let mut images: Vec<_> = template
        .spec
        .iter()
        .flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers))
        .filter_map(|c| c.image.clone())
        .collect();
    images.sort();
    images.dedup();
    let worst = pods.iter().filter(|p| !p.ready).max_by_key(|p| p.stuck);
    let status = match (done, wanted, worst) {
        (_, 0, _) => "Stopped".into(),
        (true, ..) => "Ready".into(),
        (_, _, Some(pod)) => pod.doing.clone(),
        (_, _, None) if (pods.len() as i64) < i64::from(wanted) => "pods are not made".into(),
        (_, _, None) => "rolling out".into(),
    };
    SystemStatus {
        name: metadata.name.clone().unwrap_or_default(),
        layer: labels.get("tier").cloned().unwrap_or_else(|| "-".into()),
        kind,
        ready,
        wanted,
        done,
        status,
        restarts: pods.iter().map(|p| p.restarts).sum(),
        age_seconds: since(metadata.creation_timestamp.as_ref(), now).as_secs(),
        images,
        pods,
    }
}

fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}
