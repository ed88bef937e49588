//! What cannot be right is refused, and the broker comes back.

use std::collections::BTreeMap;

use isa_config::ServiceKind;
use isa_proto::mqtt as pb;
use tonic::Code;

use super::{PATIENCE, World, fails, some, until, wire::Wire};
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_field_that_is_wrong_is_named() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let qos = pb::QoSLevel::QosAtMostOnce;
    let long = "x".repeat(1025);
    for topic in ["", "a/+", "#", "/a", "a\0", "a\u{7f}", "$other", &long] {
        let message = world.message(&session, topic, "x", qos);
        let said = fails(world.client().publish(message).await, Code::InvalidArgument);
        assert!(said.starts_with("topic"), "{said}");
    }
    let system = world.message(&session, "$SYS/x", "x", qos);
    fails(world.client().publish(system).await, Code::NotFound);
    let mut message = world.message(&session, "a", "x", qos);
    message.qos = 3;
    let said = fails(
        world.client().publish(message.clone()).await,
        Code::InvalidArgument,
    );
    assert!(said.starts_with("qos"), "{said}");
    message.qos = 0;
    message.properties = (0..17).map(|n| (n.to_string(), String::new())).collect();
    fails(
        world.client().publish(message.clone()).await,
        Code::InvalidArgument,
    );
    message.properties = BTreeMap::from([("a\0".into(), String::new())]);
    fails(world.client().publish(message).await, Code::InvalidArgument);
    for bad in ["a/#/b", "a+", "$share/g", "$share//a"] {
        let request = pb::SubscribeRequest {
            user_id: world.user.clone(),
            session_id: session.clone(),
            topic_filter: bad.into(),
            ..Default::default()
        };
        let said = fails(world.client().subscribe(request).await, Code::InvalidArgument);
        assert!(said.starts_with("topic_filter"), "{said}");
    }
    let mut connecting = world.connecting("c");
    connecting.keep_alive = -1;
    fails(world.client().connect(connecting).await, Code::InvalidArgument);
    fails(
        world.client().connect(world.connecting("c\u{1}")).await,
        Code::InvalidArgument,
    );
    let device = pb::RegisterDeviceRequest {
        user_id: world.user.clone(),
        device_id: "a/b".into(),
        ..Default::default()
    };
    fails(
        world.client().register_device(device).await,
        Code::InvalidArgument,
    );
    // The session has come through all of it.
    world.publish(&session, "a", "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_come_back_after_a_lost_connection() {
    let direct = World::start().await;
    let wire = Wire::to(&direct.node.engine).await;
    let world = World::at(Node::at(ServiceKind::Mqtt, wire.endpoint.clone()).await).await;
    let mut engine = direct.engine().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    world.publish(&session, "a", "before").await;
    assert_eq!(some(&mut stream).await.payload, "before");
    wire.cut();
    // Not by publishing: a message that is under way when the connection is lost waits for the next one.
    until("the service has noticed", PATIENCE, async || {
        let status = pb::ConnectionStatusRequest {
            user_id: world.user.clone(),
            session_id: session.clone(),
        };
        let status = world
            .client()
            .get_connection_status(status)
            .await
            .expect("a status");
        !status.into_inner().connected
    })
    .await;
    let message = world.message(&session, "a", "lost", pb::QoSLevel::QosAtLeastOnce);
    fails(world.client().publish(message).await, Code::Unavailable);
    // The broker keeps it for the session.
    engine.publish(&world.topic("a"), "meanwhile", false).await;
    wire.mend();
    until("the session publishes again", PATIENCE, async || {
        let message = world.message(&session, "a", "after", pb::QoSLevel::QosAtLeastOnce);
        world.client().publish(message).await.is_ok()
    })
    .await;
    assert_eq!(some(&mut stream).await.payload, "meanwhile");
    loop {
        let message = some(&mut stream).await;
        if message.payload == "after" {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_when_the_connection_is_lost_arrives_once_it_is_back() {
    let direct = World::start().await;
    let wire = Wire::to(&direct.node.engine).await;
    let world = World::at(Node::at(ServiceKind::Mqtt, wire.endpoint.clone()).await).await;
    let mut engine = direct.engine().await;
    engine.subscribe(&world.topic("#")).await;
    let session = world.connect("c").await;
    let publishing = (0..2000).map(|n| {
        let qos = if n % 2 == 0 {
            pb::QoSLevel::QosExactlyOnce
        } else {
            pb::QoSLevel::QosAtLeastOnce
        };
        let (mut client, message) = (world.client(), world.message(&session, "m", &n.to_string(), qos));
        async move { client.publish(message).await.is_ok().then_some(n) }
    });
    let publishing = tokio::spawn(futures::future::join_all(publishing.collect::<Vec<_>>()));
    engine.next().await;
    wire.cut();
    tokio::task::yield_now().await;
    wire.mend();
    let acknowledged: Vec<i32> = publishing.await.unwrap().into_iter().flatten().collect();
    assert!(!acknowledged.is_empty());
    let mut seen: BTreeMap<i32, usize> = BTreeMap::new();
    // The first was taken above.
    seen.insert(-1, 1);
    let last = world.message(&session, "end", "end", pb::QoSLevel::QosAtLeastOnce);
    until("it publishes again", PATIENCE, async || {
        world.client().publish(last.clone()).await.is_ok()
    })
    .await;
    loop {
        let (topic, payload, ..) = engine.seen().await;
        if topic == world.topic("end") {
            break;
        }
        *seen.entry(payload.parse().unwrap()).or_default() += 1;
    }
    let lost: Vec<_> = acknowledged.iter().filter(|n| !seen.contains_key(n)).collect();
    assert!(lost.len() <= 1, "acknowledged and lost: {lost:?}");
    let twice: Vec<_> = seen
        .iter()
        .filter(|(n, times)| *n % 2 == 0 && **times > 1)
        .collect();
    assert!(twice.is_empty(), "exactly once, and yet twice: {twice:?}");
}
