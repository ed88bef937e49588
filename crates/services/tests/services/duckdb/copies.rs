use std::{net::TcpListener, path::Path, sync::Arc, time::Duration};

use isa_config::{Endpoint, EngineKind, ReplicasConfig, ServiceKind};
use isa_proto::duckdb::{
    self as pb, duck_db_service_client::DuckDbServiceClient, import_data_request::Data, value::Value as Kind,
};
use isa_testkit::Engines;
use tonic::{Code, Status};

use super::{World, fails, until};
use crate::harness::{self, Node};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_of_one_moment_and_make_new_databases() {
    let world = World::start().await;
    world
        .run("create table t as select range a from range(1000)")
        .await;
    world.run("create view v as select count(*) n from t").await;
    let request = |name: &str| pb::BackupDatabaseRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        backup_name: name.into(),
        incremental: false,
    };
    let made = world
        .client()
        .backup_database(request("noon"))
        .await
        .unwrap()
        .into_inner();
    assert!(made.success && made.backup_size > 0 && made.backup_time.is_some());
    fails(
        world.client().backup_database(request("noon")).await,
        Code::AlreadyExists,
    );
    fails(
        world.client().backup_database(request("../x")).await,
        Code::InvalidArgument,
    );
    let incremental = pb::BackupDatabaseRequest {
        incremental: true,
        ..request("inc")
    };
    fails(
        world.client().backup_database(incremental).await,
        Code::Unimplemented,
    );
    assert!(
        !world
            .client()
            .backup_database(request(""))
            .await
            .unwrap()
            .into_inner()
            .backup_path
            .is_empty()
    );
    world.run("drop view v").await;
    world.run("delete from t").await;

    let restore = |user: &str, path: &str, name: &str| pb::RestoreDatabaseRequest {
        backup_path: path.into(),
        user_id: user.into(),
        new_database_name: name.into(),
    };
    let path = made.backup_path.as_str();
    fails(
        world
            .client()
            .restore_database(restore(&world.user, path, "main-db"))
            .await,
        Code::AlreadyExists,
    );
    fails(
        world
            .client()
            .restore_database(restore("stranger", path, "stolen"))
            .await,
        Code::NotFound,
    );
    fails(
        world
            .client()
            .restore_database(restore(&world.user, "nonsense", "x"))
            .await,
        Code::InvalidArgument,
    );
    let back = world
        .client()
        .restore_database(restore(&world.user, path, "back"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(back.database_info.unwrap().table_count, 1);
    let found = pb::ExecuteQueryRequest {
        database_id: "back".into(),
        ..world.query_request("select n from v")
    };
    let found = world.client().execute_query(found).await.unwrap().into_inner();
    assert_eq!(
        found.rows[0].values[0].value,
        Some(pb::value::Value::IntValue(1000))
    );
    assert_eq!(world.number("select count(*) from t").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_made_by_themselves_in_the_bucket_of_the_tenants_choice() {
    let mut world = World::start().await;
    let s3 = crate::minio::s3(
        &harness::engines(ServiceKind::Duckdb)
            .await
            .endpoint(EngineKind::Minio),
    );
    let bucket = format!("{}-copies", world.tenant().slug());
    s3.create_bucket().bucket(&bucket).send().await.unwrap();
    let request = pb::CreateDatabaseRequest {
        database_name: "copied".into(),
        user_id: world.user.clone(),
        minio_bucket: "copies".into(),
        ..Default::default()
    };
    world.client().create_database(request).await.unwrap();
    world.db = "copied".into();
    world.run("create table t as select 42 a").await;
    let info = pb::GetDatabaseInfoRequest {
        database_id: "copied".into(),
        user_id: world.user.clone(),
    };
    until("a copy within a minute", Duration::from_secs(60), async || {
        let found = world
            .client()
            .get_database_info(info.clone())
            .await
            .unwrap()
            .into_inner();
        let found = found.database_info.unwrap();
        assert_eq!(found.minio_bucket, "copies");
        let head = s3.head_object().bucket(&bucket).key(&found.minio_path).send();
        !found.minio_path.is_empty() && head.await.is_ok()
    })
    .await;
    let delete = pb::DeleteDatabaseRequest {
        database_id: "copied".into(),
        user_id: world.user.clone(),
        delete_from_minio: true,
        force: true,
    };
    world.client().delete_database(delete).await.unwrap();
    let left = s3.list_objects_v2().bucket(&bucket).send().await.unwrap();
    assert_eq!(left.contents().len(), 0);
}

/// A replica with a folder of its own. Replicas stand at the same port of several addresses, as pods do; `localhost` is
/// the name of the first.
async fn replica(ip: &str, port: u16, engines: &Arc<Engines>, folder: &Path) -> Node {
    let mut config = harness::open();
    config.replicas = Some(ReplicasConfig {
        advertise: ip.parse().unwrap(),
        dns: [(ServiceKind::Duckdb, "localhost".to_owned())].into(),
        tls_name: None,
        tls_ca: None,
    });
    let mut endpoints = engines.endpoints().clone();
    let duckdb = Endpoint::new(format!("file://{}", folder.display()));
    endpoints.insert(EngineKind::Duckdb, duckdb);
    let listener = TcpListener::bind((ip, port)).unwrap();
    Node::listening(
        ServiceKind::Duckdb,
        &config,
        &endpoints,
        Arc::clone(engines) as _,
        listener,
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_share_databases_and_take_over() {
    let engines = harness::engines(ServiceKind::Duckdb).await;
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = replica("127.0.0.1", 0, &engines, first.path()).await;
    let port = one.url.rsplit_once(':').unwrap().1.parse().unwrap();
    let other = replica("127.0.0.2", port, &engines, second.path()).await;
    let world = World::on(one).await;
    world.run("create table t as select range a from range(10)").await;
    let client = DuckDbServiceClient::new(other.channel().await);

    // The first holds it: what the other is asked it sends there.
    let ask = world.query_request("select count(*) from t");
    let count = async |request: &pb::ExecuteQueryRequest| {
        let answer = client.clone().execute_query(request.clone()).await?.into_inner();
        Ok::<_, Status>(answer.rows[0].values[0].value.clone())
    };
    assert_eq!(count(&ask).await.unwrap(), Some(Kind::IntValue(10)));
    let mut stream = client
        .clone()
        .execute_query_stream(ask.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().columns.len(), 1);
    let begun = pb::BeginTransactionRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
    };
    let id = client
        .clone()
        .begin_transaction(begun)
        .await
        .unwrap()
        .into_inner()
        .transaction_id;
    world.execute("insert into t values (10)", &id).await.unwrap();
    client
        .clone()
        .commit_transaction(world.end_request(&id))
        .await
        .unwrap();
    assert_eq!(count(&ask).await.unwrap(), Some(Kind::IntValue(11)));
    let about = pb::ImportDataMetadata {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: "u".into(),
        format: "csv".into(),
        ..Default::default()
    };
    let parts = [Data::Metadata(about), Data::Chunk("a\n1\n2\n".into())];
    let parts = parts.map(|data| pb::ImportDataRequest { data: Some(data) });
    let imported = client
        .clone()
        .import_data(futures::stream::iter(parts))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(imported.rows_imported, 2);

    // A replica that stops leaves a copy and gives the lease back: nothing is lost.
    let World { node, .. } = world;
    assert!(node.drain().await);
    until(
        "the other has the database",
        Duration::from_secs(40),
        async || match count(&ask).await {
            Ok(found) => {
                assert_eq!(found, Some(Kind::IntValue(11)));
                true
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                false
            }
        },
    )
    .await;
}
