//! The Rust example of docs/building-blocks/postgres.md, with another address.

use isa_proto::postgres::{
    BeginTransactionRequest, ExecuteRequest, QueryRowRequest, RollbackTransactionRequest,
    postgres_service_client::PostgresServiceClient,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut postgres = PostgresServiceClient::new(channel);
    let begun = postgres
        .begin_transaction(BeginTransactionRequest::default())
        .await?;
    let transaction = begun.into_inner().transaction_id;

    let sale = ExecuteRequest {
        sql: "UPDATE products SET price = price * $1 WHERE 'desk' = ANY (tags)".into(),
        params: vec![0.5.into()],
        transaction_id: transaction.clone(),
        ..Default::default()
    };
    let changed = postgres.execute(sale).await?.into_inner();
    println!("{} rows changed", changed.rows_affected);

    let price = |transaction_id: &str| QueryRowRequest {
        sql: "SELECT price::text FROM products WHERE name = 'chair'".into(),
        transaction_id: transaction_id.to_owned(),
        ..Default::default()
    };
    for (place, id) in [("within", transaction.as_str()), ("outside", "")] {
        let row = postgres.query_row(price(id)).await?.into_inner().row;
        println!(
            "{place}: {:?}",
            row.and_then(|row| row.fields["price"].kind.clone())
        );
    }
    let rollback = RollbackTransactionRequest {
        transaction_id: transaction,
        ..Default::default()
    };
    postgres.rollback_transaction(rollback).await?;
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
