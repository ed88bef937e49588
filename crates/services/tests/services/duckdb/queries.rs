use std::time::{Duration, Instant};

use isa_proto::{
    duckdb::{self as pb, value::Value as Kind},
    prost_types::{Struct, Timestamp, value},
};
use tonic::Code;

use super::{World, fails, params, text, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_come_as_they_are() {
    let world = World::start().await;
    let cases: Vec<(&str, &str, Kind)> = vec![
        ("1::tinyint", "TINYINT", Kind::IntValue(1)),
        ("9223372036854775807", "BIGINT", Kind::IntValue(i64::MAX)),
        (
            "18446744073709551615::ubigint",
            "UBIGINT",
            text("18446744073709551615"),
        ),
        ("sum(7)", "HUGEINT", Kind::IntValue(7)),
        (
            "'-170141183460469231731687303715884105728'::hugeint",
            "HUGEINT",
            text("-170141183460469231731687303715884105728"),
        ),
        (
            "340282366920938463463374607431768211455::uhugeint",
            "UHUGEINT",
            text("340282366920938463463374607431768211455"),
        ),
        ("1.10::decimal(10,2)", "DECIMAL(10,2)", text("1.10")),
        (
            "12345678901234567890::decimal(38,0)",
            "DECIMAL(38,0)",
            text("12345678901234567890"),
        ),
        ("0.1::double", "DOUBLE", Kind::DoubleValue(0.1)),
        ("'infinity'::double", "DOUBLE", Kind::DoubleValue(f64::INFINITY)),
        ("1.5::float", "FLOAT", Kind::DoubleValue(1.5)),
        ("true", "BOOLEAN", Kind::BoolValue(true)),
        ("'ä'", "VARCHAR", text("ä")),
        (
            "'\\x00\\xFF'::blob",
            "BLOB",
            Kind::BytesValue(vec![0, 255].into()),
        ),
        ("NULL", "INTEGER", Kind::NullValue(0)),
        (
            "'00112233-4455-6677-8899-aabbccddeeff'::uuid",
            "UUID",
            text("00112233-4455-6677-8899-aabbccddeeff"),
        ),
        ("'b'::enum('a', 'b')", "ENUM", text("b")),
        ("date '2024-02-29'", "DATE", text("2024-02-29")),
        ("date 'infinity'", "DATE", text("infinity")),
        ("time '01:02:03.5'", "TIME", text("01:02:03.5")),
        (
            "timestamp '2024-01-01 01:02:03.000001'",
            "TIMESTAMP",
            text("2024-01-01T01:02:03.000001"),
        ),
        (
            "timestamptz '2024-01-01 01:00:00+02'",
            "TIMESTAMP WITH TIME ZONE",
            text("2023-12-31T23:00:00Z"),
        ),
        (
            "timestamp_ns '2024-01-01 00:00:00.123456789'",
            "TIMESTAMP_NS",
            text("2024-01-01T00:00:00.123456789"),
        ),
        (
            "interval '14 months 3 days 1.5 seconds'",
            "INTERVAL",
            text("P1Y2M3DT1.5S"),
        ),
        ("[1, NULL, 3]", "INTEGER[]", text("[1,null,3]")),
        (
            "{'b': 'x', 'a': [1.5::double]}",
            "STRUCT(b VARCHAR, a DOUBLE[])",
            text("{\"b\":\"x\",\"a\":[1.5]}"),
        ),
        (
            "map {1: 'x', 2: NULL}",
            "MAP(INTEGER, VARCHAR)",
            text("{\"1\":\"x\",\"2\":null}"),
        ),
        ("'{\"a\": 1}'::json", "JSON", text("{\"a\": 1}")),
        ("'10110'::bit", "BIT", text("10110")),
        ("union_value(n := 5)", "UNION(n INTEGER)", text("5")),
    ];
    let sql = cases.iter().map(|(sql, ..)| *sql).collect::<Vec<_>>().join(", ");
    let answer = world.query(&format!("select {sql}")).await.unwrap();
    assert_eq!(answer.row_count, 1);
    for (((sql, kind, expected), found), named) in
        cases.iter().zip(&answer.rows[0].values).zip(&answer.column_types)
    {
        assert_eq!(
            (named.as_str(), found.value.as_ref()),
            (*kind, Some(expected)),
            "{sql}"
        );
    }
    // What would lose a part says so.
    for sql in [
        "select '12:30:00+02'::timetz x",
        "select [12345678901234567890123::bignum] x",
    ] {
        let message = fails(world.query(sql).await, Code::InvalidArgument);
        assert!(message.contains("VARCHAR"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_bound() {
    let world = World::start().await;
    let ask = |sql: &str, given: Vec<(&str, Kind)>| {
        let request = pb::ExecuteQueryRequest {
            parameters: params(given),
            ..world.query_request(sql)
        };
        let mut client = world.client();
        async move {
            client
                .execute_query(request)
                .await
                .map(|answer| answer.into_inner())
        }
    };
    let time = Kind::TimestampValue(Timestamp {
        seconds: 1_700_000_000,
        nanos: 5000,
    });
    let json = Kind::StructValue(Struct {
        fields: [(
            "a".to_owned(),
            isa_proto::prost_types::Value {
                kind: Some(value::Kind::NumberValue(1.0)),
            },
        )]
        .into(),
    });
    let given = vec![
        ("n", Kind::IntValue(7)),
        ("s", text("'; drop table t; --")),
        ("t", time),
        ("j", json),
        ("b", Kind::BytesValue(vec![1, 2].into())),
        ("z", Kind::NullValue(0)),
    ];
    let answer = ask(
        "select $n + 1, $s, $t, ($j::json->>'a')::double, $b, $z is null",
        given,
    )
    .await
    .unwrap();
    let values: Vec<_> = answer.rows[0]
        .values
        .iter()
        .map(|value| value.value.clone().unwrap())
        .collect();
    let expected = vec![
        Kind::IntValue(8),
        text("'; drop table t; --"),
        text("2023-11-14T22:13:20.000005"),
        Kind::DoubleValue(1.0),
        Kind::BytesValue(vec![1, 2].into()),
        Kind::BoolValue(true),
    ];
    assert_eq!(values, expected);
    let found = ask("select ? || ?", vec![("1", text("a")), ("2", text("b"))])
        .await
        .unwrap();
    assert_eq!(found.rows[0].values[0].value, Some(text("ab")));
    for (sql, given) in [
        ("select $a", vec![]),
        ("select 1", vec![("a", Kind::IntValue(1))]),
        ("select $a", vec![("b", Kind::IntValue(1))]),
    ] {
        let message = fails(ask(sql, given).await, Code::InvalidArgument);
        assert!(message.starts_with("parameters"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_bounded_and_explained() {
    let world = World::start().await;
    assert_eq!(world.query("from range(20000)").await.unwrap().row_count, 10_000);
    let few = pb::ExecuteQueryRequest {
        max_rows: 5,
        ..world.query_request("from range(100000000)")
    };
    assert_eq!(
        world
            .client()
            .execute_query(few)
            .await
            .unwrap()
            .into_inner()
            .rows
            .len(),
        5
    );
    let huge = world.query("select repeat('x', 1000000) from range(200)").await;
    fails(huge, Code::ResourceExhausted);
    let explain = pb::ExecuteQueryRequest {
        explain: true,
        ..world.query_request("select * from range(10) where range > 5")
    };
    let plan = world.client().execute_query(explain).await.unwrap().into_inner();
    assert!(
        plan.rows.is_empty() && plan.query_plan.contains("RANGE"),
        "{}",
        plan.query_plan
    );
    for (sql, code) in [
        ("selec 1", Code::InvalidArgument),
        ("select 1 +", Code::InvalidArgument),
        ("select 'a'::int", Code::InvalidArgument),
        ("select * from absent", Code::NotFound),
        ("select absent from (select 1 a)", Code::NotFound),
        ("select absent(1)", Code::NotFound),
        (
            "create table x as select 1 a; drop table x",
            Code::InvalidArgument,
        ),
    ] {
        fails(world.query(sql).await, code);
    }
    world.run("create table t (a int primary key)").await;
    world.run("insert into t values (1)").await;
    fails(
        world.query("insert into t values (1)").await,
        Code::FailedPrecondition,
    );
    fails(world.query("create table t (a int)").await, Code::AlreadyExists);
    // More than the memory goes to disk.
    let sorted = world
        .number("select count(*) from (select range r from range(8000000) order by hash(range))")
        .await;
    assert_eq!(sorted, 8_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_ends_with_its_time_or_its_caller() {
    let world = World::start().await;
    // It would take hours.
    let long =
        "select count(*) from range(10000000) a, range(10000000) b where hash(a.range) = hash(b.range) + 1";
    let began = Instant::now();
    let limited = pb::ExecuteQueryRequest {
        timeout_seconds: 1,
        ..world.query_request(long)
    };
    fails(
        world.client().execute_query(limited).await,
        Code::DeadlineExceeded,
    );
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let metrics = || async {
        let info = pb::GetMetricsRequest {
            database_id: world.db.clone(),
        };
        // The request names nobody: this asks for a database of the default user, which must not be there.
        fails(world.client().get_metrics(info).await, Code::NotFound);
    };
    metrics().await;
    let mut client = world.client();
    let request = world.query_request(long);
    let call = tokio::spawn(async move { client.execute_query(request).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    call.abort();
    // Deleted without force: only when nothing runs any more.
    until(
        "the query of a caller who is gone ends",
        Duration::from_secs(5),
        async || {
            let request = pb::DeleteDatabaseRequest {
                database_id: world.db.clone(),
                user_id: world.user.clone(),
                ..Default::default()
            };
            world.client().delete_database(request).await.is_ok()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stream() {
    let world = World::start().await;
    let mut stream = world
        .client()
        .execute_query_stream(world.query_request("select range a, 'x' b from range(100000)"))
        .await
        .unwrap()
        .into_inner();
    let (mut rows, mut chunks, mut last) = (0, 0, false);
    while let Some(chunk) = stream.message().await.unwrap() {
        assert!(!last && chunk.success);
        assert_eq!(chunk.columns.is_empty(), chunks > 0);
        for row in &chunk.rows {
            assert_eq!(row.values[0].value, Some(Kind::IntValue(rows)));
            rows += 1;
        }
        chunks += 1;
        last = chunk.is_last;
    }
    assert!(last && rows == 100_000 && chunks > 10, "{rows} {chunks}");
    // Without rows there is a first chunk too.
    let empty = world.query_request("select 1 a where false");
    let mut stream = world
        .client()
        .execute_query_stream(empty)
        .await
        .unwrap()
        .into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert_eq!(
        (only.columns.as_slice(), only.is_last),
        (["a".to_owned()].as_slice(), true)
    );
    // A failure in the middle is a status. DuckDB works ahead of its reader by about a megabyte.
    let broken = world.query_request(
        "select case when range = 99999 then error('boom') else repeat('x', 200) end from range(100000)",
    );
    let mut stream = world
        .client()
        .execute_query_stream(broken)
        .await
        .unwrap()
        .into_inner();
    let failure = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended"),
            Err(status) => break status,
        }
    };
    assert_eq!(failure.code(), Code::InvalidArgument, "{failure:?}");
    // A reader that leaves ends its query.
    let endless = world.query_request("select a.range from range(1000000) a, range(1000000) b");
    let mut stream = world
        .client()
        .execute_query_stream(endless)
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    drop(stream);
    until(
        "the query of a reader who left ends",
        Duration::from_secs(5),
        async || {
            let request = pb::DeleteDatabaseRequest {
                database_id: world.db.clone(),
                user_id: world.user.clone(),
                ..Default::default()
            };
            world.client().delete_database(request).await.is_ok()
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_stream_as_arrow() {
    let world = World::start().await;
    let sql = "select range a, 'v' || range b, (case when range % 2 = 0 then 'x' else 'y' end)::enum('x', 'y') c from range(10000)";
    let mut stream = world
        .client()
        .execute_query_arrow(world.query_request(sql))
        .await
        .unwrap()
        .into_inner();
    let (mut bytes, mut announced) = (Vec::new(), 0);
    while let Some(chunk) = stream.message().await.unwrap() {
        bytes.extend_from_slice(&chunk.ipc);
        announced += chunk.row_count;
    }
    let reader = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
    let names: Vec<_> = reader
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!((rows, announced), (10_000, 10_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_count_and_batches_are_whole() {
    let world = World::start().await;
    assert_eq!(world.run("create table t (a int primary key)").await, 0);
    assert_eq!(world.run("insert into t select range from range(10)").await, 10);
    assert_eq!(world.run("update t set a = a + 100 where a < 3").await, 3);
    assert_eq!(world.run("delete from t where a = 5 returning a").await, 1);
    assert_eq!(world.run("select * from t").await, 0);
    let batch = |statements: &[&str], transaction| {
        let request = pb::ExecuteBatchRequest {
            database_id: world.db.clone(),
            user_id: world.user.clone(),
            statements: statements.iter().map(|sql| (*sql).to_owned()).collect(),
            transaction,
        };
        let mut client = world.client();
        async move {
            client
                .execute_batch(request)
                .await
                .map(|answer| answer.into_inner())
        }
    };
    let good = batch(&["insert into t values (50)", "delete from t where a = 50"], true)
        .await
        .unwrap();
    assert!(good.success && good.results.iter().all(|it| it.success && it.affected_rows == 1));
    let steps = [
        "insert into t values (60)",
        "insert into t values (60)",
        "insert into t values (61)",
    ];
    let bad = batch(&steps, true).await.unwrap();
    let errors: Vec<_> = bad.results.iter().map(|it| it.error.as_str()).collect();
    assert!(
        !bad.success && errors[0] == "undone" && errors[1].contains("60") && errors[2] == "not run",
        "{errors:?}"
    );
    assert_eq!(
        world
            .number("select count(*) from t where a >= 60 and a < 100")
            .await,
        0
    );
    let single = batch(&steps, false).await.unwrap();
    let done: Vec<_> = single.results.iter().map(|it| it.success).collect();
    assert_eq!((single.success, done), (false, vec![true, false, true]));
    fails(batch(&[], true).await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_are_prepared() {
    let world = World::start().await;
    world.run("create table t as select range a from range(10)").await;
    let request = |sql: &str| pb::PrepareStatementRequest {
        database_id: world.db.clone(),
        user_id: world.user.clone(),
        statement: sql.into(),
    };
    let made = world
        .client()
        .prepare_statement(request("select a from t where a = $1"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(made.parameter_types.len(), 1);
    for n in [3, 7] {
        let run = pb::ExecuteQueryRequest {
            statement_id: made.statement_id.clone(),
            parameters: params(vec![("1", Kind::IntValue(n))]),
            ..world.query_request("")
        };
        let found = world.client().execute_query(run).await.unwrap().into_inner();
        assert_eq!(found.rows[0].values[0].value, Some(Kind::IntValue(n)));
    }
    fails(
        world
            .client()
            .prepare_statement(request("select * from absent"))
            .await,
        Code::NotFound,
    );
    for _ in 1..100 {
        world
            .client()
            .prepare_statement(request("select 1"))
            .await
            .unwrap();
    }
    fails(
        world.client().prepare_statement(request("select 1")).await,
        Code::ResourceExhausted,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_last_or_leave_nothing() {
    let world = World::start().await;
    world.run("create table t (a int)").await;
    let id = world.begin().await.unwrap();
    assert_eq!(
        world.execute("insert into t values (1), (2)", &id).await.unwrap(),
        2
    );
    assert_eq!(world.number("select count(*) from t").await, 0);
    let within = pb::ExecuteQueryRequest {
        transaction_id: id.clone(),
        ..world.query_request("select count(*) from t")
    };
    let mut stream = world
        .client()
        .execute_query_stream(within)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        stream.message().await.unwrap().unwrap().rows[0].values[0].value,
        Some(Kind::IntValue(2))
    );
    while stream.message().await.unwrap().is_some() {}
    world
        .client()
        .commit_transaction(world.end_request(&id))
        .await
        .unwrap();
    assert_eq!(world.number("select count(*) from t").await, 2);
    fails(
        world.client().commit_transaction(world.end_request(&id)).await,
        Code::NotFound,
    );
    let id = world.begin().await.unwrap();
    world.execute("delete from t", &id).await.unwrap();
    world
        .client()
        .rollback_transaction(world.end_request(&id))
        .await
        .unwrap();
    assert_eq!(world.number("select count(*) from t").await, 2);
    // Two that change the same row.
    let (first, second) = (world.begin().await.unwrap(), world.begin().await.unwrap());
    world
        .execute("update t set a = 10 where a = 1", &first)
        .await
        .unwrap();
    fails(
        world.execute("update t set a = 20 where a = 1", &second).await,
        Code::Aborted,
    );
    fails(world.execute("select 1", &second).await, Code::FailedPrecondition);
    world
        .client()
        .rollback_transaction(world.end_request(&second))
        .await
        .unwrap();
    world
        .client()
        .commit_transaction(world.end_request(&first))
        .await
        .unwrap();
    assert_eq!(world.number("select count(*) from t where a = 10").await, 1);
    // At most 16.
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(world.begin().await.unwrap());
    }
    fails(world.begin().await, Code::ResourceExhausted);
    for id in open {
        world
            .client()
            .rollback_transaction(world.end_request(&id))
            .await
            .unwrap();
    }
    fails(
        world.client().commit_transaction(world.end_request("x")).await,
        Code::InvalidArgument,
    );
    fails(
        world.client().commit_transaction(world.end_request("")).await,
        Code::InvalidArgument,
    );
}
