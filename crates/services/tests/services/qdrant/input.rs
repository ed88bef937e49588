use super::*;

#[tokio::test]
async fn vectors_are_checked_before_anything_is_written() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    for bad in [
        &[1.0][..],
        &[],
        &[1.0, 2.0, 3.0],
        &[1.0, f32::NAN],
        &[f32::INFINITY, 0.0],
        &[f32::NEG_INFINITY, 0.0],
    ] {
        let points = vec![point(1, &[1.0, 0.0], json!({})), point(2, bad, json!({}))];
        let text = fails(world.try_upsert("c", points).await, Code::InvalidArgument);
        assert!(text.starts_with("points.1.vector: "), "{text}");
        let search = pb::SearchRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            vector: Some(dense(bad)),
            ..Default::default()
        };
        let text = fails(world.client().search(search).await, Code::InvalidArgument);
        assert!(text.starts_with("vector: "), "{text}");
    }
    let without = pb::Point {
        vectors: None,
        ..point(1, &[], json!({}))
    };
    for bad in [without, named(1, &[("a", dense(&[1.0, 0.0]))])] {
        fails(world.try_upsert("c", vec![bad]).await, Code::InvalidArgument);
    }
    assert_eq!(world.count("c", None).await, 0);
}

#[tokio::test]
async fn ids_and_payloads_are_checked() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    for bad in ["", "1", "not-a-uuid", "550e8400"] {
        let mut point = point(1, &[1.0, 0.0], json!({}));
        point.id = Some(pb::point::Id::StrId(bad.to_owned()));
        let text = fails(world.try_upsert("c", vec![point]).await, Code::InvalidArgument);
        assert!(text.starts_with("points.0.str_id: "), "{text}");
    }
    let mut none = point(1, &[1.0, 0.0], json!({}));
    none.id = None;
    fails(world.try_upsert("c", vec![none]).await, Code::InvalidArgument);
    let mut nan = point(1, &[1.0, 0.0], json!({"n": 1}));
    nan.payload.as_mut().unwrap().fields.get_mut("n").unwrap().kind = Some(Kind::NumberValue(f64::NAN));
    let text = fails(world.try_upsert("c", vec![nan]).await, Code::InvalidArgument);
    assert!(text.starts_with("points.0.payload: "), "{text}");
    let deep = (0..24).fold(json!(1), |inner, _| json!([inner]));
    fails(
        world
            .try_upsert("c", vec![point(1, &[1.0, 0.0], json!({"deep": deep}))])
            .await,
        Code::InvalidArgument,
    );
    let deep = (0..23).fold(json!(1), |inner, _| json!([inner]));
    world
        .upsert("c", vec![point(1, &[1.0, 0.0], json!({"deep": deep.clone()}))])
        .await;
    let found = world.get("c", &[1]).await.remove(0);
    assert_eq!(shown(&found.payload.unwrap()), json!({"deep": deep}));
}

#[tokio::test]
async fn requests_are_bounded() {
    let world = World::start().await;
    world.collection("c", 1, pb::Distance::Dot).await;
    let points = |count: u64| {
        (0..count)
            .map(|i| point(i, &[1.0], json!({})))
            .collect::<Vec<_>>()
    };
    fails(world.try_upsert("c", vec![]).await, Code::InvalidArgument);
    fails(world.try_upsert("c", points(10_001)).await, Code::InvalidArgument);
    world.upsert("c", points(10_000)).await;
    let page = |limit| pb::ScrollRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        limit: Some(limit),
        ..Default::default()
    };
    assert_eq!(
        world
            .client()
            .scroll(page(10_000))
            .await
            .unwrap()
            .into_inner()
            .points
            .len(),
        10_000
    );
    fails(world.client().scroll(page(10_001)).await, Code::InvalidArgument);
    let search = |limit, offset| pb::SearchRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        vector: Some(dense(&[1.0])),
        limit,
        offset: Some(offset),
        ..Default::default()
    };
    assert_eq!(
        world
            .client()
            .search(search(10_000, 0))
            .await
            .unwrap()
            .into_inner()
            .result
            .len(),
        10_000
    );
    for (limit, offset) in [(10_001, 0), (1, 100_001), (u64::MAX, u64::MAX)] {
        fails(
            world.client().search(search(limit, offset)).await,
            Code::InvalidArgument,
        );
    }
    let ids = pb::GetPointsRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        ids: (0..10_001).map(number).collect(),
        ..Default::default()
    };
    fails(world.client().get_points(ids).await, Code::InvalidArgument);
}

#[tokio::test]
async fn selectors_and_settings_say_what_is_wrong() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    world
        .upsert("c", vec![point(1, &[1.0, 0.0], json!({"a": 1}))])
        .await;
    let delete = |selector| pb::DeletePointsRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        selector,
        wait: Some(true),
    };
    use pb::delete_points_request::Selector;
    let unclear = must(vec![condition(
        "a",
        pb::filter_condition::Condition::Range(pb::RangeCondition::default()),
    )]);
    for selector in [
        None,
        Some(Selector::Ids(pb::PointIdList::default())),
        Some(Selector::Filter(pb::Filter::default())),
        Some(Selector::Filter(unclear)),
    ] {
        fails(
            world.client().delete_points(delete(selector)).await,
            Code::InvalidArgument,
        );
    }
    assert_eq!(world.count("c", None).await, 1);

    let create = |size, distance: i32| pb::CreateCollectionRequest {
        metadata: world.me(),
        collection_name: "d".to_owned(),
        vectors_config: Some(pb::create_collection_request::VectorsConfig::VectorParams(
            pb::VectorParams {
                size,
                distance,
                ..Default::default()
            },
        )),
        ..Default::default()
    };
    for (size, distance, field) in [
        (0, 1, "vector_params.size"),
        (65_537, 1, "vector_params.size"),
        (4, 0, "vector_params.distance"),
        (4, 9, "vector_params.distance"),
    ] {
        let text = fails(
            world.client().create_collection(create(size, distance)).await,
            Code::InvalidArgument,
        );
        assert!(text.starts_with(field), "{text}");
    }
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a:b",
        "a*b",
        "a\nb",
        &"x".repeat(201),
    ] {
        let request = pb::CreateCollectionRequest {
            collection_name: name.to_owned(),
            ..create(4, 1)
        };
        let text = fails(
            world.client().create_collection(request).await,
            Code::InvalidArgument,
        );
        assert!(text.starts_with("collection_name: "), "{text}");
    }
    let request = pb::CreateCollectionRequest {
        collection_name: "x".repeat(200),
        ..create(65_536, 1)
    };
    world
        .client()
        .create_collection(request)
        .await
        .expect("the longest name and most dimensions");
    let update = pb::UpdateCollectionRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        params: Some(object(json!({"unknown": 1}))),
        ..Default::default()
    };
    let text = fails(
        world.client().update_collection(update).await,
        Code::InvalidArgument,
    );
    assert!(text.starts_with("params: ") && text.contains("unknown"), "{text}");
}

#[tokio::test]
#[allow(clippy::needless_update)] // Of requests that have no other fields.
async fn an_absent_collection_is_not_found_everywhere() {
    let world = World::start().await;
    let (me, name) = (world.me(), "absent".to_owned());
    let mut client = world.client();
    let selector = pb::PointIdList { ids: numbers(&[1]) };
    macro_rules! absent {
        ($($method:ident($request:ident { $($field:ident: $value:expr),* });)*) => {
            $(let request = pb::$request {
                metadata: me.clone(),
                collection_name: name.clone(),
                $($field: $value,)*
                ..Default::default()
            };
            let text = fails(client.$method(request).await, Code::NotFound);
            assert!(text.contains("absent"), "{}: {text}", stringify!($method));)*
        };
    }
    absent! {
        get_collection_info(GetCollectionInfoRequest {});
        delete_collection(DeleteCollectionRequest {});
        create_collection_alias(CreateCollectionAliasRequest { alias_name: "alias".into() });
        upsert_points(UpsertPointsRequest { points: vec![point(1, &[1.0], json!({}))] });
        get_points(GetPointsRequest { ids: numbers(&[1]) });
        delete_points(DeletePointsRequest { selector: Some(pb::delete_points_request::Selector::Ids(selector.clone())) });
        update_payload(UpdatePayloadRequest { payload: Some(object(json!({"a": 1}))),
            selector: Some(pb::update_payload_request::Selector::Ids(selector.clone())) });
        delete_payload(DeletePayloadRequest { keys: vec!["a".into()],
            selector: Some(pb::delete_payload_request::Selector::Ids(selector.clone())) });
        clear_payload(ClearPayloadRequest { selector: Some(pb::clear_payload_request::Selector::Ids(selector.clone())) });
        search(SearchRequest { vector: Some(dense(&[1.0])) });
        search_batch(SearchBatchRequest { searches: vec![pb::SearchRequest { vector: Some(dense(&[1.0])), ..Default::default() }] });
        recommend(RecommendRequest { positive: numbers(&[1]) });
        discover(DiscoverRequest { target: Some(number(1)) });
        scroll(ScrollRequest {});
        count(CountRequest {});
        create_field_index(CreateFieldIndexRequest { field_name: "a".into() });
        delete_field_index(DeleteFieldIndexRequest { field_name: "a".into() });
    }
}

#[tokio::test]
async fn answers_that_are_too_long_are_refused() {
    let world = World::start().await;
    world.collection("wide", 1, pb::Distance::Dot).await;
    let text = "x".repeat(1 << 20);
    for part in 0..4 {
        let points = (0..26).map(|i| point(part * 26 + i, &[0.5], json!({ "text": text })));
        world.upsert("wide", points.collect()).await;
    }
    let page = |with_payload| pb::ScrollRequest {
        metadata: world.me(),
        collection_name: "wide".to_owned(),
        limit: Some(10_000),
        with_payload: Some(with_payload),
        ..Default::default()
    };
    let text = fails(world.client().scroll(page(true)).await, Code::ResourceExhausted);
    assert!(text.contains("fewer"), "{text}");
    let answer = world.client().scroll(page(false)).await.unwrap();
    assert_eq!(answer.into_inner().points.len(), 104);
}
