use isa_proto::mqtt as pb;
use tonic::Code;

use super::{PATIENCE, World, fails, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retained_messages_are_set_read_and_deleted() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    let get = |topic: &str| pb::GetRetainedMessageRequest {
        user_id: world.user.clone(),
        topic: topic.to_owned(),
    };
    let found = world
        .client()
        .get_retained_message(get("a"))
        .await
        .unwrap()
        .into_inner();
    assert!(!found.found && found.message.is_none());
    for qos in 0..3 {
        let set = pb::SetRetainedMessageRequest {
            user_id: world.user.clone(),
            topic: "a".into(),
            payload: format!("kept {qos}").into(),
            qos,
        };
        assert!(
            world
                .client()
                .set_retained_message(set)
                .await
                .unwrap()
                .into_inner()
                .success
        );
        let found = world
            .client()
            .get_retained_message(get("a"))
            .await
            .unwrap()
            .into_inner();
        let message = found.message.expect("a message");
        assert_eq!(
            (message.topic.as_str(), message.qos, message.retained),
            ("a", qos, true)
        );
        assert_eq!(message.payload, format!("kept {qos}"));
    }
    engine.subscribe(&world.topic("a")).await;
    assert_eq!(
        engine.seen().await,
        (world.topic("a"), "kept 2".to_owned(), 2, true)
    );
    let other = World::start().await;
    let mut theirs = get("a");
    theirs.user_id.clone_from(&other.user);
    assert!(
        !world
            .client()
            .get_retained_message(theirs)
            .await
            .unwrap()
            .into_inner()
            .found
    );
    let delete = pb::DeleteRetainedMessageRequest {
        user_id: world.user.clone(),
        topic: "a".into(),
    };
    for _ in 0..2 {
        assert!(
            world
                .client()
                .delete_retained_message(delete.clone())
                .await
                .unwrap()
                .into_inner()
                .success
        );
        assert!(
            !world
                .client()
                .get_retained_message(get("a"))
                .await
                .unwrap()
                .into_inner()
                .found
        );
    }
    let empty = pb::SetRetainedMessageRequest {
        user_id: world.user.clone(),
        topic: "a".into(),
        ..Default::default()
    };
    fails(
        world.client().set_retained_message(empty).await,
        Code::InvalidArgument,
    );
    fails(
        world.client().get_retained_message(get("a/+")).await,
        Code::InvalidArgument,
    );
    fails(
        world
            .client()
            .get_retained_message(get("$SYS/broker/version"))
            .await,
        Code::NotFound,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_counted_as_they_are_seen() {
    let world = World::alone().await;
    let mut engine = world.engine().await;
    let session = world.connect("c").await;
    let _stream = world.subscribe(&session, "t/#").await;
    for _ in 0..3 {
        world.publish(&session, "t/a", "x").await;
    }
    engine.publish(&world.topic("t/b"), "kept", true).await;
    let info = |topic: &str| pb::GetTopicInfoRequest {
        user_id: world.user.clone(),
        topic: topic.to_owned(),
    };
    until("three messages are counted", PATIENCE, async || {
        let answer = world.client().get_topic_info(info("t/a")).await;
        answer.is_ok_and(|answer| answer.into_inner().topic_info.unwrap().message_count == 3)
    })
    .await;
    let answer = world
        .client()
        .get_topic_info(info("t/a"))
        .await
        .unwrap()
        .into_inner();
    let topic = answer.topic_info.unwrap();
    assert_eq!((topic.topic.as_str(), topic.subscriber_count), ("t/a", 1));
    assert!(topic.last_message_time.is_some() && !topic.has_retained_message);
    assert_eq!(topic.user_id, world.user);
    let list = |prefix: &str, page, page_size| pb::ListTopicsRequest {
        user_id: world.user.clone(),
        prefix: prefix.to_owned(),
        page,
        page_size,
        ..Default::default()
    };
    until("both topics are listed", PATIENCE, async || {
        let listed = world
            .client()
            .list_topics(list("t/", 0, 0))
            .await
            .unwrap()
            .into_inner();
        listed.total_count == 2
    })
    .await;
    let listed = world
        .client()
        .list_topics(list("t/", 2, 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((listed.topics[0].topic.as_str(), listed.total_count), ("t/b", 2));
    assert!(listed.topics[0].has_retained_message);
    assert_eq!(
        world
            .client()
            .list_topics(list("z", 0, 0))
            .await
            .unwrap()
            .into_inner()
            .total_count,
        0
    );
    fails(
        world.client().get_topic_info(info("absent")).await,
        Code::NotFound,
    );
    fails(
        World::start()
            .await
            .client()
            .get_topic_info(pb::GetTopicInfoRequest {
                user_id: "another".into(),
                topic: "t/a".into(),
            })
            .await,
        Code::NotFound,
    );
    engine.publish(&world.topic("t/b"), "", true).await;
    until("the retained message is gone", PATIENCE, async || {
        let answer = world
            .client()
            .get_topic_info(info("t/b"))
            .await
            .unwrap()
            .into_inner();
        !answer.topic_info.unwrap().has_retained_message
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_replica_knows_what_is_retained() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    engine.publish(&world.topic("kept"), "x", true).await;
    let mut other = World::start().await;
    other.user.clone_from(&world.user);
    until("the topic is known", PATIENCE, async || {
        let info = pb::GetTopicInfoRequest {
            user_id: world.user.clone(),
            topic: "kept".into(),
        };
        let answer = other.client().get_topic_info(info).await;
        answer.is_ok_and(|answer| {
            let topic = answer.into_inner().topic_info.unwrap();
            topic.has_retained_message && topic.message_count == 0
        })
    })
    .await;
    engine.publish(&world.topic("kept"), "", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_validated() {
    let world = World::start().await;
    let check = async |topic: &str, allow_wildcards| {
        let request = pb::ValidateTopicRequest {
            topic: topic.to_owned(),
            allow_wildcards,
        };
        world.client().validate_topic(request).await.unwrap().into_inner()
    };
    for (topic, wildcards, valid) in [
        ("a/b", false, true),
        ("a/+", false, false),
        ("a/+", true, true),
        ("a/#/b", true, false),
        ("", false, false),
        ("/a", false, false),
        ("$SYS/x", true, false),
        ("$share/g/a", true, true),
    ] {
        let answer = check(topic, wildcards).await;
        assert_eq!(answer.valid, valid, "{topic}");
        assert_eq!(
            (answer.message.is_empty(), answer.violations.is_empty()),
            (valid, valid)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_of_the_tenant() {
    let world = World::alone().await;
    world.register("d-1").await;
    let session = world.connect("c").await;
    let mut stream = world.subscribe(&session, "#").await;
    world.publish(&session, "devices/d-1/telemetry", "1").await;
    super::some(&mut stream).await;
    until("figures are there", PATIENCE, async || {
        let request = pb::GetStatisticsRequest {
            user_id: world.user.clone(),
            ..Default::default()
        };
        let found = world.client().get_statistics(request).await.unwrap().into_inner();
        (found.total_devices, found.online_devices, found.total_topics) == (1, 1, 1)
            && (found.total_subscriptions, found.active_sessions) == (1, 1)
            && (found.messages_sent_today, found.messages_received_today) == (1, 1)
            && found.device_type_distribution.get("sensor") == Some(&1)
    })
    .await;
    let health = |deep_check| pb::MqttHealthCheckRequest { deep_check };
    for deep in [false, true] {
        let found = world
            .client()
            .health_check(health(deep))
            .await
            .unwrap()
            .into_inner();
        assert!(found.healthy && found.message.is_empty(), "{found:?}");
        assert_eq!(
            (found.broker_status.as_str(), found.active_connections),
            ("connected", 1)
        );
    }
}
