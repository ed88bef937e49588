use isa_proto::duckdb as pb;
use tonic::Code;

use super::{World, fails};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_are_made_listed_described_and_removed() {
    let world = World::start().await;
    let second = pb::CreateDatabaseRequest {
        database_name: "A_second".into(),
        user_id: world.user.clone(),
        organization_id: "acme".into(),
        metadata: [("team".to_owned(), "x".to_owned())].into(),
        config: [
            ("TimeZone".to_owned(), "Europe/Berlin".to_owned()),
            ("threads".to_owned(), "1".to_owned()),
        ]
        .into(),
        ..Default::default()
    };
    let made = world
        .client()
        .create_database(second.clone())
        .await
        .unwrap()
        .into_inner();
    let made = made.database_info.unwrap();
    assert_eq!(
        (made.organization_id.as_str(), made.user_id.as_str()),
        ("acme", world.user.as_str())
    );
    fails(world.client().create_database(second).await, Code::AlreadyExists);
    let list = |filter: &str| {
        let request = pb::ListDatabasesRequest {
            user_id: world.user.clone(),
            organization_id: "default_org".into(),
            name_filter: filter.into(),
            ..Default::default()
        };
        let mut client = world.client();
        async move { client.list_databases(request).await.unwrap().into_inner() }
    };
    world.run("create table t (a int)").await;
    let all = list("").await;
    let names: Vec<_> = all
        .databases
        .iter()
        .map(|it| (it.database_name.as_str(), it.table_count))
        .collect();
    assert_eq!(
        (names, all.total_count),
        (vec![("A_second", 0), ("main-db", 1)], 2)
    );
    assert_eq!(list("SECOND").await.databases.len(), 1);

    // By id as by name, and each is its own.
    let info = |id: &str| pb::GetDatabaseInfoRequest {
        database_id: id.into(),
        user_id: world.user.clone(),
    };
    let found = world
        .client()
        .get_database_info(info(&made.database_id))
        .await
        .unwrap()
        .into_inner();
    let found = found.database_info.unwrap();
    assert_eq!(
        (found.database_name.as_str(), found.metadata["team"].as_str()),
        ("A_second", "x")
    );
    assert!(found.version.starts_with("1.5") && found.size_bytes > 0 && found.created_at.is_some());
    let zone = pb::ExecuteQueryRequest {
        query: "select current_setting('TimeZone'), current_setting('threads')".into(),
        database_id: made.database_id.clone(),
        ..world.query_request("")
    };
    let zone = world.client().execute_query(zone).await.unwrap().into_inner();
    assert_eq!(zone.rows[0].values[0].value, Some(super::text("Europe/Berlin")));

    let delete = |id: &str, force| pb::DeleteDatabaseRequest {
        database_id: id.into(),
        user_id: world.user.clone(),
        delete_from_minio: true,
        force,
    };
    world
        .client()
        .delete_database(delete("A_second", false))
        .await
        .unwrap();
    fails(
        world.client().get_database_info(info(&made.database_id)).await,
        Code::NotFound,
    );
    fails(
        world.client().delete_database(delete("A_second", false)).await,
        Code::NotFound,
    );
    // One in use goes by force alone.
    let id = world.begin().await.unwrap();
    fails(
        world.client().delete_database(delete("main-db", false)).await,
        Code::FailedPrecondition,
    );
    world
        .client()
        .delete_database(delete("main-db", true))
        .await
        .unwrap();
    fails(world.execute("select 1", &id).await, Code::NotFound);
    assert_eq!(list("").await.total_count, 0);
    // The name is free, and what comes is new.
    world.create(&world.user, "main-db").await.unwrap();
    assert_eq!(world.number("select count(*) from duckdb_tables()").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_own_alone() {
    let world = World::start().await;
    world.run("create table t as select 42 a").await;
    let id = world.create(&world.user, "other").await.unwrap().database_id;
    let stranger = World {
        user: format!("{}-stranger", world.user),
        node: crate::harness::Node::start(isa_config::ServiceKind::Duckdb).await,
        channel: world.channel.clone(),
        db: world.db.clone(),
    };
    fails(stranger.query("select * from t").await, Code::NotFound);
    let by_id = pb::ExecuteQueryRequest {
        database_id: id,
        ..stranger.query_request("select 1")
    };
    fails(stranger.client().execute_query(by_id).await, Code::NotFound);
    // The same name is free for everybody.
    stranger.create(&stranger.user, &stranger.db).await.unwrap();
    fails(stranger.query("select * from t").await, Code::NotFound);
    assert_eq!(world.number("select a from t").await, 42);
    // What one has begun another cannot use.
    let transaction = world.begin().await.unwrap();
    fails(stranger.execute("select 1", &transaction).await, Code::NotFound);
    fails(
        stranger
            .client()
            .rollback_transaction(stranger.end_request(&transaction))
            .await,
        Code::NotFound,
    );
    world
        .client()
        .rollback_transaction(world.end_request(&transaction))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_names_and_settings_are_refused() {
    let world = World::start().await;
    for name in [
        "",
        "a b",
        "../x",
        "a/b",
        "grün",
        &"a".repeat(64),
        "db-00000000000000000000000000000000",
    ] {
        let message = fails(world.create(&world.user, name).await, Code::InvalidArgument);
        assert!(message.starts_with("database_name"), "{message}");
    }
    for (name, value) in [
        ("memory_limit", "100GB"),
        ("threads", "99"),
        ("enable_external_access", "true"),
    ] {
        let request = pb::CreateDatabaseRequest {
            database_name: "x".into(),
            user_id: world.user.clone(),
            config: [(name.to_owned(), value.to_owned())].into(),
            ..Default::default()
        };
        let message = fails(
            world.client().create_database(request).await,
            Code::InvalidArgument,
        );
        assert!(message.starts_with("config."), "{message}");
    }
    let request = pb::CreateDatabaseRequest {
        database_name: "x".into(),
        user_id: world.user.clone(),
        minio_bucket: "absent".into(),
        ..Default::default()
    };
    fails(world.client().create_database(request).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_figures_are_told() {
    let world = World::start().await;
    world.number("select 1").await;
    let request = pb::HealthCheckRequest {
        detailed: true,
        ..Default::default()
    };
    let health = world.client().health_check(request).await.unwrap().into_inner();
    assert!(health.success && health.healthy && health.status == "SERVING");
    let details = health.details.unwrap().fields;
    assert!(details.contains_key("version") && details.contains_key("memory_bytes"));
    let absent = pb::HealthCheckRequest {
        database_id: "absent".into(),
        ..Default::default()
    };
    fails(world.client().health_check(absent).await, Code::NotFound);
    // The request names nobody: these are the default user's.
    let metrics = world
        .client()
        .get_metrics(pb::GetMetricsRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(metrics.success && metrics.metrics.unwrap().fields.contains_key("memory_limit_bytes"));
}
