//! The Rust example of docs/building-blocks/nats.md, with another address.

use isa_proto::nats::{
    AckMessageRequest, ConsumerConfig, CreateConsumerRequest, CreateStreamRequest, PublishToStreamRequest,
    PullMessagesRequest, StreamConfig, nats_service_client::NatsServiceClient,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut nats = NatsServiceClient::new(channel);
    let (organization, stream, consumer) = ("acme", "JOBS", "worker");
    let config = StreamConfig {
        name: stream.into(),
        subjects: vec!["jobs.>".into()],
        ..Default::default()
    };
    let create = CreateStreamRequest {
        organization_id: organization.into(),
        config: Some(config),
        ..Default::default()
    };
    nats.create_stream(create).await?;
    let config = ConsumerConfig {
        durable_name: consumer.into(),
        ..Default::default()
    };
    let create = CreateConsumerRequest {
        organization_id: organization.into(),
        stream_name: stream.into(),
        config: Some(config),
        ..Default::default()
    };
    nats.create_consumer(create).await?;

    for job in ["resize", "publish"] {
        let message = PublishToStreamRequest {
            organization_id: organization.into(),
            stream_name: stream.into(),
            subject: format!("jobs.{job}"),
            data: "picture 7".into(),
            ..Default::default()
        };
        nats.publish_to_stream(message).await?;
    }
    let pull = PullMessagesRequest {
        organization_id: organization.into(),
        stream_name: stream.into(),
        consumer_name: consumer.into(),
        ..Default::default()
    };
    for message in nats.pull_messages(pull).await?.into_inner().messages {
        let ack = AckMessageRequest {
            organization_id: organization.into(),
            stream_name: stream.into(),
            consumer_name: consumer.into(),
            sequence: message.sequence,
            ..Default::default()
        };
        let counted = nats.ack_message(ack).await?.into_inner().success;
        println!(
            "{}: {}, acknowledged: {counted}",
            message.subject,
            String::from_utf8_lossy(&message.data)
        );
    }
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
