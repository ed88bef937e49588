//! A rolling restart of two replicas with writes in flight: no call that was accepted fails, and none is done twice.

use std::{
    fs,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use isa_config::{AuthMode, ConsulConfig, Endpoint, EngineKind, ServerConfig, ServiceKind};
use isa_server::{Running, Server};
use parking_lot::RwLock;
use tempfile::TempDir;
use tonic::transport::Channel;

use super::{ENGINES, Load, START, Table, assert_none, assert_whole, databases};
use crate::platform::{Platform, eventually};

const CALLERS: usize = 8;

/// Takes a second or two on any machine that this runs on, more or less.
const SLOW: &str = "insert into t select 1000000000 + count(*) from range(30000) a, range(10000) b where hash(a.range + b.range) % 7 = 0";

/// How long the database may be with nobody.
const HANDED_OVER: Duration = Duration::from_secs(5);

/// A replica in this process, with a folder of its own. Consul says where the others are.
struct Replica {
    running: Running,
    channel: Channel,
    folder: TempDir,
}

impl Replica {
    async fn start(platform: &Platform) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut endpoints = platform.endpoints().clone();
        let files = Endpoint::new(format!("file://{}", folder.path().display()));
        endpoints.insert(EngineKind::Duckdb, files);
        let mut config = ServerConfig::default();
        config.auth.mode = AuthMode::Open;
        config.limits.default.calls_per_second = 0;
        let consul = endpoints[&EngineKind::Consul].url.parse().expect("a URL");
        let mut consul = ConsulConfig::at(consul);
        consul.check_seconds = 1;
        config.consul = Some(consul);
        let (mount, upstream) = isa_services::mount(ServiceKind::Duckdb, &endpoints).expect("the service");
        let mut server = Server::new(&config).expect("a server");
        let listener = TcpListener::bind((config.bind, 0)).expect("a port");
        server.add(mount, upstream, listener).expect("a mounted service");
        let running = server.start().await.expect("a running server");
        let url = format!("http://{}", running.addresses()[&ServiceKind::Duckdb]);
        let channel = Channel::from_shared(url).expect("an address").connect_lazy();
        Self {
            running,
            channel,
            folder,
        }
    }

    /// Whether it has the database open, by what it noted in the folder.
    fn holds(&self) -> bool {
        databases(self.folder.path()).iter().any(|folder| {
            let note = fs::read_to_string(folder.join("epoch")).unwrap_or_default();
            !note.ends_with("saved")
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_accepted_call() {
    let platform = Platform::of(&ENGINES).await;
    let first = Replica::start(&platform).await;
    let second = Replica::start(&platform).await;
    let table = Table::new(first.channel.clone()).await;
    let mut running = vec![first, second];
    let channels = |all: &[Replica]| all.iter().map(|it| it.channel.clone()).collect::<Vec<_>>();
    all_answer(&table, &running).await;
    let replicas = Arc::new(RwLock::new(channels(&running)));
    let load = Load::start(&table, &replicas, CALLERS);
    let mut slow_ones = 0;
    for round in 0..2 {
        load.more(100, START).await;
        let holder = running.iter().position(Replica::holds).expect("one holds it");
        let old = running.remove(holder);
        // In flight when it is told to stop: one that came to it, and one that the other sent on.
        let slow: Vec<_> = [&old, &running[0]]
            .map(|replica| {
                let (table, channel) = (table.clone(), replica.channel.clone());
                tokio::spawn(async move { table.run(channel, SLOW, START).await })
            })
            .into();
        eventually("the slow calls run", START, || async {
            match table.active(old.channel.clone()).await {
                active if active >= 2 => Ok(()),
                active => Err(active.to_string()),
            }
        })
        .await;
        let fresh = Replica::start(&platform).await;
        running.push(fresh);
        *replicas.write() = channels(&running);
        let began = Instant::now();
        assert!(old.running.drain().await, "calls were cut off in round {round}");
        let drained = Instant::now();
        load.more(1, HANDED_OVER).await;
        println!(
            "drained in {:?}, and the next write was acknowledged {:?} after that",
            drained - began,
            drained.elapsed()
        );
        for slow in slow {
            let answer = slow.await.expect("the slow call");
            assert!(
                answer.is_ok(),
                "accepted before the drain, and failed: {answer:?}"
            );
            slow_ones += 1;
        }
        all_answer(&table, &running).await;
    }
    let (done, failed) = load.end().await;
    assert_none("calls failed", &failed);
    let mut there = table.read_soon(running[0].channel.clone(), START).await;
    let all = there.len();
    there.retain(|item| *item < 1_000_000_000);
    assert_eq!(all - there.len(), slow_ones, "each slow call once");
    assert_whole(&done, there);
    for replica in running {
        assert!(replica.running.drain().await, "calls were cut off at the end");
    }
}

/// Waits until each replica finds the one that has the database.
async fn all_answer(table: &Table, running: &[Replica]) {
    for replica in running {
        table.read_soon(replica.channel.clone(), START).await;
    }
}
