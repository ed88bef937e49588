use std::time::Duration;

use isa_config::ServiceKind;
use isa_proto::mqtt as pb;
use tonic::Code;

use super::{PATIENCE, World, fails, next, some, until};
use crate::harness::{Node, engines};

fn disconnecting(world: &World, session: &str) -> pb::DisconnectRequest {
    pb::DisconnectRequest {
        user_id: world.user.clone(),
        session_id: session.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_and_its_streams_with_it() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    assert!(
        world
            .client()
            .disconnect(disconnecting(&world, &session))
            .await
            .unwrap()
            .into_inner()
            .success
    );
    assert!(next(&mut stream).await.unwrap().is_none());
    fails(
        world.client().disconnect(disconnecting(&world, &session)).await,
        Code::NotFound,
    );
    let message = world.message(&session, "a", "x", pb::QoSLevel::QosAtMostOnce);
    fails(world.client().publish(message).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_belongs_to_its_user() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut message = world.message(&session, "a", "x", pb::QoSLevel::QosAtMostOnce);
    message.user_id = "another".into();
    fails(world.client().publish(message).await, Code::NotFound);
    let message = world.message("nonsense", "a", "x", pb::QoSLevel::QosAtMostOnce);
    let said = fails(world.client().publish(message).await, Code::InvalidArgument);
    assert!(said.starts_with("session_id"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_client_takes_over_also_at_another_replica() {
    let world = World::start().await;
    let mut other = World::at(Node::start(ServiceKind::Mqtt).await).await;
    other.user.clone_from(&world.user);
    let first = world.connect("same").await;
    let mut stream = world.subscribe(&first, "#").await;
    let second = world.connect("same").await;
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Aborted);
    fails(
        world.client().disconnect(disconnecting(&world, &first)).await,
        Code::NotFound,
    );

    let mut stream = world.subscribe(&second, "#").await;
    other.connect("same").await;
    assert_eq!(next(&mut stream).await.unwrap_err().code(), Code::Aborted);
    until("the session is gone", PATIENCE, async || {
        let status = pb::ConnectionStatusRequest {
            user_id: world.user.clone(),
            session_id: second.clone(),
        };
        let answer = world.client().get_connection_status(status).await;
        answer.is_err_and(|status| status.code() == Code::NotFound)
    })
    .await;
    // Another user's client is another.
    let third = World::start().await;
    let of_another = third.connect("same").await;
    third.publish(&of_another, "a", "x").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_meanwhile_waits_for_the_next_session() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    let session = world.connect("keeps").await;
    let stream = world.subscribe(&session, "jobs/+").await;
    world
        .client()
        .disconnect(disconnecting(&world, &session))
        .await
        .unwrap();
    drop(stream);
    for n in 0..10 {
        engine
            .publish(&world.topic("jobs/x"), &n.to_string(), false)
            .await;
    }
    let again = world
        .client()
        .connect(world.connecting("keeps"))
        .await
        .unwrap()
        .into_inner();
    assert!(again.session_present);
    let mut stream = world.subscribe(&again.session_id, "jobs/+").await;
    for n in 0..10 {
        assert_eq!(some(&mut stream).await.payload, n.to_string());
    }
    drop(stream);
    world
        .client()
        .disconnect(disconnecting(&world, &again.session_id))
        .await
        .unwrap();
    let mut clean = world.connecting("keeps");
    clean.clean_session = true;
    let clean = world.client().connect(clean).await.unwrap().into_inner();
    assert!(!clean.session_present);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_sent_unless_the_session_is_ended() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.subscribe(&world.topic("wills/#")).await;
    let mut connecting = world.connecting("c");
    connecting.will_topic = "wills/c".into();
    connecting.will_payload = "gone".into();
    connecting.will_qos = pb::QoSLevel::QosAtLeastOnce.into();
    let first = world
        .client()
        .connect(connecting.clone())
        .await
        .unwrap()
        .into_inner();
    world
        .client()
        .disconnect(disconnecting(&world, &first.session_id))
        .await
        .unwrap();
    connecting.will_topic = "wills/d".into();
    world.client().connect(connecting.clone()).await.unwrap();
    // Who is taken over has not said farewell.
    world.client().connect(connecting.clone()).await.unwrap();
    let topic = world.topic("wills/d");
    assert_eq!(engine.seen().await.0, topic);
    // Nor has a session whose server ends. The broker is to outlive it.
    let broker = engines(ServiceKind::Mqtt).await;
    assert!(world.node.drain().await);
    assert_eq!(engine.seen().await.0, topic);
    drop(broker);

    let world = World::start().await;
    connecting.will_topic = "a/#".into();
    let said = fails(world.client().connect(connecting).await, Code::InvalidArgument);
    assert!(said.starts_with("will_topic"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engines_subscription_ends_with_the_stream() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let stream = world.subscribe(&session, "a").await;
    drop(stream);
    let list = || pb::ListSubscriptionsRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
    };
    until("no subscription is left", Duration::from_secs(1), async || {
        let listed = world
            .client()
            .list_subscriptions(list())
            .await
            .unwrap()
            .into_inner();
        listed.subscriptions.is_empty()
    })
    .await;
    // The broker knows of none either.
    let leave = pb::UnsubscribeRequest {
        user_id: world.user.clone(),
        session_id: session.clone(),
        topic_filters: vec!["a".into()],
    };
    let left = world.client().unsubscribe(leave).await.unwrap().into_inner();
    assert_eq!(left.unsubscribed_count, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_with_the_server() {
    let world = World::start().await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    let drained = tokio::spawn(world.node.drain());
    assert!(next(&mut stream).await.unwrap().is_none());
    assert!(drained.await.unwrap());
}
