//! A caller that goes away, or stops to read: within a second DuckDB does nothing more for it.

use std::time::{Duration, Instant};

use super::{ENGINES, Process, START, Table, client};
use crate::platform::{Platform, eventually};

/// DuckDB has stopped by then.
const STOPPED: Duration = Duration::from_secs(1);

/// For what a process does, its processor time is looked at for so long.
const LOOK: Duration = Duration::from_millis(250);

/// Rows now and then, for as long as anybody waits.
const RARE: &str = "select a.range + b.range from range(1000000) a, range(1000000) b where hash(a.range * b.range) % 101 = 7";

/// As many rows as anybody can read.
const MANY: &str = "select range, repeat('x', 100) from range(100000000000)";

async fn ticks_in_a_look(process: &Process) -> u64 {
    let before = process.ticks();
    tokio::time::sleep(LOOK).await;
    process.ticks() - before
}

async fn works(process: &Process) -> u64 {
    eventually("DuckDB works", START, || async {
        match ticks_in_a_look(process).await {
            busy if busy >= 10 => Ok(busy),
            idle => Err(format!("{idle} ticks")),
        }
    })
    .await
}

/// By the process' own time, and by what the service says.
async fn stops(process: &Process, busy: u64) {
    let gone = Instant::now();
    while ticks_in_a_look(process).await > busy / 5 {
        assert!(gone.elapsed() < STOPPED + LOOK, "DuckDB works still");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_works_for_nobody_who_is_gone() {
    let platform = Platform::of(&ENGINES).await;
    let (process, channel) = Process::start(&platform, 0).ready().await;
    let table = Table::new(channel.clone()).await;
    let none_runs = |within: Duration| {
        let (table, channel) = (&table, &channel);
        async move {
            eventually("no statement runs", within, || async {
                match table.active(channel.clone()).await {
                    0 => Ok(()),
                    active => Err(active.to_string()),
                }
            })
            .await;
        }
    };

    // In the middle of a stream.
    let mut request = table.query(RARE);
    request.max_rows = 0;
    let mut stream = client(channel.clone())
        .execute_query_stream(request)
        .await
        .expect("a stream")
        .into_inner();
    let reader = tokio::spawn(async move { while stream.message().await.expect("a piece").is_some() {} });
    let busy = works(&process).await;
    assert_eq!(table.active(channel.clone()).await, 1, "it runs");
    reader.abort();
    stops(&process, busy).await;
    none_runs(STOPPED).await;

    // Of a call with one answer.
    let (table_of_call, channel_of_call) = (table.clone(), channel.clone());
    let call = tokio::spawn(async move {
        let request = table_of_call.query(&format!("select count(*) from ({RARE})"));
        client(channel_of_call).execute_query(request).await
    });
    let busy = works(&process).await;
    call.abort();
    stops(&process, busy).await;
    none_runs(STOPPED).await;

    // Who does not read makes the query wait, and holds nothing when it goes, or its time is over.
    for (seconds, leaves) in [(0, true), (4, false)] {
        let mut request = table.query(MANY);
        (request.max_rows, request.timeout_seconds) = (0, seconds);
        let mut stream = client(channel.clone())
            .execute_query_stream(request)
            .await
            .expect("a stream")
            .into_inner();
        let first = stream.message().await.expect("a piece").expect("a piece");
        assert!(!first.rows.is_empty(), "rows");
        eventually("the query waits for its reader", START, || async {
            match ticks_in_a_look(&process).await {
                idle if idle <= 3 => Ok(()),
                busy => Err(format!("{busy} ticks")),
            }
        })
        .await;
        if leaves {
            assert_eq!(table.active(channel.clone()).await, 1, "it waits");
            drop(stream);
            none_runs(STOPPED).await;
        } else {
            none_runs(Duration::from_secs(5)).await;
            let end = loop {
                match stream.message().await {
                    Ok(Some(_)) => {}
                    end => break end,
                }
            };
            let status = end.expect_err("it is not whole");
            assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status:?}");
        }
    }
    assert!(process.stop().await, "it ends well");
}
