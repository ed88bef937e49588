//! Pods that are not even made, because the API server refuses them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::{
    Cause, Finding, Findings, Snapshot,
    snapshot::{message, moment},
};
use crate::objects::ObjectName;

/// Something that makes pods.
struct Maker<'a> {
    kind: &'static str,
    metadata: &'a ObjectMeta,
    wanted: i32,
    made: i32,
}

pub(super) fn refused(seen: &Snapshot, findings: &mut Findings) {
    for maker in makers(seen) {
        if maker.made >= maker.wanted {
            continue;
        }
        let events = seen.events_of(maker.metadata.uid.as_deref());
        let Some(event) = events
            .iter()
            .find(|e| e.reason.as_deref() == Some("FailedCreate"))
        else {
            continue;
        };
        // It was refused once, and has been made since.
        let newest = seen.pods.iter().filter(|p| owned_by(&p.metadata, maker.metadata));
        let newest = newest
            .filter_map(|p| p.metadata.creation_timestamp.as_ref().map(|t| t.0))
            .max();
        if newest > moment(event) {
            continue;
        }
        let said = message(event);
        let object = workload(seen, &maker);
        let (problem, next) = explain(&said, &object);
        let finding = Finding {
            object: object.clone(),
            cause: Cause::Creation,
            problem,
            evidence: vec![said],
            next,
            affects: Vec::new(),
        };
        let index = findings.add(format!("creation {object}"), finding);
        // For Services that wait for such pods.
        findings.blames(&object.to_string(), object, index);
    }
}

fn makers(seen: &Snapshot) -> Vec<Maker<'_>> {
    let sets = seen.stateful_sets.iter().map(|set| Maker {
        kind: "StatefulSet",
        metadata: &set.metadata,
        wanted: set.spec.replicas.unwrap_or(1),
        made: set.status.as_ref().map_or(0, |s| s.replicas),
    });
    let replicas = seen.replica_sets.iter().map(|set| Maker {
        kind: "ReplicaSet",
        metadata: &set.metadata,
        wanted: set.spec.replicas.unwrap_or(1),
        made: set.status.as_ref().map_or(0, |s| s.replicas),
    });
    let daemons = seen.daemon_sets.iter().map(|set| Maker {
        kind: "DaemonSet",
        metadata: &set.metadata,
        wanted: set.status.as_ref().map_or(1, |s| s.desired_number_scheduled),
        made: set.status.as_ref().map_or(0, |s| s.current_number_scheduled),
    });
    sets.chain(replicas).chain(daemons).collect()
}

fn owned_by(pod: &ObjectMeta, maker: &ObjectMeta) -> bool {
    let owners = pod.owner_references.iter().flatten();
    owners.into_iter().any(|o| Some(&o.uid) == maker.uid.as_ref())
}

fn workload(seen: &Snapshot, maker: &Maker<'_>) -> ObjectName {
    let replica_set = seen
        .replica_sets
        .iter()
        .find(|r| r.metadata.uid == maker.metadata.uid);
    match replica_set.and_then(|r| r.owner_references().first()) {
        Some(owner) => ObjectName::new(&owner.kind, &owner.name),
        None => ObjectName::of(maker.kind, maker.metadata),
    }
}

fn explain(said: &str, object: &ObjectName) -> (String, Vec<String>) {
    if let Some((_, rest)) = said.split_once("violates PodSecurity") {
        let level = rest.split('"').nth(1).unwrap_or("restricted");
        return (
            format!(
                "its pods ask for more than the namespace's Pod Security level {level} allows, so none is made"
            ),
            vec![format!(
                "set in {object} what the message names, in parentheses after each rule"
            )],
        );
    }
    if said.contains("exceeded quota") {
        return (
            "its pods would exceed a ResourceQuota of the namespace, so none is made".into(),
            vec!["raise the quota that the message names, or lower requests; kubectl describe quota shows what is used".into()],
        );
    }
    if said.contains("serviceaccount") && said.contains("not found") {
        return (
            "its pods name a ServiceAccount that does not exist, so none is made".into(),
            vec!["make the ServiceAccount that the message names, or correct serviceAccountName".into()],
        );
    }
    if said.contains("webhook") {
        return (
            "an admission webhook refuses its pods, or does not answer".into(),
            vec!["the message names the webhook: does the program behind it run?".into()],
        );
    }
    (
        "the API server refuses its pods, so none is made".into(),
        vec![format!("correct in {object} what the message names")],
    )
}
