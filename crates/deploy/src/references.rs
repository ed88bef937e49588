//! What a pod's specification refers to.

use std::collections::BTreeSet;

use serde_json::Value;

/// The Secrets that a pod specification names, wherever in it.
pub(crate) fn secrets(spec: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(spec, &mut found);
    found
}

fn walk(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let reference = match name.as_str() {
                    // Of volumes, and of projected volumes, which name it like variables do.
                    "secret" => inner["secretName"].as_str().or_else(|| inner["name"].as_str()),
                    "secretKeyRef" | "secretRef" => inner["name"].as_str(),
                    _ => None,
                };
                found.extend(reference.map(str::to_owned));
                walk(inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_way_to_name_a_secret_is_found() {
        let spec = json!({
            "containers": [{
                "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "a", "key": "k" } } }],
                "envFrom": [{ "secretRef": { "name": "b" } }],
            }],
            "volumes": [
                { "name": "c", "secret": { "secretName": "c" } },
                { "name": "d", "projected": { "sources": [{ "secret": { "name": "d" } }] } },
                { "name": "e", "configMap": { "name": "no" } },
            ],
        });
        assert_eq!(Vec::from_iter(secrets(&spec)), ["a", "b", "c", "d"]);
    }
}
