//! Removes what was deployed. Data stays, with what is needed to read it, unless it is to go as well.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
    core::{DynamicObject, TypeMeta},
    runtime::{conditions::is_deleted, wait::await_condition},
};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::{
    Cluster, Error, Manifests,
    objects::{ObjectName, name_of},
    render::Workload,
    resources::storage_of,
};

const PARALLEL: usize = 8;
/// The label by which all of our objects are known.
const PART_OF: &str = "app.kubernetes.io/part-of";
const PLATFORM: &str = "isa-cloud";

/// What will be removed and what will stay. Nothing has been removed yet.
#[derive(Default)]
pub struct Removal {
    pub removed: Vec<ObjectName>,
    pub kept: Vec<Kept>,
    objects: Vec<DynamicObject>,
}

/// Something that stays.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    #[serde(flatten)]
    pub object: ObjectName,
    pub why: String,
}

/// Finds out what there is to remove. With `volumes` the data goes, the Secrets and the namespace too.
pub async fn removal(cluster: &Cluster, manifests: &Manifests, volumes: bool) -> Result<Removal, Error> {
    let mut found = Removal::default();
    let there: Vec<DynamicObject> = stream::iter(&manifests.objects)
        .map(|object| async move {
            let api = match cluster.api_of(object).await {
                Ok(api) => api,
                // Without its kind there can be no such object.
                Err(Error::UnknownKind { .. }) => return Ok(None),
                Err(other) => return Err(other),
            };
            let what = format!("read {}", name_of(object));
            let live = cluster.within(&what, api.get_opt(&object.name_any())).await?;
            Ok::<_, Error>(live.map(|live| DynamicObject {
                types: object.types.clone(),
                ..live
            }))
        })
        .buffered(PARALLEL)
        .try_filter_map(async |live| Ok(live))
        .try_collect()
        .await?;
    for object in there {
        let kind = object.types.as_ref().map_or("", |t| t.kind.as_str());
        match kind {
            "Namespace" if !volumes => found.keep(&object, "it holds the volumes and their passwords"),
            "Secret" if !volumes => found.keep(&object, "without it the kept data cannot be read"),
            _ => found.remove(object),
        }
    }
    let workloads = manifests.workloads()?;
    for namespace in manifests.namespaces() {
        for claim in claims(cluster, &namespace, &workloads).await? {
            let size = storage_of(&claim).bytes().to_string();
            let object = untyped("v1", "PersistentVolumeClaim", &claim)?;
            if volumes {
                found.remove(object);
            } else {
                let bound = claim.spec.as_ref().is_some_and(|s| s.volume_name.is_some());
                let what = if bound {
                    "of data"
                } else {
                    "asked for, without a volume yet"
                };
                found.keep(&object, &format!("{size} {what}"));
            }
        }
        // Earlier versions of the generated ones, which no manifest names any more.
        for map in config_maps(cluster, &namespace).await? {
            let object = untyped("v1", "ConfigMap", &map)?;
            if !found.removed.contains(&name_of(&object)) {
                found.remove(object);
            }
        }
    }
    // The namespace last: deleting it deletes all that is left in it.
    found.objects.sort_by_key(|o| name_of(o).kind == "Namespace");
    Ok(found)
}

impl Removal {
    fn keep(&mut self, object: &DynamicObject, why: &str) {
        self.kept.push(Kept {
            object: name_of(object),
            why: why.to_owned(),
        });
    }

    fn remove(&mut self, object: DynamicObject) {
        self.removed.push(name_of(&object));
        self.objects.push(object);
    }

    /// Removes it all and waits until it is gone, the pods included. `each` is called as each object is gone.
    pub async fn run(
        &self,
        cluster: &Cluster,
        limit: Duration,
        mut each: impl FnMut(&ObjectName),
    ) -> Result<(), Error> {
        let deadline = Instant::now() + limit;
        let (namespaces, rest): (Vec<_>, Vec<_>) =
            self.objects.iter().partition(|o| name_of(o).kind == "Namespace");
        for group in [rest, namespaces] {
            // All deletions first: pods that end slowly then end at the same time, and a claim goes once its pod has.
            stream::iter(&group)
                .map(|object| delete(cluster, object))
                .buffer_unordered(PARALLEL)
                .try_collect::<Vec<_>>()
                .await?;
            let mut waiting = stream::iter(&group)
                .map(|object| gone(cluster, object, deadline))
                .buffer_unordered(group.len().max(1));
            while let Some(object) = waiting.try_next().await? {
                each(&object);
            }
        }
        Ok(())
    }
}

async fn delete(cluster: &Cluster, object: &DynamicObject) -> Result<(), Error> {
    let api = cluster.api_of(object).await?;
    // In the foreground: an object is gone only when its pods are.
    let name = object.name_any();
    let params = DeleteParams::foreground();
    let deleted = async {
        match api.delete(&name, &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    };
    cluster
        .within(&format!("delete {}", name_of(object)), deleted)
        .await
}

async fn gone(cluster: &Cluster, object: &DynamicObject, deadline: Instant) -> Result<ObjectName, Error> {
    let name = name_of(object);
    let api = cluster.api_of(object).await?;
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let of = object.name_any();
    let waiting = await_condition(api.clone(), &of, is_deleted(&uid));
    match timeout_at(deadline, waiting).await {
        Ok(Ok(_)) => Ok(name),
        Ok(Err(error)) => Err(Error::Waiting {
            object: name,
            why: crate::cluster::with_causes(&error),
        }),
        Err(_) => {
            let live = cluster
                .within("read what is left", api.get_opt(&object.name_any()))
                .await?;
            let finalizers = live.map(|o| o.finalizers().join(", ")).unwrap_or_default();
            Err(Error::StillThere {
                object: name,
                finalizers,
            })
        }
    }
}

/// The claims of the platform: by label, or because a StatefulSet of the manifests makes claims of that name.
async fn claims(
    cluster: &Cluster,
    namespace: &str,
    workloads: &[Workload],
) -> Result<Vec<PersistentVolumeClaim>, Error> {
    let api: Api<PersistentVolumeClaim> = cluster.api(namespace);
    let every = ListParams::default();
    let mut all = cluster
        .within("list persistentvolumeclaims", api.list(&every))
        .await?
        .items;
    let prefixes: Vec<_> = workloads
        .iter()
        .flat_map(|w| {
            w.claims
                .iter()
                .map(|claim| format!("{}-{}-", claim.name_any(), w.name))
        })
        .collect();
    let made = |name: &str, prefix: &String| {
        name.strip_prefix(prefix.as_str())
            .is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
    };
    all.retain(|claim| {
        let ours = claim.labels().get(PART_OF).is_some_and(|whole| whole == PLATFORM);
        ours || prefixes.iter().any(|prefix| made(&claim.name_any(), prefix))
    });
    Ok(all)
}

async fn config_maps(cluster: &Cluster, namespace: &str) -> Result<Vec<ConfigMap>, Error> {
    let api: Api<ConfigMap> = cluster.api(namespace);
    let ours = ListParams::default().labels(&format!("{PART_OF}={PLATFORM}"));
    Ok(cluster.within("list configmaps", api.list(&ours)).await?.items)
}

fn untyped<K: Serialize>(version: &str, kind: &str, object: &K) -> Result<DynamicObject, Error> {
    let value = serde_json::to_value(object);
    let object: Result<DynamicObject, _> = value.and_then(serde_json::from_value);
    let mut object = object.map_err(|source| Error::Manifest {
        object: ObjectName::new(kind, "-"),
        source,
    })?;
    object.types = Some(TypeMeta {
        api_version: version.to_owned(),
        kind: kind.to_owned(),
    });
    Ok(object)
}
