//! Values go there and back without loss.

use super::*;

fn point<const N: usize>(axes: [(&str, Value); N]) -> Value {
    let mut point = fields(axes);
    point.fields.insert("@type".into(), text("point"));
    kind(Kind::StructValue(point))
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_come_back_as_they_were() {
    let world = World::start().await;
    let two = 9_007_199_254_740_992.0;
    for value in [
        null(),
        boolean(true),
        number(0.1),
        number(-17.0),
        number(two),
        number(-two),
        text("größer als 🦀"),
        list(vec![number(1.0), text("x"), list(vec![null()])]),
        object([("a", list(vec![object([("b", number(1.5))])]))]),
        typed("integer", "9007199254740993"),
        typed("integer", "-9223372036854775808"),
        typed("float", "NaN"),
        typed("float", "-Infinity"),
        typed("date", "2024-02-29"),
        typed("date", "-0044-03-15"),
        typed("date", "+999999999-12-31"),
        typed("time", "12:30:00.000000001+05:30"),
        typed("localtime", "23:59:59.5"),
        typed("datetime", "2024-05-01T12:00:00+02:00"),
        typed("datetime", "2024-10-27T02:30:00+02:00[Europe/Berlin]"),
        typed("datetime", "2024-10-27T02:30:00+01:00[Europe/Berlin]"),
        typed("localdatetime", "1969-12-31T23:59:59.999999999"),
        typed("duration", "P14M3DT-4.5S"),
        typed("bytes", "AAEC/w=="),
        point([("srid", number(4326.0)), ("x", number(1.0)), ("y", number(2.0))]),
        point([
            ("srid", number(9157.0)),
            ("x", number(0.5)),
            ("y", number(-2.0)),
            ("z", number(3.0)),
        ]),
    ] {
        assert_eq!(world.value("RETURN $v AS v", [("v", value.clone())]).await, value);
    }
    // A Value of no kind, as the published client's sync form sends.
    assert_eq!(
        world.value("RETURN $v AS v", [("v", Value { kind: None })]).await,
        null()
    );
    assert_eq!(
        world
            .value("RETURN $v AS v", [("v", typed("float", "2.0"))])
            .await,
        number(2.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn neo4j_reads_them_as_what_they_are() {
    let world = World::start().await;
    for (value, is) in [
        (number(2.0), "INTEGER NOT NULL"),
        (number(2.5), "FLOAT NOT NULL"),
        (typed("float", "2.0"), "FLOAT NOT NULL"),
        (typed("integer", "5"), "INTEGER NOT NULL"),
        (
            typed("datetime", "2024-05-01T12:00:00[Europe/Berlin]"),
            "ZONED DATETIME NOT NULL",
        ),
        (typed("duration", "P1W"), "DURATION NOT NULL"),
    ] {
        assert_eq!(
            world.value("RETURN valueType($v)", [("v", value)]).await,
            text(is)
        );
    }
    let moment = typed("datetime", "2024-10-27T02:30:00+01:00[Europe/Berlin]");
    assert_eq!(
        world.value("RETURN toString($v)", [("v", moment)]).await,
        text("2024-10-27T02:30:00+01:00[Europe/Berlin]")
    );
    assert_eq!(
        world
            .value("RETURN datetime('2024-07-01T00:00:00[America/New_York]')", [])
            .await,
        typed("datetime", "2024-07-01T00:00:00-04:00[America/New_York]")
    );
    assert_eq!(
        world
            .value(
                "RETURN toString($v)",
                [("v", typed("duration", "P1Y2M3W4DT5H6M7.8S"))]
            )
            .await,
        text("P1Y2M25DT5H6M7.8S")
    );
    for value in [
        number(1e300),
        object([("@type", text("node"))]),
        typed("node", "1"),
        object([("@type", number(1.0))]),
        typed("datetime", "2024-10-27T02:30:00[Europe/Berlin]"),
        point([("srid", number(1.0)), ("x", number(1.0)), ("y", number(2.0))]),
    ] {
        refused(
            world.cypher("RETURN $v AS v", [("v", value)]).await,
            Code::InvalidArgument,
            "parameters.v",
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_relationships_and_paths_in_rows_hide_our_labels() {
    let world = World::start().await;
    let (a, b) = (
        world.create(&["Row"], [("n", number(1.0))]).await.id,
        world.create(&["Row"], []).await.id,
    );
    let related = world.relate(a, "TO", b).await;
    let answer = world
        .cypher(
            "MATCH p = (a)-[r]->(b) WHERE id(a) = $id RETURN a, r, p, labels(a) AS raw",
            [("id", number(a as f64))],
        )
        .await
        .unwrap();
    let row = &answer.rows[0].fields;
    let node = |id: i64, properties: Struct| {
        object([
            ("@type", text("node")),
            ("id", number(id as f64)),
            ("labels", list(vec![text("Row")])),
            ("properties", kind(Kind::StructValue(properties))),
        ])
    };
    let relationship = object([
        ("@type", text("relationship")),
        ("id", number(related.id as f64)),
        ("start_node_id", number(a as f64)),
        ("end_node_id", number(b as f64)),
        ("type", text("TO")),
        ("properties", object([])),
    ]);
    let first = node(a, fields([("n", number(1.0))]));
    assert_eq!(row["a"], first);
    assert_eq!(row["r"], relationship);
    let path = object([
        ("@type", text("path")),
        ("nodes", list(vec![first, node(b, fields([]))])),
        ("relationships", list(vec![relationship])),
    ]);
    assert_eq!(row["p"], path);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_keep_their_types() {
    let world = World::start().await;
    let properties = [
        (
            "when",
            typed("datetime", "2024-05-01T12:00:00+02:00[Europe/Berlin]"),
        ),
        ("big", typed("integer", "9007199254740993")),
        (
            "where",
            point([("srid", number(7203.0)), ("x", number(1.0)), ("y", number(2.0))]),
        ),
        ("many", list(vec![number(1.0), number(2.0)])),
        ("raw", typed("bytes", "AAEC")),
    ];
    let made = world.create(&["Typed"], properties.clone()).await;
    assert_eq!(made.properties, Some(fields(properties)));
    let cypher = format!(
        "MATCH (n:`{}`) RETURN n.when.timezone + ' ' + toString(n.big) + ' ' + toString(n.where.x) AS said",
        world.label()
    );
    assert_eq!(
        world.look::<String>(&cypher, "said").await,
        ["Europe/Berlin 9007199254740993 1.0"]
    );
}
