use tonic::Code;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn values_come_as_the_table_says() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        .await
        .unwrap();
    bench
        .execute("CREATE TYPE pair AS (a int, b text)")
        .await
        .unwrap();
    bench
        .execute("CREATE DOMAIN small AS numeric(4, 1)")
        .await
        .unwrap();
    for (sql, expected) in [
        ("NULL::int", null()),
        ("true", boolean(true)),
        ("7::int2", number(7.0)),
        ("9007199254740992", number(9_007_199_254_740_992.0)),
        ("9007199254740993", text("9007199254740993")),
        ("-9223372036854775808", text("-9223372036854775808")),
        ("0.1::float4", number(0.1)),
        ("'NaN'::float8", text("NaN")),
        ("'-Infinity'::float4", text("-Infinity")),
        ("12.340", text("12.340")),
        ("'NaN'::numeric", text("NaN")),
        (
            "123456789012345678901234567890.00001",
            text("123456789012345678901234567890.00001"),
        ),
        ("0.00000012::numeric", text("0.00000012")),
        ("2.5::small", text("2.5")),
        ("'a'::char(3)", text("a  ")),
        ("'x'::\"char\"", text("x")),
        ("'name'::name", text("name")),
        ("'\\x00ff'::bytea", text("\\x00ff")),
        (
            "'6F9619FF-8B86-D011-B42D-00CF4FC964FF'::uuid",
            text("6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ),
        (
            "'2026-01-31 13:05:00.5+02'::timestamptz",
            text("2026-01-31T11:05:00.500000Z"),
        ),
        ("'2026-01-31 13:05'::timestamp", text("2026-01-31T13:05:00")),
        ("'infinity'::timestamptz", text("Infinity")),
        ("'0044-03-15 BC'::date", text("0044-03-15 BC")),
        ("'294276-12-31'::date", text("294276-12-31")),
        ("'13:05:00.25'::time", text("13:05:00.25")),
        (
            "'1 year 2 mons -3 days 04:05:06.5'::interval",
            text("P1Y2M-3DT4H5M6.5S"),
        ),
        (
            "'{\"a\": [1, 12345678901234567890, null]}'::jsonb",
            object([("a", list(vec![number(1.0), text("12345678901234567890"), null()]))]),
        ),
        ("'[1.0]'::json", list(vec![number(1.0)])),
        (
            "'[1,2.5,-3]'::vector",
            list(vec![number(1.0), number(2.5), number(-3.0)]),
        ),
        ("'[1,2.5]'::halfvec", list(vec![number(1.0), number(2.5)])),
        (
            "ARRAY[[1,2],[3,NULL]]",
            list(vec![
                list(vec![number(1.0), number(2.0)]),
                list(vec![number(3.0), null()]),
            ]),
        ),
        ("ARRAY['a',NULL]::text[]", list(vec![text("a"), null()])),
        ("ARRAY[]::int[]", list(vec![])),
        (
            "ARRAY['sad','happy']::mood[]",
            list(vec![text("sad"), text("happy")]),
        ),
        ("'happy'::mood", text("happy")),
        ("ROW(1, 'b')::pair", text("(1,b)")),
        ("'10.0.0.1/8'::inet", text("10.0.0.1/8")),
        ("'10.1.0.0/16'::cidr", text("10.1.0.0/16")),
        ("ARRAY[1.5::money, NULL]", list(vec![text("$1.50"), null()])),
        ("ARRAY['::1']::inet[]", list(vec![text("::1")])),
        ("'[1,5)'::int4range", text("[1,5)")),
        ("B'101'", text("101")),
        ("'12.34'::money", text("$12.34")),
        ("'13:05+02'::timetz", text("13:05:00+02")),
        ("'(1,2)'::point", text("(1,2)")),
        ("'a & b'::tsquery", text("'a' & 'b'")),
        ("'{1:1.5}/3'::sparsevec", text("{1:1.5}/3")),
        ("7::oid", number(7.0)),
    ] {
        let found = bench.value(&format!("SELECT {sql} AS v"), vec![]).await;
        let found = found.unwrap_or_else(|status| panic!("{sql}: {}", status.message()));
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_as_the_table_says() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TYPE mood AS ENUM ('sad', 'happy')")
        .await
        .unwrap();
    for (kind, value, expected) in [
        ("int8", text("9223372036854775807"), "9223372036854775807"),
        ("int8", number(-5.0), "-5"),
        (
            "numeric(40,20)",
            text("1.00000000000000000001"),
            "1.00000000000000000001",
        ),
        ("float8", number(f64::NEG_INFINITY), "-Infinity"),
        ("text", number(2.5), "2.5"),
        ("text", text("a'b\\\"c"), "a'b\\\"c"),
        ("bool", boolean(false), "false"),
        (
            "timestamptz",
            text("2026-01-31T11:05:00.500000Z"),
            "2026-01-31 11:05:00.5+00",
        ),
        (
            "interval",
            text("P1Y2M-3DT4H5M6.5S"),
            "1 year 2 mons -3 days +04:05:06.5",
        ),
        ("bytea", text("\\x00ff"), "\\x00ff"),
        ("mood", text("sad"), "sad"),
        ("mood[]", list(vec![text("sad"), null()]), "{sad,NULL}"),
        (
            "int[]",
            list(vec![list(vec![number(1.0)]), list(vec![number(2.0)])]),
            "{{1},{2}}",
        ),
        ("text[]", list(vec![text("a,\"b\\")]), "{\"a,\\\"b\\\\\"}"),
        ("vector", list(vec![number(1.0), number(2.5)]), "[1,2.5]"),
        (
            "jsonb",
            object([("a", list(vec![number(1.0), null(), text("x\"")]))]),
            "{\"a\": [1, null, \"x\\\"\"]}",
        ),
        ("jsonb", text("[1]"), "[1]"),
        (
            "jsonb[]",
            list(vec![object([("a", number(1.0))])]),
            "{\"{\\\"a\\\": 1}\"}",
        ),
        ("inet", text("::1"), "::1/128"),
        ("int4range", text("[1,3]"), "[1,4)"),
        ("text", null(), "NULL"),
        ("text", Value { kind: None }, "NULL"),
    ] {
        let sql = format!("SELECT COALESCE($1::{kind}::text, 'NULL') AS v");
        let found = bench.value(&sql, vec![value]).await;
        let found = found.unwrap_or_else(|status| panic!("{kind}: {}", status.message()));
        assert_eq!(found, text(expected), "{kind}");
    }
    for (kind, value, words) in [
        (
            "int4",
            number(3e9),
            "params[0]: is 3000000000, which is out of range",
        ),
        ("int4", text("x"), "invalid input syntax"),
        ("text", boolean(true), "params[0]: is a bool"),
        ("int4", list(vec![]), "params[0]: is a list"),
        ("text", object([]), "params[0]: is a struct"),
        ("text", text("a\0b"), "params[0]: has a NUL"),
        ("jsonb", number(f64::NAN), "params[0]: has NaN"),
        ("int4[]", list(vec![number(0.5)]), "params[0]: [0] is 0.5"),
    ] {
        let found = bench.value(&format!("SELECT $1::{kind} AS v"), vec![value]).await;
        refused(found, Code::InvalidArgument, words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_without_a_form_of_their_own_come_as_text_wherever_they_can() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t (a money, \"b \"\"c\" int)")
        .await
        .unwrap();
    let rows = bench
        .query("INSERT INTO t VALUES (1.5, 2) RETURNING * -- end", vec![])
        .await
        .unwrap();
    assert_eq!(rows, [fields([("a", text("$1.50")), ("b \"c", number(2.0))])]);
    let rows = bench
        .query("WITH x AS (SELECT a FROM t) SELECT a FROM x;", vec![])
        .await
        .unwrap();
    assert_eq!(rows, [fields([("a", text("$1.50"))])]);
    let with = "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x";
    refused(bench.query(with, vec![]).await, Code::InvalidArgument, "a::text");
}
