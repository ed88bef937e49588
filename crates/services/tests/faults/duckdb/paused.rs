//! NATS and object storage that stand still (SIGSTOP).

use std::time::{Duration, Instant};

use isa_config::ServiceKind;
use isa_proto::duckdb as pb;
use tonic::{Code, Request, Status};

use super::{ENGINES, Process, START, Table, assert_whole, client};
use crate::platform::{Platform, eventually};

const PAUSE: Duration = Duration::from_secs(30);

/// How much later than its deadline the answer of a call may come.
const SLACK: Duration = Duration::from_secs(1);

/// A call's own deadline.
const DEADLINE: Duration = Duration::from_secs(2);

/// A holder that cannot renew its lease has stopped by then.
const STOPPED: Duration = Duration::from_secs(13);

/// A copy of what was written is there.
const COPIED: Duration = Duration::from_secs(60);

/// What a call may get while the database is nobody's for certain.
fn says_so(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        // Tonic's client ends a call by itself at the deadline that it sent.
        Code::Cancelled => status.message().contains("Timeout expired"),
        _ => false,
    }
}

async fn write(table: &Table, channel: &tonic::transport::Channel, item: u64) -> Result<(), Status> {
    let began = Instant::now();
    let sql = format!("insert into t values ({item})");
    let answer = table.run(channel.clone(), &sql, DEADLINE).await;
    let took = began.elapsed();
    assert!(took < DEADLINE + SLACK, "{took:?} for a call of {DEADLINE:?}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_while_object_storage_stands_still() {
    let platform = Platform::of(&ENGINES).await;
    let (process, channel) = Process::start(&platform, 0).ready().await;
    let table = Table::new(channel.clone()).await;
    let paused = platform.pause(ServiceKind::Minio).await;
    let mut done = std::collections::BTreeSet::new();
    let until = Instant::now() + PAUSE;
    while Instant::now() < until {
        let item = done.len() as u64;
        write(&table, &channel, item).await.expect("a row");
        done.insert(item);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // What needs it fails in time.
    let mut request = Request::new(pb::BackupDatabaseRequest {
        database_id: table.db.clone(),
        user_id: table.user.clone(),
        ..Default::default()
    });
    request.set_timeout(DEADLINE);
    let began = Instant::now();
    let status = client(channel.clone()).backup_database(request).await;
    let status = status.expect_err("no backup");
    assert!(says_so(&status), "{status:?}");
    assert!(began.elapsed() < DEADLINE + SLACK, "{:?}", began.elapsed());
    assert!(table.copy(channel.clone()).await.is_empty(), "no copy");
    drop(paused);
    eventually("what was written meanwhile is copied", COPIED, || async {
        let copy = table.copy(channel.clone()).await;
        if copy.is_empty() {
            Err("no copy".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    assert!(process.stop().await, "it ends well");
    // All of it, as the next replica sees.
    let (_other, channel) = Process::start(&platform, 0).ready().await;
    assert_whole(&done, table.read_soon(channel, START).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_done_twice_while_nats_stands_still() {
    let platform = Platform::of(&ENGINES).await;
    let (process, channel) = Process::start(&platform, 0).ready().await;
    let (other, there) = Process::start(&platform, 0).ready().await;
    let table = Table::new(channel.clone()).await;
    let mut done = std::collections::BTreeSet::new();
    for item in 0..100 {
        write(&table, &channel, item).await.expect("a row");
        done.insert(item);
    }
    let paused = platform.pause(ServiceKind::Nats).await;
    let began = Instant::now();
    let (mut item, mut refused) = (1000, 0);
    while began.elapsed() < PAUSE {
        for replica in [&channel, &there] {
            item += 1;
            let asked = began.elapsed();
            match write(&table, replica, item).await {
                Ok(()) => {
                    assert!(asked < STOPPED, "acknowledged {asked:?} after NATS was gone");
                    done.insert(item);
                }
                Err(status) => {
                    assert!(says_so(&status), "{status:?}");
                    refused += 1;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refused > 0 && done.len() > 100, "{refused} {}", done.len());
    // The other asks all the time, and must not get the database from an older copy.
    let asking = {
        let (table, there) = (table.clone(), there.clone());
        tokio::spawn(async move {
            loop {
                let _ = table.read(there.clone()).await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    drop(paused);
    let resumed = Instant::now();
    let found = table.read_soon(channel.clone(), START).await;
    println!("read again {:?} after NATS was there again", resumed.elapsed());
    asking.abort();
    assert_whole(&done, found);
    write(&table, &channel, 1_000_000).await.expect("a row");
    assert!(process.stop().await, "it ends well");
    done.insert(1_000_000);
    assert_whole(&done, table.read_soon(there, START).await);
    assert!(other.stop().await, "it ends well");
}
