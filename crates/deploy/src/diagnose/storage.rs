//! Claims that no volume is found for.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use super::{Cause, Finding, Findings, Snapshot, snapshot::message};
use crate::{
    objects::{ObjectName, since},
    resources::{amount, storage_of},
};

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// A class whose volumes somebody makes by hand.
const BY_HAND: &str = "kubernetes.io/no-provisioner";
/// How long a provisioner may take before its silence is worth a word, in seconds.
const PROVISIONING: u64 = 60;

pub(super) fn claims(seen: &Snapshot, findings: &mut Findings) {
    for claim in &seen.claims {
        let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
        let found = match phase {
            Some("Lost") => Some(lost(claim)),
            Some("Bound") => None,
            _ => pending(seen, claim),
        };
        let Some((key, mut finding)) = found else { continue };
        finding.object = ObjectName::of("PersistentVolumeClaim", &claim.metadata);
        let index = findings.add(key, finding);
        for pod in seen.pods.iter().filter(|pod| uses(pod, &claim.name_any())) {
            findings.affect(index, format!("Pod {}", pod.name_any()));
            findings.blames(&pod.name_any(), seen.workload_of(pod), index);
        }
    }
}

/// Whether a pod mounts a claim.
fn uses(pod: &Pod, claim: &str) -> bool {
    claims_of(pod).any(|name| name == claim)
}

pub(super) fn claims_of(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(|v| v.persistent_volume_claim.as_ref().map(|c| c.claim_name.as_str()))
}

fn finding(problem: String, evidence: Vec<String>, next: Vec<String>) -> Finding {
    Finding {
        object: ObjectName::new("PersistentVolumeClaim", ""),
        cause: Cause::Storage,
        problem,
        evidence,
        next,
        affects: Vec::new(),
    }
}

fn lost(claim: &PersistentVolumeClaim) -> (String, Finding) {
    let volume = claim
        .spec
        .as_ref()
        .and_then(|s| s.volume_name.clone())
        .unwrap_or_default();
    let problem = format!("its volume {volume} is gone, and its data with it");
    let next = vec![
        format!("restore PersistentVolume {volume}"),
        "or delete the claim, so that an empty volume is made, and restore a backup into it".into(),
    ];
    (
        format!("lost {}", claim.name_any()),
        finding(problem, Vec::new(), next),
    )
}

fn pending(seen: &Snapshot, claim: &PersistentVolumeClaim) -> Option<(String, Finding)> {
    // Without a right to see the classes, only events can tell.
    let classes = seen.classes.as_ref();
    let names: Vec<_> = classes.into_iter().flatten().map(ResourceExt::name_any).collect();
    let known = if names.is_empty() {
        "the cluster has none".into()
    } else {
        format!("the cluster has {}", names.join(", "))
    };
    let default = classes.is_none_or(|all| {
        all.iter().any(|class| {
            class
                .annotations()
                .get(DEFAULT_CLASS)
                .is_some_and(|v| v == "true")
        })
    });
    let spec = claim.spec.clone().unwrap_or_default();
    let mut warnings = seen.warnings(claim.metadata.uid.as_deref());
    match spec.storage_class_name.filter(|name| !name.is_empty()) {
        None if !default => {
            let problem =
                "names no storage class and the cluster has no default one, so no volume is made".to_owned();
            let next = match names.first() {
                Some(class) => vec![format!(
                    "make one the default: kubectl annotate storageclass {class} {DEFAULT_CLASS}=true"
                )],
                None => vec!["install a storage provisioner, such as rancher/local-path-provisioner, and make its class the default".into()],
            };
            Some(("class default".into(), finding(problem, vec![known], next)))
        }
        Some(name) if classes.is_some() && !names.contains(&name) => {
            let problem = format!("asks for the storage class {name:?}, which does not exist");
            let next = vec![
                format!("make a StorageClass {name}"),
                "or name one that exists: a claim cannot be changed, so delete it and deploy again".into(),
            ];
            Some((format!("class {name}"), finding(problem, vec![known], next)))
        }
        name => {
            let name = name.unwrap_or_else(|| "default".into());
            let class = classes.into_iter().flatten().find(|c| c.name_any() == name);
            let failed = seen.events_of(claim.metadata.uid.as_deref());
            let failed = failed
                .iter()
                .find(|e| e.reason.as_deref() == Some("ProvisioningFailed"));
            if class.is_some_and(|c| c.provisioner == BY_HAND) {
                return no_volume(seen, claim, &name);
            }
            if let Some(event) = failed {
                let problem = format!("the provisioner of storage class {name} cannot make its volume");
                let next = vec![format!(
                    "see the provisioner's log; kubectl describe storageclass {name} names it"
                )];
                return Some((
                    format!("provisioning {name}"),
                    finding(problem, vec![message(event)], next),
                ));
            }
            // Waiting for its pod's node is a consequence, not a cause; only after that it is the provisioner's turn.
            let chosen = claim
                .annotations()
                .contains_key("volume.kubernetes.io/selected-node");
            let immediate =
                class.is_some_and(|c| c.volume_binding_mode.as_deref() != Some("WaitForFirstConsumer"));
            let waits = since(claim.metadata.creation_timestamp.as_ref(), seen.now).as_secs();
            if (chosen || immediate) && waits > PROVISIONING {
                let provisioner = class.map_or("its provisioner", |c| c.provisioner.as_str());
                warnings.push(format!("waiting for {waits} s"));
                let problem =
                    format!("storage class {name} leaves it to {provisioner}, which has not made a volume");
                let next = vec![format!("does {provisioner} run? its log says what it waits for")];
                return Some((format!("provisioner {name}"), finding(problem, warnings, next)));
            }
            None
        }
    }
}

/// A class without a provisioner: somebody has to make the volumes, and none is free that fits.
fn no_volume(seen: &Snapshot, claim: &PersistentVolumeClaim, class: &str) -> Option<(String, Finding)> {
    let wants = storage_of(claim);
    let free: Vec<_> = seen
        .volumes
        .as_ref()?
        .iter()
        .filter(|v| v.spec.as_ref().and_then(|s| s.storage_class_name.as_deref()) == Some(class))
        .filter(|v| v.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Available"))
        .collect();
    let sizes: Vec<_> = free
        .iter()
        .map(|v| amount(v.spec.as_ref().and_then(|s| s.capacity.as_ref()), "storage"))
        .collect();
    if sizes.iter().any(|size| *size >= wants) {
        return None;
    }
    let evidence = if sizes.is_empty() {
        "none is Available".to_owned()
    } else {
        let sizes: Vec<_> = sizes.iter().map(|s| s.bytes().to_string()).collect();
        format!("the Available ones have {}", sizes.join(", "))
    };
    let problem = format!(
        "no volume of storage class {class} is free that has {}",
        wants.bytes()
    );
    let next = vec![format!(
        "make a PersistentVolume of {} for class {class}: the class makes none by itself",
        wants.bytes()
    )];
    Some((
        format!("by hand {class} {}", wants.bytes()),
        finding(problem, vec![evidence], next),
    ))
}
