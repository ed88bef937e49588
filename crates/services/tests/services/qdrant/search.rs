use super::*;

async fn world() -> World {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    let points = (1..=9).map(|i| {
        point(
            i,
            &[i as f32, 10.0 - i as f32],
            json!({"n": i, "odd": i % 2 == 1}),
        )
    });
    world.upsert("c", points.collect()).await;
    world
}

fn along(world: &World, x: f32, y: f32) -> pb::SearchRequest {
    pb::SearchRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        vector: Some(dense(&[x, y])),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_nearest_come_first() {
    let world = world().await;
    let search = |request: pb::SearchRequest| {
        let mut client = world.client();
        async move { client.search(request).await.expect("results").into_inner().result }
    };
    let result = search(pb::SearchRequest {
        limit: 3,
        with_vectors: Some(true),
        ..along(&world, 1.0, 0.0)
    })
    .await;
    assert_eq!(found(&result), [9, 8, 7].map(|id| json!(id)));
    assert_eq!(result[0].score, 9.0);
    let best = result[0].point.as_ref().unwrap();
    assert_eq!(
        shown(best.payload.as_ref().unwrap()),
        json!({"n": 9, "odd": true})
    );
    assert_eq!(best.vectors, Some(pb::point::Vectors::Vector(dense(&[9.0, 1.0]))));
    assert!(matches!(
        result[0]
            .version
            .as_ref()
            .and_then(|version| version.kind.as_ref()),
        Some(Kind::NumberValue(_))
    ));

    assert_eq!(search(along(&world, 1.0, 0.0)).await.len(), 9, "10 by default");
    let skipped = pb::SearchRequest {
        limit: 2,
        offset: Some(7),
        with_payload: Some(false),
        ..along(&world, 1.0, 0.0)
    };
    let result = search(skipped).await;
    assert_eq!(found(&result), [2, 1].map(|id| json!(id)));
    let last = result[0].point.as_ref().unwrap();
    assert_eq!((&last.payload, &last.vectors), (&None, &None));
    let good = pb::SearchRequest {
        score_threshold: Some(7.5),
        ..along(&world, 0.0, 1.0)
    };
    assert_eq!(found(&search(good).await), [1, 2].map(|id| json!(id)));
    let filter = pb::SearchRequest {
        filter: Some(must(vec![condition(
            "odd",
            pb::filter_condition::Condition::Match(pb::MatchCondition {
                match_value: Some(pb::match_condition::MatchValue::Boolean(false)),
            }),
        )])),
        limit: 2,
        ..along(&world, 1.0, 0.0)
    };
    assert_eq!(found(&search(filter).await), [8, 6].map(|id| json!(id)));
    let exact = pb::SearchRequest {
        params: Some(object(
            json!({"exact": true, "hnsw_ef": 64, "indexed_only": false,
            "quantization": {"ignore": true, "rescore": true, "oversampling": 2.0}}),
        )),
        limit: 1,
        ..along(&world, 1.0, 0.0)
    };
    assert_eq!(found(&search(exact).await), [json!(9)]);
}

#[tokio::test]
async fn distances_order_as_they_should() {
    let world = World::start().await;
    for (distance, best, score) in [
        (pb::Distance::Cosine, 1, 1.0),
        (pb::Distance::Euclid, 1, 0.0),
        (pb::Distance::Dot, 2, 4.0),
        (pb::Distance::Manhattan, 1, 0.0),
    ] {
        let name = format!("{distance:?}");
        world.collection(&name, 2, distance).await;
        let points = vec![point(1, &[1.0, 0.0], json!({})), point(2, &[4.0, 1.0], json!({}))];
        world.upsert(&name, points).await;
        let request = pb::SearchRequest {
            collection_name: name.clone(),
            ..along(&world, 1.0, 0.0)
        };
        let result = world.client().search(request).await.unwrap().into_inner().result;
        assert_eq!(found(&result)[0], json!(best), "{name}");
        assert!(
            (result[0].score - score).abs() < 1e-5,
            "{name}: {}",
            result[0].score
        );
    }
    // Stored at length 1.
    let vectors = world.get("Cosine", &[2]).await.remove(0).vectors;
    let Some(pb::point::Vectors::Vector(vector)) = vectors else {
        panic!("no vector");
    };
    let length = vector.data.iter().map(|x| x * x).sum::<f32>();
    assert!((length - 1.0).abs() < 1e-5);
}

#[tokio::test]
async fn searches_run_together() {
    let world = world().await;
    let one = |x, y, limit, with_payload| pb::SearchRequest {
        metadata: None,
        collection_name: String::new(),
        limit,
        with_payload: Some(with_payload),
        ..along(&world, x, y)
    };
    let request = pb::SearchBatchRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        searches: vec![one(1.0, 0.0, 1, true), one(0.0, 1.0, 2, false)],
    };
    let results = world
        .client()
        .search_batch(request)
        .await
        .unwrap()
        .into_inner()
        .results;
    assert_eq!(found(&results[0].result), [json!(9)]);
    assert_eq!(found(&results[1].result), [json!(1), json!(2)]);
    let payload = |i: usize| results[i].result[0].point.as_ref().unwrap().payload.is_some();
    assert!(payload(0) && !payload(1));

    let bad = pb::SearchBatchRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        searches: vec![
            one(1.0, 0.0, 1, true),
            pb::SearchRequest {
                vector: Some(dense(&[1.0])),
                ..one(0.0, 0.0, 1, true)
            },
        ],
    };
    let text = fails(world.client().search_batch(bad).await, Code::InvalidArgument);
    assert!(text.starts_with("searches.1.vector: "), "{text}");
}

#[tokio::test]
async fn recommendations_leave_out_their_examples() {
    let world = world().await;
    let recommend = |positive: &[u64], negative: &[u64], strategy: &str| {
        let request = pb::RecommendRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            positive: numbers(positive),
            negative: numbers(negative),
            limit: 2,
            strategy: Some(strategy.to_owned()),
            ..Default::default()
        };
        let mut client = world.client();
        async move {
            client
                .recommend(request)
                .await
                .map(|answer| answer.into_inner().result)
        }
    };
    let result = recommend(&[9], &[1], "").await.unwrap();
    assert_eq!(found(&result), [8, 7].map(|id| json!(id)));
    let result = recommend(&[1], &[9], "average_vector").await.unwrap();
    assert_eq!(found(&result), [2, 3].map(|id| json!(id)));
    for strategy in ["best_score", "sum_scores"] {
        let result = recommend(&[9], &[1], strategy).await.unwrap();
        assert_eq!(result.len(), 2, "{strategy}");
        assert!(!found(&result).contains(&json!(9)), "{strategy}");
        recommend(&[], &[1], strategy).await.unwrap();
    }
    let text = fails(recommend(&[404], &[], "").await, Code::NotFound);
    assert!(text.contains("point"), "{text}");
    fails(recommend(&[], &[1], "").await, Code::InvalidArgument);
    fails(recommend(&[1], &[], "worst").await, Code::InvalidArgument);
}

#[tokio::test]
async fn discovery_heeds_its_context() {
    let world = world().await;
    let discover = |target: Option<u64>, context: &[u64]| {
        let request = pb::DiscoverRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            target: target.map(number),
            context: numbers(context),
            limit: 3,
            ..Default::default()
        };
        let mut client = world.client();
        async move {
            client
                .discover(request)
                .await
                .map(|answer| answer.into_inner().result)
        }
    };
    let result = discover(Some(5), &[9, 1]).await.unwrap();
    assert_eq!(result.len(), 3);
    // On the side of 9.
    let ids: Vec<_> = found(&result).iter().map(|id| id.as_u64().unwrap()).collect();
    assert!(ids.iter().all(|id| (6..9).contains(id)), "{ids:?}");
    assert_eq!(discover(None, &[9, 1]).await.unwrap().len(), 3);
    assert_eq!(discover(Some(5), &[]).await.unwrap().len(), 3);
    fails(discover(Some(404), &[]).await, Code::NotFound);
    fails(discover(Some(5), &[1]).await, Code::InvalidArgument);
    fails(discover(None, &[]).await, Code::InvalidArgument);
}

#[tokio::test]
async fn pages_go_through_all_points_in_order() {
    let world = world().await;
    let mut by_uuid = point(0, &[1.0, 1.0], json!({}));
    by_uuid.id = Some(pb::point::Id::StrId(
        "550e8400-e29b-41d4-a716-446655440000".to_owned(),
    ));
    world.upsert("c", vec![by_uuid]).await;
    let mut seen = Vec::new();
    let mut offset = None;
    loop {
        let request = pb::ScrollRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            limit: Some(4),
            offset: offset.clone(),
            with_payload: Some(false),
            ..Default::default()
        };
        let page = world.client().scroll(request).await.unwrap().into_inner();
        seen.extend(page.points.iter().map(id_of));
        offset = page.next_page_offset;
        if offset.is_none() {
            break;
        }
        assert_eq!(page.points.len(), 4);
    }
    let mut expected: Vec<_> = (1..=9).map(|id| json!(id)).collect();
    expected.push(json!("550e8400-e29b-41d4-a716-446655440000"));
    assert_eq!(seen, expected, "numbers before UUIDs");
    let request = pb::ScrollRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        offset: Some(number(9)),
        with_vectors: Some(true),
        ..Default::default()
    };
    let page = world.client().scroll(request).await.unwrap().into_inner();
    assert_eq!(id_of(&page.points[0]), json!(9), "the offset itself is included");
    assert!(page.points[0].vectors.is_some() && page.points[0].payload.is_some());
    let estimate = pb::CountRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        exact: Some(false),
        ..Default::default()
    };
    assert!(world.client().count(estimate).await.unwrap().into_inner().count > 0);
}
