//! Who can reach whom: the NetworkPolicies of the rendered manifests, evaluated as the API's documentation says, against
//! the flows that each system needs. Bridges of test nodes do not enforce policies, so this is computed and not tried.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::Value;

type Labels = BTreeMap<String, String>;

/// Every pod of the layers above the infrastructure.
const EVERY_SERVICE: &str = "every service";
/// The gateway and the applications.
const CLIENTS: &str = "clients";

/// Who may call a system, by port. What is not listed must be refused, from every pod and on every port.
const CALLERS: &[(&str, &[i32], &[&str])] = &[
    ("consul", &[8500, 8502, 8600], &[EVERY_SERVICE]),
    ("consul", &[8300, 8301, 8302], &["consul"]),
    ("redis", &[6379], &["redis-grpc"]),
    ("minio", &[9000], &["minio-grpc", "duckdb-grpc"]),
    ("nats", &[4222], &["nats-grpc", "mqtt-grpc", "duckdb-grpc"]),
    ("mosquitto", &[1883], &["mqtt-grpc"]),
    (
        "postgres",
        &[5432],
        &["postgres-grpc", "user", "model", "mcp", "agent"],
    ),
    ("qdrant", &[6333, 6334], &["qdrant-grpc"]),
    ("neo4j", &[7687], &["neo4j-grpc"]),
    ("loki", &[3100], &["loki-grpc", "grafana"]),
    ("redis-grpc", &[50055], &[CLIENTS, "redis-grpc", "consul"]),
    ("postgres-grpc", &[50061], &[CLIENTS, "postgres-grpc", "consul"]),
    ("minio-grpc", &[50051], &[CLIENTS, "minio-grpc", "consul"]),
    ("nats-grpc", &[50056], &[CLIENTS, "nats-grpc", "consul"]),
    ("qdrant-grpc", &[50062], &[CLIENTS, "qdrant-grpc", "consul"]),
    ("neo4j-grpc", &[50063], &[CLIENTS, "neo4j-grpc", "consul"]),
    ("mqtt-grpc", &[50053], &[CLIENTS, "mqtt-grpc", "consul"]),
    ("loki-grpc", &[50054], &[CLIENTS, "loki-grpc", "consul"]),
    ("duckdb-grpc", &[50052], &[CLIENTS, "duckdb-grpc", "consul"]),
];

/// A host that is no pod.
const OUTSIDE: &str = "outside";
/// Who may send there: to webhooks.
const SENDERS: &[&str] = &["mqtt-grpc"];
/// Where pods, services and nodes have their addresses.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// The pods of the layers above the infrastructure: `app` and `tier`.
const ABOVE: &[(&str, &str)] = &[
    ("minio-grpc", "grpc-services"),
    ("duckdb-grpc", "grpc-services"),
    ("mqtt-grpc", "grpc-services"),
    ("loki-grpc", "grpc-services"),
    ("redis-grpc", "grpc-services"),
    ("nats-grpc", "grpc-services"),
    ("postgres-grpc", "grpc-services"),
    ("qdrant-grpc", "grpc-services"),
    ("neo4j-grpc", "grpc-services"),
    ("openresty", "gateway"),
    ("gateway", "gateway"),
    ("agent", "applications"),
    ("mcp", "applications"),
    ("model", "applications"),
    ("user", "applications"),
];

#[derive(Debug, Clone)]
struct Pod {
    name: String,
    labels: Labels,
    /// Labels of its namespace, where that is not the platform's.
    elsewhere: Option<Labels>,
}

impl Pod {
    fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        Self {
            name: name.to_owned(),
            labels: own(labels),
            elsewhere: None,
        }
    }

    fn of(app: &str, tier: &str) -> Self {
        Self::new(app, &[("app", app), ("tier", tier)])
    }

    fn tier(&self) -> &str {
        self.labels.get("tier").map_or("", String::as_str)
    }

    /// Whether it is one of those that a row of [`CALLERS`] names.
    fn is_caller(&self, named: &str) -> bool {
        let above = match named {
            EVERY_SERVICE => &["grpc-services", "gateway", "applications"][..],
            CLIENTS => &["gateway", "applications"],
            _ => return self.name == named && self.tier() != "elsewhere",
        };
        above.contains(&self.tier())
    }

    /// Whether another must let it in.
    fn is_admitted(&self, to: &Self, port: i32) -> bool {
        let rows = CALLERS
            .iter()
            .filter(|(system, ports, _)| *system == to.name && ports.contains(&port));
        let mut callers = rows.flat_map(|(.., callers)| callers.iter());
        self.elsewhere.is_none() && callers.any(|named| self.is_caller(named))
    }

    /// Whether it must be able to send there: it uses all that it is let into, but of Consul only the HTTP API.
    fn sends(&self, to: &Self, port: i32) -> bool {
        let unused = self.tier() == "grpc-services" && to.name == "consul" && port != 8500;
        self.is_admitted(to, port) && !unused
    }
}

fn own(labels: &[(&str, &str)]) -> Labels {
    labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return false };
    assert!(
        selector.match_expressions.iter().flatten().next().is_none(),
        "match expressions are not evaluated here: {selector:?}"
    );
    selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value))
}

fn is_peer(peer: &NetworkPolicyPeer, pod: &Pod) -> bool {
    if let Some(block) = &peer.ip_block {
        // Pods have private addresses, so that a block without these is of the world outside alone.
        let left_out = block.except.as_deref().unwrap_or_default();
        let is_public =
            block.cidr == "2000::/3" || PRIVATE.iter().all(|net| left_out.iter().any(|it| it == net));
        assert!(is_public, "a block with private addresses: {block:?}");
        return pod.name == OUTSIDE;
    }
    let pod_matches = peer.pod_selector.is_none() || selects(peer.pod_selector.as_ref(), &pod.labels);
    match (&peer.namespace_selector, &pod.elsewhere) {
        (None, None) => pod_matches,
        (None, Some(_)) => false,
        (Some(selector), Some(namespace)) => pod_matches && selects(Some(selector), namespace),
        // The platform's own namespace has its name as a label, and no policy names that.
        (Some(selector), None) => pod_matches && selects(Some(selector), &Labels::new()),
    }
}

fn is_port(ports: Option<&Vec<NetworkPolicyPort>>, protocol: &str, port: i32) -> bool {
    let Some(ports) = ports else { return true };
    ports.iter().any(|p| {
        p.protocol.as_deref().unwrap_or("TCP") == protocol
            && match &p.port {
                None => true,
                Some(IntOrString::Int(number)) => *number <= port && port <= p.end_port.unwrap_or(*number),
                Some(IntOrString::String(name)) => panic!("port {name}: name it by its number, as here"),
            }
    })
}

struct Policies(Vec<NetworkPolicy>);

impl Policies {
    fn selecting<'a>(&'a self, pod: &'a Pod, direction: &'a str) -> impl Iterator<Item = &'a NetworkPolicy> {
        self.0.iter().filter(move |policy| {
            let spec = policy.spec.as_ref().expect("a policy has a spec");
            let types = spec.policy_types.as_deref().expect("every policy says its types");
            let selector = spec.pod_selector.as_ref();
            pod.elsewhere.is_none() && types.iter().any(|t| t == direction) && selects(selector, &pod.labels)
        })
    }

    fn may_enter(&self, from: &Pod, to: &Pod, protocol: &str, port: i32) -> bool {
        let mut policies = self.selecting(to, "Ingress").peekable();
        policies.peek().is_none()
            || policies.any(|policy| {
                let rules = policy.spec.iter().flat_map(|spec| spec.ingress.iter().flatten());
                rules.into_iter().any(|rule| {
                    let peers = rule.from.as_ref();
                    peers.is_none_or(|peers| peers.iter().any(|peer| is_peer(peer, from)))
                        && is_port(rule.ports.as_ref(), protocol, port)
                })
            })
    }

    fn may_leave(&self, from: &Pod, to: &Pod, protocol: &str, port: i32) -> bool {
        let mut policies = self.selecting(from, "Egress").peekable();
        policies.peek().is_none()
            || policies.any(|policy| {
                let rules = policy.spec.iter().flat_map(|spec| spec.egress.iter().flatten());
                rules.into_iter().any(|rule| {
                    let peers = rule.to.as_ref();
                    peers.is_none_or(|peers| peers.iter().any(|peer| is_peer(peer, to)))
                        && is_port(rule.ports.as_ref(), protocol, port)
                })
            })
    }
}

fn labels_of(template: &Value) -> Labels {
    serde_json::from_value(template["metadata"]["labels"].clone()).unwrap()
}

/// Ports of a pod, each with its protocol.
fn ports_of(template: &Value) -> BTreeSet<(String, i32)> {
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|c| c["ports"].as_array().cloned().unwrap_or_default());
    ports
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or("TCP").to_owned();
            (
                protocol,
                i32::try_from(p["containerPort"].as_i64().unwrap()).unwrap(),
            )
        })
        .collect()
}

/// Checks the matrix of an overlay's objects and returns how many flows were looked at.
pub(crate) fn check(objects: &[Value]) -> usize {
    let of_kind = |kind: &'static str| objects.iter().filter(move |o| o["kind"] == kind).cloned();
    let policies = Policies(
        of_kind("NetworkPolicy")
            .map(|p| serde_json::from_value(p).unwrap())
            .collect(),
    );
    assert!(!policies.0.is_empty(), "no NetworkPolicy is rendered");

    let mut rendered = Vec::new();
    for workload in of_kind("StatefulSet").chain(of_kind("Deployment")) {
        let template = &workload["spec"]["template"];
        let name = workload["metadata"]["name"].as_str().unwrap();
        let pod = Pod {
            name: name.to_owned(),
            labels: labels_of(template),
            elsewhere: None,
        };
        rendered.push((pod, ports_of(template)));
    }
    let dns = Pod {
        name: "dns".into(),
        labels: own(&[("k8s-app", "kube-dns")]),
        elsewhere: Some(own(&[("kubernetes.io/metadata.name", "kube-system")])),
    };
    let strange = own(&[("kubernetes.io/metadata.name", "another")]);
    let above: Vec<Pod> = ABOVE.iter().map(|(app, tier)| Pod::of(app, tier)).collect();
    let is_rendered = |pod: &&Pod| rendered.iter().any(|(other, _)| other.name == pod.name);
    let later: Vec<&Pod> = above.iter().filter(|pod| !is_rendered(pod)).collect();
    let mut strangers = vec![
        Pod::new("unlabelled", &[]),
        Pod::of("redis-grpc", "elsewhere"),
        dns.clone(),
    ];
    // The right labels in another namespace are a stranger's.
    strangers.extend(above.iter().map(|pod| Pod {
        elsewhere: Some(strange.clone()),
        name: format!("{} of another namespace", pod.name),
        ..pod.clone()
    }));

    let mut looked_at = 0;
    let pods = rendered.iter().map(|(pod, _)| pod);
    for from in pods.chain(later.iter().copied()).chain(&strangers) {
        for (to, ports) in &rendered {
            for (protocol, port) in ports {
                looked_at += 1;
                let enters = policies.may_enter(from, to, protocol, *port);
                assert_eq!(
                    enters,
                    from.is_admitted(to, *port),
                    "{} into {} on {protocol} {port}",
                    from.name,
                    to.name
                );
                // What a layer that is not there yet may send is said with it.
                if is_rendered(&from) && from.elsewhere.is_none() && from.tier() != "elsewhere" {
                    let leaves = policies.may_leave(from, to, protocol, *port);
                    assert_eq!(
                        leaves,
                        from.sends(to, *port),
                        "{} out to {} on {protocol} {port}",
                        from.name,
                        to.name
                    );
                }
            }
        }
        if from.elsewhere.is_none() {
            assert!(
                policies.may_leave(from, &dns, "UDP", 53),
                "{} asks DNS",
                from.name
            );
            assert!(
                !policies.may_leave(from, &dns, "TCP", 443),
                "{} asks DNS only",
                from.name
            );
            let outside = Pod {
                name: OUTSIDE.into(),
                labels: Labels::new(),
                elsewhere: Some(Labels::new()),
            };
            assert_eq!(
                policies.may_leave(from, &outside, "TCP", 443),
                SENDERS.contains(&from.name.as_str()),
                "{} leaves",
                from.name
            );
        }
    }
    looked_at
}
