use isa_proto::duckdb as pb;
use tonic::Code;

use super::{World, fails};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sql_reaches_nothing_but_its_database() {
    let world = World::start().await;
    world.run("create table t as select 1 a").await;
    for sql in [
        "select * from read_csv('/etc/passwd')",
        "select * from read_text('/etc/passwd')",
        "select * from read_blob('/etc/passwd')",
        "select * from read_json('/proc/self/environ')",
        "select * from read_parquet('s3://bucket/key')",
        "select * from read_csv('http://127.0.0.1:1/x')",
        "select * from '/etc/passwd.csv'",
        "select * from glob('/*')",
        "select * from sniff_csv('/etc/passwd')",
        "copy t to '/tmp/stolen.csv'",
        "copy t from '/etc/passwd'",
        "copy (select 1) to '/dev/stdout'",
        "export database '/tmp/stolen'",
        "import database '/tmp/stolen'",
        "attach '/tmp/x.duckdb' as x",
        "attach ':memory:' as x",
        "detach x",
        "use x",
        "install httpfs",
        "load httpfs",
        "load '/tmp/x.duckdb_extension'",
        "set threads = 8",
        "set global memory_limit = '100GB'",
        "reset threads",
        "pragma memory_limit = '100GB'",
        "pragma enable_profiling",
        "call enable_logging()",
        "select * from enable_logging(storage = 'stdout')",
        "from \"enable_profiling\"()",
        "from query('select 1')",
        "create secret s (type s3)",
        "checkpoint",
        "explain analyze copy t to '/tmp/stolen.csv'",
    ] {
        fails(world.query(sql).await, Code::PermissionDenied);
        fails(world.execute(sql, "").await, Code::PermissionDenied);
    }
    for sql in [
        "select getenv('HOME')",
        "begin",
        "prepare p as select 1",
        "select 1; select 2",
    ] {
        let code = world.query(sql).await.unwrap_err().code();
        assert!(
            matches!(code, Code::InvalidArgument | Code::NotFound),
            "{sql}: {code:?}"
        );
    }
    assert_eq!(world.number("select count(*) from duckdb_secrets()").await, 0);
    // Nothing of it lasts.
    assert_eq!(
        world
            .number("select count(*) from duckdb_databases() where not internal")
            .await,
        1
    );
    assert_eq!(world.number("select a from t").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn structured_calls_take_no_sql_but_their_own() {
    let world = World::start().await;
    let column = |name: &str, kind: &str, default: &str| pb::ColumnInfo {
        name: name.into(),
        data_type: kind.into(),
        default_value: default.into(),
        ..Default::default()
    };
    for bad in [
        column("a", "int); drop table t; --", ""),
        column("a", "int, b int", ""),
        column("a", "int default 5", ""),
        column("a", "", ""),
        column("a", "nonsense", ""),
        column("a", "int", "1), b int default (2"),
        column("a", "int", "enable_logging()"),
        column("", "int", ""),
    ] {
        let request = pb::CreateTableRequest {
            database_id: world.db.clone(),
            user_id: world.user.clone(),
            table_name: "t".into(),
            columns: vec![bad.clone()],
            ..Default::default()
        };
        let code = world
            .client()
            .create_table(request)
            .await
            .expect_err(&format!("{bad:?}"))
            .code();
        assert!(
            matches!(code, Code::InvalidArgument | Code::PermissionDenied),
            "{bad:?}: {code:?}"
        );
    }
    let view = |query: &str| pb::CreateViewRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        view_name: "v".into(),
        query: query.into(),
        replace: false,
    };
    for query in [
        "",
        "drop table t",
        "select 1; drop table t",
        "insert into t values (1)",
    ] {
        fails(
            world.client().create_view(view(query)).await,
            Code::InvalidArgument,
        );
    }
    fails(
        world
            .client()
            .create_view(view("select * from read_text('/etc/passwd')"))
            .await,
        Code::PermissionDenied,
    );
    let function = |body: &str| pb::CreateFunctionRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        function_name: "f".into(),
        function_body: body.into(),
        parameters: vec!["a".into()],
        return_type: String::new(),
    };
    for body in ["", "a; drop table t", "a) + (1", "a /*"] {
        fails(
            world.client().create_function(function(body)).await,
            Code::InvalidArgument,
        );
    }
    let extension = |name: &str| pb::InstallExtensionRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        extension_name: name.into(),
    };
    fails(
        world.client().install_extension(extension("httpfs")).await,
        Code::PermissionDenied,
    );
    world.client().install_extension(extension("json")).await.unwrap();
}
