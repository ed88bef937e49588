use std::collections::BTreeMap;

use isa_proto::{
    mqtt as pb,
    prost_types::{Struct, Value, value::Kind},
};
use tonic::Code;

use super::{World, fails, next, some};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_each_qos_reaches_the_broker_under_the_tenants_prefix() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.subscribe(&world.topic("#")).await;
    let session = world.connect("c").await;
    for qos in [
        pb::QoSLevel::QosAtMostOnce,
        pb::QoSLevel::QosAtLeastOnce,
        pb::QoSLevel::QosExactlyOnce,
    ] {
        let mut message = world.message(&session, "a/größe", "payload", qos);
        message.properties = BTreeMap::from([("k".into(), "ü".into())]);
        assert!(
            world
                .client()
                .publish(message)
                .await
                .unwrap()
                .into_inner()
                .success
        );
        let seen = engine.next().await;
        assert_eq!(seen.topic, world.topic("a/größe"));
        assert_eq!(
            (seen.payload.as_ref(), seen.qos as i32),
            (&b"payload"[..], qos.into())
        );
        let properties = seen.properties.unwrap().user_properties;
        assert_eq!(properties, [("k".to_owned(), "ü".to_owned())]);
    }
    let status = pb::ConnectionStatusRequest {
        user_id: world.user.clone(),
        session_id: session,
    };
    let status = world
        .client()
        .get_connection_status(status)
        .await
        .unwrap()
        .into_inner();
    assert!(status.connected && status.connected_at.is_some());
    assert_eq!((status.messages_sent, status.messages_received), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_struct_is_published_as_json() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.subscribe(&world.topic("#")).await;
    let session = world.connect("").await;
    let number = Value {
        kind: Some(Kind::NumberValue(21.0)),
    };
    let request = pb::PublishJsonRequest {
        user_id: world.user.clone(),
        session_id: session,
        topic: "j".into(),
        data: Some(Struct {
            fields: BTreeMap::from([("t".to_owned(), number)]),
        }),
        ..Default::default()
    };
    assert!(
        world
            .client()
            .publish_json(request)
            .await
            .unwrap()
            .into_inner()
            .success
    );
    assert_eq!(
        engine.seen().await,
        (world.topic("j"), r#"{"t":21}"#.to_owned(), 0, false)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_goes_in_order_and_past_what_is_bad() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.subscribe(&world.topic("#")).await;
    let session = world.connect("c").await;
    let mut messages: Vec<_> = (0..300)
        .map(|n| world.message(&session, "b", &n.to_string(), pb::QoSLevel::QosAtLeastOnce))
        .collect();
    messages.insert(1, world.message("", "b/#", "bad", pb::QoSLevel::QosAtMostOnce));
    let batch = pb::PublishBatchRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
        messages,
    };
    let answer = world
        .client()
        .publish_batch(batch.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.success, answer.published_count, answer.failed_count),
        (false, 300, 1)
    );
    assert_eq!(answer.message_ids.len(), 301);
    assert!(answer.message_ids[1].is_empty() && !answer.message_ids[2].is_empty());
    assert!(answer.errors[0].starts_with("1: topic"), "{:?}", answer.errors);
    for n in 0..300 {
        assert_eq!(engine.seen().await.1, n.to_string());
    }
    let empty = pb::PublishBatchRequest {
        messages: Vec::new(),
        ..batch.clone()
    };
    fails(world.client().publish_batch(empty).await, Code::InvalidArgument);
    let mut of_another = batch;
    of_another.messages[0].user_id = "another".into();
    let said = fails(
        world.client().publish_batch(of_another).await,
        Code::InvalidArgument,
    );
    assert!(said.starts_with("messages.user_id"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_gets_its_tenants_messages_and_retained_ones_first() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.publish(&world.topic("a/kept"), "old", true).await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "a/#").await;
    let other = World::start().await;
    let theirs = other.connect("c").await;
    other.publish(&theirs, "a/b", "theirs").await;
    engine.publish(&world.topic("a/b"), "new", false).await;
    let first = some(&mut stream).await;
    assert_eq!((first.topic.as_str(), first.retained), ("a/kept", true));
    assert_eq!(first.payload, "old");
    let second = some(&mut stream).await;
    assert_eq!(
        (second.topic.as_str(), second.retained, second.qos),
        ("a/b", false, 1)
    );
    assert_eq!(second.payload, "new");
    assert!(second.timestamp.is_some() && second.message_id != first.message_id);
    engine.publish(&world.topic("a/kept"), "", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_many_filters_match_comes_once() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let subscription = |filter: &str| pb::TopicSubscription {
        topic_filter: filter.to_owned(),
        qos: pb::QoSLevel::QosAtLeastOnce.into(),
    };
    let request = pb::SubscribeMultipleRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
        subscriptions: ["a/+", "a/#", "#", "other"].map(subscription).into(),
    };
    let mut many = world
        .client()
        .subscribe_multiple(request)
        .await
        .unwrap()
        .into_inner();
    let mut one = world.subscribe(&session, "a/b").await;
    let mut same = world.subscribe(&session, "a/b").await;
    for n in 0..20 {
        world.publish(&session, "a/b", &n.to_string()).await;
    }
    for stream in [&mut many, &mut one, &mut same] {
        for n in 0..20 {
            assert_eq!(some(stream).await.payload, n.to_string());
        }
    }
    let list = pb::ListSubscriptionsRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
    };
    let listed = world
        .client()
        .list_subscriptions(list.clone())
        .await
        .unwrap()
        .into_inner();
    let filters: Vec<_> = listed
        .subscriptions
        .iter()
        .map(|it| it.topic_filter.as_str())
        .collect();
    assert_eq!(filters, ["#", "a/#", "a/+", "a/b", "other"]);
    let leave = |filters: &[&str]| pb::UnsubscribeRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
        topic_filters: filters.iter().map(|&it| it.to_owned()).collect(),
    };
    let left = world
        .client()
        .unsubscribe(leave(&["a/b", "absent"]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((left.success, left.unsubscribed_count), (true, 1));
    assert!(next(&mut one).await.unwrap().is_none());
    assert!(next(&mut same).await.unwrap().is_none());
    world.publish(&session, "a/b", "still").await;
    assert_eq!(some(&mut many).await.payload, "still");
    let left = world.client().unsubscribe(leave(&[])).await.unwrap().into_inner();
    assert_eq!(left.unsubscribed_count, 4);
    assert!(next(&mut many).await.unwrap().is_none());
    let listed = world
        .client()
        .list_subscriptions(list)
        .await
        .unwrap()
        .into_inner();
    assert!(listed.subscriptions.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_group_gets_each_message() {
    let world = World::start().await;
    let (one, two) = (world.connect("one").await, world.connect("two").await);
    let mut first = world.subscribe(&one, "$share/workers/jobs/#").await;
    let mut second = world.subscribe(&two, "$share/workers/jobs/#").await;
    for n in 0..50 {
        world.publish(&one, "jobs/x", &n.to_string()).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let message = tokio::select! {
            message = some(&mut first) => message,
            message = some(&mut second) => message,
        };
        assert_eq!(message.topic, "jobs/x");
        seen.push(message.payload);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_at_once_are_all_acknowledged() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    let publishing = (0..500).map(|n| {
        let qos = if n % 2 == 0 {
            pb::QoSLevel::QosExactlyOnce
        } else {
            pb::QoSLevel::QosAtLeastOnce
        };
        let (mut client, message) = (world.client(), world.message(&session, "m", &n.to_string(), qos));
        async move { client.publish(message).await.expect("published") }
    });
    futures::future::join_all(publishing).await;
    let mut seen = Vec::new();
    for _ in 0..500 {
        seen.push(some(&mut stream).await.payload);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_is_cut_off() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    let payload = "x".repeat(256 << 10);
    let qos = pb::QoSLevel::QosAtLeastOnce;
    for _ in 0..400 {
        let message = world.message(&session, "m", &payload, qos);
        world.client().publish(message).await.unwrap();
    }
    let mut seen = 0;
    let status = loop {
        match next(&mut stream).await {
            Ok(Some(_)) => seen += 1,
            Ok(None) => panic!("the end"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!((1..400).contains(&seen), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_payloads() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    let qos = pb::QoSLevel::QosAtLeastOnce;
    let message = world.message(&session, "m", &"x".repeat(7 << 20), qos);
    world.client().publish(message).await.unwrap();
    assert_eq!(some(&mut stream).await.payload.len(), 7 << 20);
    let message = world.message(&session, "m", &"x".repeat((8 << 20) + 1), qos);
    fails(world.client().publish(message).await, Code::ResourceExhausted);
    world.publish(&session, "m", "still there").await;
    assert_eq!(some(&mut stream).await.payload, "still there");
}
