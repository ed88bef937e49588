//! Waits until workloads are ready, by watching them, and says meanwhile what keeps them.

use std::{
    collections::BTreeMap,
    pin::Pin,
    time::{Duration, Instant},
};

use futures::{
    FutureExt, Stream, StreamExt,
    future::{BoxFuture, Fuse, FusedFuture},
    stream,
};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
    jiff::Timestamp,
};
use kube::{
    Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Cluster, Error, Manifests,
    diagnose::{Diagnosis, Finding, Snapshot, diagnose},
    objects::ObjectName,
    pods::{PodState, is_over},
};

/// How often it is asked what keeps the pods. The pods themselves are watched.
const DIAGNOSE_EVERY: Duration = Duration::from_secs(4);
/// How long everything that is not ready must have been held up by causes that do not pass by themselves, and nothing
/// have changed, before waiting for it ends.
const HELD_UP: Duration = Duration::from_secs(20);
/// How long the last diagnosis may take.
const LAST_DIAGNOSIS: Duration = Duration::from_secs(20);

/// How far a workload is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkloadState {
    #[serde(flatten)]
    pub object: ObjectName,
    pub ready: i32,
    pub wanted: i32,
    /// All that is wanted is ready, and in its newest version.
    pub done: bool,
}

/// How far everything is.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Progress {
    pub workloads: Vec<WorkloadState>,
    pub pods: Vec<PodState>,
    /// What keeps pods from being ready, as far as is known.
    pub findings: Vec<Finding>,
    /// Why nothing new is known.
    pub trouble: Option<String>,
    /// The rest waits for somebody to remove its causes, so nobody waited longer for it.
    pub held_up: bool,
}

impl Progress {
    pub fn done(&self) -> bool {
        self.workloads.iter().all(|w| w.done)
    }
}

/// Waits until the workloads of some manifests are ready, until what is left cannot become ready by itself, or until
/// the time is up; the last progress says which. `show` is called at every change.
pub async fn wait(
    cluster: &Cluster,
    manifests: &Manifests,
    limit: Duration,
    mut show: impl FnMut(&Progress),
) -> Result<Progress, Error> {
    let deadline = Instant::now() + limit;
    let mut all = Progress::default();
    for namespace in manifests.namespaces() {
        let wanted: Vec<_> = manifests
            .workloads()?
            .into_iter()
            .filter(|w| w.namespace.as_deref() == Some(&namespace))
            .map(|w| ObjectName::new(w.kind, w.name))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let mut watched = Watched::new(cluster, &namespace, wanted);
        let progress = watched.until(cluster, deadline, &mut show).await?;
        all.workloads.extend(progress.workloads);
        all.pods.extend(progress.pods);
        all.findings.extend(progress.findings);
        all.trouble = progress.trouble.or(all.trouble);
        all.held_up |= progress.held_up;
    }
    Ok(all)
}

type Changes = Pin<Box<dyn Stream<Item = Result<(), watcher::Error>> + Send>>;

/// The state of a namespace, kept current.
struct Watched {
    namespace: String,
    wanted: Vec<ObjectName>,
    pods: Store<Pod>,
    stateful_sets: Store<StatefulSet>,
    deployments: Store<Deployment>,
    daemon_sets: Store<DaemonSet>,
    changes: stream::SelectAll<Changes>,
}

impl Watched {
    fn new(cluster: &Cluster, namespace: &str, wanted: Vec<ObjectName>) -> Self {
        let (pods, pod_changes) = watch(cluster, namespace);
        let (stateful_sets, set_changes) = watch(cluster, namespace);
        let (deployments, deployment_changes) = watch(cluster, namespace);
        let (daemon_sets, daemon_changes) = watch(cluster, namespace);
        let changes = [pod_changes, set_changes, deployment_changes, daemon_changes];
        Self {
            namespace: namespace.to_owned(),
            wanted,
            pods,
            stateful_sets,
            deployments,
            daemon_sets,
            changes: stream::select_all(changes),
        }
    }

    async fn until(
        &mut self,
        cluster: &Cluster,
        deadline: Instant,
        show: &mut impl FnMut(&Progress),
    ) -> Result<Progress, Error> {
        let namespace = self.namespace.clone();
        let ask = || {
            async { Ok::<Diagnosis, Error>(diagnose(&Snapshot::read(cluster, &namespace).await?)) }.boxed()
        };
        let mut asked: Fuse<BoxFuture<'_, Result<Diagnosis, Error>>> = Fuse::terminated();
        let mut ticks = interval(DIAGNOSE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut progress = self.progress();
        let mut held: Option<Instant> = None;
        loop {
            show(&progress);
            if progress.done() {
                progress.findings.clear();
                return Ok(progress);
            }
            if held.is_some_and(|since| since.elapsed() > HELD_UP) {
                progress.held_up = true;
                return Ok(progress);
            }
            tokio::select! {
                change = self.changes.next() => {
                    progress.trouble = self.take_in(change, cluster)?;
                    let findings = std::mem::take(&mut progress.findings);
                    let next = Progress { findings, trouble: progress.trouble, ..self.progress() };
                    if next.workloads != progress.workloads {
                        held = None;
                    }
                    progress = next;
                }
                answer = &mut asked => {
                    match answer {
                        Ok(diagnosis) => {
                            let lasts = |w: &WorkloadState| diagnosis.held.get(&w.object).is_some_and(|c| c.lasts());
                            let all = progress.workloads.iter().filter(|w| !w.done).all(lasts);
                            held = all.then(|| held.unwrap_or_else(Instant::now));
                            progress.findings = self.ours(diagnosis.findings);
                        }
                        Err(error @ (Error::Credentials { .. } | Error::Login { .. })) => return Err(error),
                        Err(error) => progress.trouble = Some(error.to_string()),
                    }
                }
                _ = ticks.tick() => {
                    // The ages of the pods have changed, if nothing else.
                    progress.pods = self.pod_states();
                    if asked.is_terminated() {
                        asked = ask().fuse();
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => break,
            }
        }
        // The newest word on why.
        if let Ok(Ok(diagnosis)) = tokio::time::timeout(LAST_DIAGNOSIS, ask()).await {
            progress.findings = self.ours(diagnosis.findings);
        }
        Ok(progress)
    }

    /// Without what is wrong with workloads that nobody waits for.
    fn ours(&self, mut findings: Vec<Finding>) -> Vec<Finding> {
        let runs_pods = |kind: &str| matches!(kind, "StatefulSet" | "Deployment" | "DaemonSet" | "Job");
        findings.retain(|f| !runs_pods(&f.object.kind) || self.wanted.contains(&f.object));
        findings
    }

    /// Takes in one change and all others that have arrived with it, and says what keeps more from arriving.
    fn take_in(
        &mut self,
        first: Option<Result<(), watcher::Error>>,
        cluster: &Cluster,
    ) -> Result<Option<String>, Error> {
        let mut trouble = None;
        let mut next = first;
        while let Some(change) = next {
            match change.map_err(|e| explain(cluster, e)) {
                Ok(()) => {}
                // Waiting does not help against these.
                Err(error @ (Error::Credentials { .. } | Error::Forbidden { .. } | Error::Login { .. })) => {
                    return Err(error);
                }
                Err(error) => trouble = Some(error.to_string()),
            }
            next = self.changes.next().now_or_never().flatten();
        }
        Ok(trouble)
    }

    fn progress(&self) -> Progress {
        Progress {
            workloads: self.wanted.iter().map(|name| self.workload(name)).collect(),
            pods: self.pod_states(),
            ..Progress::default()
        }
    }

    fn workload(&self, object: &ObjectName) -> WorkloadState {
        fn named<K: Resource<DynamicType = ()> + Clone>(
            store: &Store<K>,
            name: &str,
        ) -> Option<std::sync::Arc<K>> {
            store.find(|o| o.name_any() == name)
        }
        let state = match object.kind.as_str() {
            "StatefulSet" => named(&self.stateful_sets, &object.name).map(|o| stateful_set(&o)),
            "Deployment" => named(&self.deployments, &object.name).map(|o| deployment(&o)),
            _ => named(&self.daemon_sets, &object.name).map(|o| daemon_set(&o)),
        };
        let (ready, wanted, done) = state.unwrap_or((0, 1, false));
        WorkloadState {
            object: object.clone(),
            ready,
            wanted,
            done,
        }
    }

    /// The pods of the workloads that are waited for.
    fn pod_states(&self) -> Vec<PodState> {
        let wanted = |kind: &str, name: &str| self.wanted.iter().any(|w| w.kind == kind && w.name == name);
        let sets = self.stateful_sets.state();
        let sets = sets
            .iter()
            .filter(|o| wanted("StatefulSet", &o.name_any()))
            .map(|o| o.spec.selector.clone());
        let deployments = self.deployments.state();
        let deployments = deployments
            .iter()
            .filter(|o| wanted("Deployment", &o.name_any()))
            .map(|o| o.spec.selector.clone());
        let daemons = self.daemon_sets.state();
        let daemons = daemons
            .iter()
            .filter(|o| wanted("DaemonSet", &o.name_any()))
            .map(|o| o.spec.selector.clone());
        let selectors: Vec<LabelSelector> = sets.chain(deployments).chain(daemons).collect();
        let now = Timestamp::now();
        let pods = self.pods.state();
        let ours = pods
            .iter()
            .filter(|p| !is_over(p) && selectors.iter().any(|s| selects(s, p.labels())));
        let mut states: Vec<_> = ours.map(|pod| PodState::of(pod, now)).collect();
        states.sort_by(|a, b| a.name.cmp(&b.name));
        states
    }
}

fn watch<K>(cluster: &Cluster, namespace: &str) -> (Store<K>, Changes)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changes = watcher(cluster.api::<K>(namespace), watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .map(|change| change.map(drop));
    (store, changes.boxed())
}

fn explain(cluster: &Cluster, error: watcher::Error) -> Error {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => cluster.explain("watch the pods and what makes them", error),
        watcher::Error::WatchError(status) => {
            cluster.explain("watch the pods and what makes them", kube::Error::Api(status))
        }
        error @ watcher::Error::NoResourceVersion => Error::Unreachable {
            server: cluster.place().server.clone(),
            origin: cluster.place().origin.clone(),
            why: error.to_string(),
        },
    }
}

/// Only equality, which is all that our workloads use.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.match_labels.as_ref();
    wanted.is_some_and(|all| !all.is_empty() && all.iter().all(|(k, v)| labels.get(k) == Some(v)))
}

/// How many are ready, how many are wanted, and whether all is done. A status that is older than the specification
/// says nothing about it.
type State = (i32, i32, bool);

pub(crate) fn stateful_set(set: &StatefulSet) -> State {
    let wanted = set.spec.replicas.unwrap_or(1);
    let status = set.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let fresh = status.observed_generation >= set.metadata.generation;
    let updated =
        status.updated_replicas.unwrap_or(0) >= wanted || status.current_revision == status.update_revision;
    (
        ready,
        wanted,
        fresh && updated && ready >= wanted && status.replicas == wanted,
    )
}

pub(crate) fn deployment(deployment: &Deployment) -> State {
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or(0);
    let fresh = status.observed_generation >= deployment.metadata.generation;
    let updated = status.updated_replicas.unwrap_or(0) >= wanted;
    // More than are wanted: old ones are still there.
    let settled = status.replicas.unwrap_or(0) == wanted;
    (ready, wanted, fresh && updated && settled && ready >= wanted)
}

pub(crate) fn daemon_set(set: &DaemonSet) -> State {
    let status = set.status.clone().unwrap_or_default();
    let wanted = status.desired_number_scheduled;
    let fresh = status.observed_generation >= set.metadata.generation;
    let updated = status.updated_number_scheduled.unwrap_or(0) >= wanted;
    (
        status.number_ready,
        wanted,
        fresh && updated && status.number_ready >= wanted,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(status: serde_json::Value) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": { "name": "consul", "generation": 2 },
            "spec": { "replicas": 3, "selector": {}, "serviceName": "x", "template": {} },
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn a_rollout_is_done_when_the_newest_version_is_ready_everywhere() {
        let state = |status| stateful_set(&set(status));
        let done = json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3, "currentRevision": "b", "updateRevision": "b" });
        assert_eq!(state(done), (3, 3, true));
        let old_status =
            json!({ "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 3 });
        assert_eq!(state(old_status), (3, 3, false));
        let halfway = json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b" });
        assert_eq!(state(halfway), (3, 3, false));
        let one_down =
            json!({ "observedGeneration": 2, "replicas": 3, "readyReplicas": 2, "updatedReplicas": 3 });
        assert_eq!(state(one_down), (2, 3, false));
        assert_eq!(state(json!({ "replicas": 0 })), (0, 3, false));

        let deployed = |status| {
            let object = json!({
                "metadata": { "generation": 2 },
                "spec": { "replicas": 1, "selector": {}, "template": {} }, "status": status,
            });
            deployment(&serde_json::from_value(object).unwrap())
        };
        let surge =
            json!({ "observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1 });
        assert_eq!(deployed(surge), (2, 1, false));
        let settled =
            json!({ "observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1 });
        assert_eq!(deployed(settled), (1, 1, true));
    }
}
