//! Compares manifests with a cluster and applies them, by server-side apply.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Error as KubeError, ResourceExt,
    api::{Patch, PatchParams, ValidationDirective},
    core::{DynamicObject, Status},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    Cluster, Error, Manifests,
    diff::{Change, compare, created},
    objects::{ObjectName, name_of},
    references,
};

/// Who owns the fields that isa sets.
pub(crate) const MANAGER: &str = "isa";
/// On pod templates: changes with the Secrets that the pods use, so that a new password restarts them.
const SECRETS: &str = "isa-cloud/secrets";
/// Requests under way at once.
const PARALLEL: usize = 8;

/// What applying would do. Nothing has been changed yet.
pub struct Plan {
    pub changes: Vec<Change>,
    /// Namespaces that do not exist yet. What goes into them the API server could not check.
    pub new_namespaces: Vec<String>,
    /// With whether fields are taken from others.
    objects: Vec<(DynamicObject, bool)>,
}

/// Fields that somebody else has set to other values.
#[derive(Debug, Clone, Default)]
pub struct Conflict {
    pub fields: Vec<ConflictField>,
}

#[derive(Debug, Clone)]
pub struct ConflictField {
    pub object: ObjectName,
    pub field: String,
    /// As the API server words it: `conflict with "kubectl" using apps/v1`.
    pub why: String,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nothing was applied: other programs have set these fields to other values:"
        )?;
        for ConflictField { object, field, why } in &self.fields {
            write!(f, "\n  {object} {field}: {why}")?;
        }
        write!(
            f,
            "\nmake the manifests say the same, or take the fields over with --force"
        )
    }
}

/// Compares manifests with what is there. With `force` fields are taken from other programs.
pub async fn plan(cluster: &Cluster, manifests: &Manifests, force: bool) -> Result<Plan, Error> {
    let live = fetch(cluster, &manifests.objects).await?;
    let mut objects = manifests.objects.clone();
    follow_secrets(&mut objects, &live);
    let new_namespaces: Vec<_> = objects
        .iter()
        .filter(|o| kind(o) == "Namespace" && !live.contains_key(&key(o)))
        .map(ResourceExt::name_any)
        .collect();
    let trials: Vec<_> = stream::iter(&objects)
        .map(|object| {
            let live = live.get(&key(object));
            let unseen = object.namespace().is_some_and(|n| new_namespaces.contains(&n));
            trial(cluster, object, live, unseen, force)
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let mut changes = Vec::new();
    let mut forced = Vec::new();
    let mut conflict = Conflict::default();
    for trial in trials {
        match trial {
            Trial::Change(change) => {
                changes.push(change);
                forced.push(force);
            }
            Trial::Taken(change) => {
                changes.push(change);
                forced.push(true);
            }
            Trial::Conflict(fields) => conflict.fields.extend(fields),
        }
    }
    if !conflict.fields.is_empty() {
        return Err(Error::Conflict(conflict));
    }
    Ok(Plan {
        changes,
        new_namespaces,
        objects: objects.into_iter().zip(forced).collect(),
    })
}

impl Plan {
    /// Applies everything, what others need first. `each` is called after each object.
    pub async fn apply(&self, cluster: &Cluster, mut each: impl FnMut(&ObjectName)) -> Result<(), Error> {
        let mut stages: BTreeMap<u8, Vec<(&DynamicObject, bool)>> = BTreeMap::new();
        for (object, force) in &self.objects {
            stages
                .entry(stage(kind(object)))
                .or_default()
                .push((object, *force));
        }
        for objects in stages.into_values() {
            let mut applied = stream::iter(objects)
                .map(|(object, force)| async move {
                    let api = cluster.api_of(object).await?;
                    send(cluster, &api, object, &params(force, false)).await?;
                    Ok::<_, Error>(name_of(object))
                })
                .buffer_unordered(PARALLEL);
            while let Some(name) = applied.try_next().await? {
                each(&name);
            }
        }
        Ok(())
    }
}

type Live = BTreeMap<(String, String, Option<String>), DynamicObject>;

fn key(object: &DynamicObject) -> (String, String, Option<String>) {
    (kind(object).to_owned(), object.name_any(), object.namespace())
}

fn kind(object: &DynamicObject) -> &str {
    object.types.as_ref().map_or("", |t| t.kind.as_str())
}

/// What a kind needs before it comes before it.
fn stage(kind: &str) -> u8 {
    match kind {
        "Namespace" | "CustomResourceDefinition" => 0,
        "ResourceQuota" | "LimitRange" | "StorageClass" | "PriorityClass" | "ServiceAccount" => 1,
        "StatefulSet" | "Deployment" | "DaemonSet" | "Job" | "CronJob" | "Pod" => 3,
        _ => 2,
    }
}

async fn fetch(cluster: &Cluster, objects: &[DynamicObject]) -> Result<Live, Error> {
    let found: Vec<_> = stream::iter(objects)
        .map(|object| async move {
            let api = cluster.api_of(object).await?;
            let what = format!("read {}", name_of(object));
            let live = cluster.within(&what, api.get_opt(&object.name_any())).await?;
            Ok::<_, Error>(live.map(|live| (key(object), live)))
        })
        .buffer_unordered(PARALLEL)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

enum Trial {
    Change(Change),
    /// The same, for an object whose fields others have set to the same values: they become common.
    Taken(Change),
    Conflict(Vec<ConflictField>),
}

async fn trial(
    cluster: &Cluster,
    object: &DynamicObject,
    live: Option<&DynamicObject>,
    unseen: bool,
    force: bool,
) -> Result<Trial, Error> {
    // The API server checks nothing in a namespace that is not there.
    if unseen {
        return Ok(Trial::Change(created(object)));
    }
    let api = cluster.api_of(object).await?;
    match send(cluster, &api, object, &params(force, true)).await {
        Ok(becomes) => Ok(Trial::Change(
            live.map_or_else(|| created(object), |live| compare(live, &becomes)),
        )),
        Err(Error::Conflict(conflict)) => {
            // The API server also calls it a conflict when defaults that it filled in itself are all that differs. Only
            // what would really change is one.
            let becomes = send(cluster, &api, object, &params(true, true)).await?;
            let change = live.map_or_else(|| created(object), |live| compare(live, &becomes));
            let changes = |field: &ConflictField| change.fields.iter().any(|c| same(&field.field, &c.path));
            let real: Vec<_> = conflict.fields.into_iter().filter(changes).collect();
            Ok(if real.is_empty() {
                Trial::Taken(change)
            } else {
                Trial::Conflict(real)
            })
        }
        Err(other) => Err(other),
    }
}

fn params(force: bool, dry_run: bool) -> PatchParams {
    PatchParams {
        dry_run,
        force,
        field_manager: Some(MANAGER.into()),
        field_validation: Some(ValidationDirective::Strict),
    }
}

async fn send(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    params: &PatchParams,
) -> Result<DynamicObject, Error> {
    let name = object.name_any();
    let patch = Patch::Apply(object);
    let asked = async {
        match api.patch(&name, params, &patch).await {
            Err(KubeError::Api(status)) if conflicts(&status) => Ok(Err(Conflict {
                fields: conflict_fields(&name_of(object), &status),
            })),
            other => other.map(Ok),
        }
    };
    let answer = cluster.within(&format!("apply {}", name_of(object)), asked).await;
    match answer {
        Ok(applied) => applied.map_err(Error::Conflict),
        Err(Error::Refused { what, status }) if immutable(&status) => Err(Error::Immutable { what, status }),
        Err(other) => Err(other),
    }
}

fn conflicts(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|d| &d.causes);
    status.code == 409 && causes.into_iter().any(|c| c.reason == "FieldManagerConflict")
}

/// Whether a change is inside a field that the API server names: `.spec.containers[name="redis"].env` is what a change
/// calls `spec.containers[redis].env[0]`. A list by other keys than the name counts as one field.
fn same(field: &str, change: &str) -> bool {
    let field = field
        .trim_start_matches('.')
        .replace("[name=", "[")
        .replace('"', "");
    let whole = field
        .split_once('=')
        .and_then(|(before, _)| before.rsplit_once('['));
    let plain = |path: &str| path.replace('[', ".").replace(']', "");
    let (field, change) = (plain(whole.map_or(&field, |(list, _)| list)), plain(change));
    change == field
        || change
            .strip_prefix(&field)
            .is_some_and(|rest| rest.starts_with('.'))
}

fn conflict_fields(object: &ObjectName, status: &Status) -> Vec<ConflictField> {
    let causes = status.details.iter().flat_map(|d| &d.causes);
    let field = |c: &kube::core::response::StatusCause| ConflictField {
        object: object.clone(),
        field: c.field.clone(),
        why: c.message.clone(),
    };
    causes.map(field).collect()
}

/// A StatefulSet's claims and selectors never change.
fn immutable(status: &Status) -> bool {
    status.code == 422
        && (status.message.contains("immutable") || status.message.contains("updates to statefulset spec"))
}

/// Marks each pod template with a digest of the Secrets that it uses. A workload that runs without the mark, applied
/// by `kubectl`, gets it only when one of its Secrets changes, because the mark itself restarts it.
fn follow_secrets(objects: &mut [DynamicObject], live: &Live) {
    let secrets: BTreeMap<_, _> = objects
        .iter()
        .filter(|o| kind(o) == "Secret")
        .map(|o| (o.name_any(), unwrapped(&o.data["data"])))
        .collect();
    let kept: BTreeSet<_> = live
        .values()
        .filter(|o| kind(o) == "Secret")
        .filter(|o| secrets.get(&o.name_any()) == Some(&o.data["data"]))
        .map(ResourceExt::name_any)
        .collect();
    for object in objects {
        let template = &object.data["spec"]["template"];
        let used: BTreeSet<_> = references::secrets(&template["spec"])
            .into_iter()
            .filter(|name| secrets.contains_key(name))
            .collect();
        if used.is_empty() {
            continue;
        }
        let unmarked = live
            .get(&key(object))
            .is_some_and(|live| live.data["spec"]["template"]["metadata"]["annotations"][SECRETS].is_null());
        if unmarked && used.is_subset(&kept) {
            continue;
        }
        let mut digest = Sha256::new();
        for name in &used {
            // Objects of serde_json are sorted, so the text is always the same.
            digest.update(format!("{name}={};", secrets[name]));
        }
        let mark = hex::encode(&digest.finalize()[..8]);
        let metadata = &mut object.data["spec"]["template"]["metadata"];
        if metadata["annotations"].is_null() {
            metadata["annotations"] = json!({});
        }
        metadata["annotations"][SECRETS] = Value::String(mark);
    }
}

/// The values of a Secret as the API server gives them back. Kustomize breaks long ones into lines.
fn unwrapped(data: &Value) -> Value {
    let values = data.as_object().into_iter().flatten();
    let one_line = |text: &Value| text.as_str().unwrap_or_default().replace(char::is_whitespace, "");
    values
        .map(|(key, text)| (key.clone(), Value::String(one_line(text))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn secret(value: &str) -> DynamicObject {
        object(
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "redis" }, "data": { "password": value } }),
        )
    }

    fn workload() -> DynamicObject {
        object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "redis" },
            "spec": { "template": { "spec": { "volumes": [{ "name": "s", "secret": { "secretName": "redis" } }] } } },
        }))
    }

    fn mark(value: &str, live: &[DynamicObject]) -> Option<String> {
        let mut objects = [secret(value), workload()];
        let live = live.iter().map(|o| (key(o), o.clone())).collect();
        follow_secrets(&mut objects, &live);
        let mark = &objects[1].data["spec"]["template"]["metadata"]["annotations"][SECRETS];
        mark.as_str().map(str::to_owned)
    }

    #[test]
    fn pods_restart_with_a_new_secret_and_not_without_need() {
        let one = mark("b25l", &[]);
        assert!(one.is_some() && one != mark("dHdv", &[]));
        assert_eq!(one, mark("b25l", &[]));
        assert_eq!(
            mark("b25l", &[secret("b25l"), workload()]),
            None,
            "applied by kubectl, nothing changed"
        );
        assert_eq!(
            mark("b25\nl\n", &[secret("b25l"), workload()]),
            None,
            "the same, in lines"
        );
        assert!(
            mark("dHdv", &[secret("b25l"), workload()]).is_some(),
            "applied by kubectl, changed"
        );
    }

    #[test]
    fn fields_of_conflicts_are_found_among_the_changes() {
        let field = ".spec.template.spec.containers[name=\"consul\"].env[name=\"POD_IP\"].valueFrom.fieldRef";
        assert!(same(
            field,
            "spec.template.spec.containers[consul].env[POD_IP].valueFrom.fieldRef.apiVersion"
        ));
        assert!(!same(field, "spec.template.spec.containers[consul].image"));
        assert!(same(".data.gossip.json", "data[gossip.json]"));
        assert!(same(
            ".spec.ports[port=80,protocol=\"TCP\"].targetPort",
            "spec.ports[0].targetPort"
        ));
        assert!(!same(".spec.volumeClaimTemplates", "spec.volumeClaimTemplatesX"));
    }

    #[test]
    fn what_others_need_comes_first() {
        assert!(stage("Namespace") < stage("Secret") && stage("Secret") < stage("StatefulSet"));
    }
}
