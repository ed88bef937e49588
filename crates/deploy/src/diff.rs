//! What applying would change, field by field, without showing a secret.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde::Serialize;
use serde_json::Value;

use crate::objects::{ObjectName, name_of, shorten};

/// Characters of a value that are shown.
const SHOWN: usize = 100;
/// What the API server adds to every object.
const SERVER_SIDE: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What becomes of one object.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    #[serde(flatten)]
    pub object: ObjectName,
    pub namespace: Option<String>,
    pub change: ChangeKind,
    /// The fields that change; none where the object is new.
    pub fields: Vec<FieldChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    Created,
    Changed,
    Unchanged,
}

/// A field before and after; both are missing where they are secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    pub path: String,
    pub from: Option<String>,
    pub to: Option<String>,
}

pub(crate) fn created(object: &DynamicObject) -> Change {
    Change {
        object: name_of(object),
        namespace: object.metadata.namespace.clone(),
        change: ChangeKind::Created,
        fields: Vec::new(),
    }
}

/// Compares an object as it is with what the API server says it would become.
pub(crate) fn compare(live: &DynamicObject, becomes: &DynamicObject) -> Change {
    let secret = becomes.types.as_ref().is_some_and(|t| t.kind == "Secret");
    let mut fields = Vec::new();
    differ("", &essence(live), &essence(becomes), &mut fields);
    for field in &mut fields {
        if secret && field.path.contains("ata") {
            (field.from, field.to) = (None, None);
        }
    }
    Change {
        change: if fields.is_empty() {
            ChangeKind::Unchanged
        } else {
            ChangeKind::Changed
        },
        fields,
        ..created(becomes)
    }
}

/// What people decide about an object.
fn essence(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        SERVER_SIDE.iter().for_each(|field| drop(metadata.remove(*field)));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    value
}

fn differ(path: &str, from: &Value, to: &Value, found: &mut Vec<FieldChange>) {
    match (from, to) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let at = |o: &serde_json::Map<String, Value>| o.get(name).cloned().unwrap_or(Value::Null);
                let inner = match (path, name.contains(['.', '/'])) {
                    ("", _) => name.clone(),
                    (_, true) => format!("{path}[{name}]"),
                    (_, false) => format!("{path}.{name}"),
                };
                differ(&inner, &at(a), &at(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => lists(path, a, b, found),
        _ if from == to => {}
        _ => found.push(FieldChange {
            path: path.to_owned(),
            from: shown(from),
            to: shown(to),
        }),
    }
}

/// Lists whose items have names are compared by name, others by place.
fn lists(path: &str, from: &[Value], to: &[Value], found: &mut Vec<FieldChange>) {
    let name = |item: &Value| item["name"].as_str().map(str::to_owned);
    let named = |list: &[Value]| list.iter().map(name).collect::<Option<BTreeSet<_>>>();
    let distinct = |list: &[Value]| named(list).filter(|names| names.len() == list.len());
    if let (Some(a), Some(b)) = (distinct(from), distinct(to)) {
        for wanted in a.union(&b) {
            let at = |list: &[Value]| {
                list.iter()
                    .find(|item| name(item).as_ref() == Some(wanted))
                    .cloned()
            };
            let (a, b) = (at(from).unwrap_or_default(), at(to).unwrap_or_default());
            differ(&format!("{path}[{wanted}]"), &a, &b, found);
        }
        return;
    }
    for index in 0..from.len().max(to.len()) {
        let at = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
        differ(&format!("{path}[{index}]"), &at(from), &at(to), found);
    }
}

fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(shorten(&text.replace('\n', "⏎"), SHOWN)),
        other => Some(shorten(&other.to_string(), SHOWN)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn changed_fields_are_named_and_what_the_server_adds_is_not() {
        let live = object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "redis", "uid": "1", "generation": 3, "managedFields": [], "annotations": { LAST_APPLIED: "{}" } },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [
                { "name": "side", "image": "s" }, { "name": "redis", "image": "a:1", "args": ["x", "y"] } ] } } },
            "status": { "replicas": 1 },
        }));
        let becomes = object(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": { "name": "redis", "annotations": { "isa/x": "1" } },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [
                { "name": "redis", "image": "a:2", "args": ["x"] }, { "name": "side", "image": "s" } ] } } },
        }));
        let change = compare(&live, &becomes);
        let lines: Vec<_> = change
            .fields
            .iter()
            .map(|f| format!("{} {:?} {:?}", f.path, f.from.as_deref(), f.to.as_deref()))
            .collect();
        assert_eq!(
            lines,
            [
                r#"metadata.annotations None Some("{\"isa/x\":\"1\"}")"#,
                r#"spec.template.spec.containers[redis].args[1] Some("y") None"#,
                r#"spec.template.spec.containers[redis].image Some("a:1") Some("a:2")"#,
            ]
        );
        assert_eq!(compare(&live, &live).change, ChangeKind::Unchanged);
    }

    #[test]
    fn values_of_secrets_are_never_shown() {
        let secret = |value: &str| {
            object(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "redis" }, "data": { "auth.conf": value },
            }))
        };
        let change = compare(&secret("aHVudGVyMQ=="), &secret("aHVudGVyMg=="));
        let expected = FieldChange {
            path: "data[auth.conf]".into(),
            from: None,
            to: None,
        };
        assert_eq!(change.fields, [expected]);
    }
}
