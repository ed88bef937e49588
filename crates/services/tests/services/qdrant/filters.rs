use pb::{filter_condition::Condition, match_condition::MatchValue};

use super::*;

fn matches(value: MatchValue) -> Condition {
    Condition::Match(pb::MatchCondition {
        match_value: Some(value),
    })
}

fn words(values: &[&str]) -> pb::KeywordList {
    pb::KeywordList {
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

fn integers(values: &[i64]) -> pb::IntegerList {
    pb::IntegerList {
        values: values.to_vec(),
    }
}

fn at(lat: f64, lon: f64) -> pb::GeoPoint {
    pb::GeoPoint { lat, lon }
}

fn day(day: i64) -> isa_proto::prost_types::Timestamp {
    // 2026-01-01.
    isa_proto::prost_types::Timestamp {
        seconds: 1_767_225_600 + (day - 1) * 86_400,
        nanos: 0,
    }
}

async fn world() -> World {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    let berlin = json!({"lat": 52.52, "lon": 13.40});
    let fiji = json!({"lat": -17.7, "lon": 178.0});
    let points = vec![
        json!({"k": "red", "n": 1, "f": 0.5, "yes": true, "tags": ["a", "b"], "place": berlin, "day": "2026-01-01T12:00:00Z",
            "text": "the quick brown fox", "parts": [{"kind": "x", "size": 1}, {"kind": "y", "size": 2}]}),
        json!({"k": "green", "n": 2, "f": 1.5, "yes": false, "tags": ["b"], "place": fiji, "day": "2026-01-02T12:00:00Z",
            "text": "a brown quick dog", "parts": [{"kind": "x", "size": 2}, {"kind": "y", "size": 1}]}),
        json!({"k": "blue", "n": 3, "f": 2.5, "yes": true, "tags": [], "day": "2026-01-03T12:00:00Z", "gone": null,
            "o": {"p": "deep"}}),
        json!({}),
    ];
    let points = points
        .into_iter()
        .zip(1..)
        .map(|(payload, id)| point(id, &[1.0, 0.0], payload));
    world.upsert("c", points.collect()).await;
    world
}

/// The points that a filter finds.
async fn found_by(world: &World, filter: pb::Filter) -> Vec<u64> {
    let request = pb::ScrollRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        filter: Some(filter.clone()),
        ..Default::default()
    };
    let answer = world.client().scroll(request).await;
    let points = answer
        .unwrap_or_else(|status| panic!("{filter:?}: {status:?}"))
        .into_inner()
        .points;
    let ids: Vec<_> = points
        .iter()
        .map(|point| id_of(point).as_u64().expect("a number"))
        .collect();
    assert_eq!(world.count("c", Some(filter)).await, ids.len() as u64);
    ids
}

#[tokio::test]
async fn every_condition_means_what_it_says() {
    let world = world().await;
    let range = |gt, gte, lt, lte| Condition::Range(pb::RangeCondition { gt, gte, lt, lte });
    let count = |gte, lte| {
        Condition::ValuesCount(pb::ValuesCountCondition {
            gte,
            lte,
            ..Default::default()
        })
    };
    let nested = |kind: &str, size: i64| {
        Condition::Nested(must(vec![
            keyword("kind", kind),
            condition("size", matches(MatchValue::Integer(size))),
        ]))
    };
    let ring = |corners: &[(f64, f64)]| pb::GeoRing {
        points: corners.iter().map(|(lat, lon)| at(*lat, *lon)).collect(),
    };
    let cases: &[(&str, Condition, &[u64])] = &[
        ("k", matches(MatchValue::Keyword("red".into())), &[1]),
        ("n", matches(MatchValue::Integer(2)), &[2]),
        ("yes", matches(MatchValue::Boolean(true)), &[1, 3]),
        ("tags", matches(MatchValue::Keyword("b".into())), &[1, 2]),
        ("o.p", matches(MatchValue::Keyword("deep".into())), &[3]),
        ("parts[].kind", matches(MatchValue::Keyword("x".into())), &[1, 2]),
        (
            "k",
            matches(MatchValue::Keywords(words(&["red", "blue"]))),
            &[1, 3],
        ),
        ("n", matches(MatchValue::Integers(integers(&[2, 3, 9]))), &[2, 3]),
        ("k", matches(MatchValue::ExceptKeywords(words(&["red"]))), &[2, 3]),
        ("n", matches(MatchValue::ExceptIntegers(integers(&[1, 2]))), &[3]),
        ("n", range(Some(1.0), None, None, None), &[2, 3]),
        ("f", range(None, Some(0.5), Some(2.5), None), &[1, 2]),
        ("f", range(None, None, None, Some(0.5)), &[1]),
        (
            "day",
            Condition::DatetimeRange(pb::DatetimeRangeCondition {
                gte: Some(day(2)),
                lt: Some(day(3)),
                ..Default::default()
            }),
            &[2],
        ),
        ("tags", count(Some(2), None), &[1]),
        ("gone", Condition::IsNull(true), &[3]),
        ("gone", Condition::IsNull(false), &[1, 2, 4]),
        ("tags", Condition::IsEmpty(true), &[3, 4]),
        ("tags", Condition::IsEmpty(false), &[1, 2]),
        ("parts", nested("x", 1), &[1]),
        ("parts", nested("y", 1), &[2]),
        (
            "",
            Condition::HasId(pb::PointIdList {
                ids: numbers(&[4, 2, 404]),
            }),
            &[2, 4],
        ),
        (
            "",
            Condition::Filter(pb::Filter {
                must_not: vec![keyword("k", "red")],
                ..Default::default()
            }),
            &[2, 3, 4],
        ),
        (
            "place",
            Condition::GeoRadius(pb::GeoRadiusCondition {
                center: Some(at(52.5, 13.4)),
                radius_meters: 10_000.0,
            }),
            &[1],
        ),
        (
            "place",
            Condition::GeoBoundingBox(pb::GeoBoundingBoxCondition {
                top_left: Some(at(53.0, 13.0)),
                bottom_right: Some(at(52.0, 14.0)),
            }),
            &[1],
        ),
        // Across the 180th meridian.
        (
            "place",
            Condition::GeoBoundingBox(pb::GeoBoundingBoxCondition {
                top_left: Some(at(-10.0, 170.0)),
                bottom_right: Some(at(-20.0, -170.0)),
            }),
            &[2],
        ),
        (
            "place",
            Condition::GeoPolygon(pb::GeoPolygonCondition {
                exterior: Some(ring(&[
                    (52.0, 13.0),
                    (52.0, 14.0),
                    (53.0, 14.0),
                    (53.0, 13.0),
                    (52.0, 13.0),
                ])),
                interiors: vec![],
            }),
            &[1],
        ),
    ];
    for (field, given, expected) in cases {
        let filter = must(vec![condition(field, given.clone())]);
        assert_eq!(found_by(&world, filter).await, *expected, "{field}: {given:?}");
    }
}

#[tokio::test]
async fn texts_are_matched_by_words() {
    let world = world().await;
    let index = pb::CreateFieldIndexRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        field_name: "text".to_owned(),
        field_type: Some("text".to_owned()),
        field_index_params: Some(object(json!({"tokenizer": "word", "phrase_matching": true}))),
        wait: Some(true),
    };
    world.client().create_field_index(index).await.expect("an index");
    let cases: [(MatchValue, &[u64]); 3] = [
        (MatchValue::Text("quick brown".into()), &[1, 2]),
        (MatchValue::Phrase("quick brown".into()), &[1]),
        (MatchValue::TextAny("fox cat".into()), &[1]),
    ];
    for (value, expected) in cases {
        let filter = must(vec![condition("text", matches(value.clone()))]);
        assert_eq!(found_by(&world, filter).await, expected, "{value:?}");
    }
}

#[tokio::test]
async fn lists_of_conditions_work_together() {
    let world = world().await;
    let yes = condition("yes", matches(MatchValue::Boolean(true)));
    let both = pb::Filter {
        must: vec![yes.clone()],
        should: vec![keyword("k", "red"), keyword("k", "green")],
        ..Default::default()
    };
    assert_eq!(found_by(&world, both).await, [1]);
    let none = pb::Filter {
        must_not: vec![yes.clone(), keyword("k", "green")],
        ..Default::default()
    };
    assert_eq!(found_by(&world, none).await, [4]);
    let two = pb::Filter {
        min_should: Some(pb::MinShould {
            conditions: vec![
                yes,
                keyword("tags", "b"),
                condition("n", matches(MatchValue::Integer(3))),
            ],
            min_count: 2,
        }),
        ..Default::default()
    };
    assert_eq!(found_by(&world, two).await, [1, 3]);
    assert_eq!(
        found_by(&world, pb::Filter::default()).await,
        [1, 2, 3, 4],
        "no filter at all"
    );
}
