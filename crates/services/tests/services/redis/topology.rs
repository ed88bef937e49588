//! Redis that is not one server: a cluster of two nodes, and a master that a sentinel knows.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use isa_config::Secret;

use super::*;

const PASSWORD: &str = "hunter2";

/// A server of the test's own, by the program that runs the others'. It ends with this.
struct Server {
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// `settings` are lines of its configuration.
    fn start(program: &Program, sentinel: bool, settings: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().expect("a folder"), free_port());
        let file = folder.path().join("redis.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n{settings}\n",
            folder.path().display()
        );
        std::fs::write(&file, text).expect("a configuration");
        let mut command = Command::new(&program.path);
        command.arg(file).env_clear().envs(&program.env);
        if sentinel {
            command.arg("--sentinel");
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("a server");
        Self { port, child, folder }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::new(format!("redis://127.0.0.1:{}", self.port))
            .with_credentials("default", Secret::new(PASSWORD))
    }

    async fn answers(&self) -> MultiplexedConnection {
        eventually("the server answers", PATIENCE, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.port))
                .await
                .is_ok()
        })
        .await;
        assert!(self.folder.path().is_dir());
        connect(&self.endpoint()).await
    }
}

/// What runs the engine of the other tests.
struct Program {
    path: String,
    env: BTreeMap<String, String>,
}

impl Program {
    async fn find() -> Self {
        let test = Test::start().await;
        let info: String = test.raw(redis::cmd("INFO").arg("server")).await;
        let line = |name: &str| {
            let found = info
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.expect("a line of INFO").trim().to_owned()
        };
        let env =
            std::fs::read_to_string(format!("/proc/{}/environ", line("process_id"))).unwrap_or_default();
        let env = env.split('\0').filter_map(|pair| pair.split_once('='));
        Self {
            path: line("executable"),
            env: env
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Something of everything, for a tenant.
async fn use_everything(test: &Test) {
    for key in ["a", "b"] {
        done!(test, set, SetRequest { key, value: key });
        done!(
            test,
            s_add,
            SAddRequest {
                key: format!("set-{key}"),
                members: texts([key, "c"])
            }
        );
    }
    assert_eq!(done!(test, get, GetRequest { key: "a" }).value, "a");
    assert_eq!(
        done!(
            test,
            get_multiple,
            GetMultipleRequest {
                keys: texts(["a", "b"])
            }
        )
        .values
        .len(),
        2
    );
    assert_eq!(
        done!(
            test,
            s_inter,
            SInterRequest {
                keys: texts(["set-a", "set-b"])
            }
        )
        .members,
        ["c"]
    );
    done!(
        test,
        rename,
        RenameRequest {
            old_key: "a",
            new_key: "d"
        }
    );
    assert!(done!(test, get_key_info, GetKeyInfoRequest { key: "d" }).size_bytes > 0);
    assert_eq!(done!(test, list_keys, ListKeysRequest {}).keys.len(), 4);
    assert_eq!(done!(test, get_statistics, GetStatisticsRequest {}).total_keys, 4);
    refused!(
        FailedPrecondition,
        "holds a set",
        test,
        get,
        GetRequest { key: "set-a" }
    );
    let commands = ["x", "y"].map(|key| pb::BatchCommand {
        operation: "SET".into(),
        key: key.into(),
        ..Default::default()
    });
    assert!(
        done!(
            test,
            execute_batch,
            RedisBatchRequest {
                commands: commands.to_vec()
            }
        )
        .success
    );
    assert_eq!(
        done!(
            test,
            delete_multiple,
            DeleteMultipleRequest {
                keys: texts(["x", "y"])
            }
        )
        .deleted_count,
        2
    );

    let lock = done!(
        test,
        acquire_lock,
        AcquireLockRequest {
            lock_key: "l",
            ttl: milliseconds(60_000)
        }
    );
    let waits = async {
        done!(
            test,
            acquire_lock,
            AcquireLockRequest {
                lock_key: "l",
                ttl: milliseconds(60_000),
                wait_timeout: milliseconds(20_000),
            }
        )
    };
    let releases = async {
        done!(
            test,
            release_lock,
            ReleaseLockRequest {
                lock_key: "l",
                lock_id: lock.lock_id
            }
        )
    };
    let (second, first) = tokio::join!(waits, releases);
    assert!(second.acquired && first.released);

    let id = done!(test, create_session, CreateSessionRequest {}).session_id;
    assert!(done!(test, get_session, GetSessionRequest { session_id: id }).found);
    assert_eq!(
        done!(test, list_sessions, ListSessionsRequest {}).sessions.len(),
        1
    );

    let mut stream = done!(
        test,
        subscribe,
        SubscribeRequest {
            channels: texts(["c"])
        }
    );
    done!(
        test,
        publish,
        PublishRequest {
            channel: "c",
            message: "m"
        }
    );
    let message = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("in time");
    assert_eq!(message.expect("a stream").expect("a message").message, "m");
    let request = pb::RedisHealthCheckRequest { deep_check: true };
    let health = test
        .client
        .clone()
        .health_check(request)
        .await
        .expect("health")
        .into_inner();
    assert!(health.healthy, "{health:?}");
}

#[tokio::test]
async fn a_cluster() {
    let program = Program::find().await;
    let start = || {
        let settings = format!(
            "cluster-enabled yes\ncluster-port {}\nrequirepass {PASSWORD}\nmasterauth {PASSWORD}\nsave \"\"",
            free_port()
        );
        Server::start(&program, false, &settings)
    };
    let servers = [start(), start()];
    let slots = [(0, 8191), (8192, 16383)];
    let mut nodes = Vec::new();
    for (server, (first, last)) in servers.iter().zip(slots) {
        let mut node = server.answers().await;
        let mut add = redis::cmd("CLUSTER");
        add.arg("ADDSLOTSRANGE").arg(first).arg(last);
        let () = add.query_async(&mut node).await.expect("slots");
        nodes.push(node);
    }
    let bus: String = redis::cmd("CONFIG")
        .arg("GET")
        .arg("cluster-port")
        .query_async::<(String, String)>(&mut nodes[1])
        .await
        .expect("a setting")
        .1;
    let mut meet = redis::cmd("CLUSTER");
    meet.arg("MEET").arg("127.0.0.1").arg(servers[1].port).arg(bus);
    let () = meet.query_async(&mut nodes[0]).await.expect("a meeting");
    eventually("the cluster has all slots", PATIENCE, async || {
        let mut whole = true;
        for node in &mut nodes {
            let info: String = redis::cmd("CLUSTER")
                .arg("INFO")
                .query_async(node)
                .await
                .unwrap_or_default();
            whole &= info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2");
        }
        whole
    })
    .await;

    let ports = servers.each_ref().map(|server| server.port);
    let mut engine = servers[0].endpoint();
    engine.url = format!("redis+cluster://127.0.0.1:{},127.0.0.1:{}", ports[0], ports[1]);
    let node = Node::at(ServiceKind::Redis, engine).await;
    let mut test = Test::with(node, nodes[0].clone()).await;
    // A tenant's keys are on one node: enough tenants that one of two nodes is left without any once in 2^31 runs.
    for _ in 0..32 {
        test.user = uuid::Uuid::new_v4().to_string();
        use_everything(&test).await;
    }
    for node in &mut nodes {
        let keys: i64 = redis::cmd("DBSIZE").query_async(node).await.expect("a number");
        assert!(keys > 0, "the tenants are not all on one node");
    }
}

#[tokio::test]
async fn sentinels() {
    let program = Program::find().await;
    let master = Server::start(&program, false, &format!("requirepass {PASSWORD}\nsave \"\""));
    let raw = master.answers().await;
    let watch = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main {PASSWORD}",
        master.port
    );
    let sentinel = Server::start(&program, true, &watch);
    let mut engine = master.endpoint();
    engine.url = format!("redis+sentinel://127.0.0.1:{}/main", sentinel.port);
    let node = Node::at(ServiceKind::Redis, engine).await;
    use_everything(&Test::with(node, raw).await).await;
}
