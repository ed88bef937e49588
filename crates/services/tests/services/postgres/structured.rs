use tonic::Code;

use super::*;

fn clause(column: &str, operator: &str, value: Value) -> pb::WhereClause {
    pb::WhereClause {
        column: column.into(),
        operator: operator.into(),
        value: Some(value),
    }
}

async fn people(bench: &mut Bench) {
    bench
        .execute("CREATE TABLE \"People\" (id serial PRIMARY KEY, name text NOT NULL, age int, tags text[] DEFAULT '{}', at inet)")
        .await
        .unwrap();
    let request = pb::InsertIntoRequest {
        metadata: bench.metadata(),
        table: "People".into(),
        rows: vec![
            fields([
                ("name", text("Ann")),
                ("age", number(30.0)),
                ("tags", list(vec![text("a"), text("b")])),
            ]),
            fields([
                ("name", text("Bob")),
                ("age", number(40.0)),
                ("at", text("10.0.0.1")),
            ]),
            fields([("name", text("O'Neil \"x\"; --"))]),
        ],
        returning: true,
        ..Default::default()
    };
    let inserted = bench.client.insert_into(request).await.unwrap().into_inner();
    assert_eq!((inserted.rows_inserted, inserted.rows.len()), (3, 3));
    assert_eq!(inserted.rows[1].fields["id"], number(2.0));
    assert_eq!(inserted.rows[1].fields["at"], text("10.0.0.1"));
    assert_eq!(inserted.rows[2].fields["tags"], list(vec![]));
}

async fn names(bench: &mut Bench, r#where: Vec<pb::WhereClause>) -> Result<Vec<String>, Status> {
    let request = pb::SelectFromRequest {
        metadata: bench.metadata(),
        table: "People".into(),
        columns: vec!["name".into()],
        r#where,
        order_by: vec!["id".into()],
        ..Default::default()
    };
    let selected = bench.client.select_from(request).await?.into_inner();
    let name = |row: &Struct| match &row.fields["name"].kind {
        Some(Kind::StringValue(name)) => name.chars().take(3).collect(),
        other => panic!("{other:?}"),
    };
    Ok(selected.rows.iter().map(name).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_found_by_every_operator() {
    let mut bench = Bench::start().await;
    people(&mut bench).await;
    for (column, operator, value, expected) in [
        ("age", "", number(30.0), &["Ann"][..]),
        ("age", "!=", number(30.0), &["Bob"]),
        ("age", ">=", number(30.0), &["Ann", "Bob"]),
        ("name", "like", text("%o%"), &["Bob"]),
        ("name", "NOT ILIKE", text("%O%"), &["Ann"]),
        ("name", "=", text("O'Neil \"x\"; --"), &["O'N"]),
        ("age", "in", list(vec![number(40.0), number(50.0)]), &["Bob"]),
        ("age", "IN", list(vec![]), &[]),
        ("name", "not in", list(vec![text("Ann"), text("Bob")]), &["O'N"]),
        ("age", "between", list(vec![number(35.0), text("45")]), &["Bob"]),
        ("age", "is null", null(), &["O'N"]),
        ("age", "IS NOT NULL", null(), &["Ann", "Bob"]),
        ("tags", "@>", list(vec![text("a")]), &["Ann"]),
        ("tags", "&&", list(vec![text("b"), text("z")]), &["Ann"]),
        ("at", "=", text("10.0.0.1"), &["Bob"]),
    ] {
        let found = names(&mut bench, vec![clause(column, operator, value)]).await;
        let found = found.unwrap_or_else(|status| panic!("{column} {operator}: {}", status.message()));
        assert_eq!(found, expected, "{column} {operator}");
    }
    for (clause, code, words) in [
        (
            clause("age", "= 1 OR 1 =", number(1.0)),
            Code::InvalidArgument,
            "where[0].operator",
        ),
        (
            clause("age", "=", null()),
            Code::InvalidArgument,
            "where[0].value",
        ),
        (
            clause("age", "=", number(1.5)),
            Code::InvalidArgument,
            "where[0].value: is 1.5",
        ),
        (
            clause("", "=", number(1.0)),
            Code::InvalidArgument,
            "where[0].column",
        ),
        (
            clause("x\" = 1; --", "=", number(1.0)),
            Code::NotFound,
            "does not exist",
        ),
    ] {
        refused(names(&mut bench, vec![clause]).await, code, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_has_an_order_and_a_window() {
    let mut bench = Bench::start().await;
    people(&mut bench).await;
    let request = |order: &str, limit, offset| pb::SelectFromRequest {
        metadata: metadata(&bench.user),
        table: "People".into(),
        order_by: vec![order.into()],
        limit,
        offset,
        schema: "public".into(),
        ..Default::default()
    };
    let requests = [
        (request("age DESC NULLS LAST", 1, 1), Ok("Ann")),
        (request("name; DROP TABLE x", 0, 0), Err("order_by[0]")),
        (request("id", -1, 0), Err("limit")),
        (request("id", 1, -1), Err("offset")),
    ];
    for (request, expected) in requests {
        let selected = bench.client.select_from(request).await;
        match expected {
            Ok(name) => {
                let selected = selected.unwrap().into_inner();
                assert_eq!(selected.row_count, 1);
                assert_eq!(selected.rows[0].fields["name"], text(name));
                assert_eq!(selected.rows[0].fields.len(), 5);
            }
            Err(field) => refused(selected, Code::InvalidArgument, field),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_changed_and_removed_by_condition_only() {
    let mut bench = Bench::start().await;
    people(&mut bench).await;
    let update = |r#where| pb::UpdateTableRequest {
        metadata: metadata(&bench.user),
        table: "People".into(),
        values: Some(fields([("age", number(31.0))])),
        r#where,
        returning: true,
        ..Default::default()
    };
    let (one, none) = (update(vec![clause("name", "=", text("Ann"))]), update(vec![]));
    let delete = |r#where, returning| pb::DeleteFromRequest {
        metadata: metadata(&bench.user),
        table: "People".into(),
        r#where,
        returning,
        ..Default::default()
    };
    let (old, all) = (
        delete(vec![clause("age", "is not null", null())], true),
        delete(vec![], false),
    );
    let updated = bench.client.update_table(one).await.unwrap().into_inner();
    assert_eq!(updated.rows_updated, 1);
    assert_eq!(updated.rows[0].fields["age"], number(31.0));
    refused(
        bench.client.update_table(none).await,
        Code::InvalidArgument,
        "where",
    );
    let deleted = bench.client.delete_from(old).await.unwrap().into_inner();
    assert_eq!((deleted.rows_deleted, deleted.rows.len()), (2, 2));
    refused(
        bench.client.delete_from(all).await,
        Code::InvalidArgument,
        "where",
    );
    let there = bench.administrator().await;
    let sql = format!("SELECT count(*) FROM {}.\"People\"", bench.schema());
    assert_eq!(there.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_are_added_all_or_none() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t (a int PRIMARY KEY, b text, c text DEFAULT 'c')")
        .await
        .unwrap();
    let rows = |last: f64| {
        let mut rows: Vec<Struct> = (0..9999)
            .map(|a| fields([("a", number(f64::from(a))), ("b", text("x"))]))
            .collect();
        rows.push(fields([("a", number(last))]));
        rows
    };
    for (last, expected) in [(0.0, None), (10_000.0, Some(10_000_i32))] {
        let request = pb::InsertIntoRequest {
            metadata: bench.metadata(),
            table: "t".into(),
            rows: rows(last),
            ..Default::default()
        };
        let inserted = bench.client.insert_into(request).await;
        match expected {
            Some(count) => assert_eq!(inserted.unwrap().into_inner().rows_inserted, i64::from(count)),
            None => refused(inserted, Code::AlreadyExists, "t_pkey"),
        }
        let count = bench
            .value("SELECT count(*) FROM t WHERE c = 'c'", vec![])
            .await
            .unwrap();
        assert_eq!(count, number(expected.map_or(0.0, f64::from)));
    }
    let empty = pb::InsertIntoRequest {
        metadata: bench.metadata(),
        table: "t".into(),
        ..Default::default()
    };
    refused(
        bench.client.insert_into(empty).await,
        Code::InvalidArgument,
        "rows",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_described() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TYPE mood AS ENUM ('sad')").await.unwrap();
    bench
        .execute("CREATE TABLE t (b numeric(10,2) DEFAULT 1.5, a int, m mood, PRIMARY KEY (a, b))")
        .await
        .unwrap();
    bench.execute("CREATE VIEW v AS SELECT 1 AS x").await.unwrap();
    let request = |table: &str| pb::GetTableInfoRequest {
        metadata: metadata(&bench.user),
        table: table.into(),
        schema: "public".into(),
    };
    let (there, gone) = (request("t"), request("nowhere"));
    let info = bench
        .client
        .get_table_info(there)
        .await
        .unwrap()
        .into_inner()
        .table_info
        .unwrap();
    assert_eq!((info.table_name.as_str(), info.schema.as_str()), ("t", "public"));
    assert_eq!(
        (info.primary_keys, info.row_count_estimate),
        (vec!["a".into(), "b".into()], -1)
    );
    let columns: Vec<_> = info
        .columns
        .iter()
        .map(|column| {
            (
                column.column_name.as_str(),
                column.data_type.as_str(),
                column.is_nullable,
                column.default_value.as_str(),
            )
        })
        .collect();
    assert_eq!(
        columns,
        [
            ("b", "numeric(10,2)", false, "1.5"),
            ("a", "integer", false, ""),
            ("m", "mood", true, "")
        ]
    );
    refused(bench.client.get_table_info(gone).await, Code::NotFound, "nowhere");
    let request = pb::ListTablesRequest {
        metadata: bench.metadata(),
        ..Default::default()
    };
    let tables = bench
        .client
        .list_tables(request)
        .await
        .unwrap()
        .into_inner()
        .tables;
    assert_eq!(tables, ["t", "v"]);
    for (table, expected) in [("v", true), ("V", false), ("pg_class", false)] {
        let request = pb::TableExistsRequest {
            metadata: bench.metadata(),
            table: table.into(),
            ..Default::default()
        };
        let exists = bench
            .client
            .table_exists(request)
            .await
            .unwrap()
            .into_inner()
            .exists;
        assert_eq!(exists, expected, "{table}");
    }
}
