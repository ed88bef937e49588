//! What pods and volumes take: computed from manifests, or from what a cluster runs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, PersistentVolumeClaim, Pod, PodSpec},
    apimachinery::pkg::{api::resource::Quantity as Text, apis::meta::v1::ObjectMeta},
};
use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{Cluster, Error, Manifests, Quantity, pods::is_over, render::typed, status::layer_order};

/// CPU and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    pub cpu: Quantity,
    pub memory: Quantity,
}

/// What pods ask for, and what they may not exceed. A pod without a limit makes the sum of limits a lower bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub requests: Amounts,
    pub limits: Amounts,
}

impl Amounts {
    fn max(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.memory += other.memory;
    }

    pub(crate) fn times(self, count: i64) -> Self {
        Self {
            cpu: self.cpu.times(count),
            memory: self.memory.times(count),
        }
    }
}

/// What the scheduler counts for a pod: all containers together, or the largest moment of its initialization where
/// that is more. Init containers that restart are sidecars and run on beside what comes after them.
pub(crate) fn of_pod(spec: &PodSpec) -> Demand {
    Demand {
        requests: most(spec, |container, name| {
            let resources = container.resources.as_ref();
            let requests = resources
                .and_then(|r| r.requests.as_ref())
                .filter(|r| r.contains_key(name));
            // Without a request, Kubernetes takes the limit for one.
            amount(
                requests.or_else(|| resources.and_then(|r| r.limits.as_ref())),
                name,
            )
        }),
        limits: most(spec, |container, name| {
            amount(container.resources.as_ref().and_then(|r| r.limits.as_ref()), name)
        }),
    }
}

type Texts = BTreeMap<String, Text>;

fn most(spec: &PodSpec, of: impl Fn(&Container, &str) -> Quantity) -> Amounts {
    let amounts = |container: &Container| Amounts {
        cpu: of(container, "cpu"),
        memory: of(container, "memory"),
    };
    let mut sidecars = Amounts::default();
    let mut during_init = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let own = amounts(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(own);
            during_init = during_init.max(sidecars);
        } else {
            let mut now = sidecars;
            now.add(own);
            during_init = during_init.max(now);
        }
    }
    let mut running = sidecars;
    spec.containers
        .iter()
        .for_each(|container| running.add(amounts(container)));
    let mut all = running.max(during_init);
    if let Some(overhead) = &spec.overhead {
        all.add(Amounts {
            cpu: amount(Some(overhead), "cpu"),
            memory: amount(Some(overhead), "memory"),
        });
    }
    all
}

/// What a claim asks for.
pub(crate) fn storage_of(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    amount(resources.and_then(|r| r.requests.as_ref()), "storage")
}

pub(crate) fn amount(texts: Option<&Texts>, name: &str) -> Quantity {
    // The API server has checked them; in manifests a wrong one fails when it is applied.
    texts
        .and_then(|t| t.get(name))
        .and_then(|t| t.0.parse().ok())
        .unwrap_or_default()
}

/// What one system, a layer, or everything takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub pods: i64,
    pub demand: Demand,
    pub claims: i64,
    pub storage: Quantity,
    /// What the pods use at the moment, where the cluster measures it.
    pub usage: Option<Amounts>,
}

/// For programs, in the notation of Kubernetes.
impl Serialize for Total {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Demand { requests, limits } = self.demand;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pods", &self.pods)?;
        let mut amounts = |what: &str, of: Amounts| {
            map.serialize_entry(&format!("cpu_{what}"), &of.cpu.cores().to_string())?;
            map.serialize_entry(&format!("memory_{what}"), &of.memory.exact_bytes())
        };
        amounts("requests", requests)?;
        amounts("limits", limits)?;
        self.usage.map_or(Ok(()), |usage| amounts("used", usage))?;
        map.serialize_entry("claims", &self.claims)?;
        map.serialize_entry("volumes", &self.storage.exact_bytes())?;
        map.end()
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct System {
    pub name: String,
    pub layer: String,
    #[serde(flatten)]
    pub total: Total,
}

#[derive(Debug, Clone, Serialize)]
pub struct Layer {
    pub layer: String,
    #[serde(flatten)]
    pub total: Total,
}

/// Every system, the sums of the layers from below, and of all.
#[derive(Debug, Clone, Serialize)]
pub struct Resources {
    pub systems: Vec<System>,
    pub layers: Vec<Layer>,
    pub total: Total,
}

impl Total {
    fn add(&mut self, other: &Self) {
        self.pods += other.pods;
        self.demand.requests.add(other.demand.requests);
        self.demand.limits.add(other.demand.limits);
        self.claims += other.claims;
        self.storage += other.storage;
        if let Some(usage) = other.usage {
            self.usage.get_or_insert_default().add(usage);
        }
    }
}

impl Resources {
    fn of(systems: BTreeMap<(String, String), Total>) -> Self {
        let mut layers: BTreeMap<(usize, String), Total> = BTreeMap::new();
        let mut total = Total::default();
        let mut list = Vec::new();
        for ((layer, name), own) in systems {
            layers
                .entry((layer_order(&layer), layer.clone()))
                .or_default()
                .add(&own);
            total.add(&own);
            list.push(System {
                name,
                layer,
                total: own,
            });
        }
        list.sort_by_key(|s| (layer_order(&s.layer), s.name.clone()));
        Self {
            systems: list,
            layers: layers
                .into_iter()
                .map(|((_, layer), total)| Layer { layer, total })
                .collect(),
            total,
        }
    }
}

/// What manifests ask for.
pub fn of_manifests(manifests: &Manifests) -> Result<Resources, Error> {
    let mut systems: BTreeMap<_, Total> = BTreeMap::new();
    for workload in manifests.workloads()? {
        // One of each on every node; how many nodes there are the manifests do not know.
        let count = i64::from(workload.replicas.unwrap_or(1));
        let pod = of_pod(&workload.pod);
        let claims: Quantity = workload.claims.iter().map(storage_of).sum();
        systems
            .entry((workload.tier, workload.app))
            .or_default()
            .add(&Total {
                pods: count,
                demand: Demand {
                    requests: pod.requests.times(count),
                    limits: pod.limits.times(count),
                },
                claims: workload.claims.len() as i64 * count,
                storage: claims.times(count),
                usage: None,
            });
    }
    for object in manifests.objects.iter().filter(|o| {
        o.types
            .as_ref()
            .is_some_and(|t| t.kind == "PersistentVolumeClaim")
    }) {
        let claim: PersistentVolumeClaim = typed(object)?;
        systems.entry(place(&claim.metadata)).or_default().add(&Total {
            claims: 1,
            storage: storage_of(&claim),
            ..Total::default()
        });
    }
    Ok(Resources::of(systems))
}

/// What the pods and claims of a namespace take.
pub async fn of_cluster(cluster: &Cluster, namespace: &str) -> Result<Resources, Error> {
    let all = ListParams::default();
    let pods: Api<Pod> = cluster.api(namespace);
    let claims: Api<PersistentVolumeClaim> = cluster.api(namespace);
    let (pods, claims, usage) = futures::try_join!(
        cluster.within("list pods", pods.list(&all)),
        cluster.within("list persistentvolumeclaims", claims.list(&all)),
        async { Ok(usage(cluster, namespace).await) },
    )?;
    let mut systems: BTreeMap<_, Total> = BTreeMap::new();
    for pod in pods.items.iter().filter(|pod| !is_over(pod)) {
        systems.entry(place(&pod.metadata)).or_default().add(&Total {
            pods: 1,
            demand: pod.spec.as_ref().map(of_pod).unwrap_or_default(),
            usage: usage.get(&pod.name_any()).copied(),
            ..Total::default()
        });
    }
    for claim in &claims.items {
        let capacity = claim.status.as_ref().and_then(|s| s.capacity.as_ref());
        systems.entry(place(&claim.metadata)).or_default().add(&Total {
            claims: 1,
            // What a volume has may be more than was asked for; before it is there, what was asked for.
            storage: storage_of(claim).max(amount(capacity, "storage")),
            ..Total::default()
        });
    }
    Ok(Resources::of(systems))
}

/// Layer and system of an object, by its labels.
fn place(metadata: &ObjectMeta) -> (String, String) {
    let label = |name: &str| metadata.labels.as_ref().and_then(|l| l.get(name)).cloned();
    let app = label("app").or_else(|| metadata.name.clone()).unwrap_or_default();
    (label("tier").unwrap_or_else(|| "-".into()), app)
}

/// What each pod uses, by the metrics API; nothing where a cluster has none.
async fn usage(cluster: &Cluster, namespace: &str) -> BTreeMap<String, Amounts> {
    let resource = ApiResource {
        group: "metrics.k8s.io".into(),
        version: "v1beta1".into(),
        api_version: "metrics.k8s.io/v1beta1".into(),
        kind: "PodMetrics".into(),
        plural: "pods".into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), namespace, &resource);
    let Ok(measured) = cluster
        .within("read the metrics of pods", api.list(&ListParams::default()))
        .await
    else {
        return BTreeMap::new();
    };
    let sum = |object: &DynamicObject| {
        let mut sum = Amounts::default();
        for container in object.data["containers"].as_array().into_iter().flatten() {
            let read = |name: &str| {
                container["usage"][name]
                    .as_str()
                    .and_then(|t| t.parse().ok())
                    .unwrap_or_default()
            };
            sum.add(Amounts {
                cpu: read("cpu"),
                memory: read("memory"),
            });
        }
        sum
    };
    measured.items.iter().map(|o| (o.name_any(), sum(o))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(yaml: &str) -> (String, String) {
        let spec: PodSpec = serde_yaml_ng::from_str(yaml).unwrap();
        let Demand { requests, limits } = of_pod(&spec);
        let text = |a: Amounts| format!("{} {}", a.cpu.cores(), a.memory.bytes());
        (text(requests), text(limits))
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_its_largest_initialization() {
        let (requests, limits) = demand(
            "
            initContainers:
              - { name: small, resources: { requests: { cpu: 100m, memory: 64Mi } } }
              - { name: large, resources: { requests: { cpu: '2', memory: 128Mi } } }
            containers:
              - { name: a, resources: { requests: { cpu: 250m, memory: 512Mi }, limits: { cpu: '1', memory: 1Gi } } }
              - { name: b, resources: { limits: { cpu: 250m, memory: 256Mi } } }
            ",
        );
        assert_eq!(
            requests, "2 768Mi",
            "CPU of the init container, memory of both others"
        );
        assert_eq!(limits, "1250m 1280Mi");
        let (requests, _) = demand(
            "
            initContainers:
              - { name: side, restartPolicy: Always, resources: { requests: { cpu: 100m, memory: 64Mi } } }
              - { name: large, resources: { requests: { cpu: 200m, memory: 128Mi } } }
            containers:
              - { name: a, resources: { requests: { cpu: 250m, memory: 32Mi } } }
            ",
        );
        assert_eq!(requests, "350m 192Mi", "the sidecar beside both");
    }

    #[test]
    fn manifests_are_summed_by_layer() {
        let object = |kind: &str, name: &str, tier: &str, spec: &str| -> DynamicObject {
            let text = format!(
                "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{ name: {name}, labels: {{ app: {name}, tier: {tier} }} }}\nspec: {spec}\n"
            );
            serde_yaml_ng::from_str(&text).unwrap()
        };
        let pod = "template: { spec: { containers: [{ name: c, resources: { requests: { cpu: 256m, memory: 512Mi } } }] } }";
        let claim = "volumeClaimTemplates: [{ metadata: { name: data }, spec: { resources: { requests: { storage: 10Gi } } } }]";
        let manifests = Manifests {
            overlay: "staging".into(),
            objects: vec![
                object(
                    "Deployment",
                    "gateway",
                    "gateway",
                    &format!("{{ replicas: 2, selector: {{}}, {pod} }}"),
                ),
                object(
                    "StatefulSet",
                    "consul",
                    "infrastructure",
                    &format!("{{ replicas: 3, selector: {{}}, {pod}, {claim} }}"),
                ),
                object("Service", "consul", "infrastructure", "{}"),
            ],
        };
        let resources = of_manifests(&manifests).unwrap();
        let layers: Vec<_> = resources
            .layers
            .iter()
            .map(|l| (l.layer.as_str(), l.total.pods, l.total.claims))
            .collect();
        assert_eq!(layers, [("infrastructure", 3, 3), ("gateway", 2, 0)]);
        let total = resources.total;
        assert_eq!(total.pods, 5);
        assert_eq!(total.demand.requests.cpu.cores().to_string(), "1280m");
        assert_eq!(total.demand.requests.memory.bytes().to_string(), "2560Mi");
        assert_eq!(total.storage.bytes().to_string(), "30Gi");
        let json = serde_json::to_value(total).unwrap();
        let expected = serde_json::json!({
            "pods": 5, "cpu_requests": "1280m", "memory_requests": "2560Mi", "cpu_limits": "0", "memory_limits": "0",
            "claims": 3, "volumes": "30Gi",
        });
        assert_eq!(json, expected);
    }
}
