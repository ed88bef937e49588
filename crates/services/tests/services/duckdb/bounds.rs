//! What all databases of a replica share: its disk, and memory for results.

use std::{fs, sync::Arc, time::Duration};

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_proto::duckdb::{self as pb, import_data_request::Data};
use tonic::Code;

use super::{World, fails, until};
use crate::harness::{self, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_reads_and_deletions_alone() {
    let engines = harness::engines(ServiceKind::Duckdb).await;
    let folder = tempfile::tempdir().unwrap();
    let mut endpoints = engines.endpoints().clone();
    let files = Endpoint::new(format!("file://{}", folder.path().display()));
    endpoints.insert(EngineKind::Duckdb, files);
    let node = Node::over(
        ServiceKind::Duckdb,
        &harness::open(),
        &endpoints,
        Arc::clone(&engines) as _,
    )
    .await;
    let world = World::on(node).await;
    world
        .run("create table t as select range a from range(1000)")
        .await;
    // As if other databases had all of it. The file takes no disk.
    let other = folder.path().join("tenant/database");
    fs::create_dir_all(&other).unwrap();
    fs::File::create(other.join("data"))
        .unwrap()
        .set_len(16 << 30)
        .unwrap();
    until("a write is refused", Duration::from_secs(10), async || {
        let Err(status) = world.execute("insert into t values (1)", "").await else {
            return false;
        };
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert!(status.message().contains("16 GiB"), "{status:?}");
        true
    })
    .await;
    let about = pb::ImportDataMetadata {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: "u".into(),
        format: "csv".into(),
        ..Default::default()
    };
    let parts = [Data::Metadata(about), Data::Chunk("a\n1\n".into())];
    let parts = parts.map(|data| pb::ImportDataRequest { data: Some(data) });
    let imported = world.client().import_data(futures::stream::iter(parts)).await;
    fails(imported, Code::ResourceExhausted);
    let backup = pb::BackupDatabaseRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        ..Default::default()
    };
    fails(
        world.client().backup_database(backup).await,
        Code::ResourceExhausted,
    );
    fails(
        world.create(&world.user, "another").await,
        Code::ResourceExhausted,
    );
    assert_eq!(world.number("select count(*) from t where a <> 1").await, 999);
    world.run("delete from t").await;
    fs::remove_dir_all(&other).unwrap();
    until("a write is taken again", Duration::from_secs(10), async || {
        world.execute("insert into t values (1)", "").await.is_ok()
    })
    .await;
    world.create(&world.user, "another").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_results_of_many_callers_are_bounded() {
    let world = World::start().await;
    // Each takes a tenth of what all may, for as long as it is on its way.
    let large = world.query_request("select repeat('x', 1000000) from range(54)");
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..14 {
        let (mut client, large) = (world.client(), large.clone());
        calls.spawn(async move { client.execute_query(large).await });
    }
    let mut whole = 0;
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            Ok(answer) => {
                assert_eq!(answer.into_inner().row_count, 54);
                whole += 1;
            }
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                assert!(status.message().contains("memory"), "{status:?}");
                assert_eq!(world.number("select 1").await, 1, "small ones find room");
            }
        }
    }
    assert!(whole > 0, "some found room");
    // What they took is given back.
    for _ in 0..12 {
        let answer = world.client().execute_query(large.clone()).await;
        assert_eq!(answer.unwrap().into_inner().row_count, 54);
    }
}
