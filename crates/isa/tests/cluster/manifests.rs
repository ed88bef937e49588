//! What the API server and kube-score say of every overlay.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::node::Node;

const OVERLAYS: [&str; 4] = ["local", "ci", "staging", "production"];

/// The objects of an overlay, as plain `kubectl kustomize` makes them.
pub(crate) fn render(node: &Node, overlay: &str) -> Vec<Value> {
    let text = text(node, overlay);
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

fn text(node: &Node, overlay: &str) -> String {
    node.kubectl_ok(&["kustomize", &node.overlay(overlay).display().to_string()])
}

pub(crate) fn check(node: &Node) {
    node.apply(&external_secret());
    let crd = "customresourcedefinition/externalsecrets.external-secrets.io";
    node.kubectl_ok(&["wait", "--for=condition=Established", "--timeout=60s", crd]);
    for overlay in OVERLAYS {
        kube_score(overlay, &text(node, overlay));
        strict_dry_run(node, overlay);
    }
}

/// The API server takes every object, knows every field, and the namespace's `restricted` policy warns of none.
fn strict_dry_run(node: &Node, overlay: &str) {
    let objects = render(node, overlay);
    // A dry run into a namespace needs it, and one of the operator's objects needs their kind.
    let namespace = objects.iter().find(|o| o["kind"] == "Namespace").unwrap();
    node.apply(namespace);
    let folder = node.overlay(overlay).display().to_string();
    let args = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-k",
        &folder,
    ];
    let said = node.kubectl(&args);
    assert_eq!(said.code, Some(0), "{overlay}: {said:#?}");
    assert!(
        !said.stderr.to_lowercase().contains("warning"),
        "{overlay}: {said:#?}"
    );
}

/// The kind `ExternalSecret` as the API server must know it; its operator's own schema says more of its fields.
fn external_secret() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "externalsecrets.external-secrets.io" },
        "spec": {
            "group": "external-secrets.io",
            "scope": "Namespaced",
            "names": { "kind": "ExternalSecret", "plural": "externalsecrets" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

fn kube_score(overlay: &str, text: &str) {
    let mut score = Command::new("kube-score")
        .args(["score", "--output-format", "ci", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kube-score starts");
    score.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = score.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let critical: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("[CRITICAL]"))
        .collect();
    assert!(critical.is_empty(), "{overlay}: {critical:#?}");
}
