//! Everything that a diagnosis looks at, read at one moment.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::{Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service},
        storage::v1::StorageClass,
    },
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, LogParams},
};

use super::containers;
use crate::{
    Cluster, Error,
    objects::{ObjectName, shorten},
};

/// Lines of a log that are shown, and the longest of them.
const LOG_LINES: i64 = 8;
const LOG_LINE: usize = 300;
const LOG_BYTES: i64 = 64 * 1024;
/// Logs that are read; more causes than that are rarely different ones.
const MOST_LOGS: usize = 12;

/// A namespace, and of the cluster what its pods depend on and the user may see.
#[derive(Default)]
pub struct Snapshot {
    pub(crate) namespace: String,
    pub(crate) server: String,
    pub(crate) exists: bool,
    pub(crate) now: Timestamp,
    pub(crate) pods: Vec<Pod>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) services: Vec<Service>,
    pub(crate) stateful_sets: Vec<StatefulSet>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) daemon_sets: Vec<DaemonSet>,
    pub(crate) replica_sets: Vec<ReplicaSet>,
    pub(crate) events: Vec<Event>,
    /// `None`, here and below: the user may not see them.
    pub(crate) nodes: Option<Vec<Node>>,
    pub(crate) classes: Option<Vec<StorageClass>>,
    pub(crate) volumes: Option<Vec<PersistentVolume>>,
    /// Of all namespaces: they share the nodes.
    pub(crate) all_pods: Option<Vec<Pod>>,
    /// The last lines of containers that ended badly, by pod and container.
    pub(crate) logs: BTreeMap<(String, String), Vec<String>>,
}

impl Snapshot {
    pub async fn read(cluster: &Cluster, namespace: &str) -> Result<Self, Error> {
        // A dozen requests at once make a large future.
        Box::pin(Self::read_all(cluster, namespace)).await
    }

    async fn read_all(cluster: &Cluster, namespace: &str) -> Result<Self, Error> {
        let client = || cluster.client.clone();
        let all = ListParams::default();
        let namespaces: Api<Namespace> = Api::all(client());
        let exists = match cluster
            .within("read the namespace", namespaces.get_opt(namespace))
            .await
        {
            Ok(found) => found.is_some(),
            // Who may not see namespaces may still see what is in one.
            Err(Error::Forbidden { .. }) => true,
            Err(other) => return Err(other),
        };
        macro_rules! list {
            ($kind:ty, $what:literal) => {
                async {
                    let api: Api<$kind> = cluster.api(namespace);
                    let found = cluster
                        .within(concat!("list ", $what), api.list(&all))
                        .await?;
                    Ok::<_, Error>(found.items)
                }
            };
        }
        let (pods, claims, services, stateful_sets, deployments) = futures::try_join!(
            list!(Pod, "pods"),
            list!(PersistentVolumeClaim, "persistentvolumeclaims"),
            list!(Service, "services"),
            list!(StatefulSet, "statefulsets"),
            list!(Deployment, "deployments"),
        )?;
        let (daemon_sets, replica_sets, events, nodes, classes, volumes, all_pods) = futures::try_join!(
            list!(DaemonSet, "daemonsets"),
            list!(ReplicaSet, "replicasets"),
            list!(Event, "events"),
            cluster.list_if_allowed("nodes", Api::<Node>::all(client())),
            cluster.list_if_allowed("storageclasses", Api::<StorageClass>::all(client())),
            cluster.list_if_allowed("persistentvolumes", Api::<PersistentVolume>::all(client())),
            cluster.list_if_allowed("pods of all namespaces", Api::<Pod>::all(client())),
        )?;
        let mut seen = Self {
            namespace: namespace.to_owned(),
            server: cluster.place().server.clone(),
            exists,
            now: Timestamp::now(),
            pods,
            claims,
            services,
            stateful_sets,
            deployments,
            daemon_sets,
            replica_sets,
            events,
            nodes,
            classes,
            volumes,
            all_pods,
            logs: BTreeMap::new(),
        };
        seen.logs = seen.read_logs(cluster).await;
        Ok(seen)
    }

    /// A log that cannot be read is evidence that is missing, and no reason to fail.
    async fn read_logs(&self, cluster: &Cluster) -> BTreeMap<(String, String), Vec<String>> {
        let wanted: Vec<_> = self
            .pods
            .iter()
            .flat_map(containers::crashed)
            .take(MOST_LOGS)
            .collect();
        let api: Api<Pod> = cluster.api(&self.namespace);
        let read = stream::iter(wanted).map(|(pod, container)| {
            let api = api.clone();
            async move {
                let mut lines = Vec::new();
                // The run that ended; where that is the first one, it is the current one.
                for previous in [true, false] {
                    let params = LogParams {
                        container: Some(container.clone()),
                        previous,
                        tail_lines: Some(LOG_LINES),
                        limit_bytes: Some(LOG_BYTES),
                        ..Default::default()
                    };
                    let text = cluster.within("read a log", api.logs(&pod, &params)).await;
                    lines = text
                        .unwrap_or_default()
                        .lines()
                        .map(|l| shorten(l, LOG_LINE))
                        .collect();
                    // The kubelet answers with a sentence of its own where that run's log is gone.
                    lines.retain(|l| !l.is_empty() && !l.starts_with("unable to retrieve container logs"));
                    if !lines.is_empty() {
                        break;
                    }
                }
                ((pod, container), lines)
            }
        });
        read.buffer_unordered(4).collect().await
    }

    /// What happened to an object that was no good, the newest first.
    pub(crate) fn events_of(&self, uid: Option<&str>) -> Vec<&Event> {
        let mut events: Vec<_> = self
            .events
            .iter()
            .filter(|e| uid.is_some() && e.involved_object.uid.as_deref() == uid)
            .filter(|e| e.type_.as_deref() == Some("Warning"))
            .collect();
        events.sort_by_key(|e| std::cmp::Reverse(moment(e)));
        events
    }

    /// The same as text, each message once.
    pub(crate) fn warnings(&self, uid: Option<&str>) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for event in self.events_of(uid) {
            let text = format!(
                "{}: {}",
                event.reason.as_deref().unwrap_or_default(),
                message(event)
            );
            if !lines.contains(&text) {
                lines.push(text);
            }
        }
        lines.truncate(3);
        lines
    }

    /// What keeps a pod running: its StatefulSet, Deployment, DaemonSet or Job; without one, the pod itself.
    pub(crate) fn workload_of(&self, pod: &Pod) -> ObjectName {
        let Some(owner) = pod.owner_references().first() else {
            return ObjectName::new("Pod", pod.name_any());
        };
        let replica_set = self
            .replica_sets
            .iter()
            .find(|r| r.metadata.uid.as_deref() == Some(&owner.uid));
        match replica_set.and_then(|r| r.owner_references().first()) {
            Some(deployment) => ObjectName::new(&deployment.kind, &deployment.name),
            None => ObjectName::new(&owner.kind, &owner.name),
        }
    }
}

/// When an event was last seen.
pub(crate) fn moment(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|s| s.last_observed_time.as_ref())
        .map(|t| t.0);
    series
        .or_else(|| event.last_timestamp.as_ref().map(|t| t.0))
        .or_else(|| event.event_time.as_ref().map(|t| t.0))
        .or_else(|| event.metadata.creation_timestamp.as_ref().map(|t| t.0))
}

pub(crate) fn message(event: &Event) -> String {
    shorten(&event.message.clone().unwrap_or_default().replace('\n', " "), 500)
}
