//! The platform on a real Kubernetes node: deployed, verified, broken on purpose and taken away again, with the
//! commands that an operator types. Needs root, for the node; `make test-cluster` runs it.
//!
//! One test, because the node is one and the parts build on each other.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands, its helpers too")]

mod broken;
mod manifests;
mod node;
mod reach;
mod services;

use std::{fs, time::Instant};

use isa_config::ServiceKind;
use isa_testkit::eventually;
use node::{NAMESPACE, Node, PATIENCE};
use serde_json::{Value, json};

/// How `isa deploy` ends when it has applied everything and something is not ready.
const NOT_READY: i32 = 4;
/// What the node runs of the infrastructure: all but Grafana, whose program is in none of the package registries.
const PODS: [&str; 11] = [
    "consul-0",
    "consul-1",
    "consul-2",
    "loki-0",
    "minio-0",
    "mosquitto",
    "nats-0",
    "neo4j-0",
    "postgres-0",
    "qdrant-0",
    "redis-0",
];

#[test]
fn the_platform_on_a_real_node() {
    let node = Node::up();
    let part = |name: &str, work: fn(&Node)| {
        let began = Instant::now();
        work(&node);
        println!("=== {name}: {:.1} s", began.elapsed().as_secs_f64());
    };
    part("images", load_images);
    part("secrets", make_secrets);
    part("manifests", manifests::check);
    part("deploy", deploy);
    part("verify", verify);
    part("resources", resources);
    part("reachability", reachability);
    part("building blocks", services::check);
    part("conformance", services::conformance);
    part("pods deleted in turn", delete_pods_in_turn);
    part("configuration rolls pods", change_configuration);
    part("backups restored", restore_backups);
    part("broken manifests", broken::check);
    part("teardown keeps the data", teardown_and_return);
}

fn load_images(node: &Node) {
    let built = node.isa_ok(&["images", "build"]);
    assert!(!built.stderr.contains("error"), "{built:#?}");
    node.isa_ok(&[
        "images",
        "load",
        "--into",
        "containerd",
        "--socket",
        &node.socket(),
    ]);
}

fn make_secrets(node: &Node) {
    let missing = node.isa(&["deploy", "ci", "--dry-run"]);
    assert_eq!(missing.code, Some(1), "{missing:#?}");
    assert!(missing.stderr.contains("isa secrets generate ci"), "{missing:#?}");
    for overlay in ["ci", "staging", "local"] {
        node.isa_ok(&["secrets", "generate", overlay]);
        node.isa_ok(&["secrets", "check", overlay]);
    }
}

fn statuses(node: &Node) -> Vec<Value> {
    let list: Value =
        serde_json::from_str(&node.kubectl_ok(&["-n", NAMESPACE, "get", "pods", "-o", "json"])).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// The platform's pods that are Ready, by the names of [`PODS`].
fn ready(node: &Node) -> Vec<&'static str> {
    let pods = statuses(node);
    let is_ready = |name: &&&str| {
        pods.iter().any(|pod| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            pod["metadata"]["name"].as_str().unwrap().starts_with(**name)
                && conditions
                    .into_iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
        })
    };
    PODS.iter().filter(is_ready).copied().collect()
}

fn deploy(node: &Node) {
    let began = Instant::now();
    let deployed = node.isa(&["deploy", "ci"]);
    println!("isa deploy ci ended after {:.1} s", began.elapsed().as_secs_f64());
    println!("{}\n{}", deployed.stdout, deployed.stderr);
    assert_eq!(ready(node), PODS, "{deployed:#?}");
    services::ready(node);
    // Grafana's image cannot be had here: the command says so and how to go on, and does not claim success.
    assert_eq!(deployed.code, Some(NOT_READY), "{deployed:#?}");
    let said = deployed.stdout + &deployed.stderr;
    assert!(
        said.contains("staging-isa-grafana:amd64") && said.contains("isa images"),
        "{said}"
    );

    assert_nothing_to_change(node);

    // Every image is the one that was packed, every pod obeys `restricted`, nobody pulled anything.
    for pod in statuses(node) {
        let containers = pod["spec"]["containers"].as_array().unwrap();
        for container in containers {
            let image = container["image"].as_str().unwrap();
            assert!(
                image.starts_with("staging-isa-") && image.ends_with(":amd64"),
                "{image}"
            );
        }
    }
    let namespace: Value =
        serde_json::from_str(&node.kubectl_ok(&["get", "namespace", NAMESPACE, "-o", "json"])).unwrap();
    let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(*enforced, json!("restricted"));
}

/// What is there is not applied again.
fn assert_nothing_to_change(node: &Node) {
    let plan = node.isa_json(&["deploy", "ci", "--dry-run", "-o", "json"]);
    let objects = plan["objects"].as_array().unwrap();
    let changed: Vec<_> = objects.iter().filter(|o| o["change"] != "unchanged").collect();
    assert!(!objects.is_empty() && changed.is_empty(), "{changed:#?}");
}

fn verify(node: &Node) {
    let status = node.isa_ok(&["status", "--kube"]);
    println!("{}", status.stdout);
    let verified = node.isa(&["verify", "--kube"]);
    println!("{}", verified.stdout);
    assert!(
        verified.stdout.contains("18 passed, 0 failed, 1 not run"),
        "{verified:#?}"
    );
    assert_eq!(verified.code, Some(0), "{verified:#?}");
    let report = node.isa_json(&["verify", "--kube", "-o", "json"]);
    assert_eq!(report["ok"], true, "{report:#}");
    assert!(report["skipped"]["grafana"].is_string(), "{report:#}");
    assert_eq!(
        report["services"].as_array().map(Vec::len),
        Some(ServiceKind::ALL.len()),
        "{report:#}"
    );
}

/// Totals that are computed from the manifests, against the ones of the design.
fn resources(node: &Node) {
    println!("{}", node.isa_ok(&["resources", "staging"]).stdout);
    let totals = node.isa_json(&["resources", "staging", "-o", "json"]);
    let layer = |name: &str| {
        let layers = totals["layers"].as_array().unwrap();
        layers
            .iter()
            .find(|layer| layer["layer"] == name)
            .unwrap()
            .clone()
    };
    let total = layer("infrastructure");
    assert_eq!(total["pods"], 12, "{totals:#}");
    assert_eq!(total["cpu_requests"], "3892m", "{totals:#}");
    assert_eq!(total["memory_requests"], "7936Mi", "{totals:#}");
    assert_eq!(total["volumes"], "185Gi", "{totals:#}");
    assert_eq!(layer("grpc-services")["pods"], 18, "{totals:#}");
    // The cluster has what the manifests of ci say.
    let rendered = node.isa_json(&["resources", "ci", "-o", "json"]);
    let cluster = node.isa_json(&["resources", "--kube", "-o", "json"]);
    assert_eq!(
        rendered["total"]["memory_requests"],
        cluster["total"]["memory_requests"]
    );
    assert_eq!(rendered["total"]["volumes"], cluster["total"]["volumes"]);
}

fn reachability(node: &Node) {
    for overlay in ["staging", "ci"] {
        let looked_at = reach::check(&manifests::render(node, overlay));
        println!("{overlay}: {looked_at} flows computed from the policies, each as it must be");
    }
}

/// A Consul server, Redis and PostgreSQL: each comes back, with what it had.
fn delete_pods_in_turn(node: &Node) {
    node.exec("consul-0", &["consul", "kv", "put", "kept", "in consul"]);
    let redis = |command: &str| node.exec("redis-0", &["sh", "-c", &format!("redis-cli {command}")]);
    redis("set kept in-redis");
    let password = node.secret("postgres", "password");
    let sql = |statement: &str| {
        let psql = format!("PGPASSWORD={password} psql -h 127.0.0.1 -U isa -d isa -tAc \"{statement}\"");
        node.exec("postgres-0", &["sh", "-c", &psql])
    };
    sql("create table kept (v text); insert into kept values ('in postgres')");

    let kill = |name: &str| {
        let old = node.pod(name).unwrap();
        node.kubectl_ok(&["-n", NAMESPACE, "delete", "pod", name, "--wait=false"]);
        old
    };
    // While one of three is gone, the others answer, with a leader.
    let old = kill("consul-1");
    let leader = eventually("two servers have a leader", PATIENCE, || {
        let peers = node.kubectl(&[
            "-n",
            NAMESPACE,
            "exec",
            "consul-0",
            "--",
            "consul",
            "operator",
            "raft",
            "list-peers",
        ]);
        if peers.stdout.contains("leader") {
            Ok(peers.stdout)
        } else {
            Err(format!("{peers:?}"))
        }
    });
    assert!(leader.contains("leader"));
    assert_eq!(
        node.exec("consul-2", &["consul", "kv", "get", "kept"]),
        "in consul"
    );
    node.wait_for_another("consul-1", &old);
    eventually("three voters", PATIENCE, || {
        let peers = node.exec("consul-1", &["consul", "operator", "raft", "list-peers"]);
        if peers.matches("true").count() == 3 {
            Ok(())
        } else {
            Err(peers)
        }
    });
    assert_eq!(
        node.exec("consul-1", &["consul", "kv", "get", "kept"]),
        "in consul"
    );

    let old = kill("redis-0");
    node.wait_for_another("redis-0", &old);
    assert_eq!(redis("get kept"), "in-redis");

    let old = kill("postgres-0");
    node.wait_for_another("postgres-0", &old);
    assert_eq!(sql("select v from kept"), "in postgres");
    // Nothing above them was restarted for it.
    services::ready(node);
    assert_eq!(services::restarts(node), 0);
}

/// A changed ConfigMap rolls the pods that read it, and no others.
fn change_configuration(node: &Node) {
    let file = node
        .project()
        .join("deployments/kubernetes/base/infrastructure/redis/configmap.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("maxclients 4000", "maxclients 3999");
    assert_ne!(text, changed);
    fs::write(&file, changed).unwrap();

    let (redis, nats) = (node.pod("redis-0").unwrap(), node.pod("nats-0").unwrap());
    let deployed = node.isa(&["deploy", "ci"]);
    node.wait_for_another("redis-0", &redis);
    assert_eq!(
        nats["metadata"]["uid"],
        node.pod("nats-0").unwrap()["metadata"]["uid"]
    );
    let clients = node.exec("redis-0", &["sh", "-c", "redis-cli config get maxclients"]);
    assert!(clients.ends_with("3999"), "{clients}: {deployed:#?}");
}

/// Each backup, made now, is one that its drill can restore.
fn restore_backups(node: &Node) {
    let overlay = node.overlay("with-backups");
    fs::create_dir(&overlay).unwrap();
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../ci]
components: [../../components/backups, ../../components/staging-images]
";
    fs::write(overlay.join("kustomization.yaml"), kustomization).unwrap();
    node.isa_ok(&["deploy", "with-backups", "--without", "grafana"]);
    for job in ["backup", "restore-drill"] {
        for system in ["postgres", "consul", "redis"] {
            let (from, name) = (
                format!("--from=cronjob/{system}-{job}"),
                format!("now-{system}-{job}"),
            );
            node.kubectl_ok(&["-n", NAMESPACE, "create", "job", &from, &name]);
            let job = format!("job/{name}");
            let done = node.kubectl(&[
                "-n",
                NAMESPACE,
                "wait",
                "--for=condition=Complete",
                "--timeout=120s",
                &job,
            ]);
            let log = node.kubectl(&["-n", NAMESPACE, "logs", &job, "--all-containers", "--tail=20"]);
            assert_eq!(done.code, Some(0), "{done:#?} {log:#?}");
        }
    }
    node.kubectl_ok(&["-n", NAMESPACE, "delete", "cronjobs,jobs", "--all", "--wait=true"]);
    node.kubectl_ok(&[
        "-n",
        NAMESPACE,
        "delete",
        "persistentvolumeclaims",
        "--wait=true",
        "postgres-backups",
        "consul-backups",
        "redis-backups",
    ]);
}

/// Without being asked for more, teardown keeps volumes: the next deployment has the data.
fn teardown_and_return(node: &Node) {
    let refused = node.isa(&["teardown", "ci"]);
    assert_eq!(refused.code, Some(1), "nobody can be asked here: {refused:#?}");
    node.isa_ok(&["teardown", "ci", "--yes"]);
    assert_eq!(statuses(node).len(), 0);
    let claims = node.kubectl_ok(&["-n", NAMESPACE, "get", "persistentvolumeclaims", "-o", "name"]);
    assert_eq!(claims.lines().count(), 10, "{claims}");

    // By plain kubectl this time; `isa deploy` after it has nothing to change, so it restarts nothing.
    node.kubectl_ok(&["apply", "-k", &node.overlay("ci").display().to_string()]);
    eventually("kubectl alone brings it up", PATIENCE, || {
        let ready = ready(node);
        if ready == PODS {
            Ok(())
        } else {
            Err(format!("{ready:?}"))
        }
    });
    services::ready(node);
    assert_nothing_to_change(node);
    let kept = node.exec("redis-0", &["sh", "-c", "redis-cli get kept"]);
    assert_eq!(kept, "in-redis");
    assert_eq!(
        node.exec("consul-2", &["consul", "kv", "get", "kept"]),
        "in consul"
    );

    node.isa_ok(&["teardown", "ci", "--yes", "--volumes"]);
    let claims = node.kubectl_ok(&["get", "persistentvolumeclaims", "--all-namespaces", "-o", "name"]);
    assert_eq!(claims.trim(), "", "no claim is left");
}
