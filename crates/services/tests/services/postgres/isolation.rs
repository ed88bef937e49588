use tonic::Code;

use super::*;

/// Text of a result, to look for what must not be there.
fn all(rows: &[Struct]) -> String {
    format!("{rows:?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_reaches_nothing_of_another() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE secret_plan (a int)").await.unwrap();
    bench
        .execute("CREATE FUNCTION secret_way() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        .await
        .unwrap();
    bench
        .execute("CREATE TYPE secret_mood AS ENUM ('x')")
        .await
        .unwrap();
    let (other, own) = (uuid::Uuid::new_v4().to_string(), bench.schema());
    for sql in [
        format!("SELECT * FROM {own}.secret_plan"),
        format!("INSERT INTO {own}.secret_plan VALUES (1)"),
        format!("SELECT {own}.secret_way()"),
        format!("SELECT 'x'::{own}.secret_mood"),
        format!("CREATE TABLE {own}.mine (a int)"),
        format!("DROP SCHEMA {own} CASCADE"),
        "CREATE TABLE public.mine (a int)".into(),
        "CREATE SCHEMA mine".into(),
        "CREATE EXTENSION dblink".into(),
        "SELECT lo_create(0)".into(),
        "SELECT lo_import('/etc/passwd')".into(),
        "SELECT pg_read_file('postgresql.conf')".into(),
        "SELECT pg_ls_dir('.')".into(),
        "SELECT pg_advisory_lock(1)".into(),
        "SELECT pg_terminate_backend(1)".into(),
        "SELECT pg_notify('a', 'b')".into(),
        "DO $$ BEGIN EXECUTE 'SET ROLE postgres'; END $$".into(),
        "DO $$ BEGIN EXECUTE 'SET SESSION AUTHORIZATION postgres'; END $$".into(),
        "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''true'''; END $$".into(),
        "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO ''/tmp/x'''; END $$".into(),
        "DO $$ BEGIN EXECUTE 'CREATE ROLE mine'; END $$".into(),
        "ALTER SYSTEM SET work_mem = '1MB'".into(),
        "SELECT set_config('session_authorization', 'postgres', false)".into(),
    ] {
        let status = query(&mut bench.client, &other, &sql, vec![])
            .await
            .expect_err(&sql);
        let code = status.code();
        assert!(
            [Code::PermissionDenied, Code::NotFound, Code::InvalidArgument].contains(&code),
            "{sql}: {code} {}",
            status.message()
        );
        assert!(!status.message().contains(&own), "{sql}: {}", status.message());
    }
    let request = pb::TableExistsRequest {
        metadata: metadata(&other),
        table: "secret_plan".into(),
        ..Default::default()
    };
    assert!(
        !bench
            .client
            .table_exists(request)
            .await
            .unwrap()
            .into_inner()
            .exists
    );
    let request = pb::ListTablesRequest {
        metadata: metadata(&other),
        ..Default::default()
    };
    assert!(
        bench
            .client
            .list_tables(request)
            .await
            .unwrap()
            .into_inner()
            .tables
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_a_tenant_itself_alone() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE secret_plan (secret_column int)")
        .await
        .unwrap();
    bench
        .execute("CREATE FUNCTION secret_way() RETURNS int LANGUAGE sql AS 'SELECT 1'")
        .await
        .unwrap();
    let other = uuid::Uuid::new_v4().to_string();
    execute_in(&mut bench.client, &other, "CREATE TABLE plain_plan (a int)", "")
        .await
        .unwrap();
    let there = bench.administrator().await;
    let views = "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname IN ('pg_catalog', 'information_schema', 'isa_lookup') AND c.relkind IN ('r', 'v') ORDER BY 1";
    let mut readable = Vec::new();
    for row in there.query(views, &[]).await.unwrap() {
        let view: String = row.get(0);
        let sql = format!("SELECT t::text AS row FROM {view} t");
        match query(&mut bench.client, &other, &sql, vec![]).await {
            Ok(rows) => {
                let text = all(&rows);
                for word in ["secret_", &bench.schema(), "isa-verify", "/var/lib"] {
                    assert!(!text.contains(word), "{view} shows {word}");
                }
                readable.push(view);
            }
            Err(status) => assert_eq!(
                status.code(),
                Code::PermissionDenied,
                "{view}: {}",
                status.message()
            ),
        }
    }
    for view in [
        "information_schema.tables",
        "information_schema.columns",
        "isa_lookup.pg_type",
    ] {
        assert!(readable.iter().any(|name| name == view), "{view} in {readable:?}");
    }
    for view in [
        "pg_catalog.pg_class",
        "pg_catalog.pg_stat_activity",
        "pg_catalog.pg_settings",
        "pg_catalog.pg_roles",
    ] {
        assert!(!readable.iter().any(|name| name == view), "{view}");
    }
    let own = query(
        &mut bench.client,
        &other,
        "SELECT table_name FROM information_schema.tables WHERE table_schema NOT LIKE 'pg%' AND table_schema NOT IN ('information_schema', 'isa_lookup')",
        vec![],
    );
    assert_eq!(own.await.unwrap(), [fields([("table_name", text("plain_plan"))])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_changes_its_own_role_still_gets_in() {
    let mut bench = Bench::start().await;
    let role = bench.schema();
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let change = format!(
        "DO $$ BEGIN EXECUTE 'ALTER ROLE {role} PASSWORD ''mine'''; EXECUTE 'ALTER ROLE {role} SET statement_timeout = 0'; END $$"
    );
    bench.execute(&change).await.unwrap();
    // A replica that has no connection yet.
    let node = Node::start(ServiceKind::Postgres).await;
    let mut second = client(&node).await;
    let shown = query(&mut second, &bench.user, "SHOW statement_timeout", vec![])
        .await
        .unwrap();
    assert_eq!(shown[0].fields["statement_timeout"], text("1min"));
    execute_in(&mut second, &bench.user, "INSERT INTO t VALUES (1)", "")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_make_a_tenant_at_once() {
    let nodes = futures::future::join_all((0..3).map(|_| Node::start(ServiceKind::Postgres))).await;
    let user = uuid::Uuid::new_v4().to_string();
    let calls = nodes.iter().flat_map(|node| [node; 4]).map(|node| {
        let user = user.clone();
        async move { query(&mut client(node).await, &user, "SELECT 1 AS a", vec![]).await }
    });
    for rows in futures::future::join_all(calls).await {
        assert_eq!(rows.unwrap(), [fields([("a", number(1.0))])]);
    }
}
