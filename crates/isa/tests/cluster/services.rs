//! The building blocks in the cluster: ready, known to Consul, closed to strangers, restarted without a lost call; and the
//! conformance cases on them, as a user with a laptop would run them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use futures::future::join_all;
use isa_config::ServiceKind;
use isa_proto::{
    duckdb::{ListDatabasesRequest, duck_db_service_client::DuckDbServiceClient},
    loki::{GetLabelsRequest, loki_service_client::LokiServiceClient},
    minio::{ListBucketsRequest, min_io_service_client::MinIoServiceClient},
    mqtt::{ListDevicesRequest, mqtt_service_client::MqttServiceClient},
    nats::{ListStreamsRequest, nats_service_client::NatsServiceClient},
    neo4j::{FindNodesRequest, neo4j_service_client::Neo4jServiceClient},
    postgres::{
        BeginTransactionRequest, ListTablesRequest, QueryRequest, RollbackTransactionRequest,
        postgres_service_client::PostgresServiceClient,
    },
    qdrant::{ListCollectionsRequest, qdrant_service_client::QdrantServiceClient},
    redis::{GetRequest, IncrementRequest, redis_service_client::RedisServiceClient},
};
use isa_testkit::{Finished, eventually};
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Code, Request, Status, transport::Channel};

use crate::node::{NAMESPACE, Node, PATIENCE, repository};

/// Those that are deployed.
const SERVICES: [ServiceKind; 9] = ServiceKind::ALL;
const REPLICAS: usize = 2;
/// Who calls while a service is restarted, and how long each pauses after an answer: the node has work to do, too.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(5);

fn app(kind: ServiceKind) -> String {
    format!("{kind}-grpc")
}

/// Waits until every replica of every service is Ready, and nothing else of them is left. Their addresses by service.
pub(crate) fn ready(node: &Node) -> BTreeMap<ServiceKind, BTreeSet<String>> {
    eventually("all replicas are Ready", PATIENCE, || {
        let pods = pods(node);
        let of = |kind: ServiceKind| {
            let own = pods
                .iter()
                .filter(|pod| pod["metadata"]["labels"]["app"] == app(kind));
            let states: Vec<_> = own.map(|pod| (address(pod), is_ready(pod))).collect();
            let whole = states.len() == REPLICAS && states.iter().all(|(_, ready)| *ready);
            let addresses = states.iter().filter_map(|(address, _)| address.clone()).collect();
            if whole {
                Ok((kind, addresses))
            } else {
                Err(format!("{kind}: {states:?}"))
            }
        };
        SERVICES.into_iter().map(of).collect()
    })
}

fn pods(node: &Node) -> Vec<Value> {
    let args = [
        "-n",
        NAMESPACE,
        "get",
        "pods",
        "-l",
        "tier=grpc-services",
        "-o",
        "json",
    ];
    let list: Value = serde_json::from_str(&node.kubectl_ok(&args)).unwrap();
    list["items"].as_array().unwrap().clone()
}

/// How often their containers were started again.
pub(crate) fn restarts(node: &Node) -> u64 {
    let of = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64();
    pods(node).iter().filter_map(of).sum()
}

fn address(pod: &Value) -> Option<String> {
    pod["status"]["podIP"].as_str().map(str::to_owned)
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions
        .into_iter()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    ready && pod["metadata"]["deletionTimestamp"].is_null()
}

pub(crate) fn check(node: &Node) {
    ready(node);
    let outside = Outside::open(node);
    are_in_consul(node, &outside);

    let token = issue(node, &["alice", "--org", "acme"]);
    for kind in SERVICES {
        let refused = run(ask(kind, &outside, None)).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{kind}: {refused:?}");
        let forged = format!("{}x", &token[..token.len() - 1]);
        let refused = run(ask(kind, &outside, Some(&forged))).unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{kind}: {refused:?}");
        run(ask(kind, &outside, Some(&token))).unwrap_or_else(|e| panic!("{kind}: {e:?}"));
    }
    run(a_transaction_is_found_from_every_replica(&outside, &token));
    restart_loses_no_call(node, &outside, &token);
    are_in_consul(node, &outside);
}

/// The conformance cases, through `isa connect`: the published client sends no token.
pub(crate) fn conformance(node: &Node) {
    let outside = Outside::open(node);
    let folder = node.project().join("conformance");
    fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    // Cases act for users and organizations of their own; where the client names nobody, it is this one.
    let token = file(
        "token",
        issue(
            node,
            &["conformance", "--scope", "act-as", "--scope", "neo4j:cypher"],
        ),
    );
    let (connection, addresses) = Connection::open(node, &outside, &token);
    let services = file("services.json", addresses.to_string());
    let endpoints = file("endpoints.json", outside.endpoints(node).to_string());
    let mut cases = Command::new(repository().join("conformance/run"));
    cases
        .arg("--services")
        .arg(services)
        .arg("--endpoints")
        .arg(endpoints)
        .args(["--default-tenant", "user:conformance"])
        .stdin(Stdio::null());
    let finished = Finished::of(cases);
    println!("{}\n{}", finished.stdout, finished.stderr);
    assert_eq!(
        finished.code,
        Some(0),
        "the conformance cases pass in the cluster"
    );
    drop(connection);
}

/// An `isa connect` that ends with this value.
struct Connection(Child);

impl Connection {
    /// Also where it listens, by service.
    fn open(node: &Node, outside: &Outside<'_>, token: &Path) -> (Self, Value) {
        let mut command = node.command(env!("CARGO_BIN_EXE_isa"));
        command
            .args(["connect", &outside.host, "--free-ports", "-o", "json", "--only"])
            .arg(SERVICES.map(ServiceKind::name).join(","))
            .arg("--token-file")
            .arg(token)
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("isa connect starts");
        let stdout = child.stdout.take().unwrap();
        let connection = Self(child);
        // It goes on after its first and only document.
        let mut documents = serde_json::Deserializer::from_reader(stdout);
        (connection, Value::deserialize(&mut documents).unwrap())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Services and engines at the node's own address, each at its own port; for as long as this value lives.
struct Outside<'a> {
    node: &'a Node,
    host: String,
}

/// Selector `app` and port of what is made reachable.
fn doors() -> Vec<(String, u16)> {
    let engines = [
        ("consul", 8500),
        ("redis", 6379),
        ("postgres", 5432),
        ("minio", 9000),
        ("nats", 4222),
        ("mosquitto", 1883),
        ("qdrant", 6333),
        ("qdrant", 6334),
        ("neo4j", 7687),
        ("loki", 3100),
    ];
    let engines = engines.map(|(app, port)| (app.to_owned(), port));
    let services = SERVICES.map(|kind| (app(kind), kind.port()));
    services.into_iter().chain(engines).collect()
}

impl<'a> Outside<'a> {
    fn open(node: &'a Node) -> Self {
        let path = r#"jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}"#;
        let host = node.kubectl_ok(&["get", "nodes", "-o", path]);
        let items = doors().into_iter().map(|(app, port)| {
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": format!("outside-{app}-{port}"), "namespace": NAMESPACE },
                "spec": { "selector": { "app": app }, "externalIPs": [host], "ports": [{ "name": "one", "port": port }] },
            })
        });
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items.collect::<Vec<_>>() });
        node.apply(&list);
        Self { node, host }
    }

    /// A connection of its own, so that it may lead to any replica. To be called in a runtime.
    fn channel(&self, kind: ServiceKind) -> Channel {
        let address = format!("http://{}:{}", self.host, kind.port());
        Channel::from_shared(address).unwrap().connect_lazy()
    }

    /// The engines, as `isa up` writes them down.
    fn endpoints(&self, node: &Node) -> Value {
        let password = |name: &str| node.secret(name, "password");
        let host = &self.host;
        json!({
            "redis": { "url": format!("redis://{host}:6379"), "password": password("redis") },
            "postgres": { "url": format!("postgres://{host}:5432/isa"), "username": "isa", "password": password("postgres") },
            "minio": { "url": format!("http://{host}:9000"), "username": "isa", "password": password("minio") },
            "nats": { "url": format!("nats://{host}:4222"), "username": "isa", "password": password("nats") },
            "mosquitto": { "url": format!("mqtt://{host}:1883"), "username": "isa", "password": password("mosquitto") },
            "qdrant": {
                "url": format!("http://{host}:6333"), "password": node.secret("qdrant", "api-key"),
                "urls": { "grpc": format!("http://{host}:6334") },
            },
            "neo4j": { "url": format!("bolt://{host}:7687"), "username": "neo4j", "password": password("neo4j") },
            "loki": { "url": format!("http://{host}:3100") },
        })
    }
}

impl Drop for Outside<'_> {
    fn drop(&mut self) {
        let names = doors()
            .into_iter()
            .map(|(app, port)| format!("outside-{app}-{port}"));
        let names: Vec<String> = names.collect();
        let mut args = vec!["-n", NAMESPACE, "delete", "service", "--ignore-not-found"];
        args.extend(names.iter().map(String::as_str));
        self.node.kubectl(&args);
    }
}

/// A token, signed with the key of the Secret that no pod mounts.
fn issue(node: &Node, who: &[&str]) -> String {
    let name = "isa-token-signing-key";
    let secret = node.kubectl_ok(&["-n", NAMESPACE, "get", "secret", name, "-o", "json"]);
    let secret: Value = serde_json::from_str(&secret).unwrap();
    let folder = node.project().join("keys");
    fs::create_dir_all(&folder).unwrap();
    for key in secret["data"].as_object().unwrap().keys() {
        fs::write(folder.join(key), node.secret(name, key)).unwrap();
    }
    let keys = folder.display().to_string();
    let args: Vec<&str> = ["token", "issue"]
        .iter()
        .chain(who)
        .copied()
        .chain(["--keys", &keys])
        .collect();
    node.isa_ok(&args).stdout.trim().to_owned()
}

/// Both names of each service lead to its replicas, all of them and no others, with passing checks.
fn are_in_consul(node: &Node, outside: &Outside<'_>) {
    for (kind, replicas) in ready(node) {
        for name in kind.consul_names() {
            let url = format!(
                "http://{}:8500/v1/health/service/{name}?passing=true",
                outside.host
            );
            eventually(&format!("{name} is in Consul and passes"), PATIENCE, || {
                let found = run(async { reqwest::get(&url).await?.json::<Value>().await });
                let found = found.map_err(|e| e.to_string())?;
                let instances = found.as_array().into_iter().flatten();
                let addresses: BTreeSet<String> = instances
                    .filter(|it| it["Service"]["Port"] == kind.port())
                    .filter_map(|it| it["Service"]["Address"].as_str().map(str::to_owned))
                    .collect();
                if addresses == replicas {
                    Ok(())
                } else {
                    Err(format!("{found:#}"))
                }
            });
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn with<M>(token: Option<&str>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_secs(20));
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
    }
    request
}

/// Something that each service answers to whoever may ask.
async fn ask(kind: ServiceKind, outside: &Outside<'_>, token: Option<&str>) -> Result<(), Status> {
    let channel = outside.channel(kind);
    match kind {
        ServiceKind::Redis => {
            let get = GetRequest {
                key: "nothing".into(),
                ..Default::default()
            };
            RedisServiceClient::new(channel)
                .get(with(token, get))
                .await
                .map(drop)
        }
        ServiceKind::Postgres => {
            let list = ListTablesRequest::default();
            PostgresServiceClient::new(channel)
                .list_tables(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Minio => {
            let list = ListBucketsRequest::default();
            MinIoServiceClient::new(channel)
                .list_buckets(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Nats => {
            let list = ListStreamsRequest::default();
            NatsServiceClient::new(channel)
                .list_streams(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Duckdb => {
            let list = ListDatabasesRequest::default();
            DuckDbServiceClient::new(channel)
                .list_databases(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Mqtt => {
            let list = ListDevicesRequest::default();
            MqttServiceClient::new(channel)
                .list_devices(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Loki => {
            let list = GetLabelsRequest::default();
            LokiServiceClient::new(channel)
                .get_labels(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Qdrant => {
            let list = ListCollectionsRequest::default();
            QdrantServiceClient::new(channel)
                .list_collections(with(token, list))
                .await
                .map(drop)
        }
        ServiceKind::Neo4j => {
            let find = FindNodesRequest::default();
            Neo4jServiceClient::new(channel)
                .find_nodes(with(token, find))
                .await
                .map(drop)
        }
    }
}

/// One replica keeps it; calls reach it over connections to either.
async fn a_transaction_is_found_from_every_replica(outside: &Outside<'_>, token: &str) {
    let client = || PostgresServiceClient::new(outside.channel(ServiceKind::Postgres));
    let begin = with(Some(token), BeginTransactionRequest::default());
    let begun = client().begin_transaction(begin).await.unwrap().into_inner();
    for _ in 0..8 {
        let query = QueryRequest {
            sql: "SELECT 1 AS one".into(),
            transaction_id: begun.transaction_id.clone(),
            ..Default::default()
        };
        let answer = client()
            .query(with(Some(token), query))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.rows.len(), 1, "{answer:?}");
    }
    let rollback = RollbackTransactionRequest {
        transaction_id: begun.transaction_id,
        ..Default::default()
    };
    let ended = client()
        .rollback_transaction(with(Some(token), rollback))
        .await
        .unwrap();
    assert!(ended.into_inner().success);
}

/// The callers end also when the test fails beside them.
struct SetWhenDropped<'a>(&'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What one caller saw.
struct Seen {
    answered: i64,
    refused: u32,
    /// Without an answer.
    longest: Duration,
}

/// Every call that a replica accepted is answered while all replicas are replaced, and one that failed was not accepted.
fn restart_loses_no_call(node: &Node, outside: &Outside<'_>, token: &str) {
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let callers = scope.spawn(|| {
            run(join_all(
                (0..CALLERS).map(|caller| count(outside, token, caller, &over)),
            ))
        });
        let end = SetWhenDropped(&over);
        let deployment = "deployment/redis-grpc";
        let before = ready(node);
        node.kubectl_ok(&["-n", NAMESPACE, "rollout", "restart", deployment]);
        node.kubectl_ok(&["-n", NAMESPACE, "rollout", "status", deployment, "--timeout=180s"]);
        // The old ones still answer what they had accepted.
        let after = ready(node);
        drop(end);
        let (old, new) = (&before[&ServiceKind::Redis], &after[&ServiceKind::Redis]);
        assert!(old.is_disjoint(new), "{old:?} {new:?}");
        callers.join().unwrap()
    });
    let answered: i64 = seen.iter().map(|s| s.answered).sum();
    let refused: u32 = seen.iter().map(|s| s.refused).sum();
    let longest = seen.iter().map(|s| s.longest).max().unwrap_or_default();
    println!(
        "redis-grpc restarted: {answered} calls answered, {refused} refused and repeated, at most {longest:.1?} without an answer"
    );
    assert!(seen.iter().all(|s| s.answered > 100), "everybody was served");
}

/// Counts up until it is over. Were a call carried out without being answered, the next one would skip a number.
async fn count(outside: &Outside<'_>, token: &str, caller: usize, over: &AtomicBool) -> Seen {
    let mut client = RedisServiceClient::new(outside.channel(ServiceKind::Redis));
    let mut seen = Seen {
        answered: 0,
        refused: 0,
        longest: Duration::ZERO,
    };
    let mut last = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let increment = IncrementRequest {
            key: format!("restarted-{caller}"),
            delta: 1,
            ..Default::default()
        };
        match client.increment(with(Some(token), increment)).await {
            Ok(answer) => {
                seen.answered += 1;
                assert_eq!(
                    answer.into_inner().value,
                    seen.answered,
                    "a call was carried out and not answered"
                );
                seen.longest = seen.longest.max(last.elapsed());
                last = Instant::now();
            }
            Err(status) => {
                seen.refused += 1;
                // By the server, with the one code that says try again; or by the client's own connection.
                let by_client = std::error::Error::source(&status).is_some();
                assert!(status.code() == Code::Unavailable || by_client, "{status:?}");
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    seen
}
