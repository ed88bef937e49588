//! Faults of duckdb, whose engine is in the service's own process: processes and replicas that are killed, restarted and lost,
//! callers that go, and NATS and object storage that stand still.

mod gone;
mod killed;
mod paused;
mod replicas;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use isa_config::{EngineKind, ServiceKind};
use isa_proto::duckdb::{self as pb, duck_db_service_client::DuckDbServiceClient, value::Value};
use isa_testkit::Isa;
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::platform::{Platform, eventually, unique};

/// What duckdb uses beside itself; Consul says which replicas there are.
const ENGINES: [EngineKind; 3] = [EngineKind::Nats, EngineKind::Minio, EngineKind::Consul];

/// How long a write may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// For anything to start, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// `isa serve duckdb` in a process and a folder of its own.
struct Process {
    isa: Isa,
    port: u16,
    child: std::process::Child,
}

impl Process {
    /// Its port is free, if 0.
    fn start(platform: &Platform, port: u16) -> Self {
        let mut isa = Isa::built();
        for kind in [ServiceKind::Nats, ServiceKind::Minio] {
            let endpoint = platform.endpoint(kind);
            let name = |key: &str| format!("ISA_ENGINES__{}__{key}", kind.engine().name().to_uppercase());
            isa.env(&name("URL"), endpoint.url);
            if let Some(user) = endpoint.username {
                isa.env(&name("USERNAME"), user);
            }
            if let Some(password) = endpoint.password {
                isa.env(&name("PASSWORD"), password.expose());
            }
        }
        let settings = "[server.auth]\nmode = 'open'\n[server.limits.default]\ncalls_per_second = 0\n";
        fs::write(isa.folder().join("isa.toml"), settings).expect("its settings");
        let child = spawn(&isa, port);
        Self { isa, port, child }
    }

    /// Once it answers.
    async fn ready(mut self) -> (Self, Channel) {
        let printed = || async {
            let out = fs::read_to_string(self.isa.folder().join("out")).unwrap_or_default();
            let line = out.lines().find_map(|line| line.strip_prefix("duckdb"));
            line.and_then(|line| line.trim().rsplit_once(':')?.1.parse().ok())
                .ok_or_else(|| fs::read_to_string(self.isa.folder().join("err")).unwrap_or_default())
        };
        self.port = eventually("isa serves duckdb", START, printed).await;
        let url = format!("http://127.0.0.1:{}", self.port);
        let channel = Channel::from_shared(url).expect("an address");
        let channel = eventually("it accepts", START, || async {
            channel.connect().await.map_err(|e| e.to_string())
        })
        .await;
        (self, channel)
    }

    /// kill -9.
    fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// The same again, over the same folder and at the same address.
    async fn again(mut self) -> (Self, Channel) {
        self.child = spawn(&self.isa, self.port);
        self.ready().await
    }

    /// As Kubernetes stops it; whether it ended well.
    async fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        let told = tokio::process::Command::new("kill")
            .args(["-TERM", &pid])
            .status();
        assert!(told.await.expect("kill").success());
        let ended = tokio::task::spawn_blocking(move || {
            let status = self.child.wait().expect("its end");
            (status.success(), self)
        });
        ended.await.expect("its end").0
    }

    /// Processor time that it has used, in clock ticks.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let fields: Vec<_> = after_name.split_whitespace().collect();
        let [user, system] = [11, 12].map(|index: usize| fields[index].parse::<u64>().expect("a number"));
        user + system
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(isa: &Isa, port: u16) -> std::process::Child {
    let output = |name: &str| fs::File::create(isa.folder().join(name)).expect("an output file");
    let port = format!("server.ports.duckdb={port}");
    isa.command(&["serve", "duckdb", "--set", &port])
        .stdout(output("out"))
        .stderr(output("err"))
        .spawn()
        .expect("isa starts")
}

/// A database with a table that items are written to.
#[derive(Clone)]
struct Table {
    user: String,
    db: String,
}

impl Table {
    async fn new(channel: Channel) -> Self {
        let table = Self {
            // GetMetrics names nobody: then it is this one.
            user: "default_user".into(),
            db: unique(),
        };
        let request = pb::CreateDatabaseRequest {
            database_name: table.db.clone(),
            user_id: table.user.clone(),
            ..Default::default()
        };
        let made = client(channel.clone()).create_database(request).await;
        made.expect("a database");
        table
            .run(channel, "create table t (id bigint)", DEADLINE)
            .await
            .expect("a table");
        table
    }

    async fn run(&self, channel: Channel, sql: &str, deadline: Duration) -> Result<(), Status> {
        let mut request = Request::new(pb::ExecuteStatementRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
            statement: sql.into(),
            ..Default::default()
        });
        request.set_timeout(deadline);
        client(channel).execute_statement(request).await.map(drop)
    }

    async fn write(&self, channel: Channel, item: u64) -> Result<(), Status> {
        self.run(channel, &format!("insert into t values ({item})"), DEADLINE)
            .await
    }

    fn query(&self, sql: &str) -> pb::ExecuteQueryRequest {
        pb::ExecuteQueryRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
            query: sql.into(),
            max_rows: 10_000_000,
            ..Default::default()
        }
    }

    /// Every item that is there, as often as it is.
    async fn read(&self, channel: Channel) -> Result<Vec<u64>, Status> {
        let mut request = Request::new(self.query("select id from t"));
        request.set_timeout(DEADLINE);
        let answer = client(channel).execute_query(request).await?.into_inner();
        let item = |row: pb::Row| match row.values.first().and_then(|value| value.value.clone()) {
            Some(Value::IntValue(item)) => u64::try_from(item).expect("an item"),
            other => panic!("{other:?} is no item"),
        };
        Ok(answer.rows.into_iter().map(item).collect())
    }

    /// The same once it can be had.
    async fn read_soon(&self, channel: Channel, within: Duration) -> Vec<u64> {
        eventually("the database is read", within, || async {
            let read = self.read(channel.clone()).await;
            read.map_err(|status| format!("{status:?}"))
        })
        .await
    }

    /// Statements that run.
    async fn active(&self, channel: Channel) -> i64 {
        let request = pb::GetMetricsRequest {
            database_id: self.db.clone(),
        };
        let answer = client(channel).get_metrics(request).await.expect("figures");
        answer.into_inner().active_connections
    }

    /// The name of the newest copy; empty if there is none.
    async fn copy(&self, channel: Channel) -> String {
        let request = pb::GetDatabaseInfoRequest {
            database_id: self.db.clone(),
            user_id: self.user.clone(),
        };
        let answer = client(channel).get_database_info(request).await;
        let info = answer.expect("a description").into_inner().database_info;
        info.expect("a description").minio_path
    }
}

fn client(channel: Channel) -> DuckDbServiceClient<Channel> {
    DuckDbServiceClient::new(channel).max_decoding_message_size(100 << 20)
}

/// Whether nothing was done, and the call may be made again.
fn was_refused(status: &Status) -> bool {
    let reason = status.get_details_error_info().map(|info| info.reason);
    match status.code() {
        // Of these the server says that nobody knows.
        Code::Unavailable => reason.as_deref() != Some("ENGINE_LOST"),
        // Hyper's word for a request that waited for its turn on a connection that closed.
        Code::Cancelled => status.message().contains("operation was canceled"),
        // HTTP/2 says that calls which get this were not looked at; other clients than tonic's say UNAVAILABLE.
        Code::Internal => format!("{status:?}").contains("GoAway(b\"\", NO_ERROR, Remote)"),
        _ => false,
    }
}

/// Where replicas listen, as a client behind one address sees them.
type Replicas = Arc<RwLock<Vec<Channel>>>;

/// Callers that write one item after another, each once, and again where it was refused.
struct Load {
    table: Table,
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    done: Arc<Mutex<BTreeSet<u64>>>,
    failed: Arc<Mutex<Vec<Status>>>,
    callers: JoinSet<()>,
}

impl Load {
    fn start(table: &Table, replicas: &Replicas, callers: usize) -> Self {
        let mut load = Self {
            table: table.clone(),
            next: Arc::default(),
            stop: Arc::default(),
            done: Arc::default(),
            failed: Arc::default(),
            callers: JoinSet::new(),
        };
        for caller in 0..callers {
            let (table, replicas) = (load.table.clone(), Arc::clone(replicas));
            let (next, stop) = (Arc::clone(&load.next), Arc::clone(&load.stop));
            let (done, failed) = (Arc::clone(&load.done), Arc::clone(&load.failed));
            load.callers.spawn(async move {
                let mut attempt = caller;
                while !stop.load(Ordering::Relaxed) {
                    let item = next.fetch_add(1, Ordering::Relaxed);
                    loop {
                        attempt += 1;
                        let channel = {
                            let replicas = replicas.read();
                            replicas[attempt % replicas.len()].clone()
                        };
                        match table.write(channel, item).await {
                            Ok(()) => {
                                done.lock().insert(item);
                            }
                            Err(status) if was_refused(&status) && !stop.load(Ordering::Relaxed) => {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                                continue;
                            }
                            Err(status) => failed.lock().push(status),
                        }
                        break;
                    }
                }
            });
        }
        load
    }

    fn count(&self) -> usize {
        self.done.lock().len()
    }

    /// Waits for so many acknowledgements more.
    async fn more(&self, count: usize, limit: Duration) {
        let wanted = self.count() + count;
        eventually("writes are acknowledged", limit, || async {
            let have = self.count();
            let last = || format!("{:?}", self.failed.lock().last());
            if have >= wanted {
                Ok(())
            } else {
                Err(format!("{have} of {wanted}, last error {}", last()))
            }
        })
        .await;
    }

    /// What was acknowledged, and which calls failed that were not refused.
    async fn end(mut self) -> (BTreeSet<u64>, Vec<Status>) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller.expect("a caller");
        }
        let (done, failed) = (self.done.lock().clone(), self.failed.lock().clone());
        (done, failed)
    }
}

/// Nothing that was acknowledged is missing, and nothing is there twice.
#[track_caller]
fn assert_whole(done: &BTreeSet<u64>, there: Vec<u64>) {
    let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
    for item in there {
        *counts.entry(item).or_default() += 1;
    }
    let lost: Vec<_> = done.iter().filter(|item| !counts.contains_key(item)).collect();
    assert_none(&format!("lost of {}", done.len()), &lost);
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert_none("done twice", &twice);
}

#[track_caller]
fn assert_none<T: Debug>(what: &str, all: &[T]) {
    assert!(
        all.is_empty(),
        "{} {what}: {:?}",
        all.len(),
        &all[..all.len().min(5)]
    );
}

fn one(channel: &Channel) -> Replicas {
    Arc::new(RwLock::new(vec![channel.clone()]))
}

/// The files of databases below a data folder.
fn databases(folder: &Path) -> Vec<std::path::PathBuf> {
    let folders = |path: &Path| {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let tenants = folders(folder).into_iter().flat_map(|tenant| folders(&tenant));
    tenants.filter(|path| path.join("data.duckdb").exists()).collect()
}
