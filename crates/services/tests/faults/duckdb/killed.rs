//! kill -9 of the process, with its disk and without.

use std::time::{Duration, Instant};

use super::{ENGINES, Load, Process, START, Table, assert_none, assert_whole, databases, one, was_refused};
use crate::platform::{Platform, eventually};

const CALLERS: usize = 8;

/// Another replica has the databases of one that is lost.
const REPLACED: Duration = Duration::from_secs(15);

/// A copy of what was written is there.
const COPIED: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_process() {
    let platform = Platform::of(&ENGINES).await;
    let (mut process, mut channel) = Process::start(&platform, 0).ready().await;
    let table = Table::new(channel.clone()).await;
    let replicas = one(&channel);
    let load = Load::start(&table, &replicas, CALLERS);
    for _ in 0..2 {
        load.more(200, START).await;
        process.kill();
        (process, channel) = process.again().await;
        *replicas.write() = vec![channel.clone()];
        load.more(50, START).await;
    }
    // Calls that were cut off may have written or not.
    let (done, _) = load.end().await;
    process.kill();
    (process, channel) = process.again().await;
    assert_whole(&done, table.read_soon(channel, START).await);

    // Nobody has written since the last kill, and no copy has what was written before: it must come to the next replica.
    assert!(process.stop().await, "it ends well");
    let (_other, channel) = Process::start(&platform, 0).ready().await;
    assert_whole(&done, table.read_soon(channel, START).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_replica_is_replaced_with_its_last_copy() {
    let platform = Platform::of(&ENGINES).await;
    let (process, channel) = Process::start(&platform, 0).ready().await;
    let (mut other, there) = Process::start(&platform, 0).ready().await;
    let table = Table::new(channel.clone()).await;
    let load = Load::start(&table, &one(&channel), CALLERS);
    load.more(200, START).await;
    let (copied, failed) = load.end().await;
    assert_none("calls failed", &failed);
    eventually("a copy is made", COPIED, || async {
        let copy = table.copy(channel.clone()).await;
        if copy.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    for item in 1_000_000..1_000_010 {
        table.write(channel.clone(), item).await.expect("a row");
    }

    // Its disk goes with it.
    drop(process);
    let lost = Instant::now();
    let found = loop {
        match table.read(there.clone()).await {
            Ok(found) => break found,
            Err(status) => assert!(was_refused(&status), "{status:?}"),
        }
        assert!(lost.elapsed() < REPLACED, "not replaced within {REPLACED:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    println!("a lost replica was replaced after {:?}", lost.elapsed());
    assert!(lost.elapsed() < REPLACED, "replaced after {:?}", lost.elapsed());
    assert_whole(&copied, found);
    table.write(there.clone(), 2_000_000).await.expect("a row");

    // The next one that is lost keeps its disk, but comes back too late.
    let before = table.copy(there.clone()).await;
    eventually("what was written now is copied", COPIED, || async {
        let now = table.copy(there.clone()).await;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await;
    other.kill();
    let (_third, there_now) = Process::start(&platform, 0).ready().await;
    let found = table.read_soon(there_now.clone(), REPLACED * 2).await;
    assert!(found.contains(&2_000_000), "the copy has all");
    table.write(there_now.clone(), 3_000_000).await.expect("a row");
    let folder = other.isa.state().join("data/duckdb");
    assert_eq!(databases(&folder).len(), 1, "its file is there");
    let before = table.copy(there_now.clone()).await;
    eventually("what the third wrote is copied", COPIED, || async {
        let now = table.copy(there_now.clone()).await;
        if now == before { Err(now) } else { Ok(()) }
    })
    .await;
    // A newer copy is there: the folder is of no use to anybody.
    let (other, _) = other.again().await;
    eventually("its folder is removed", START, || async {
        match databases(&folder) {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        }
    })
    .await;
    let found = table.read_soon(there_now, START).await;
    assert!(
        found.contains(&3_000_000),
        "the one that has the database has it still"
    );
    assert!(other.stop().await, "it ends well");
}
