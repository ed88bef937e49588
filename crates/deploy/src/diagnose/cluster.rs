//! Causes outside the namespace: the way to the cluster, the namespace itself, nodes.

use super::{Cause, Finding, Findings, Snapshot};
use crate::{Error, objects::ObjectName};

/// A cluster that cannot be asked, as a finding.
pub(super) fn as_finding(error: &Error) -> Finding {
    let whole = crate::cluster::with_causes(error);
    // Messages end with what to do, after the last semicolon.
    let (problem, next) = whole.rsplit_once("; ").unwrap_or((&whole, ""));
    Finding {
        object: ObjectName::new("Cluster", "-"),
        cause: Cause::Access,
        problem: problem.to_owned(),
        evidence: Vec::new(),
        next: Some(next.to_owned())
            .filter(|n| !n.is_empty())
            .into_iter()
            .collect(),
        affects: Vec::new(),
    }
}

pub(super) fn missing_namespace(seen: &Snapshot, findings: &mut Findings) {
    let finding = Finding {
        object: ObjectName::new("Namespace", &seen.namespace),
        cause: Cause::NoNamespace,
        problem: format!(
            "the cluster at {} has no such namespace, so nothing is deployed in it",
            seen.server
        ),
        evidence: Vec::new(),
        next: vec![
            "isa deploy OVERLAY".into(),
            "or name the right namespace with -n, or the right cluster with --context".into(),
        ],
        affects: Vec::new(),
    };
    findings.add("namespace".into(), finding);
}

/// Nodes that cannot run pods, and the pods on them.
pub(super) fn nodes(seen: &Snapshot, findings: &mut Findings) {
    for node in seen.nodes.iter().flatten() {
        let object = ObjectName::of("Node", &node.metadata);
        let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        for condition in conditions {
            let (kind, holds) = (condition.type_.as_str(), condition.status.as_str());
            let problem = match (kind, holds) {
                ("Ready", "False") => "is not ready to run pods",
                ("Ready", "Unknown") => {
                    "has not been heard of: its kubelet, its network or the machine is down"
                }
                ("MemoryPressure", "True") => "is short of memory: it evicts pods and takes no new ones",
                ("DiskPressure", "True") => "is short of disk: it evicts pods and takes no new ones",
                ("PIDPressure", "True") => "is short of process ids: it evicts pods and takes no new ones",
                ("NetworkUnavailable", "True") => "has no pod network",
                _ => continue,
            };
            let message = condition.message.clone().filter(|m| !m.is_empty());
            let finding = Finding {
                object: object.clone(),
                cause: Cause::Node,
                problem: problem.to_owned(),
                evidence: message.into_iter().collect(),
                next: vec![match kind {
                    "DiskPressure" => {
                        "free disk space on it: old images and logs are the usual reason".to_owned()
                    }
                    "MemoryPressure" | "PIDPressure" => "move something off it, or add a node".to_owned(),
                    _ => format!(
                        "kubectl describe node {}; the kubelet's log on it says more",
                        object.name
                    ),
                }],
                affects: Vec::new(),
            };
            let index = findings.add(format!("node {} {kind}", object.name), finding);
            if kind != "Ready" {
                continue;
            }
            for pod in &seen.pods {
                let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
                let name = pod.metadata.name.clone().unwrap_or_default();
                if node == Some(&object.name) && !crate::pods::is_ready(pod) {
                    findings.affect(index, format!("Pod {name}"));
                    findings.blames(&name, seen.workload_of(pod), index);
                }
            }
        }
    }
}
