//! isa.mqtt on a real Mosquitto and NATS. What the service did is looked at with an MQTT client of the broker's.

mod devices;
mod engine;
mod input;
mod messages;
mod sessions;
mod topics;
mod webhooks;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use isa_config::{EngineKind, ServiceKind};
use isa_proto::mqtt::{self as pb, mqtt_service_client::MqttServiceClient};
use isa_server::Tenant;
use isa_testkit::Engines;
use tonic::{Code, Status, Streaming, transport::Channel};

use self::engine::Engine;
use crate::harness::{Node, open};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with a tenant that nobody else has.
struct World {
    node: Node,
    channel: Channel,
    user: String,
}

impl World {
    async fn start() -> Self {
        Self::at(Node::start(ServiceKind::Mqtt).await).await
    }

    /// With engines of its own. Replicas share what devices say: those of other tests would hear it too.
    async fn alone() -> Self {
        let world = Self::at(Node::alone(ServiceKind::Mqtt).await).await;
        world.hears().await;
        world
    }

    /// Two replicas over engines of their own.
    async fn pair() -> [Self; 2] {
        let kinds = [EngineKind::Mosquitto, EngineKind::Nats];
        let engines = tokio::task::spawn_blocking(move || Engines::start(&kinds));
        let engines = Arc::new(engines.await.expect("the engines"));
        let config = open();
        let replica = async || {
            let node = Node::over(ServiceKind::Mqtt, &config, engines.endpoints(), engines.clone());
            Self::at(node.await).await
        };
        let pair = [replica().await, replica().await];
        for one in &pair {
            one.hears().await;
        }
        pair
    }

    /// Waits until the service hears what passes through the broker: what came before is in no figures.
    async fn hears(&self) {
        let user = format!("probe-{:x}", rand::random::<u64>());
        let device_id = "probe".to_owned();
        let register = pb::RegisterDeviceRequest {
            user_id: user.clone(),
            device_id: device_id.clone(),
            ..Default::default()
        };
        self.client().register_device(register).await.expect("registered");
        let mut engine = self.engine().await;
        let topic = format!("devices/{device_id}/telemetry");
        let full = format!("isa/t/{}/{topic}", Tenant::user(&user).slug());
        let info = pb::GetTopicInfoRequest {
            user_id: user.clone(),
            topic,
        };
        let device = pb::GetDeviceInfoRequest {
            user_id: user,
            device_id,
        };
        until("the service hears", PATIENCE, async || {
            engine.publish(&full, "x", false).await;
            let is_seen = self.client().get_topic_info(info.clone()).await.is_ok();
            let found = self.client().get_device_info(device.clone()).await;
            let device = found.expect("found").into_inner().device.expect("a device");
            is_seen && device.messages_sent > 0
        })
        .await;
    }

    async fn at(node: Node) -> Self {
        let channel = node.channel().await;
        Self {
            node,
            channel,
            user: format!("user-{:x}", rand::random::<u64>()),
        }
    }

    fn client(&self) -> MqttServiceClient<Channel> {
        MqttServiceClient::new(self.channel.clone())
            .max_decoding_message_size(128 << 20)
            .max_encoding_message_size(128 << 20)
    }

    /// The full name of one of the tenant's topics.
    fn topic(&self, topic: &str) -> String {
        format!("isa/t/{}/{topic}", Tenant::user(&self.user).slug())
    }

    async fn engine(&self) -> Engine {
        Engine::connect(&self.node.engine).await
    }

    async fn connect(&self, client_id: &str) -> String {
        let answer = self
            .client()
            .connect(self.connecting(client_id))
            .await
            .expect("connected");
        answer.into_inner().session_id
    }

    fn connecting(&self, client_id: &str) -> pb::ConnectRequest {
        pb::ConnectRequest {
            user_id: self.user.clone(),
            client_id: client_id.to_owned(),
            ..Default::default()
        }
    }

    fn message(&self, session: &str, topic: &str, payload: &str, qos: pb::QoSLevel) -> pb::PublishRequest {
        pb::PublishRequest {
            user_id: self.user.clone(),
            session_id: session.to_owned(),
            topic: topic.to_owned(),
            payload: payload.to_owned().into(),
            qos: qos.into(),
            ..Default::default()
        }
    }

    async fn publish(&self, session: &str, topic: &str, payload: &str) {
        let message = self.message(session, topic, payload, pb::QoSLevel::QosAtLeastOnce);
        let answer = self
            .client()
            .publish(message)
            .await
            .expect("published")
            .into_inner();
        assert!(answer.success && answer.message_id.len() == 32);
    }

    async fn subscribe(&self, session: &str, filter: &str) -> Streaming<pb::MessageResponse> {
        let request = pb::SubscribeRequest {
            user_id: self.user.clone(),
            session_id: session.to_owned(),
            topic_filter: filter.to_owned(),
            qos: pb::QoSLevel::QosExactlyOnce.into(),
        };
        self.client()
            .subscribe(request)
            .await
            .expect("subscribed")
            .into_inner()
    }

    async fn register(&self, device: &str) -> pb::DeviceInfo {
        let request = pb::RegisterDeviceRequest {
            user_id: self.user.clone(),
            device_id: device.to_owned(),
            device_name: "Name".into(),
            device_type: "sensor".into(),
            metadata: BTreeMap::from([("room".into(), "größe".into())]),
            ..Default::default()
        };
        let answer = self.client().register_device(request).await.expect("registered");
        answer.into_inner().device.expect("a device")
    }

    async fn device(&self, device: &str) -> pb::DeviceInfo {
        let request = pb::GetDeviceInfoRequest {
            user_id: self.user.clone(),
            device_id: device.to_owned(),
        };
        let answer = self.client().get_device_info(request).await.expect("found");
        answer.into_inner().device.expect("a device")
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("a message in time")
}

async fn some<T>(stream: &mut Streaming<T>) -> T {
    next(stream).await.expect("no error").expect("not the end")
}

/// Polls until `condition` holds.
async fn until(what: &str, within: Duration, mut condition: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + within;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "not in {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[track_caller]
fn fails<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code) -> String {
    let status = answer.expect_err("an error");
    assert_eq!(status.code(), code, "{status:?}");
    status.message().to_owned()
}
