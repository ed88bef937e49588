//! The Rust example of docs/building-blocks/duckdb.md, with another address.

use isa_proto::duckdb::{
    CreateDatabaseRequest, DeleteDatabaseRequest, ExecuteQueryRequest,
    duck_db_service_client::DuckDbServiceClient,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut client = DuckDbServiceClient::new(channel);
    let user = "docs-rust".to_owned();
    let create = CreateDatabaseRequest {
        database_name: "numbers".into(),
        user_id: user.clone(),
        ..Default::default()
    };
    client.create_database(create).await?;
    let query = ExecuteQueryRequest {
        database_id: "numbers".into(),
        user_id: user.clone(),
        query: "SELECT range FROM range(100000)".into(),
        ..Default::default()
    };
    let mut chunks = client.execute_query_stream(query).await?.into_inner();
    let mut rows = 0;
    while let Some(chunk) = chunks.message().await? {
        rows += chunk.rows.len();
        if chunk.is_last {
            println!("{rows} rows, the last chunk came");
        }
    }
    let delete = DeleteDatabaseRequest {
        database_id: "numbers".into(),
        user_id: user,
        force: true,
        ..Default::default()
    };
    client.delete_database(delete).await?;
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
