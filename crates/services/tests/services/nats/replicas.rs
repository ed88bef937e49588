//! Two replicas over one NATS.

use isa_config::ServiceKind;
use isa_proto::nats::{self as pb, nats_service_client::NatsServiceClient};

use super::{World, next};
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribe_ends_streams_of_other_replicas() {
    let world = World::start().await;
    let other = Node::start(ServiceKind::Nats).await;
    let mut client = NatsServiceClient::new(other.channel().await);
    let mut subscription = world.subscribe(&world.org, "far.away", "").await;
    let request = pb::UnsubscribeRequest {
        organization_id: world.org.clone(),
        subject: "far.away".into(),
        ..Default::default()
    };
    assert!(client.unsubscribe(request).await.unwrap().into_inner().success);
    assert!(next(&mut subscription).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_delivered_another_acknowledges() {
    let world = World::start().await;
    let other = Node::start(ServiceKind::Nats).await;
    let mut client = NatsServiceClient::new(other.channel().await);
    world.create_stream("ORDERS", &["orders"]).await;
    let consumer = pb::CreateConsumerRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        config: Some(pb::ConsumerConfig {
            name: "all".into(),
            ack_policy: pb::AckPolicy::AckAll.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    world.client().create_consumer(consumer).await.unwrap();
    for n in 1..=3 {
        let request = pb::PublishToStreamRequest {
            organization_id: world.org.clone(),
            stream_name: "ORDERS".into(),
            subject: "orders".into(),
            data: n.to_string().into(),
            ..Default::default()
        };
        world.client().publish_to_stream(request).await.unwrap();
    }
    let pull = pb::PullMessagesRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "all".into(),
        ..Default::default()
    };
    let pulled = world.client().pull_messages(pull).await.unwrap().into_inner();
    assert_eq!(pulled.messages.len(), 3);

    let ack = |sequence| pb::AckMessageRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "all".into(),
        sequence,
        ..Default::default()
    };
    assert!(client.ack_message(ack(2)).await.unwrap().into_inner().success);
    // With the second the first is acknowledged too.
    assert!(
        !world
            .client()
            .ack_message(ack(1))
            .await
            .unwrap()
            .into_inner()
            .success
    );
    assert!(
        world
            .client()
            .ack_message(ack(3))
            .await
            .unwrap()
            .into_inner()
            .success
    );
    let info = pb::GetConsumerInfoRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "all".into(),
        ..Default::default()
    };
    let info = client.get_consumer_info(info).await.unwrap().into_inner();
    assert_eq!(info.consumer.unwrap().state.unwrap().ack_floor_seq, 3);
}
