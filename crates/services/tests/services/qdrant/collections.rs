use qdrant_client::qdrant::{CreateCollectionBuilder, VectorParamsBuilder};

use super::*;

fn create(world: &World, name: &str) -> pb::CreateCollectionRequest {
    pb::CreateCollectionRequest {
        metadata: world.me(),
        collection_name: name.to_owned(),
        vectors_config: Some(pb::create_collection_request::VectorsConfig::VectorParams(
            params(4, pb::Distance::Cosine),
        )),
        ..Default::default()
    }
}

async fn list(world: &World) -> Vec<String> {
    let request = pb::ListCollectionsRequest { metadata: world.me() };
    let answer = world.client().list_collections(request).await.expect("the list");
    let collections = answer.into_inner().collections;
    collections
        .into_iter()
        .map(|collection| collection.name)
        .collect()
}

async fn info(world: &World, name: &str) -> Result<pb::CollectionInfo, Status> {
    let request = pb::GetCollectionInfoRequest {
        metadata: world.me(),
        collection_name: name.to_owned(),
    };
    let answer = world.client().get_collection_info(request).await?;
    Ok(answer.into_inner().info.expect("a description"))
}

async fn delete(world: &World, name: &str) -> Result<(), Status> {
    let request = pb::DeleteCollectionRequest {
        metadata: world.me(),
        collection_name: name.to_owned(),
    };
    let answer = world.client().delete_collection(request).await?;
    assert!(answer.into_inner().success);
    Ok(())
}

#[tokio::test]
async fn collections_are_made_described_and_removed() {
    let world = World::start().await;
    for name in ["b", "a", "größe mit Leerzeichen"] {
        world
            .client()
            .create_collection(create(&world, name))
            .await
            .expect("a collection");
        assert!(world.engine.collection_exists(world.full(name)).await.unwrap());
    }
    assert_eq!(list(&world).await, ["a", "b", "größe mit Leerzeichen"]);
    world
        .upsert("a", vec![point(1, &[1.0, 0.0, 0.0, 0.0], json!({"k": 1}))])
        .await;

    let info = info(&world, "a").await.unwrap();
    assert_eq!((info.status.as_str(), info.points_count), ("green", 1));
    assert!(info.segments_count >= 1);
    let config = shown(&info.config.expect("a configuration"));
    assert_eq!(config["params"]["vectors"]["size"], 4, "{config}");
    assert_eq!(config["params"]["vectors"]["distance"], "Cosine", "{config}");
    assert!(
        config["hnsw_config"]["m"].as_i64().is_some_and(|m| m > 0),
        "{config}"
    );
    assert_eq!(shown(&info.optimizer_status.unwrap()), json!({"status": "ok"}));

    let again = world.client().create_collection(create(&world, "a")).await;
    fails(again, Code::AlreadyExists);
    delete(&world, "a").await.unwrap();
    assert!(!world.engine.collection_exists(world.full("a")).await.unwrap());
    fails(delete(&world, "a").await, Code::NotFound);
    fails(self::info(&world, "a").await, Code::NotFound);
    assert_eq!(list(&world).await, ["b", "größe mit Leerzeichen"]);
}

#[tokio::test]
async fn settings_reach_the_engine() {
    let world = World::start().await;
    let vector = pb::VectorParams {
        hnsw_config: Some(pb::HnswConfig {
            m: 24,
            ef_construct: 0,
            full_scan_threshold: 0,
        }),
        quantization_config: Some(pb::QuantizationConfig {
            quantization: Some(pb::quantization_config::Quantization::Scalar(
                pb::ScalarQuantization {
                    r#type: 0,
                    quantile: Some(0.99),
                    always_ram: Some(true),
                },
            )),
        }),
        ..params(8, pb::Distance::Dot)
    };
    let named = [
        ("image".to_owned(), vector),
        ("text".to_owned(), params(3, pb::Distance::Manhattan)),
    ];
    let request = pb::CreateCollectionRequest {
        vectors_config: Some(pb::create_collection_request::VectorsConfig::NamedVectorParams(
            pb::VectorsConfigParams { params: named.into() },
        )),
        on_disk_payload: Some(true),
        sparse_vectors: vec!["words".to_owned()],
        ..create(&world, "c")
    };
    world
        .client()
        .create_collection(request)
        .await
        .expect("a collection");

    let info = world
        .engine
        .collection_info(world.full("c"))
        .await
        .unwrap()
        .result
        .unwrap();
    let params = info.config.unwrap().params.unwrap();
    assert!(params.sparse_vectors_config.unwrap().map.contains_key("words"));
    let Some(qdrant_client::qdrant::vectors_config::Config::ParamsMap(map)) =
        params.vectors_config.unwrap().config
    else {
        panic!("no named vectors");
    };
    let image = &map.map["image"];
    assert_eq!((image.size, image.hnsw_config.unwrap().m), (8, Some(24)));
    assert!(image.quantization_config.is_some());
    assert_eq!(
        map.map["text"].distance,
        qdrant_client::qdrant::Distance::Manhattan as i32
    );

    let shown = shown(&self::info(&world, "c").await.unwrap().config.unwrap());
    assert_eq!(shown["params"]["on_disk_payload"], true, "{shown}");
    let vectors = &shown["params"]["vectors"];
    assert_eq!(
        vectors["image"]["quantization_config"]["scalar"]["type"], "int8",
        "{shown}"
    );
    assert_eq!(vectors["text"]["distance"], "Manhattan", "{shown}");
    assert_eq!(shown["params"]["sparse_vectors"]["words"], json!({}), "{shown}");
}

#[tokio::test]
async fn tenants_have_collections_of_their_own() {
    let world = World::start().await;
    let (mut other, them) = world.another();
    world.collection("docs", 2, pb::Distance::Dot).await;
    let theirs = pb::CreateCollectionRequest {
        metadata: them.clone(),
        vectors_config: Some(pb::create_collection_request::VectorsConfig::VectorParams(
            params(3, pb::Distance::Dot),
        )),
        ..create(&world, "docs")
    };
    other
        .create_collection(theirs)
        .await
        .expect("the same name is free");
    world.upsert("docs", vec![point(1, &[1.0, 0.0], json!({}))]).await;
    let count = pb::CountRequest {
        metadata: them.clone(),
        collection_name: "docs".to_owned(),
        ..Default::default()
    };
    assert_eq!(other.count(count).await.unwrap().into_inner().count, 0);
    world.collection("mine", 2, pb::Distance::Dot).await;
    let listed = other
        .list_collections(pb::ListCollectionsRequest {
            metadata: them.clone(),
        })
        .await;
    assert_eq!(listed.unwrap().into_inner().collections.len(), 1);
    for name in ["mine", &world.full("mine")] {
        let request = pb::GetCollectionInfoRequest {
            metadata: them.clone(),
            collection_name: name.to_owned(),
        };
        fails(other.get_collection_info(request).await, Code::NotFound);
    }
}

#[tokio::test]
async fn a_tenant_has_so_many_collections() {
    let world = World::over(Node::alone(ServiceKind::Qdrant).await).await;
    for i in 0..100 {
        let make = CreateCollectionBuilder::new(world.full(&format!("c{i}")))
            .vectors_config(VectorParamsBuilder::new(2, qdrant_client::qdrant::Distance::Dot));
        world.engine.create_collection(make).await.unwrap();
    }
    let status = world.client().create_collection(create(&world, "one-more")).await;
    let text = fails(status, Code::ResourceExhausted);
    assert!(text.contains("100"), "{text}");
    let (mut other, them) = world.another();
    let theirs = pb::CreateCollectionRequest {
        metadata: them,
        ..create(&world, "first")
    };
    other
        .create_collection(theirs)
        .await
        .expect("others have their own number");
    delete(&world, "c7").await.unwrap();
    world
        .client()
        .create_collection(create(&world, "one-more"))
        .await
        .expect("there is room again");
}

#[tokio::test]
async fn what_is_made_anew_has_its_new_shape() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    world.upsert("c", vec![point(1, &[1.0, 0.0], json!({}))]).await;
    // As another replica would: this one does not know.
    world.engine.delete_collection(world.full("c")).await.unwrap();
    let make = CreateCollectionBuilder::new(world.full("c"))
        .vectors_config(VectorParamsBuilder::new(3, qdrant_client::qdrant::Distance::Dot));
    world.engine.create_collection(make).await.unwrap();
    world
        .upsert("c", vec![point(1, &[1.0, 0.0, 0.0], json!({}))])
        .await;
    fails(
        world
            .try_upsert("c", vec![point(1, &[1.0, 0.0], json!({}))])
            .await,
        Code::InvalidArgument,
    );
    world.engine.delete_collection(world.full("c")).await.unwrap();
    let gone = world
        .try_upsert("c", vec![point(1, &[1.0, 0.0, 0.0], json!({}))])
        .await;
    fails(gone, Code::NotFound);
}

#[tokio::test]
async fn a_collection_is_updated() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    let request = pb::UpdateCollectionRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        optimizers_config: Some(5000),
        params: Some(object(json!({"hnsw_config": {"m": 32}}))),
    };
    let answer = world.client().update_collection(request).await.expect("updated");
    assert!(answer.into_inner().success);
    let info = world
        .engine
        .collection_info(world.full("c"))
        .await
        .unwrap()
        .result
        .unwrap();
    let config = info.config.unwrap();
    assert_eq!(config.optimizer_config.unwrap().indexing_threshold, Some(5000));
    assert_eq!(config.hnsw_config.unwrap().m, Some(32));
}

#[tokio::test]
async fn an_alias_stands_for_its_collection() {
    let world = World::start().await;
    world.collection("one", 2, pb::Distance::Dot).await;
    world.collection("two", 2, pb::Distance::Dot).await;
    world.upsert("one", vec![point(1, &[1.0, 0.0], json!({}))]).await;
    let alias = |collection: &str, alias: &str| {
        let request = pb::CreateCollectionAliasRequest {
            metadata: world.me(),
            collection_name: collection.to_owned(),
            alias_name: alias.to_owned(),
        };
        let mut client = world.client();
        async move { client.create_collection_alias(request).await }
    };
    alias("one", "now").await.expect("an alias");
    assert_eq!(world.count("now", None).await, 1);
    alias("two", "now").await.expect("a moved alias");
    assert_eq!(world.count("now", None).await, 0);
    assert_eq!(info(&world, "now").await.unwrap().points_count, 0);
    assert_eq!(list(&world).await, ["one", "two"]);
    let aliases = world
        .engine
        .list_collection_aliases(world.full("two"))
        .await
        .unwrap()
        .aliases;
    assert_eq!(aliases[0].alias_name, world.full("now"));

    fails(alias("absent", "now").await, Code::NotFound);
    fails(alias("one", "two").await, Code::AlreadyExists);
    fails(
        world.client().create_collection(create(&world, "now")).await,
        Code::AlreadyExists,
    );
    fails(delete(&world, "now").await, Code::InvalidArgument);
    delete(&world, "two").await.unwrap();
    fails(info(&world, "now").await, Code::NotFound);
}

#[tokio::test]
async fn health_and_the_cluster_are_told() {
    let world = World::start().await;
    let health = world
        .client()
        .health_check(pb::QdrantHealthCheckRequest::default())
        .await;
    let health = health.unwrap().into_inner();
    assert!(health.healthy);
    assert_eq!(health.version, world.engine.health_check().await.unwrap().version);
    let request = pb::GetClusterInfoRequest { metadata: world.me() };
    let cluster = world
        .client()
        .get_cluster_info(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        shown(&cluster.cluster_info.unwrap()),
        json!({"status": "disabled", "peer_count": 1, "peers": []})
    );
}
