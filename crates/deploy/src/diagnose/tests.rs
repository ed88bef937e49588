//! The rules on objects as an API server prints them, shortened to what they look at.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, StatefulSet},
        core::v1::{Event, Node, PersistentVolumeClaim, Pod, Service},
        storage::v1::StorageClass,
    },
    jiff::Timestamp,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Cause, Diagnosis, Finding, Snapshot, diagnose};

/// Five minutes after everything below was made.
const NOW: &str = "2026-01-01T00:05:00Z";

fn seen(yaml: &str) -> Snapshot {
    let mut seen = Snapshot {
        namespace: "isa-cloud-staging".into(),
        exists: true,
        now: NOW.parse::<Timestamp>().unwrap(),
        classes: Some(Vec::new()),
        nodes: Some(Vec::new()),
        volumes: Some(Vec::new()),
        all_pods: Some(Vec::new()),
        ..Snapshot::default()
    };
    fn typed<K: DeserializeOwned>(mut value: Value) -> K {
        value["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let uid = format!(
            "{}/{}",
            value["kind"].as_str().unwrap(),
            value["metadata"]["name"].as_str().unwrap()
        );
        value["metadata"]["uid"] = uid.into();
        serde_json::from_value(value).unwrap()
    }
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document).unwrap();
        match value["kind"].as_str().unwrap() {
            "Pod" => {
                let pod: Pod = typed(value);
                seen.all_pods.as_mut().unwrap().push(pod.clone());
                seen.pods.push(pod);
            }
            "PersistentVolumeClaim" => seen.claims.push(typed::<PersistentVolumeClaim>(value)),
            "StorageClass" => seen.classes.as_mut().unwrap().push(typed::<StorageClass>(value)),
            "Node" => seen.nodes.as_mut().unwrap().push(typed::<Node>(value)),
            "Service" => seen.services.push(typed::<Service>(value)),
            "StatefulSet" => seen.stateful_sets.push(typed::<StatefulSet>(value)),
            "Deployment" => seen.deployments.push(typed::<Deployment>(value)),
            "ReplicaSet" => seen.replica_sets.push(typed::<ReplicaSet>(value)),
            "Event" => seen.events.push(typed::<Event>(value)),
            kind => panic!("{kind}"),
        }
    }
    seen
}

/// A pod of a StatefulSet `redis`, with these containers' states and conditions.
fn pod(status: &str) -> String {
    format!(
        "
kind: Pod
metadata:
  name: redis-0
  labels: {{ app: redis }}
  ownerReferences: [{{ apiVersion: apps/v1, kind: StatefulSet, name: redis, uid: StatefulSet/redis, controller: true }}]
spec:
  nodeName: node1
  containers:
    - name: redis
      image: staging-isa-redis:amd64
      ports: [{{ name: client, containerPort: 6379 }}]
      resources: {{ requests: {{ memory: 512Mi }}, limits: {{ memory: 512Mi }} }}
status: {status}
---
kind: Service
metadata: {{ name: redis }}
spec: {{ selector: {{ app: redis }}, ports: [{{ port: 6379, targetPort: client }}] }}
"
    )
}

fn event(object: &str, reason: &str, message: &str) -> String {
    format!(
        "---\nkind: Event\nmetadata: {{ name: e-{reason} }}\ntype: Warning\nreason: {reason}\nmessage: {}\nlastTimestamp: 2026-01-01T00:04:50Z\ninvolvedObject: {{ uid: {object} }}\n",
        serde_json::to_string(message).unwrap()
    )
}

fn one(diagnosis: Diagnosis) -> Finding {
    assert_eq!(diagnosis.findings.len(), 1, "{:#?}", diagnosis.findings);
    assert_eq!(diagnosis.starting.len(), 0, "{:?}", diagnosis.starting);
    diagnosis.findings.into_iter().next().unwrap()
}

#[track_caller]
fn says(finding: &Finding, cause: Cause, object: &str, parts: &[&str]) {
    let text = format!("{finding:#?}");
    assert_eq!(finding.cause, cause, "{text}");
    assert_eq!(finding.object.to_string(), object, "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

const SCHEDULED: &str = "conditions: [{ type: PodScheduled, status: 'True' }]";

fn waiting(reason: &str, message: &str) -> String {
    let state = format!(
        "{{ waiting: {{ reason: {reason}, message: {} }} }}",
        serde_json::to_string(message).unwrap()
    );
    pod(&format!(
        "{{ phase: Pending, {SCHEDULED}, containerStatuses: [{{ name: redis, image: i, imageID: '', ready: false, restartCount: 0, state: {state} }}] }}"
    ))
}

fn ended(restarts: i32, ended: &str) -> String {
    pod(&format!(
        "{{ phase: Running, {SCHEDULED}, containerStatuses: [{{ name: redis, image: i, imageID: '', ready: false, restartCount: {restarts}, state: {{ waiting: {{ reason: CrashLoopBackOff }} }}, lastState: {{ terminated: {ended} }} }}] }}"
    ))
}

#[test]
fn an_image_that_cannot_be_pulled_comes_with_the_lines_to_run() {
    let finding = one(diagnose(&seen(&waiting(
        "ImagePullBackOff",
        "Back-off pulling image",
    ))));
    let parts = [
        "the image staging-isa-redis:amd64 cannot be pulled",
        "isa images build redis && isa images load redis --into kind",
        "kind load docker-image staging-isa-redis:amd64 --name isa-cloud-local",
        "Service redis has no endpoints",
        "Pod redis-0",
    ];
    says(&finding, Cause::Image, "StatefulSet redis", &parts);
    let finding = one(diagnose(&seen(&waiting(
        "InvalidImageName",
        "invalid reference format",
    ))));
    says(
        &finding,
        Cause::Image,
        "StatefulSet redis",
        &["is no name of an image"],
    );
}

#[test]
fn a_crash_shows_the_last_lines_and_how_it_ended() {
    let mut crash = seen(&ended(4, "{ exitCode: 3, reason: Error }"));
    let line = vec!["cannot open /etc/app.conf".to_owned()];
    crash.logs.insert(("redis-0".into(), "redis".into()), line);
    let finding = one(diagnose(&crash));
    let parts = [
        "container redis exits with code 3",
        "cannot open /etc/app.conf",
        "restarted 4 times",
        "Service redis",
    ];
    says(&finding, Cause::Crash, "StatefulSet redis", &parts);

    let finding = one(diagnose(&seen(&ended(1, "{ exitCode: 137, reason: OOMKilled }"))));
    says(
        &finding,
        Cause::OutOfMemory,
        "StatefulSet redis",
        &["limit of 512Mi", "raise limits.memory"],
    );
    let finding = one(diagnose(&seen(&ended(1, "{ exitCode: 139, reason: Error }"))));
    says(
        &finding,
        Cause::Crash,
        "StatefulSet redis",
        &["ends by signal 11 (segmentation fault)"],
    );
    let finding = one(diagnose(&seen(&ended(
        1,
        "{ exitCode: 128, reason: StartError, message: 'failed to create task: OCI runtime: exec: \"redis-sever\": executable file not found in $PATH' }",
    ))));
    says(
        &finding,
        Cause::Crash,
        "StatefulSet redis",
        &["command of container redis cannot be run", "redis-sever"],
    );
    let finding = one(diagnose(&seen(&ended(2, "{ exitCode: 0, reason: Completed }"))));
    says(
        &finding,
        Cause::Crash,
        "StatefulSet redis",
        &["must go on running", "wrote nothing"],
    );
}

#[test]
fn missing_secrets_are_named() {
    let finding = one(diagnose(&seen(&waiting(
        "CreateContainerConfigError",
        "secret \"redis\" not found",
    ))));
    let parts = ["secret \\\"redis\\\" not found", "isa secrets generate OVERLAY"];
    says(&finding, Cause::Configuration, "StatefulSet redis", &parts);

    let creating = waiting("ContainerCreating", "");
    let mount = event(
        "Pod/redis-0",
        "FailedMount",
        "MountVolume.SetUp failed for volume \"secret\" : secret \"theirs\" not found",
    );
    let finding = one(diagnose(&seen(&format!("{creating}{mount}"))));
    let parts = [
        "a volume of its pod cannot be mounted",
        "theirs",
        "make the Secret",
    ];
    says(&finding, Cause::Configuration, "StatefulSet redis", &parts);
}

const CLAIM: &str = "
---
kind: PersistentVolumeClaim
metadata: { name: data-redis-0 }
spec: { storageClassName: CLASS, resources: { requests: { storage: 10Gi } } }
status: { phase: Pending }
";

fn unschedulable(message: &str, claim: bool) -> String {
    let volumes = if claim {
        "  volumes: [{ name: data, persistentVolumeClaim: { claimName: data-redis-0 } }]\nstatus:"
    } else {
        "status:"
    };
    let conditions = format!(
        "{{ phase: Pending, conditions: [{{ type: PodScheduled, status: 'False', reason: Unschedulable, message: '{message}' }}] }}"
    );
    pod(&conditions)
        .replace("  nodeName: node1\n", "")
        .replacen("status:", volumes, 1)
}

#[test]
fn a_claim_without_a_class_is_the_cause_and_its_pod_the_consequence() {
    let pod = unschedulable(
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
        true,
    );
    let class = |name: &str| CLAIM.replace("CLASS", name);
    let finding = one(diagnose(&seen(&format!("{pod}{}", class("fast-ssd")))));
    let parts = [
        "storage class \\\"fast-ssd\\\", which does not exist",
        "Pod redis-0",
        "Service redis has no endpoints",
    ];
    says(
        &finding,
        Cause::Storage,
        "PersistentVolumeClaim data-redis-0",
        &parts,
    );

    let no_class = CLAIM.replace("storageClassName: CLASS, ", "");
    let other = "---\nkind: StorageClass\nmetadata: { name: slow }\nprovisioner: p\n";
    let finding = one(diagnose(&seen(&format!("{pod}{no_class}{other}"))));
    let parts = [
        "the cluster has no default one",
        "kubectl annotate storageclass slow",
    ];
    says(
        &finding,
        Cause::Storage,
        "PersistentVolumeClaim data-redis-0",
        &parts,
    );

    let by_hand =
        "---\nkind: StorageClass\nmetadata: { name: slow }\nprovisioner: kubernetes.io/no-provisioner\n";
    let finding = one(diagnose(&seen(&format!("{pod}{}{by_hand}", class("slow")))));
    says(
        &finding,
        Cause::Storage,
        "PersistentVolumeClaim data-redis-0",
        &["none is Available", "10Gi"],
    );
}

#[test]
fn a_claim_that_waits_for_its_pod_is_no_cause() {
    let pod = unschedulable("0/1 nodes are available: 1 Insufficient memory.", true);
    let class = "---\nkind: StorageClass\nmetadata: { name: local }\nprovisioner: p\nvolumeBindingMode: WaitForFirstConsumer\n";
    let claim = CLAIM.replace("CLASS", "local");
    let small =
        "---\nkind: Node\nmetadata: { name: node1 }\nstatus: { allocatable: { cpu: '2', memory: 256Mi } }\n";
    let finding = one(diagnose(&seen(&format!("{pod}{claim}{class}{small}"))));
    let parts = [
        "requests 512Mi memory, and no node can ever have that",
        "node1, has 256Mi",
        "Pod redis-0",
    ];
    says(&finding, Cause::Scheduling, "StatefulSet redis", &parts);
}

#[test]
fn what_is_left_on_the_nodes_is_computed() {
    let pod = unschedulable("0/1 nodes are available: 1 Insufficient memory.", false);
    let node =
        "---\nkind: Node\nmetadata: { name: node1 }\nstatus: { allocatable: { cpu: '2', memory: 1Gi } }\n";
    let other = "---\nkind: Pod\nmetadata: { name: other }\nspec: { nodeName: node1, containers: [{ name: c, resources: { requests: { memory: 768Mi } } }] }\nstatus: { phase: Running, conditions: [{ type: Ready, status: 'True' }] }\n";
    let finding = one(diagnose(&seen(&format!("{pod}{node}{other}"))));
    says(
        &finding,
        Cause::Scheduling,
        "StatefulSet redis",
        &["no node has as much left", "node node1: 256Mi of 1Gi left"],
    );

    let tainted = unschedulable(
        "0/1 nodes are available: 1 node(s) had untolerated taint {a: b}.",
        false,
    );
    let node = "---\nkind: Node\nmetadata: { name: node1 }\nspec: { taints: [{ key: a, value: b, effect: NoSchedule }] }\n";
    let finding = one(diagnose(&seen(&format!("{tainted}{node}"))));
    says(
        &finding,
        Cause::Scheduling,
        "StatefulSet redis",
        &["node node1: a=b:NoSchedule"],
    );
}

#[test]
fn a_wrong_selector_names_the_nearest_pods() {
    let objects = "
kind: Deployment
metadata: { name: cache, labels: { app: cache } }
spec: { selector: {}, template: { metadata: { labels: { app: cache, tier: infrastructure } } } }
---
kind: Deployment
metadata: { name: other }
spec: { selector: {}, template: { metadata: { labels: { app: other, tier: infrastructure } } } }
---
kind: Service
metadata: { name: cache, labels: { app: cache } }
spec: { selector: { app: cahce, tier: infrastructure }, ports: [{ port: 6379 }] }
";
    let finding = one(diagnose(&seen(objects)));
    let parts = [
        "selector app=cahce,tier=infrastructure matches no pod",
        "wants app=cahce, the pods of Deployment cache have app=cache",
    ];
    says(&finding, Cause::Selector, "Service cache", &parts);

    let stopped = objects.replace("app: cahce", "app: cache").replace(
        "spec: { selector: {}, template",
        "spec: { replicas: 0, selector: {}, template",
    );
    let finding = one(diagnose(&seen(&stopped)));
    says(
        &finding,
        Cause::Selector,
        "Service cache",
        &[
            "Deployment cache is scaled to 0",
            "kubectl -n isa-cloud-staging scale deployment cache",
        ],
    );

    let port = pod("{ phase: Running, conditions: [{ type: Ready, status: 'True' }] }")
        .replace("targetPort: client", "targetPort: redis");
    let finding = one(diagnose(&seen(&port)));
    says(
        &finding,
        Cause::Selector,
        "Service redis",
        &["no container has a port named \\\"redis\\\"", "named client"],
    );
}

#[test]
fn a_failing_probe_is_quoted() {
    let running = pod(&format!(
        "{{ phase: Running, {SCHEDULED}, containerStatuses: [{{ name: redis, image: i, imageID: '', ready: false, restartCount: 0, state: {{ running: {{ startedAt: '2026-01-01T00:01:00Z' }} }} }}] }}"
    ));
    let failing = event(
        "Pod/redis-0",
        "Unhealthy",
        "Readiness probe failed: connection refused",
    );
    let finding = one(diagnose(&seen(&format!("{running}{failing}"))));
    says(
        &finding,
        Cause::NotReady,
        "StatefulSet redis",
        &["its readiness probe fails", "connection refused"],
    );

    let young = running.replace("00:01:00Z", "00:04:55Z");
    let diagnosis = diagnose(&seen(&format!("{young}{failing}")));
    assert!(diagnosis.findings.is_empty(), "{diagnosis:#?}");
    assert_eq!(diagnosis.starting, ["redis-0 (starting, 5m)"]);
}

#[test]
fn pods_that_are_refused_are_explained() {
    let set = "
kind: StatefulSet
metadata: { name: redis }
spec: { replicas: 1, selector: {}, serviceName: x, template: { metadata: { labels: { app: redis } } } }
status: { replicas: 0 }
---
kind: Service
metadata: { name: redis }
spec: { selector: { app: redis }, ports: [{ port: 6379 }] }
";
    let security = event(
        "StatefulSet/redis",
        "FailedCreate",
        "create Pod redis-0 failed: pods \"redis-0\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false",
    );
    let finding = one(diagnose(&seen(&format!("{set}{security}"))));
    let parts = [
        "Pod Security level restricted:latest",
        "allowPrivilegeEscalation",
        "Service redis has no endpoints",
    ];
    says(&finding, Cause::Creation, "StatefulSet redis", &parts);
    let quota = event(
        "StatefulSet/redis",
        "FailedCreate",
        "pods \"redis-0\" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=4, limited: cpu=4",
    );
    let finding = one(diagnose(&seen(&format!("{set}{quota}"))));
    says(
        &finding,
        Cause::Creation,
        "StatefulSet redis",
        &["ResourceQuota", "limited: cpu=4"],
    );
}

#[test]
fn a_node_that_is_gone_explains_its_pods() {
    let node = "---\nkind: Node\nmetadata: { name: node1 }\nstatus: { conditions: [{ type: Ready, status: Unknown, message: Kubelet stopped posting node status. }] }\n";
    let down = pod(&format!("{{ phase: Running, {SCHEDULED} }}"));
    let finding = one(diagnose(&seen(&format!("{down}{node}"))));
    says(
        &finding,
        Cause::Node,
        "Node node1",
        &[
            "has not been heard of",
            "Pod redis-0",
            "Service redis has no endpoints",
        ],
    );
}

#[test]
fn nothing_is_wrong_with_what_runs() {
    let ready = pod(
        "{ phase: Running, conditions: [{ type: PodScheduled, status: 'True' }, { type: Ready, status: 'True' }] }",
    );
    let diagnosis = diagnose(&seen(&ready));
    assert!(
        diagnosis.findings.is_empty() && diagnosis.starting.is_empty(),
        "{diagnosis:#?}"
    );
    let gone = Snapshot {
        namespace: "isa-cloud-staging".into(),
        ..Snapshot::default()
    };
    says(
        &one(diagnose(&gone)),
        Cause::NoNamespace,
        "Namespace isa-cloud-staging",
        &["isa deploy OVERLAY"],
    );
}

#[test]
fn what_nothing_explains_is_said_too() {
    let creating = waiting("ContainerCreating", "");
    let sandbox = event(
        "Pod/redis-0",
        "FailedCreatePodSandBox",
        "no IP addresses available",
    );
    let finding = one(diagnose(&seen(&format!("{creating}{sandbox}"))));
    says(
        &finding,
        Cause::Unknown,
        "Pod redis-0",
        &["creating its containers", "no IP addresses available"],
    );
}
