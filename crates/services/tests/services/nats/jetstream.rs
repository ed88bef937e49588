use std::collections::BTreeMap;

use isa_proto::{nats as pb, prost_types};
use tonic::Code;

use super::{PATIENCE, World, fails, until};

impl World {
    async fn store(&self, stream: &str, subject: &str, data: &str) -> pb::PublishToStreamResponse {
        let request = self.store_request(stream, subject, data);
        let answer = self.client().publish_to_stream(request).await.expect("stored");
        answer.into_inner()
    }

    fn store_request(&self, stream: &str, subject: &str, data: &str) -> pb::PublishToStreamRequest {
        pb::PublishToStreamRequest {
            organization_id: self.org.clone(),
            stream_name: stream.into(),
            subject: subject.into(),
            data: data.to_owned().into(),
            ..Default::default()
        }
    }

    async fn create_consumer(&self, stream: &str, config: pb::ConsumerConfig) -> pb::ConsumerInfo {
        let request = pb::CreateConsumerRequest {
            organization_id: self.org.clone(),
            stream_name: stream.into(),
            config: Some(config),
            ..Default::default()
        };
        let answer = self.client().create_consumer(request).await.expect("a consumer");
        answer.into_inner().consumer.expect("its description")
    }

    async fn pull(&self, batch_size: i32) -> Vec<pb::JetStreamMessage> {
        let request = pb::PullMessagesRequest {
            organization_id: self.org.clone(),
            stream_name: "ORDERS".into(),
            consumer_name: "worker".into(),
            batch_size,
            max_wait: None,
            ..Default::default()
        };
        let answer = self.client().pull_messages(request).await.expect("messages");
        answer.into_inner().messages
    }

    async fn ack(&self, sequence: i64) -> bool {
        let request = pb::AckMessageRequest {
            organization_id: self.org.clone(),
            stream_name: "ORDERS".into(),
            consumer_name: "worker".into(),
            sequence,
            ..Default::default()
        };
        self.client()
            .ack_message(request)
            .await
            .expect("an answer")
            .into_inner()
            .success
    }

    async fn nak(&self, sequence: i64, delay: Option<prost_types::Duration>) -> bool {
        let request = pb::NakMessageRequest {
            organization_id: self.org.clone(),
            stream_name: "ORDERS".into(),
            consumer_name: "worker".into(),
            sequence,
            delay,
            ..Default::default()
        };
        self.client()
            .nak_message(request)
            .await
            .expect("an answer")
            .into_inner()
            .success
    }

    async fn term(&self, sequence: i64) -> bool {
        let request = pb::TermMessageRequest {
            organization_id: self.org.clone(),
            stream_name: "ORDERS".into(),
            consumer_name: "worker".into(),
            sequence,
            ..Default::default()
        };
        self.client()
            .term_message(request)
            .await
            .expect("an answer")
            .into_inner()
            .success
    }

    async fn in_progress(&self, sequence: i64) -> bool {
        let request = pb::InProgressMessageRequest {
            organization_id: self.org.clone(),
            stream_name: "ORDERS".into(),
            consumer_name: "worker".into(),
            sequence,
            ..Default::default()
        };
        let answer = self.client().in_progress_message(request).await;
        answer.expect("an answer").into_inner().success
    }
}

fn worker() -> pb::ConsumerConfig {
    pb::ConsumerConfig {
        name: "worker".into(),
        durable_name: "worker".into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_from_making_to_removal() {
    let world = World::start().await;
    let made = world.create_stream("ORDERS", &["orders.>"]).await;
    assert_eq!(made.name, "ORDERS");
    let config = made.config.unwrap();
    assert_eq!(config.subjects, ["orders.>"]);
    assert_eq!((config.max_msgs, config.max_bytes, config.replicas), (-1, -1, 1));
    let jetstream = world.jetstream();
    let engine = jetstream.get_stream(world.name("ORDERS")).await.unwrap();
    let info = engine.cached_info();
    assert_eq!(info.config.subjects, [world.subject("orders.>")]);

    // Once more alike, then otherwise, then over its subjects.
    world.create_stream("ORDERS", &["orders.>"]).await;
    let otherwise = world.stream_request("ORDERS", &["other.>"]);
    let said = fails(world.client().create_stream(otherwise).await, Code::AlreadyExists);
    assert!(
        said.contains("\"ORDERS\"") && !said.contains(&world.slug()),
        "{said}"
    );
    let overlapping = world.stream_request("MORE", &["orders.eu.*"]);
    let said = fails(
        world.client().create_stream(overlapping).await,
        Code::FailedPrecondition,
    );
    assert!(!said.contains(&world.slug()), "{said}");
    let mut many = world.stream_request("MORE", &["more"]);
    many.config.as_mut().unwrap().replicas = 3;
    fails(world.client().create_stream(many).await, Code::FailedPrecondition);

    for n in 1..=3 {
        let stored = world
            .store("ORDERS", &format!("orders.{n}"), &n.to_string())
            .await;
        assert!(stored.success && !stored.duplicate && stored.timestamp.is_some());
        assert_eq!(stored.sequence, n);
    }
    let request = pb::GetStreamInfoRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        ..Default::default()
    };
    let info = world.client().get_stream_info(request.clone()).await.unwrap();
    let state = info.into_inner().stream.unwrap().state.unwrap();
    assert_eq!((state.messages, state.first_seq, state.last_seq), (3, 1, 3));
    assert_eq!((state.num_subjects, state.consumer_count), (3, 0));
    assert!(state.first_ts.is_some() && state.bytes > 0);

    let mut update = world.stream_request("", &["orders.>", "refunds.*"]);
    update.config.as_mut().unwrap().max_msgs = 2;
    let request_update = pb::UpdateStreamRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        config: update.config,
        ..Default::default()
    };
    let updated = world
        .client()
        .update_stream(request_update.clone())
        .await
        .unwrap();
    let updated = updated.into_inner().stream.unwrap();
    assert_eq!(updated.config.unwrap().subjects, ["orders.>", "refunds.*"]);
    let mut storage = request_update;
    storage.config.as_mut().unwrap().storage = pb::StorageType::StorageMemory.into();
    fails(
        world.client().update_stream(storage).await,
        Code::FailedPrecondition,
    );

    world.create_stream("A", &["a"]).await;
    let list = pb::ListStreamsRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let listed = world
        .client()
        .list_streams(list.clone())
        .await
        .unwrap()
        .into_inner();
    let names = listed.streams.iter().map(|stream| stream.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["A", "ORDERS"]);
    let others = pb::ListStreamsRequest {
        organization_id: format!("{}-other", world.org),
        ..list
    };
    assert!(
        world
            .client()
            .list_streams(others)
            .await
            .unwrap()
            .into_inner()
            .streams
            .is_empty()
    );

    let purge = |subject: &str| pb::PurgeStreamRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        subject: subject.into(),
        ..Default::default()
    };
    let purged = world.client().purge_stream(purge("orders.3")).await.unwrap();
    assert_eq!(purged.into_inner().purged_count, 1);
    let purged = world.client().purge_stream(purge("")).await.unwrap();
    assert_eq!(purged.into_inner().purged_count, 1);

    let delete = pb::DeleteStreamRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        ..Default::default()
    };
    let theirs = pb::DeleteStreamRequest {
        organization_id: format!("{}-other", world.org),
        ..delete.clone()
    };
    fails(world.client().delete_stream(theirs).await, Code::NotFound);
    assert!(
        world
            .client()
            .delete_stream(delete.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    fails(world.client().delete_stream(delete).await, Code::NotFound);
    fails(world.client().get_stream_info(request).await, Code::NotFound);
    assert!(jetstream.get_stream(world.name("ORDERS")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_stream_hold() {
    let world = World::start().await;
    let mut request = world.stream_request("FULL", &["full.*"]);
    let config = request.config.as_mut().unwrap();
    config.discard_new_per_subject = true;
    config.max_msgs = 1;
    config.max_msg_size = 100;
    world.client().create_stream(request).await.unwrap();
    world.store("FULL", "full.1", "x").await;
    world.store("FULL", "full.2", "x").await;
    let again = world.store_request("FULL", "full.1", "y");
    fails(
        world.client().publish_to_stream(again).await,
        Code::ResourceExhausted,
    );
    let large = world.store_request("FULL", "full.3", &"x".repeat(200));
    fails(
        world.client().publish_to_stream(large).await,
        Code::ResourceExhausted,
    );
    let mut huge = world.store_request("FULL", "full.3", "");
    huge.data = vec![0; 9 << 20].into();
    fails(
        world.client().publish_to_stream(huge).await,
        Code::ResourceExhausted,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_is_stored_once_and_headers_are_heeded() {
    let world = World::start().await;
    world.create_stream("ORDERS", &["orders.>"]).await;
    let mut request = world.store_request("ORDERS", "orders.1", "x");
    request.message_id = "id-1".into();
    let first = world.client().publish_to_stream(request.clone()).await.unwrap();
    let again = world
        .client()
        .publish_to_stream(request)
        .await
        .unwrap()
        .into_inner();
    assert!(again.duplicate);
    assert_eq!(first.into_inner().sequence, again.sequence);

    let mut expecting = world.store_request("ORDERS", "orders.1", "y");
    expecting.headers = BTreeMap::from([("Nats-Expected-Last-Sequence".into(), "7".into())]);
    fails(world.client().publish_to_stream(expecting).await, Code::Aborted);
    let elsewhere = world.store_request("ORDERS", "elsewhere", "x");
    fails(
        world.client().publish_to_stream(elsewhere).await,
        Code::FailedPrecondition,
    );
    world.create_stream("OTHER", &["other"]).await;
    let other = world.store_request("ORDERS", "other", "x");
    fails(
        world.client().publish_to_stream(other).await,
        Code::FailedPrecondition,
    );
    let absent = world.store_request("ABSENT", "absent", "x");
    fails(world.client().publish_to_stream(absent).await, Code::NotFound);

    world.create_consumer("ORDERS", worker()).await;
    let pulled = world.pull(0).await;
    assert_eq!(pulled.len(), 1);
    assert_eq!(pulled[0].subject, "orders.1");
    // What the service adds for itself does not come back.
    assert_eq!(
        pulled[0].headers,
        BTreeMap::from([("Nats-Msg-Id".into(), "id-1".into())])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_from_making_to_removal() {
    let world = World::start().await;
    world.create_stream("ORDERS", &["orders.>"]).await;
    let made = world
        .create_consumer(
            "ORDERS",
            pb::ConsumerConfig {
                filter_subject: "orders.eu.*".into(),
                max_deliver: 3,
                ack_wait: Some(prost_types::Duration { seconds: 7, nanos: 0 }),
                ..worker()
            },
        )
        .await;
    assert_eq!(
        (made.stream_name.as_str(), made.name.as_str()),
        ("ORDERS", "worker")
    );
    let config = made.config.unwrap();
    assert_eq!(config.filter_subject, "orders.eu.*");
    assert_eq!((config.max_deliver, config.ack_wait.unwrap().seconds), (3, 7));
    let named = pb::ConsumerConfig {
        name: "aside".into(),
        delivery_policy: pb::DeliveryPolicy::DeliveryNew.into(),
        ..Default::default()
    };
    assert!(
        world
            .create_consumer("ORDERS", named)
            .await
            .config
            .unwrap()
            .durable_name
            .is_empty()
    );

    let list = pb::ListConsumersRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        ..Default::default()
    };
    let listed = world
        .client()
        .list_consumers(list.clone())
        .await
        .unwrap()
        .into_inner();
    let names = listed.consumers.iter().map(|consumer| consumer.name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["aside", "worker"]);
    let absent = pb::ListConsumersRequest {
        stream_name: "ABSENT".into(),
        ..list
    };
    fails(world.client().list_consumers(absent).await, Code::NotFound);

    world.store("ORDERS", "orders.us.1", "no").await;
    world.store("ORDERS", "orders.eu.1", "yes").await;
    let pulled = world.pull(10).await;
    assert_eq!(pulled.len(), 1);
    assert_eq!((pulled[0].sequence, pulled[0].num_delivered), (2, 1));
    assert!(pulled[0].timestamp.is_some());
    let info = pb::GetConsumerInfoRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "worker".into(),
        ..Default::default()
    };
    let got = world
        .client()
        .get_consumer_info(info.clone())
        .await
        .unwrap()
        .into_inner();
    let state = got.consumer.unwrap().state.unwrap();
    assert_eq!((state.delivered_seq, state.num_pending), (2, 0));

    let delete = pb::DeleteConsumerRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "worker".into(),
        ..Default::default()
    };
    assert!(
        world
            .client()
            .delete_consumer(delete.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    fails(world.client().delete_consumer(delete).await, Code::NotFound);
    fails(world.client().get_consumer_info(info).await, Code::NotFound);
    let pull = pb::PullMessagesRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "worker".into(),
        ..Default::default()
    };
    fails(world.client().pull_messages(pull).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_count_once() {
    let world = World::start().await;
    world.create_stream("ORDERS", &["orders.>"]).await;
    world.create_consumer("ORDERS", worker()).await;
    assert!(world.pull(10).await.is_empty());
    for n in 1..=5 {
        world.store("ORDERS", "orders.x", &n.to_string()).await;
    }
    assert!(!world.ack(1).await, "delivered to nobody");
    let pulled = world.pull(5).await;
    let sequences: Vec<_> = pulled.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert!(world.ack(1).await && !world.ack(1).await);
    // Out of order, so that the floor stays behind.
    assert!(world.ack(4).await && !world.ack(4).await);
    assert!(!world.nak(4, None).await);
    assert!(world.term(3).await && !world.term(3).await);
    assert!(world.in_progress(2).await);
    assert!(world.nak(2, None).await);
    let again = world.pull(5).await;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].sequence, again[0].num_delivered), (2, 2));
    assert!(world.ack(2).await && world.ack(5).await);
    assert!(!world.ack(5).await && !world.ack(99).await);
    assert!(world.pull(5).await.is_empty());

    let consumer = world
        .jetstream()
        .get_consumer_from_stream::<async_nats::jetstream::consumer::pull::Config, _, _>(
            "worker",
            world.name("ORDERS"),
        )
        .await
        .unwrap();
    let info = consumer.cached_info();
    assert_eq!((info.num_ack_pending, info.ack_floor.stream_sequence), (0, 5));

    let theirs = pb::AckMessageRequest {
        organization_id: format!("{}-other", world.org),
        stream_name: "ORDERS".into(),
        consumer_name: "worker".into(),
        sequence: 1,
        ..Default::default()
    };
    fails(world.client().ack_message(theirs).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_with_a_delay_comes_later() {
    let world = World::start().await;
    world.create_stream("ORDERS", &["orders.>"]).await;
    world.create_consumer("ORDERS", worker()).await;
    world.store("ORDERS", "orders.1", "x").await;
    assert_eq!(world.pull(1).await.len(), 1);
    let delay = prost_types::Duration { seconds: 1, nanos: 0 };
    let began = std::time::Instant::now();
    assert!(world.nak(1, Some(delay)).await);
    assert!(world.pull(1).await.is_empty());
    until("due again", PATIENCE, async || !world.pull(1).await.is_empty()).await;
    assert!(began.elapsed() >= std::time::Duration::from_millis(900));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_waits_as_long_as_it_is_told() {
    let world = World::start().await;
    world.create_stream("ORDERS", &["orders.>"]).await;
    world.create_consumer("ORDERS", worker()).await;
    let request = pb::PullMessagesRequest {
        organization_id: world.org.clone(),
        stream_name: "ORDERS".into(),
        consumer_name: "worker".into(),
        batch_size: 2,
        max_wait: Some(prost_types::Duration {
            seconds: 10,
            nanos: 0,
        }),
        ..Default::default()
    };
    let mut client = world.client();
    let waiting = tokio::spawn(async move { client.pull_messages(request).await });
    world.store("ORDERS", "orders.1", "x").await;
    world.store("ORDERS", "orders.2", "x").await;
    let pulled = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(pulled.messages.len(), 2);

    // Without it, what there is comes at once.
    world.store("ORDERS", "orders.3", "x").await;
    let began = std::time::Instant::now();
    assert_eq!(world.pull(10).await.len(), 1);
    assert!(
        began.elapsed() < std::time::Duration::from_millis(800),
        "{:?}",
        began.elapsed()
    );
}
