use std::sync::Arc;

use isa_config::ServiceKind;
use isa_proto::qdrant::{
    CreateCollectionRequest, Distance, Point, SearchRequest, UpsertPointsRequest, Vector, VectorParams,
    create_collection_request::VectorsConfig, point, qdrant_service_client::QdrantServiceClient,
};
use qdrant_client::{
    Payload, Qdrant,
    qdrant::{
        CreateCollectionBuilder, Distance as NativeDistance, PointStruct, Query, QueryPointsBuilder,
        UpsertPointsBuilder, VectorParamsBuilder,
    },
};

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Qdrant;

/// Dimensions, as small models of text have.
const SIZE: usize = 384;

/// Points that are searched: few, for the engine is not what is measured.
const POINTS: u64 = 1000;

const COLLECTION: &str = "bench";

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let endpoint = platform.endpoint(KIND)?;
    let url = endpoint.urls.get("grpc").unwrap_or(&endpoint.url);
    let key = endpoint.password.as_ref().map(|key| key.expose().to_owned());
    let native = Qdrant::from_url(url)
        .api_key(key)
        .skip_compatibility_check()
        .build()?;
    let channels = Arc::new(platform.channels(KIND).await?);

    let params = VectorParamsBuilder::new(SIZE as u64, NativeDistance::Cosine);
    native
        .create_collection(CreateCollectionBuilder::new(COLLECTION).vectors_config(params))
        .await?;
    let points: Vec<_> = (0..POINTS)
        .map(|id| PointStruct::new(id, vector(id), Payload::new()))
        .collect();
    native
        .upsert_points(UpsertPointsBuilder::new(COLLECTION, points).wait(true))
        .await?;

    let mut client = QdrantServiceClient::new(channels.of(0));
    let params = VectorParams {
        size: SIZE as u64,
        distance: Distance::Cosine.into(),
        ..Default::default()
    };
    client
        .create_collection(CreateCollectionRequest {
            collection_name: COLLECTION.into(),
            vectors_config: Some(VectorsConfig::VectorParams(params)),
            ..Default::default()
        })
        .await?;
    client.upsert_points(upsert(0..POINTS)).await?;

    let client = native.clone();
    let native_search = operation(move |caller| {
        let client = client.clone();
        let query = QueryPointsBuilder::new(COLLECTION)
            .query(Query::new_nearest(vector(caller as u64)))
            .with_payload(true)
            .limit(10);
        async move {
            client.query(query).await?;
            Ok(0)
        }
    });
    let search_channels = Arc::clone(&channels);
    let service_search = operation(move |caller| {
        let mut client = QdrantServiceClient::new(search_channels.of(caller));
        let request = SearchRequest {
            collection_name: COLLECTION.into(),
            vector: Some(Vector {
                data: vector(caller as u64),
                ..Default::default()
            }),
            limit: 10,
            ..Default::default()
        };
        async move {
            client.search(request).await?;
            Ok(0)
        }
    });
    let native_upsert = operation(move |caller| {
        let client = native.clone();
        let id = caller as u64;
        let points = vec![PointStruct::new(id, vector(id), Payload::new())];
        async move {
            client
                .upsert_points(UpsertPointsBuilder::new(COLLECTION, points).wait(true))
                .await?;
            Ok(0)
        }
    });
    let service_upsert = operation(move |caller| {
        let mut client = QdrantServiceClient::new(channels.of(caller));
        let id = caller as u64;
        async move {
            client.upsert_points(upsert(id..id + 1)).await?;
            Ok(0)
        }
    });
    Ok(vec![
        Case::new(
            KIND,
            "Search, 384 dimensions, 10 of 1000",
            Some(80.0),
            native_search,
            service_search,
        ),
        Case::new(
            KIND,
            "UpsertPoints, one of 384 dimensions",
            None,
            native_upsert,
            service_upsert,
        ),
    ])
}

fn upsert(ids: std::ops::Range<u64>) -> UpsertPointsRequest {
    let point = |id| Point {
        id: Some(point::Id::NumId(id)),
        vectors: Some(point::Vectors::Vector(Vector {
            data: vector(id),
            ..Default::default()
        })),
        payload: None,
    };
    UpsertPointsRequest {
        collection_name: COLLECTION.into(),
        points: ids.map(point).collect(),
        wait: Some(true),
        ..Default::default()
    }
}

/// Another direction for each seed.
fn vector(seed: u64) -> Vec<f32> {
    (0..SIZE)
        .map(|at| ((seed + 1) as f32 * 0.37 + at as f32).sin())
        .collect()
}
