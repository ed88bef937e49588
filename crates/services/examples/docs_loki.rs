//! The Rust example of docs/building-blocks/loki.md, with another address.

use isa_proto::loki::{
    LogEntry, PushLogBatchRequest, QueryLogsRequest, loki_service_client::LokiServiceClient,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut loki = LokiServiceClient::new(channel);
    let organization = format!("docs-{}", std::process::id());
    let entry = |line: &str| LogEntry {
        line: line.to_owned(),
        labels: [("service".to_owned(), "worker".to_owned())].into(),
        ..Default::default()
    };
    let batch = PushLogBatchRequest {
        organization_id: organization.clone(),
        entries: vec![entry("one"), entry("two")],
        ..Default::default()
    };
    let pushed = loki.push_log_batch(batch).await?.into_inner();
    println!("accepted {}", pushed.accepted_count);

    let query = QueryLogsRequest {
        organization_id: organization,
        query: r#"{service="worker"} |= "two""#.to_owned(),
        ..Default::default()
    };
    for entry in loki.query_logs(query).await?.into_inner().entries {
        println!("{} {}", entry.labels["service"], entry.line);
    }
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
