//! Services that nothing answers behind.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{Cause, Finding, Findings, Snapshot};
use crate::{
    objects::ObjectName,
    pods::{containers, is_over, is_ready},
};

type Labels = BTreeMap<String, String>;

pub(super) fn without_endpoints(seen: &Snapshot, findings: &mut Findings) {
    for service in &seen.services {
        let spec = service.spec.clone().unwrap_or_default();
        // Without a selector somebody else makes its endpoints.
        let Some(selector) = spec.selector.filter(|s| !s.is_empty()) else {
            continue;
        };
        let chosen: Vec<&Pod> = seen
            .pods
            .iter()
            .filter(|p| !is_over(p) && selects(&selector, p.labels()))
            .collect();
        let object = ObjectName::of("Service", &service.metadata);
        if chosen.is_empty() {
            nothing_chosen(seen, service, &selector, object, findings);
            continue;
        }
        let early = spec.publish_not_ready_addresses == Some(true);
        let ready: Vec<&Pod> = chosen.iter().copied().filter(|p| early || is_ready(p)).collect();
        if ready.is_empty() {
            // A consequence: of a cause that is known, or of pods that are still starting.
            if let Some(index) = chosen.iter().find_map(|p| findings.of_pod(&p.name_any())) {
                findings.affect(index, format!("{object} has no endpoints"));
            }
            continue;
        }
        for port in spec.ports.iter().flatten() {
            missing_port(port, &ready, &object, findings);
        }
    }
}

fn selects(selector: &Labels, labels: &Labels) -> bool {
    selector
        .iter()
        .all(|(name, value)| labels.get(name) == Some(value))
}

/// What makes pods: its name, how many are wanted, and the labels of its pods.
struct Template {
    object: ObjectName,
    wanted: i32,
    labels: Labels,
}

fn templates(seen: &Snapshot) -> Vec<Template> {
    let labels = |template: &PodTemplateSpec| {
        let metadata = template.metadata.as_ref();
        metadata.and_then(|m| m.labels.clone()).unwrap_or_default()
    };
    let sets = seen.stateful_sets.iter().map(|set| Template {
        object: ObjectName::of("StatefulSet", &set.metadata),
        wanted: set.spec.replicas.unwrap_or(1),
        labels: labels(&set.spec.template),
    });
    let deployments = seen.deployments.iter().map(|set| Template {
        object: ObjectName::of("Deployment", &set.metadata),
        wanted: set.spec.replicas.unwrap_or(1),
        labels: labels(&set.spec.template),
    });
    let daemons = seen.daemon_sets.iter().map(|set| Template {
        object: ObjectName::of("DaemonSet", &set.metadata),
        wanted: 1,
        labels: labels(&set.spec.template),
    });
    let alone = seen
        .pods
        .iter()
        .filter(|p| p.owner_references().is_empty())
        .map(|pod| Template {
            object: ObjectName::of("Pod", &pod.metadata),
            wanted: 1,
            labels: pod.labels().clone(),
        });
    sets.chain(deployments).chain(daemons).chain(alone).collect()
}

fn nothing_chosen(
    seen: &Snapshot,
    service: &Service,
    selector: &Labels,
    object: ObjectName,
    findings: &mut Findings,
) {
    let templates = templates(seen);
    if let Some(right) = templates.iter().find(|t| selects(selector, &t.labels)) {
        // Its pods are not there yet: nobody wants them, something keeps them from being made, or they come.
        if right.wanted > 0
            && let Some(index) = findings.of_pod(&right.object.to_string())
        {
            findings.affect(index, format!("{object} has no endpoints"));
        } else if right.wanted == 0 {
            let finding = Finding {
                cause: Cause::Selector,
                problem: format!("has no endpoints: {} is scaled to 0", right.object),
                evidence: Vec::new(),
                next: vec![format!(
                    "kubectl -n {} scale {} {} --replicas=1",
                    seen.namespace,
                    right.object.kind.to_lowercase(),
                    right.object.name
                )],
                affects: Vec::new(),
                object,
            };
            findings.add(format!("scaled {}", right.object), finding);
        }
        return;
    }
    let wanted = text(selector);
    let nearest = templates
        .iter()
        .map(|t| (nearness(service, selector, t), t))
        .filter(|(nearness, _)| *nearness > 0)
        .max_by_key(|(nearness, _)| *nearness);
    let (evidence, next) = match nearest {
        Some((_, template)) => {
            let differs: Vec<_> = selector
                .iter()
                .filter(|(name, value)| template.labels.get(*name) != Some(*value))
                .map(|(name, value)| match template.labels.get(name) {
                    Some(other) => format!(
                        "the selector wants {name}={value}, the pods of {} have {name}={other}",
                        template.object
                    ),
                    None => format!(
                        "the selector wants {name}={value}, the pods of {} have no label {name}",
                        template.object
                    ),
                })
                .collect();
            (
                differs,
                format!(
                    "correct the selector of {object}, or the labels in {}",
                    template.object
                ),
            )
        }
        None => (
            Vec::new(),
            format!("deploy what {object} is for, or correct its selector"),
        ),
    };
    let finding = Finding {
        cause: Cause::Selector,
        problem: format!("has no endpoints: its selector {wanted} matches no pod"),
        evidence,
        next: vec![next],
        affects: Vec::new(),
        object,
    };
    // Services of one system with the same mistake are one finding.
    findings.add(format!("selector {wanted}"), finding);
}

/// How likely a Service is meant for these pods: labels in common, labels that differ only in value, the same name.
fn nearness(service: &Service, selector: &Labels, template: &Template) -> usize {
    let same = selector
        .iter()
        .filter(|(name, value)| template.labels.get(*name) == Some(*value))
        .count();
    let name = service.name_any();
    let named = name == template.object.name || name.trim_end_matches("-headless") == template.object.name;
    let own = service
        .labels()
        .get("app")
        .is_some_and(|app| template.labels.get("app") == Some(app));
    same + 4 * usize::from(named) + 4 * usize::from(own)
}

fn text(labels: &Labels) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join(",")
}

/// A port by a name that no container has.
fn missing_port(port: &ServicePort, pods: &[&Pod], object: &ObjectName, findings: &mut Findings) {
    let Some(IntOrString::String(target)) = &port.target_port else {
        return;
    };
    let named = |pod: &Pod| {
        let ports = containers(pod).flat_map(|(c, _)| c.ports.iter().flatten());
        let names: Vec<_> = ports.filter_map(|p| p.name.clone()).collect();
        names
    };
    if pods.iter().any(|pod| named(pod).contains(target)) {
        return;
    }
    let known = pods.first().map(|pod| named(pod).join(", ")).unwrap_or_default();
    let finding = Finding {
        object: object.clone(),
        cause: Cause::Selector,
        problem: format!(
            "has no endpoints for port {}: no container has a port named {target:?}",
            port.port
        ),
        evidence: vec![format!("the ports are named {known}")],
        next: vec![format!(
            "correct targetPort in {object}, or the name of the container's port"
        )],
        affects: Vec::new(),
    };
    findings.add(format!("port {object} {target}"), finding);
}
