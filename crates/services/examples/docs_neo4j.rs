//! The Rust example of docs/building-blocks/neo4j.md, with another address.

use isa_proto::{
    common::RequestMetadata,
    neo4j::{MergeNodeRequest, neo4j_service_client::Neo4jServiceClient},
    prost_types::{Struct, Value, value::Kind},
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut client = Neo4jServiceClient::new(channel);
    let name = Value {
        kind: Some(Kind::StringValue("Ulm".into())),
    };
    let request = MergeNodeRequest {
        metadata: Some(RequestMetadata {
            user_id: "alice".into(),
            ..Default::default()
        }),
        labels: vec!["City".into()],
        match_properties: Some(Struct {
            fields: [("name".to_owned(), name)].into(),
        }),
        ..Default::default()
    };
    let merged = client.merge_node(request).await?.into_inner();
    println!("{:?}", merged.node.map(|node| node.labels));
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
