use tonic::Code;

use super::*;

/// Whether the SQLSTATE is in a status' details, which are not decoded here but looked at.
fn sqlstate(status: &Status, state: &str) -> bool {
    let details = String::from_utf8_lossy(status.details());
    details.contains("sqlstate") && details.contains(state)
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_run_and_say_what_they_did() {
    let mut bench = Bench::start().await;
    let made = bench
        .execute("CREATE TABLE t (id int PRIMARY KEY, name text)")
        .await
        .unwrap();
    assert_eq!(
        (made.rows_affected, made.command_tag.as_str()),
        (0, "CREATE TABLE")
    );
    let rows = bench
        .query(
            "INSERT INTO t VALUES ($1, $2), ($3, $4) RETURNING id, name",
            vec![number(1.0), text("é"), text("2"), null()],
        )
        .await
        .unwrap();
    assert_eq!(rows[0], fields([("id", number(1.0)), ("name", text("é"))]));
    assert_eq!(rows[1], fields([("id", number(2.0)), ("name", null())]));
    let done = bench.execute("UPDATE t SET name = 'x'").await.unwrap();
    assert_eq!((done.rows_affected, done.command_tag.as_str()), (2, "UPDATE 2"));
    let done = bench.execute("SELECT * FROM t;  -- all").await.unwrap();
    assert_eq!((done.rows_affected, done.command_tag.as_str()), (2, "SELECT 2"));
    let there = bench.administrator().await;
    let sql = format!(
        "SELECT string_agg(id || name, ',' ORDER BY id) FROM {}.t",
        bench.schema()
    );
    let found: String = there.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(found, "1x,2x");
    let shown = bench.value("SHOW statement_timeout", vec![]).await.unwrap();
    assert_eq!(shown, text("1min"));
    // Again, and with a table that is another by now: what was prepared is prepared anew.
    for expected in [1, 2] {
        let rows = bench.query("SELECT * FROM t WHERE id = 1", vec![]).await.unwrap();
        assert_eq!(rows[0].fields.len(), if expected == 1 { 2 } else { 3 });
        if expected == 1 {
            bench.execute("ALTER TABLE t ADD COLUMN more int").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_the_first_or_none() {
    let mut bench = Bench::start().await;
    for (sql, expected) in [
        ("SELECT g FROM generate_series(1, 1000000) g", Some(1.0)),
        ("SELECT 1 AS g WHERE false", None),
    ] {
        let request = pb::QueryRowRequest {
            metadata: bench.metadata(),
            sql: sql.into(),
            schema: "public".into(),
            ..Default::default()
        };
        let row = bench.client.query_row(request).await.unwrap().into_inner();
        assert_eq!(row.found, expected.is_some());
        assert_eq!(row.row, expected.map(|value| fields([("g", number(value))])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n > 0))")
        .await
        .unwrap();
    bench.execute("INSERT INTO t VALUES (1, 1)").await.unwrap();
    for (sql, code, words, state) in [
        (
            "SELEC 1",
            Code::InvalidArgument,
            "syntax error at or near \"SELEC\" at character 1",
            "42601",
        ),
        ("SELECT 1/0", Code::InvalidArgument, "division by zero", "22012"),
        (
            "SELECT 'x'::int",
            Code::InvalidArgument,
            "invalid input syntax",
            "22P02",
        ),
        (
            "SELECT * FROM nowhere",
            Code::NotFound,
            "\"nowhere\" does not exist",
            "42P01",
        ),
        (
            "SELECT nothing FROM t",
            Code::NotFound,
            "\"nothing\" does not exist",
            "42703",
        ),
        (
            "INSERT INTO t VALUES (1, 1)",
            Code::AlreadyExists,
            "t_pkey",
            "23505",
        ),
        (
            "INSERT INTO t VALUES (2, 0)",
            Code::FailedPrecondition,
            "check constraint",
            "23514",
        ),
        (
            "CREATE TABLE t ()",
            Code::AlreadyExists,
            "already exists",
            "42P07",
        ),
        (
            "SELECT pg_read_file('/etc/passwd')",
            Code::PermissionDenied,
            "permission denied",
            "42501",
        ),
        (
            "DO $$ BEGIN RAISE 'no way' USING HINT = 'go round'; END $$",
            Code::InvalidArgument,
            "hint: go round",
            "P0001",
        ),
    ] {
        let status = bench.execute(sql).await.unwrap_err();
        assert_eq!(status.code(), code, "{sql}: {}", status.message());
        assert!(status.message().contains(words), "{sql}: {}", status.message());
        assert!(sqlstate(&status, state), "{sql}: {state}");
        assert!(
            !status.message().contains(&bench.schema()),
            "{}",
            status.message()
        );
    }
    for (sql, code, words) in [
        ("", Code::InvalidArgument, "sql: is empty"),
        (
            "SELECT 1; SELECT 2",
            Code::InvalidArgument,
            "more than one statement",
        ),
        ("BEGIN", Code::FailedPrecondition, "BeginTransaction"),
        ("SAVEPOINT a", Code::FailedPrecondition, "savepoints"),
        ("COPY t TO '/tmp/x'", Code::PermissionDenied, "COPY"),
        ("SET ROLE postgres", Code::PermissionDenied, "who asks"),
        ("LISTEN x", Code::FailedPrecondition, "NATS"),
        ("SELECT '\0'", Code::InvalidArgument, "NUL"),
    ] {
        refused(bench.execute(sql).await, code, words);
    }
    let two = bench.query("SELECT $1::int + $2::int", vec![number(1.0)]).await;
    refused(
        two,
        Code::InvalidArgument,
        "params: has 1, and the statement takes 2",
    );
    let fraction = bench.query("SELECT $1::int", vec![number(1.5)]).await;
    refused(fraction, Code::InvalidArgument, "params[0]: is 1.5");
    let twins = bench.query("SELECT 1 AS a, 2 AS a", vec![]).await;
    refused(twins, Code::InvalidArgument, "two columns named \"a\"");
    let request = pb::QueryRequest {
        metadata: bench.metadata(),
        sql: "SELECT 1".into(),
        schema: "elsewhere".into(),
        ..Default::default()
    };
    refused(
        bench.client.query(request).await,
        Code::NotFound,
        "schema \"elsewhere\"",
    );
    // After all that the connections are as good as before.
    assert_eq!(bench.value("SELECT 1", vec![]).await.unwrap(), number(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_go_on_after_a_failure_and_transactions_do_not() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t (id int PRIMARY KEY)")
        .await
        .unwrap();
    let operation = |sql: &str, params| pb::BatchOperation {
        sql: sql.into(),
        params,
    };
    let insert = |id: f64| operation("INSERT INTO t VALUES ($1)", vec![number(id)]);
    let operations = vec![
        insert(1.0),
        insert(2.0),
        insert(1.0),
        insert(0.5),
        insert(3.0),
        operation("nonsense", vec![]),
    ];
    let request = pb::ExecuteBatchRequest {
        metadata: bench.metadata(),
        operations: operations.clone(),
        ..Default::default()
    };
    let batch = bench.client.execute_batch(request).await.unwrap().into_inner();
    let errors: Vec<&str> = batch
        .results
        .iter()
        .map(|result| result.error.split(':').next().unwrap_or_default())
        .collect();
    assert_eq!(errors, ["", "", "23505", "22023", "", "42601"], "{batch:?}");
    assert_eq!(batch.total_rows_affected, 3);
    assert!(batch.metadata.is_some_and(|metadata| metadata.success));
    bench.execute("DELETE FROM t").await.unwrap();
    for (operations, results, committed) in
        [(operations, 3, false), (vec![insert(7.0), insert(8.0)], 2, true)]
    {
        let request = pb::ExecuteInTransactionRequest {
            metadata: bench.metadata(),
            operations,
            ..Default::default()
        };
        let done = bench
            .client
            .execute_in_transaction(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (done.results.len(), done.committed),
            (results, committed),
            "{done:?}"
        );
    }
    assert_eq!(
        bench.value("SELECT sum(id)::int FROM t", vec![]).await.unwrap(),
        number(15.0)
    );
    let request = pb::ExecuteBatchRequest {
        metadata: bench.metadata(),
        ..Default::default()
    };
    refused(
        bench.client.execute_batch(request).await,
        Code::InvalidArgument,
        "operations",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_refused_whole() {
    let mut bench = Bench::start().await;
    let rows = bench
        .query("SELECT g FROM generate_series(1, 100001) g", vec![])
        .await;
    refused(rows, Code::ResourceExhausted, "QueryStream");
    let bytes = bench
        .query("SELECT repeat('x', 1000000) FROM generate_series(1, 120)", vec![])
        .await;
    refused(bytes, Code::ResourceExhausted, "QueryStream");
    assert_eq!(bench.value("SELECT 1", vec![]).await.unwrap(), number(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_in_a_session() {
    let mut bench = Bench::start().await;
    bench.execute("SET work_mem = '3MB'").await.unwrap();
    bench
        .query("SELECT set_config('search_path', 'nowhere', false)", vec![])
        .await
        .unwrap();
    bench.execute("CREATE TEMP TABLE scratch (a int)").await.unwrap();
    assert_eq!(bench.value("SHOW work_mem", vec![]).await.unwrap(), text("4MB"));
    refused(
        bench.execute("SELECT * FROM scratch").await,
        Code::NotFound,
        "scratch",
    );
    let path = bench.value("SELECT current_schema()", vec![]).await.unwrap();
    assert_eq!(path, text(&bench.schema()));
}
