//! Five broken manifests, each of which `isa diagnose` must name, with what to do about it.

use std::fs;

use isa_testkit::eventually;
use serde_json::Value;

use crate::node::{Node, PATIENCE};

struct Broken {
    name: &'static str,
    manifest: &'static str,
    /// What the finding must say: the object at fault, the reason, and the way out.
    says: &'static [&'static str],
}

const SECURITY: &str = "securityContext: {runAsNonRoot: true, runAsUser: 999, runAsGroup: 999, seccompProfile: {type: RuntimeDefault}}";
const CONTAINER: &str = "securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}";

const BROKEN: &[Broken] = &[
    Broken {
        name: "bad-image",
        manifest: "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web, tier: infrastructure}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, tier: infrastructure}}
    spec:
      SECURITY
      containers:
        - {name: web, image: 'staging-isa-nowhere:amd64', imagePullPolicy: IfNotPresent, CONTAINER}
",
        says: &["web", "staging-isa-nowhere:amd64", "isa images"],
    },
    Broken {
        name: "no-storage-class",
        manifest: "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store, labels: {app: store, tier: infrastructure}}
spec:
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store, tier: infrastructure}}
    spec:
      SECURITY
      containers:
        - {name: store, image: 'staging-isa-redis:amd64', imagePullPolicy: IfNotPresent, CONTAINER, volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {storageClassName: fast-ssd, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
",
        says: &["data-store-0", "fast-ssd", "storage class"],
    },
    Broken {
        name: "crashing-command",
        manifest: "
apiVersion: apps/v1
kind: Deployment
metadata: {name: crash, labels: {app: crash, tier: infrastructure}}
spec:
  selector: {matchLabels: {app: crash}}
  template:
    metadata: {labels: {app: crash, tier: infrastructure}}
    spec:
      SECURITY
      containers:
        - {name: crash, image: 'staging-isa-redis:amd64', imagePullPolicy: IfNotPresent, CONTAINER, command: [redis-server, --no-such-option, 'yes']}
",
        says: &["crash", "no-such-option", "exit"],
    },
    Broken {
        name: "wrong-selector",
        manifest: "
apiVersion: v1
kind: Service
metadata: {name: cache, labels: {app: cache, tier: infrastructure}}
spec:
  selector: {app: cahce}
  ports: [{name: client, port: 6379}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache, labels: {app: cache, tier: infrastructure}}
spec:
  selector: {matchLabels: {app: cache}}
  template:
    metadata: {labels: {app: cache, tier: infrastructure}}
    spec:
      SECURITY
      containers:
        - {name: cache, image: 'staging-isa-redis:amd64', imagePullPolicy: IfNotPresent, CONTAINER, command: [redis-server, --save, '']}
",
        says: &["cache", "cahce", "selector"],
    },
    Broken {
        name: "too-much-memory",
        manifest: "
apiVersion: apps/v1
kind: Deployment
metadata: {name: big, labels: {app: big, tier: infrastructure}}
spec:
  selector: {matchLabels: {app: big}}
  template:
    metadata: {labels: {app: big, tier: infrastructure}}
    spec:
      SECURITY
      containers:
        - {name: big, image: 'staging-isa-redis:amd64', imagePullPolicy: IfNotPresent, CONTAINER, command: [redis-server], resources: {requests: {memory: 4000Gi}}}
",
        says: &["big", "memory", "4000Gi"],
    },
];

/// Applies them all, each in a namespace of its own that enforces `restricted`, and asks for each.
pub(crate) fn check(node: &Node) {
    let folder = node.project().join("broken");
    fs::create_dir_all(&folder).unwrap();
    for broken in BROKEN {
        let namespace = format!("broken-{}", broken.name);
        node.kubectl_ok(&["create", "namespace", &namespace]);
        node.kubectl_ok(&[
            "label",
            "namespace",
            &namespace,
            "pod-security.kubernetes.io/enforce=restricted",
        ]);
        let file = folder.join(broken.name);
        let manifest = broken
            .manifest
            .replace("SECURITY", SECURITY)
            .replace("CONTAINER", CONTAINER);
        fs::write(&file, manifest).unwrap();
        node.kubectl_ok(&["-n", &namespace, "apply", "-f", &file.display().to_string()]);
    }
    for broken in BROKEN {
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
