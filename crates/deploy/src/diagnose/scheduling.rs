//! Pods that no node takes.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{Cause, Finding, Findings, PATIENCE, Snapshot, storage::claims_of};
use crate::{
    Quantity,
    objects::{age, shorten, since},
    pods::{condition, is_over},
    resources::{Amounts, amount, of_pod},
};

pub(super) fn pods(seen: &Snapshot, findings: &mut Findings) {
    for pod in &seen.pods {
        let name = pod.name_any();
        let placed =
            pod.spec.as_ref().is_some_and(|s| s.node_name.is_some()) || condition(pod, "PodScheduled");
        if placed || is_over(pod) || findings.of_pod(&name).is_some() {
            continue;
        }
        let Some((problem, evidence, next)) = explain(seen, pod) else {
            continue;
        };
        let workload = seen.workload_of(pod);
        let finding = Finding {
            object: workload.clone(),
            cause: Cause::Scheduling,
            problem,
            evidence,
            next,
            affects: Vec::new(),
        };
        let index = findings.add(format!("scheduling {workload}"), finding);
        findings.affect(index, format!("Pod {name}"));
        findings.blames(&name, workload, index);
    }
}

type Explanation = (String, Vec<String>, Vec<String>);

fn explain(seen: &Snapshot, pod: &Pod) -> Option<Explanation> {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let refused = conditions
        .into_iter()
        .find(|c| c.type_ == "PodScheduled" && c.status == "False");
    let Some(message) = refused.and_then(|c| c.message.clone()) else {
        let waits = since(pod.metadata.creation_timestamp.as_ref(), seen.now);
        return (waits.as_secs() > PATIENCE).then(|| {
            (
                format!("no scheduler has looked at its pod for {}", age(waits)),
                Vec::new(),
                vec!["does kube-scheduler run? its pod is in the namespace kube-system".into()],
            )
        });
    };
    let said = shorten(&message, 400);
    let wants = pod.spec.as_ref().map(of_pod).unwrap_or_default().requests;
    for (resource, text) in [("memory", "Insufficient memory"), ("cpu", "Insufficient cpu")] {
        if message.contains(text) {
            return Some(insufficient(seen, resource, wants, said));
        }
    }
    let one =
        |problem: &str, next: &str| Some((problem.to_owned(), vec![said.clone()], vec![next.to_owned()]));
    if let Some(claim) = claims_of(pod).find(|name| !seen.claims.iter().any(|c| c.name_any() == *name)) {
        let problem = format!("its pod mounts the claim {claim:?}, which does not exist");
        return Some((
            problem,
            vec![said],
            vec![format!(
                "make the PersistentVolumeClaim {claim}, or correct its name"
            )],
        ));
    }
    if message.contains("volume node affinity conflict") {
        return one(
            "its volume is on a node that cannot take the pod",
            "free the node that has the volume, or delete the claim if its data may be lost",
        );
    }
    if message.contains("didn't find available persistent volumes") || message.contains("unbound immediate") {
        return one(
            "no volume is free for its claim",
            "kubectl get pv,pvc shows which there are",
        );
    }
    if message.contains("untolerated taint") {
        let taints = seen.nodes.iter().flatten().flat_map(taints_of);
        let problem = "every node has a taint that its pod does not tolerate".to_owned();
        let next = "remove the taint (kubectl taint node NODE KEY-), or let the pod tolerate it".to_owned();
        return Some((problem, std::iter::once(said).chain(taints).collect(), vec![next]));
    }
    if message.contains("were unschedulable") || message.contains("node(s) were unschedulable") {
        return one("the nodes are cordoned", "kubectl uncordon NODE");
    }
    if message.contains("node affinity/selector")
        || message.contains("anti-affinity")
        || message.contains("topology spread")
    {
        return one(
            "no node fulfils what its pod demands of one",
            "add a node that does, or loosen nodeSelector, affinity or topologySpreadConstraints",
        );
    }
    if message.contains("Too many pods") {
        return one(
            "the nodes run as many pods as they may",
            "add a node, or raise the kubelet's maxPods",
        );
    }
    if message.contains("no nodes available") {
        return one("the cluster has no nodes", "add one");
    }
    one(
        "no node takes its pod",
        "the scheduler's words above say why each node was left out",
    )
}

fn insufficient(seen: &Snapshot, resource: &str, wants: Amounts, said: String) -> Explanation {
    let part = |a: Amounts| if resource == "cpu" { a.cpu } else { a.memory };
    let shown = |q: Quantity| {
        if resource == "cpu" {
            q.cores().to_string()
        } else {
            q.bytes().to_string()
        }
    };
    let wanted = part(wants);
    let nodes: Vec<_> = seen
        .nodes
        .iter()
        .flatten()
        .map(|node| (node.name_any(), part(allocatable(node))))
        .collect();
    let Some((largest, most)) = nodes.iter().max_by_key(|(_, q)| *q) else {
        // The nodes may not be seen.
        let problem = format!(
            "its pod requests {} {resource}, and no node has as much left",
            shown(wanted)
        );
        return (
            problem,
            vec![said],
            vec![format!("add a node, or lower the request of {resource}")],
        );
    };
    if wanted > *most {
        let problem = format!(
            "its pod requests {} {resource}, and no node can ever have that: the largest, {largest}, has {} in all",
            shown(wanted),
            shown(*most)
        );
        return (
            problem,
            vec![said],
            vec![format!("lower the request of {resource}, or add a larger node")],
        );
    }
    let mut evidence = vec![said];
    for (name, all) in &nodes {
        if let Some(pods) = &seen.all_pods {
            let taken = pods
                .iter()
                .filter(|p| !is_over(p))
                .filter_map(|p| p.spec.as_ref())
                .filter(|s| s.node_name.as_deref() == Some(name))
                .map(|s| part(of_pod(s).requests))
                .sum();
            evidence.push(format!(
                "node {name}: {} of {} left",
                shown(all.minus(taken)),
                shown(*all)
            ));
        } else {
            evidence.push(format!("node {name}: {} in all", shown(*all)));
        }
    }
    let problem = format!(
        "its pod requests {} {resource}, and no node has as much left",
        shown(wanted)
    );
    let next = vec![format!(
        "add a node, or lower requests of {resource}; `isa resources --kube` shows who takes how much"
    )];
    (problem, evidence, next)
}

fn taints_of(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let taint = |t: &k8s_openapi::api::core::v1::Taint| {
        let value = t.value.as_deref().map_or_else(String::new, |v| format!("={v}"));
        format!("node {}: {}{value}:{}", node.name_any(), t.key, t.effect)
    };
    taints.map(taint).collect()
}

/// What a node has for pods.
fn allocatable(node: &Node) -> Amounts {
    let all = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    Amounts {
        cpu: amount(all, "cpu"),
        memory: amount(all, "memory"),
    }
}
