//! Five broken manifests, each of which `isa diagnose` must name, with what to do about it.

use std::fs;

use isa_testkit::eventually;
use serde_json::Value;

use crate::node::{Node, PATIENCE};

struct Broken {
    name: &'static str,
    manifest: String,
    /// What the finding must say: the object at fault, the reason, and the way out.
    says: &'static [&'static str],
}

/// A workload that `restricted` admits, of one container with these fields; `more` goes into its specification.
fn workload(kind: &str, name: &str, container: &str, more: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}, labels: {{app: {name}, tier: infrastructure}}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}, tier: infrastructure}}}}
    spec:
      securityContext: {{runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: {name}
          imagePullPolicy: IfNotPresent
          securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
          {container}
{more}"
    )
}

fn broken() -> [Broken; 5] {
    let redis = |name: &str, fields: &str| {
        let container = format!("image: 'staging-isa-redis:amd64'\n          {fields}");
        workload("Deployment", name, &container, "")
    };
    let store = "image: 'staging-isa-redis:amd64'\n          volumeMounts: [{name: data, mountPath: /data}]";
    let claim = "  serviceName: store
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {storageClassName: fast-ssd, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    let service = "---
apiVersion: v1
kind: Service
metadata: {name: cache, labels: {app: cache, tier: infrastructure}}
spec:
  selector: {app: cahce}
  ports: [{name: client, port: 6379}]
";
    [
        Broken {
            name: "bad-image",
            manifest: workload("Deployment", "web", "image: 'staging-isa-nowhere:amd64'", ""),
            says: &["web", "staging-isa-nowhere:amd64", "isa images"],
        },
        Broken {
            name: "no-storage-class",
            manifest: workload("StatefulSet", "store", store, claim),
            says: &["data-store-0", "fast-ssd", "storage class"],
        },
        Broken {
            name: "crashing-command",
            manifest: redis("crash", "command: [redis-server, --no-such-option, 'yes']"),
            says: &["crash", "no-such-option", "exit"],
        },
        Broken {
            name: "wrong-selector",
            manifest: redis("cache", "command: [redis-server, --save, '']") + service,
            says: &["cache", "cahce", "selector"],
        },
        Broken {
            name: "too-much-memory",
            manifest: redis(
                "big",
                "command: [redis-server]\n          resources: {requests: {memory: 4000Gi}}",
            ),
            says: &["big", "memory", "4000Gi"],
        },
    ]
}

/// Applies them all, each in a namespace of its own that enforces `restricted`, and asks for each.
pub(crate) fn check(node: &Node) {
    let folder = node.project().join("broken");
    fs::create_dir_all(&folder).unwrap();
    let all = broken();
    for broken in &all {
        let namespace = format!("broken-{}", broken.name);
        node.kubectl_ok(&["create", "namespace", &namespace]);
        node.kubectl_ok(&[
            "label",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=restricted",
        ]);
        let file = folder.join(broken.name);
        fs::write(&file, &broken.manifest).unwrap();
        node.kubectl_ok(&["-n", &namespace, "apply", "-f", &file.display().to_string()]);
    }
    for broken in &all {
        let namespace = format!("broken-{}", broken.name);
        let found = eventually(&format!("{} is named", broken.name), PATIENCE, || {
            let found = node.isa_json(&["diagnose", "-n", &namespace, "-o", "json"]);
            let findings = found["findings"].as_array().cloned().unwrap_or_default();
            let matches = |finding: &Value| {
                let text = finding.to_string().to_lowercase();
                broken.says.iter().all(|word| text.contains(&word.to_lowercase()))
            };
            // One cause, one finding: what follows from it is not a cause of its own.
            match &findings[..] {
                [one] if matches(one) => Ok(one.clone()),
                _ => Err(format!("{found:#}")),
            }
        });
        assert!(!found.is_null());
        let people = node.isa(&["diagnose", "-n", &namespace]);
        assert_eq!(people.code, Some(1), "{people:#?}");
        println!("--- isa diagnose -n {namespace}\n{}", people.stdout);
        node.kubectl_ok(&["delete", "namespace", &namespace, "--wait=false"]);
    }
}
