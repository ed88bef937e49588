//! The Rust example of docs/building-blocks/qdrant.md, with another address.

use isa_proto::{
    common::RequestMetadata,
    qdrant::{
        CreateCollectionRequest, DeleteCollectionRequest, Distance, Point, SearchRequest,
        UpsertPointsRequest, Vector, VectorParams, create_collection_request::VectorsConfig, point,
        qdrant_service_client::QdrantServiceClient,
    },
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut client = QdrantServiceClient::new(channel);
    let metadata = Some(RequestMetadata {
        organization_id: "rust-example".into(),
        ..Default::default()
    });
    let name = "colors".to_owned();
    let delete = DeleteCollectionRequest {
        metadata: metadata.clone(),
        collection_name: name.clone(),
    };
    // Of an earlier run; it is no matter if there is none.
    client.delete_collection(delete).await.ok();
    client
        .create_collection(CreateCollectionRequest {
            metadata: metadata.clone(),
            collection_name: name.clone(),
            vectors_config: Some(VectorsConfig::VectorParams(VectorParams {
                size: 3,
                distance: Distance::Euclid.into(),
                ..Default::default()
            })),
            ..Default::default()
        })
        .await?;
    let vector = |data: [f32; 3]| Vector {
        data: data.to_vec(),
        ..Default::default()
    };
    let colors = [(1, [1.0, 0.0, 0.0]), (2, [0.0, 1.0, 0.0]), (3, [1.0, 0.5, 0.0])];
    client
        .upsert_points(UpsertPointsRequest {
            metadata: metadata.clone(),
            collection_name: name.clone(),
            points: colors
                .map(|(id, color)| Point {
                    id: Some(point::Id::NumId(id)),
                    vectors: Some(point::Vectors::Vector(vector(color))),
                    payload: None,
                })
                .to_vec(),
            wait: Some(true),
            ..Default::default()
        })
        .await?;
    let found = client
        .search(SearchRequest {
            metadata,
            collection_name: name,
            vector: Some(vector([1.0, 0.4, 0.0])),
            limit: 2,
            ..Default::default()
        })
        .await?
        .into_inner();
    for hit in found.result {
        println!("{:?} {:.1}", hit.point.and_then(|point| point.id), hit.score);
    }
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
