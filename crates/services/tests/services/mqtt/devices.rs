use std::collections::BTreeMap;

use isa_config::ServiceKind;
use isa_proto::mqtt as pb;
use tonic::Code;

use super::{PATIENCE, World, fails, some, until};
use crate::harness::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_are_registered_listed_changed_and_forgotten() {
    let world = World::start().await;
    let made = world.register("d:1.x").await;
    assert_eq!(
        (made.device_name.as_str(), made.device_type.as_str()),
        ("Name", "sensor")
    );
    assert_eq!(made.status(), pb::DeviceStatus::DeviceUnknown);
    assert!(made.registered_at.is_some() && made.last_seen.is_none());
    assert_eq!(made.user_id, world.user);
    world.register("b").await;
    world.register("a").await;
    let again = pb::RegisterDeviceRequest {
        user_id: world.user.clone(),
        device_id: "a".into(),
        ..Default::default()
    };
    fails(world.client().register_device(again).await, Code::AlreadyExists);
    let list = |status: pb::DeviceStatus, page, page_size| pb::ListDevicesRequest {
        user_id: world.user.clone(),
        status: status.into(),
        page,
        page_size,
        ..Default::default()
    };
    let ids = |answer: &pb::ListDevicesResponse| -> Vec<String> {
        answer
            .devices
            .iter()
            .map(|device| device.device_id.clone())
            .collect()
    };
    let unknown = pb::DeviceStatus::DeviceUnknown;
    let all = world
        .client()
        .list_devices(list(unknown, 0, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ids(&all), ["a", "b", "d:1.x"]);
    assert_eq!((all.total_count, all.page, all.page_size), (3, 1, 50));
    let page = world
        .client()
        .list_devices(list(unknown, 2, 2))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((ids(&page), page.total_count), (vec!["d:1.x".to_owned()], 3));

    let update = pb::UpdateDeviceStatusRequest {
        user_id: world.user.clone(),
        device_id: "b".into(),
        status: pb::DeviceStatus::DeviceSleeping.into(),
        metadata: BTreeMap::from([("room".into(), String::new()), ("floor".into(), "2".into())]),
    };
    let changed = world
        .client()
        .update_device_status(update.clone())
        .await
        .unwrap()
        .into_inner();
    let changed = changed.device.unwrap();
    assert_eq!(changed.status(), pb::DeviceStatus::DeviceSleeping);
    assert_eq!(
        changed.metadata,
        BTreeMap::from([("floor".to_owned(), "2".to_owned())])
    );
    let sleeping = pb::DeviceStatus::DeviceSleeping;
    let found = world
        .client()
        .list_devices(list(sleeping, 0, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ids(&found), ["b"]);

    let forget = pb::UnregisterDeviceRequest {
        user_id: world.user.clone(),
        device_id: "b".into(),
    };
    assert!(
        world
            .client()
            .unregister_device(forget.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    fails(world.client().unregister_device(forget).await, Code::NotFound);
    fails(world.client().update_device_status(update).await, Code::NotFound);
    let left = world
        .client()
        .list_devices(list(unknown, 0, 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(ids(&left), ["a", "d:1.x"]);
    world.register("b").await;

    let theirs = pb::GetDeviceInfoRequest {
        user_id: "another".into(),
        device_id: "a".into(),
    };
    fails(world.client().get_device_info(theirs).await, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_heartbeats_and_figures() {
    let world = World::alone().await;
    let mut engine = world.engine().await;
    world.register("d").await;
    let before = world.device("d").await;
    assert_eq!(before.messages_sent, 0);
    for _ in 0..3 {
        engine
            .publish(&world.topic("devices/d/telemetry"), "12345", false)
            .await;
    }
    engine
        .publish(&world.topic("devices/d/commands/restart"), "now", false)
        .await;
    engine
        .publish(&world.topic("devices/unknown/telemetry"), "x", false)
        .await;
    until("the device is online", PATIENCE, async || {
        let device = world.device("d").await;
        (device.messages_sent, device.messages_received) == (3, 1)
    })
    .await;
    let device = world.device("d").await;
    assert_eq!(device.status(), pb::DeviceStatus::DeviceOnline);
    assert!(device.last_seen.is_some());
    let session = world.connect("c").await;
    let _stream = world.subscribe(&session, "devices/d/commands/#").await;
    assert_eq!(
        world.device("d").await.subscribed_topics,
        ["devices/d/commands/#"]
    );

    engine
        .publish(&world.topic("devices/d/status"), r#"{"status": "error"}"#, false)
        .await;
    until("the device says that it is in error", PATIENCE, async || {
        world.device("d").await.status() == pb::DeviceStatus::DeviceError
    })
    .await;
    let metrics = pb::GetDeviceMetricsRequest {
        user_id: world.user.clone(),
        device_id: "d".into(),
        ..Default::default()
    };
    let found = world
        .client()
        .get_device_metrics(metrics.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((found.messages_sent, found.messages_received), (4, 1));
    assert_eq!((found.bytes_sent, found.bytes_received), (15 + 19, 3));
    let sum =
        |points: &[pb::TimeSeriesPoint]| points.iter().map(|point| point.value * 60.0).sum::<f64>().round();
    assert!((sum(&found.message_rate) - 5.0).abs() < 0.1, "{found:?}");
    assert!((sum(&found.error_rate) - 1.0).abs() < 0.1, "{found:?}");
    let absent = pb::GetDeviceMetricsRequest {
        device_id: "absent".into(),
        ..metrics.clone()
    };
    fails(world.client().get_device_metrics(absent).await, Code::NotFound);
    let backwards = pb::GetDeviceMetricsRequest {
        start_time: found.message_rate[0].timestamp,
        end_time: found.message_rate[0].timestamp,
        ..metrics
    };
    fails(
        world.client().get_device_metrics(backwards).await,
        Code::InvalidArgument,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn device_messages_are_streamed_as_asked() {
    let world = World::start().await;
    let mut engine = world.engine().await;
    world.register("d").await;
    let listen = |kinds: &[pb::DeviceMessageType], devices: &[&str], patterns: &[&str]| {
        let request = pb::SubscribeDeviceMessagesRequest {
            user_id: world.user.clone(),
            message_types: kinds.iter().map(|&kind| kind.into()).collect(),
            device_ids: devices.iter().map(|&it| it.to_owned()).collect(),
            topic_patterns: patterns.iter().map(|&it| it.to_owned()).collect(),
            ..Default::default()
        };
        let mut client = world.client();
        async move {
            client
                .subscribe_device_messages(request)
                .await
                .unwrap()
                .into_inner()
        }
    };
    let mut all = listen(&[], &[], &[]).await;
    let mut of_one = listen(&[], &["e"], &[]).await;
    let mut status = listen(
        &[pb::DeviceMessageType::DeviceMessageStatus],
        &[],
        &["devices/+/#"],
    )
    .await;
    engine
        .publish(&world.topic("devices/d/telemetry/temp"), "1", false)
        .await;
    engine
        .publish(&world.topic("devices/d/commands"), "to it", false)
        .await;
    engine
        .publish(&world.topic("devices/d/status"), "online", false)
        .await;
    engine
        .publish(&world.topic("devices/e/strange"), "2", false)
        .await;
    let first = some(&mut all).await;
    assert_eq!(
        (first.device_id.as_str(), first.topic.as_str()),
        ("d", "devices/d/telemetry/temp")
    );
    assert_eq!(
        first.message_type(),
        pb::DeviceMessageType::DeviceMessageTelemetry
    );
    assert_eq!(first.metadata.get("room").map(String::as_str), Some("größe"));
    assert_eq!((first.payload.as_ref(), first.qos), (&b"1"[..], 1));
    assert_eq!(some(&mut all).await.payload, "online");
    let last = some(&mut all).await;
    assert_eq!(last.message_type(), pb::DeviceMessageType::DeviceMessageUnknown);
    assert!(last.metadata.is_empty());
    assert_eq!(some(&mut of_one).await.payload, "2");
    assert_eq!(some(&mut status).await.payload, "online");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_outlive_the_service_and_every_replica_knows_them() {
    let [world, mut other] = World::pair().await;
    other.user.clone_from(&world.user);
    world.register("d").await;
    let listed = other
        .client()
        .list_devices(pb::ListDevicesRequest {
            user_id: world.user.clone(),
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.total_count, 1);
    let mut engine = world.engine().await;
    let count = 40;
    for _ in 0..count {
        engine
            .publish(&world.topic("devices/d/telemetry"), "x", false)
            .await;
    }
    // Each message was counted by one of them, and both show all.
    for one in [&world, &other] {
        until("all messages are counted once", PATIENCE, async || {
            one.device("d").await.messages_sent == count
        })
        .await;
    }
    assert!(world.node.drain().await);
    assert_eq!(other.device("d").await.device_id, "d");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_nats_methods_that_need_it_say_so() {
    let shared = World::start().await;
    let world = World::at(Node::at(ServiceKind::Mqtt, shared.node.engine.clone()).await).await;
    let session = world.connect("c").await;
    world.publish(&session, "a", "x").await;
    let request = pb::GetDeviceInfoRequest {
        user_id: world.user.clone(),
        device_id: "d".into(),
    };
    let said = fails(
        world.client().get_device_info(request).await,
        Code::FailedPrecondition,
    );
    assert!(said.contains("engines.nats.url"), "{said}");
}
