use qdrant_client::qdrant::{GetPointsBuilder, PayloadSchemaType, PointStruct, UpsertPointsBuilder};

use super::*;

const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";

async fn world() -> World {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    world
}

fn by_ids(ids: &[u64]) -> pb::PointIdList {
    pb::PointIdList { ids: numbers(ids) }
}

/// What Qdrant's own client reads of a point's payload.
async fn stored(world: &World, id: u64) -> Json {
    let request = GetPointsBuilder::new(world.full("c"), vec![id.into()]).with_payload(true);
    let answer = world.engine.get_points(request).await.unwrap();
    let payload = answer.result.into_iter().next().expect("a point").payload;
    payload
        .into_iter()
        .map(|(key, value)| (key, Json::from(value)))
        .collect()
}

#[tokio::test]
async fn points_come_back_as_they_were_written() {
    let world = world().await;
    let payload = json!({
        "whole": 7, "negative": -7, "part": 0.25, "large": 1e300, "exact": 9_007_199_254_740_991_i64,
        "text": "größer 🦀", "empty": "", "yes": true, "nothing": null,
        // To the last bit, though the engine keeps them as text.
        "digits": [11.786_102_294_921_875, -0.1, f64::MAX, f64::MIN_POSITIVE, 8.988_465_674_311_58e307, 1.0 / 3.0],
        "list": [1, "two", [3.5], {}], "object": {"a": {"b": [null, false]}},
    });
    let mut by_uuid = point(0, &[0.5, 0.25], json!({}));
    by_uuid.id = Some(pb::point::Id::StrId(UUID.to_uppercase()));
    world
        .upsert(
            "c",
            vec![
                point(1, &[1.0, -2.5], payload.clone()),
                by_uuid,
                point(u64::MAX, &[0.0, 0.0], json!({})),
            ],
        )
        .await;

    let request = pb::GetPointsRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        ids: vec![uuid(UUID), number(u64::MAX), number(404), number(1)],
        with_payload: None,
        with_vectors: Some(true),
    };
    let points = world
        .client()
        .get_points(request)
        .await
        .unwrap()
        .into_inner()
        .points;
    let ids: Vec<_> = points.iter().map(id_of).collect();
    assert_eq!(
        ids,
        [json!(UUID), json!(u64::MAX), json!(1)],
        "in the order asked"
    );
    assert_eq!(
        shown(points[2].payload.as_ref().unwrap())["list"],
        payload["list"]
    );
    assert_eq!(points[2].payload, Some(object(payload.clone())));
    assert_eq!(
        points[2].vectors,
        Some(pb::point::Vectors::Vector(dense(&[1.0, -2.5])))
    );

    // Integers are such on the engine.
    let found = stored(&world, 1).await;
    assert_eq!(found, payload);
    assert!(found["whole"].is_i64() && found["exact"].is_i64() && found["part"].is_f64());

    let request = pb::GetPointsRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        ids: numbers(&[1]),
        with_payload: Some(false),
        with_vectors: None,
    };
    let bare = world
        .client()
        .get_points(request)
        .await
        .unwrap()
        .into_inner()
        .points;
    assert_eq!((&bare[0].payload, &bare[0].vectors), (&None, &None));
}

#[tokio::test]
async fn integers_of_qdrants_own_clients_lose_nothing() {
    let world = world().await;
    let payload = qdrant_client::Payload::try_from(json!({"large": i64::MAX, "small": 3})).unwrap();
    let points = vec![PointStruct::new(1, vec![1.0, 0.0], payload)];
    let upsert = UpsertPointsBuilder::new(world.full("c"), points).wait(true);
    world.engine.upsert_points(upsert).await.unwrap();
    let point = world.get("c", &[1]).await.remove(0);
    assert_eq!(
        shown(&point.payload.unwrap()),
        json!({"large": i64::MAX.to_string(), "small": 3})
    );
}

#[tokio::test]
async fn a_write_replaces_the_point_whole() {
    let world = world().await;
    world
        .upsert("c", vec![point(1, &[1.0, 0.0], json!({"a": 1, "b": 2}))])
        .await;
    world
        .upsert("c", vec![point(1, &[0.0, 1.0], json!({"c": 3}))])
        .await;
    assert_eq!(stored(&world, 1).await, json!({"c": 3}));
    assert_eq!(world.count("c", None).await, 1);
}

#[tokio::test]
async fn without_wait_a_write_is_acknowledged() {
    let world = world().await;
    let request = pb::UpsertPointsRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        points: vec![point(1, &[1.0, 0.0], json!({}))],
        wait: None,
        ordering: Some("strong".to_owned()),
    };
    let answer = world.client().upsert_points(request).await.unwrap().into_inner();
    // An engine may have applied it all the same.
    assert!(matches!(answer.status.as_str(), "acknowledged" | "completed"));
    let end = tokio::time::Instant::now() + PATIENCE;
    while world.count("c", None).await != 1 {
        assert!(tokio::time::Instant::now() < end, "the point is not seen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn points_are_removed_by_id_and_by_filter() {
    let world = world().await;
    let points = (0..6).map(|i| {
        point(
            i,
            &[i as f32, 0.0],
            json!({"even": i % 2 == 0, "kind": format!("k{i}")}),
        )
    });
    world.upsert("c", points.collect()).await;
    let delete = |selector| {
        let request = pb::DeletePointsRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            selector: Some(selector),
            wait: Some(true),
        };
        let mut client = world.client();
        async move { client.delete_points(request).await.expect("removed").into_inner() }
    };
    use pb::delete_points_request::Selector;
    let answer = delete(Selector::Ids(by_ids(&[0, 1, 404]))).await;
    assert_eq!(answer.status, "completed");
    assert_eq!(world.count("c", None).await, 4);
    delete(Selector::Filter(must(vec![keyword("kind", "k3")]))).await;
    let left: Vec<_> = world
        .get("c", &[0, 1, 2, 3, 4, 5])
        .await
        .iter()
        .map(id_of)
        .collect();
    assert_eq!(left, [2, 4, 5].map(|id| json!(id)));
}

#[tokio::test]
async fn payloads_are_changed_key_by_key() {
    let world = world().await;
    let points = (1..=3).map(|i| point(i, &[1.0, 0.0], json!({"a": i, "b": "x", "c": {"d": 1}})));
    world.upsert("c", points.collect()).await;

    use pb::update_payload_request::Selector as Update;
    let update = |payload: Json, selector| {
        let request = pb::UpdatePayloadRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            payload: Some(object(payload)),
            selector: Some(selector),
            wait: Some(true),
        };
        let mut client = world.client();
        async move {
            client
                .update_payload(request)
                .await
                .expect("updated")
                .into_inner()
        }
    };
    let answer = update(json!({"b": "y", "e": [1]}), Update::Ids(by_ids(&[1]))).await;
    assert_eq!(
        (answer.status.as_str(), answer.operation_id.is_empty()),
        ("completed", false)
    );
    assert_eq!(
        stored(&world, 1).await,
        json!({"a": 1, "b": "y", "c": {"d": 1}, "e": [1]})
    );
    update(json!({"b": "z"}), Update::Filter(must(vec![keyword("b", "x")]))).await;
    assert_eq!(stored(&world, 2).await["b"], "z");
    assert_eq!(stored(&world, 1).await["b"], "y");

    let request = pb::DeletePayloadRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        keys: vec!["a".to_owned(), "e".to_owned(), "absent".to_owned()],
        selector: Some(pb::delete_payload_request::Selector::Ids(by_ids(&[1, 2]))),
        wait: Some(true),
    };
    world.client().delete_payload(request).await.expect("removed");
    assert_eq!(stored(&world, 1).await, json!({"b": "y", "c": {"d": 1}}));
    assert_eq!(stored(&world, 3).await["a"], 3);

    let request = pb::ClearPayloadRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        selector: Some(pb::clear_payload_request::Selector::Filter(must(vec![keyword(
            "b", "z",
        )]))),
        wait: Some(true),
    };
    world.client().clear_payload(request).await.expect("cleared");
    assert_eq!(
        (stored(&world, 2).await, stored(&world, 3).await),
        (json!({}), json!({}))
    );
    assert_ne!(stored(&world, 1).await, json!({}));
}

#[tokio::test]
async fn indexes_come_and_go() {
    let world = world().await;
    world
        .upsert(
            "c",
            vec![point(
                1,
                &[1.0, 0.0],
                json!({"k": "a", "n": 1, "t": "some words"}),
            )],
        )
        .await;
    let create = |field: &str, kind: &str, params: Option<Json>| {
        let request = pb::CreateFieldIndexRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            field_name: field.to_owned(),
            field_type: Some(kind.to_owned()),
            field_index_params: params.map(object),
            wait: Some(true),
        };
        let mut client = world.client();
        async move { client.create_field_index(request).await }
    };
    for kind in [
        "keyword", "integer", "float", "bool", "geo", "text", "datetime", "uuid", "",
    ] {
        let answer = create(&format!("f{kind}"), kind, None)
            .await
            .expect("an index")
            .into_inner();
        assert_eq!(answer.status, "completed");
    }
    create(
        "t",
        "text",
        Some(json!({"tokenizer": "word", "lowercase": true, "min_token_len": 2})),
    )
    .await
    .expect("an index");
    create("k", "keyword", Some(json!({"is_tenant": true})))
        .await
        .expect("an index");
    create("k", "integer", None)
        .await
        .expect("another type in its place");
    let schema = || async {
        let info = world
            .engine
            .collection_info(world.full("c"))
            .await
            .unwrap()
            .result
            .unwrap();
        info.payload_schema
    };
    let found = schema().await;
    assert_eq!(found["k"].data_type, PayloadSchemaType::Integer as i32);
    assert_eq!(found["t"].data_type, PayloadSchemaType::Text as i32);
    assert_eq!(found["f"].data_type, PayloadSchemaType::Keyword as i32);
    assert_eq!(found["fdatetime"].data_type, PayloadSchemaType::Datetime as i32);

    let delete = || {
        let request = pb::DeleteFieldIndexRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            field_name: "k".to_owned(),
            wait: Some(true),
        };
        let mut client = world.client();
        async move {
            client
                .delete_field_index(request)
                .await
                .expect("removed")
                .into_inner()
        }
    };
    assert_eq!(delete().await.status, "completed");
    assert!(!schema().await.contains_key("k"));
    delete().await;

    fails(create("k", "number", None).await, Code::InvalidArgument);
    fails(
        create("k", "keyword", Some(json!({"lookup": true}))).await,
        Code::InvalidArgument,
    );
}

#[tokio::test]
async fn named_and_sparse_vectors_come_back() {
    let world = World::start().await;
    let request = pb::CreateCollectionRequest {
        metadata: world.me(),
        collection_name: "n".to_owned(),
        vectors_config: Some(pb::create_collection_request::VectorsConfig::NamedVectorParams(
            pb::VectorsConfigParams {
                params: [
                    ("a".to_owned(), params(2, pb::Distance::Dot)),
                    ("b".to_owned(), params(3, pb::Distance::Euclid)),
                ]
                .into(),
            },
        )),
        sparse_vectors: vec!["words".to_owned()],
        ..Default::default()
    };
    world
        .client()
        .create_collection(request)
        .await
        .expect("a collection");
    let all = [
        ("a", dense(&[1.0, 2.0])),
        ("b", dense(&[1.0, 2.0, 3.0])),
        ("words", sparse(&[3, 70_000], &[0.5, 2.0])),
    ];
    world
        .upsert("n", vec![named(1, &all), named(2, &all[..1]), named(3, &[])])
        .await;
    let points = world.get("n", &[1, 2, 3]).await;
    assert_eq!(points[0].vectors, named(1, &all).vectors);
    assert_eq!(points[1].vectors, named(2, &all[..1]).vectors);

    let search = |name: &str, vector: pb::Vector| {
        let request = pb::SearchRequest {
            metadata: world.me(),
            collection_name: "n".to_owned(),
            vector: Some(vector),
            vector_name: Some(name.to_owned()),
            ..Default::default()
        };
        let mut client = world.client();
        async move { client.search(request).await }
    };
    let result = search("words", sparse(&[70_000], &[1.0]))
        .await
        .unwrap()
        .into_inner()
        .result;
    assert_eq!(found(&result), [json!(1)]);
    assert_eq!(result[0].score, 2.0);
    assert_eq!(
        found(&search("a", dense(&[1.0, 0.0])).await.unwrap().into_inner().result).len(),
        2
    );
    for (name, vector) in [
        ("", dense(&[1.0, 0.0])),
        ("absent", dense(&[1.0, 0.0])),
        ("a", dense(&[1.0])),
        ("words", dense(&[1.0])),
        ("a", sparse(&[0, 1], &[1.0, 0.0])),
        ("words", sparse(&[1, 1], &[1.0, 0.0])),
    ] {
        fails(search(name, vector).await, Code::InvalidArgument);
    }
}
