use std::sync::Arc;

use anyhow::Context;
use isa_config::{Endpoint, ServiceKind};
use isa_proto::{
    Bytes,
    mqtt::{ConnectRequest, PublishRequest, QoSLevel, mqtt_service_client::MqttServiceClient},
};
use parking_lot::Mutex;
use rumqttc::v5::{
    AsyncClient, Event, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tokio::sync::{Semaphore, oneshot};
use url::Url;

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Mqtt;

/// Of a message, in bytes.
const MESSAGE: usize = 100;

/// Messages without acknowledgement that Mosquitto allows a client.
const IN_FLIGHT: usize = 20;

/// The engine's own client. It tells of acknowledgements in the order of what was sent.
struct Native {
    client: AsyncClient,
    waiting: Arc<Mutex<std::collections::VecDeque<oneshot::Sender<()>>>>,
    window: Semaphore,
}

impl Native {
    async fn connect(endpoint: &Endpoint) -> anyhow::Result<Self> {
        let url = Url::parse(&endpoint.url)?;
        let host = url.host_str().context("the broker's address has no host")?;
        let mut options = MqttOptions::new("bench", host, url.port().unwrap_or(1883));
        if let (Some(username), Some(password)) = (&endpoint.username, &endpoint.password) {
            options.set_credentials(username.clone(), password.expose());
        }
        let (client, mut events) = AsyncClient::new(options, 1024);
        let waiting: Arc<Mutex<std::collections::VecDeque<oneshot::Sender<()>>>> = Arc::default();
        let acknowledged = Arc::clone(&waiting);
        let (up, is_up) = oneshot::channel();
        let mut up = Some(up);
        tokio::spawn(async move {
            while let Ok(event) = events.poll().await {
                match event {
                    Event::Incoming(Packet::PubAck(_)) => {
                        if let Some(waiting) = acknowledged.lock().pop_front() {
                            let _ = waiting.send(());
                        }
                    }
                    Event::Incoming(Incoming::ConnAck(_)) => {
                        if let Some(up) = up.take() {
                            let _ = up.send(());
                        }
                    }
                    _ => {}
                }
            }
        });
        is_up.await.context("the broker does not answer")?;
        Ok(Self {
            client,
            waiting,
            window: Semaphore::new(IN_FLIGHT),
        })
    }

    async fn publish(&self, topic: &str, qos: QoS, message: Bytes) -> anyhow::Result<()> {
        if qos == QoS::AtMostOnce {
            self.client.publish(topic, qos, false, message).await?;
            return Ok(());
        }
        let _permit = self.window.acquire().await?;
        let (done, acknowledged) = oneshot::channel();
        self.waiting.lock().push_back(done);
        self.client.publish(topic, qos, false, message).await?;
        Ok(acknowledged.await?)
    }
}

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let native = Arc::new(Native::connect(platform.endpoint(KIND)?).await?);
    let channels = Arc::new(platform.channels(KIND).await?);
    let session = MqttServiceClient::new(channels.of(0))
        .connect(ConnectRequest::default())
        .await?
        .into_inner()
        .session_id;
    let data = Bytes::from(vec![b'x'; MESSAGE]);
    let levels = [
        (
            "Publish, QoS 1, 100 B",
            QoS::AtLeastOnce,
            QoSLevel::QosAtLeastOnce,
        ),
        ("Publish, QoS 0, 100 B", QoS::AtMostOnce, QoSLevel::QosAtMostOnce),
    ];
    Ok(levels
        .into_iter()
        .map(|(name, qos, level)| {
            let (client, message) = (Arc::clone(&native), data.clone());
            let own = operation(move |_| {
                let (client, message) = (Arc::clone(&client), message.clone());
                async move {
                    client.publish("bench/plain", qos, message).await?;
                    Ok(0)
                }
            });
            let (channels, data, session) = (Arc::clone(&channels), data.clone(), session.clone());
            let service = operation(move |caller| {
                let mut client = MqttServiceClient::new(channels.of(caller));
                let request = PublishRequest {
                    session_id: session.clone(),
                    topic: "bench/plain".into(),
                    payload: data.clone(),
                    qos: level.into(),
                    ..Default::default()
                };
                async move {
                    client.publish(request).await?;
                    Ok(0)
                }
            });
            Case::new(KIND, name, Some(30.0), own, service)
        })
        .collect())
}
