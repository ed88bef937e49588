//! The Rust example of docs/building-blocks/mqtt.md, with another address.

use isa_proto::mqtt::{
    ConnectRequest, PublishRequest, QoSLevel, SubscribeRequest, mqtt_service_client::MqttServiceClient,
};
use tonic::transport::Channel;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let channel = Channel::from_static(address()).connect().await?;
    let mut client = MqttServiceClient::new(channel);
    let user_id = "docs-rust".to_owned();
    let connect = ConnectRequest {
        user_id: user_id.clone(),
        ..Default::default()
    };
    let session_id = client.connect(connect).await?.into_inner().session_id;
    let subscribe = SubscribeRequest {
        user_id: user_id.clone(),
        session_id: session_id.clone(),
        topic_filter: "house/#".to_owned(),
        qos: QoSLevel::QosAtLeastOnce.into(),
    };
    let mut messages = client.subscribe(subscribe).await?.into_inner();
    let publish = PublishRequest {
        user_id,
        session_id,
        topic: "house/door".to_owned(),
        payload: "open".into(),
        qos: QoSLevel::QosAtLeastOnce.into(),
        ..Default::default()
    };
    client.publish(publish).await?;
    let message = messages.message().await?.ok_or("the stream ended")?;
    println!("{} {}", message.topic, String::from_utf8_lossy(&message.payload));
    Ok(())
}

/// Where the service is: its test has it on another port than the page.
fn address() -> &'static str {
    std::env::args().nth(1).expect("an address").leak()
}
