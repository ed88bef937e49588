use isa_proto::duckdb::{self as pb, value::Value as Kind};
use tonic::Code;

use super::{World, fails, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_made_described_measured_and_removed() {
    let world = World::start().await;
    let column = |name: &str, kind: &str| pb::ColumnInfo {
        name: name.into(),
        data_type: kind.into(),
        ..Default::default()
    };
    let request = pb::CreateTableRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: "orders; --\"x".into(),
        columns: vec![
            column("id", "INTEGER"),
            pb::ColumnInfo {
                default_value: "1 + 1".into(),
                comment: "it's money".into(),
                ..column("Amount", "decimal(10,2)")
            },
            pb::ColumnInfo {
                is_unique: true,
                ..column("tags", "VARCHAR[]")
            },
        ],
        primary_keys: vec!["id".into()],
        comment: "all".into(),
        ..Default::default()
    };
    // A list cannot be unique: told, and nothing is left.
    let code = world.client().create_table(request.clone()).await;
    if let Err(status) = code {
        assert_ne!(status.code(), Code::Internal, "{status:?}");
    }
    let mut request = request;
    request.columns[2].is_unique = false;
    request.columns.push(pb::ColumnInfo {
        is_unique: true,
        ..column("code", "VARCHAR")
    });
    request.table_name = "orders \"x\"".into();
    let made = world
        .client()
        .create_table(request.clone())
        .await
        .unwrap()
        .into_inner()
        .table_info
        .unwrap();
    assert_eq!(
        (
            made.schema_name.as_str(),
            made.table_type.as_str(),
            made.comment.as_str()
        ),
        ("main", "BASE TABLE", "all")
    );
    let found: Vec<_> = made
        .columns
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.data_type.as_str(),
                it.nullable,
                it.is_primary_key,
                it.is_unique,
            )
        })
        .collect();
    let expected = vec![
        ("id", "INTEGER", false, true, false),
        ("Amount", "DECIMAL(10,2)", true, false, false),
        ("tags", "VARCHAR[]", true, false, false),
        ("code", "VARCHAR", true, false, true),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        (
            made.columns[1].default_value.as_str(),
            made.columns[1].comment.as_str()
        ),
        ("(1 + 1)", "it's money")
    );
    fails(
        world.client().create_table(request.clone()).await,
        Code::AlreadyExists,
    );
    request.if_not_exists = true;
    world.client().create_table(request.clone()).await.unwrap();

    world.run("insert into \"orders \"\"x\"\"\" values (1, 1.5, ['a'], 'p'), (2, 2.5, NULL, 'q'), (3, NULL, [], NULL)").await;
    let list = pb::ListTablesRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        name_filter: "ORDERS".into(),
        ..Default::default()
    };
    let listed = world.client().list_tables(list).await.unwrap().into_inner();
    let ours = listed
        .tables
        .iter()
        .find(|table| table.table_name == request.table_name)
        .unwrap();
    assert_eq!((ours.row_count, ours.columns.len()), (3, 4));
    let stats = pb::GetTableStatsRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: request.table_name.clone(),
        include_columns: true,
    };
    let stats = world
        .client()
        .get_table_stats(stats)
        .await
        .unwrap()
        .into_inner()
        .stats
        .unwrap();
    assert_eq!(stats.row_count, 3);
    let amount = &stats.column_stats[1];
    let least = amount.min_value.as_ref().and_then(|value| value.value.clone());
    assert_eq!(
        (amount.null_count, amount.distinct_count, least),
        (1, 2, Some(text("1.50")))
    );
    let tags = stats.column_stats[2]
        .max_value
        .as_ref()
        .and_then(|value| value.value.clone());
    assert_eq!(tags, Some(Kind::NullValue(0)));

    let schema = |name: &str| pb::GetTableSchemaRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: name.into(),
    };
    fails(
        world.client().get_table_schema(schema("absent")).await,
        Code::NotFound,
    );
    world.run("create schema s").await;
    world.run("create table s.t as select 1 a").await;
    let found = world
        .client()
        .get_table_schema(schema("s.t"))
        .await
        .unwrap()
        .into_inner()
        .table_info
        .unwrap();
    assert_eq!(
        (found.schema_name.as_str(), found.table_name.as_str()),
        ("s", "t")
    );
    let drop = |name: &str, if_exists| pb::DropTableRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        table_name: name.into(),
        if_exists,
        cascade: false,
    };
    world.client().drop_table(drop("s.t", false)).await.unwrap();
    fails(
        world.client().drop_table(drop("s.t", false)).await,
        Code::NotFound,
    );
    world.client().drop_table(drop("s.t", true)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_and_macros_are_made_and_used() {
    let world = World::start().await;
    world.run("create table t as select range a from range(5)").await;
    let view = |name: &str, query: &str, replace| pb::CreateViewRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        view_name: name.into(),
        query: query.into(),
        replace,
    };
    world
        .client()
        .create_view(view("v", "select a from t where a > 2 -- big", false))
        .await
        .unwrap();
    fails(
        world.client().create_view(view("v", "select 1", false)).await,
        Code::AlreadyExists,
    );
    assert_eq!(world.number("select count(*) from v").await, 2);
    world
        .client()
        .create_view(view("v", "select a from t", true))
        .await
        .unwrap();
    world
        .client()
        .create_view(view("b", "from t", false))
        .await
        .unwrap();
    let list = pb::ListViewsRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
    };
    assert_eq!(
        world.client().list_views(list).await.unwrap().into_inner().views,
        ["b", "v"]
    );
    let drop = pb::DropViewRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        view_name: "v".into(),
    };
    world.client().drop_view(drop.clone()).await.unwrap();
    fails(world.client().drop_view(drop).await, Code::NotFound);

    let function = |name: &str, body: &str, kind: &str| pb::CreateFunctionRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        function_name: name.into(),
        function_body: body.into(),
        parameters: vec!["x".into()],
        return_type: kind.into(),
    };
    world
        .client()
        .create_function(function("twice", "x * 2", "INTEGER"))
        .await
        .unwrap();
    assert_eq!(world.number("select twice(21)").await, 42);
    world
        .client()
        .create_function(function("twice", "x * 3", ""))
        .await
        .unwrap();
    assert_eq!(world.number("select twice(2)").await, 6);
    world
        .client()
        .create_function(function("upto", "select a from t where a < x", "TABLE"))
        .await
        .unwrap();
    assert_eq!(world.number("select count(*) from upto(3)").await, 3);
    let extensions = pb::ListExtensionsRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
    };
    let found = world
        .client()
        .list_extensions(extensions)
        .await
        .unwrap()
        .into_inner()
        .extensions;
    assert!(found.iter().any(|it| it.name == "parquet" && it.loaded));
}
