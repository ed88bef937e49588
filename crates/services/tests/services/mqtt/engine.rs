//! An MQTT client of the broker's, without the service.

use isa_config::Endpoint;
use rumqttc::v5::{
    AsyncClient, Event, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::Publish},
};
use tokio::{sync::mpsc, task::JoinHandle};
use url::Url;

use super::PATIENCE;

pub(super) struct Engine {
    client: AsyncClient,
    messages: mpsc::UnboundedReceiver<Publish>,
    acknowledged: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Engine {
    pub(super) async fn connect(endpoint: &Endpoint) -> Self {
        let url = Url::parse(&endpoint.url).expect("an address");
        let name = format!("test-{:x}", rand::random::<u64>());
        let mut options = MqttOptions::new(name, url.host_str().expect("a host"), url.port().unwrap_or(1883));
        options.set_credentials(
            endpoint.username.clone().expect("a user"),
            endpoint.password.as_ref().expect("a password").expose(),
        );
        options.set_max_packet_size(Some(16 << 20));
        let (client, mut events) = AsyncClient::new(options, 100);
        let (heard, messages) = mpsc::unbounded_channel();
        let (done, mut acknowledged) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Incoming::Publish(publish))) => drop(heard.send(publish)),
                    Ok(Event::Incoming(
                        Incoming::SubAck(_)
                        | Incoming::PubAck(_)
                        | Incoming::PubComp(_)
                        | Incoming::ConnAck(_),
                    )) => drop(done.send(())),
                    Ok(_) => {}
                    // The end of a test, or of its broker.
                    Err(_) => return,
                }
            }
        });
        acknowledged.recv().await.expect("a connection");
        Self {
            client,
            messages,
            acknowledged,
            task,
        }
    }

    pub(super) async fn subscribe(&mut self, filter: &str) {
        self.client
            .subscribe(filter, QoS::ExactlyOnce)
            .await
            .expect("asked");
        self.acknowledged.recv().await.expect("subscribed");
    }

    pub(super) async fn publish(&mut self, topic: &str, payload: &str, retain: bool) {
        let payload = payload.to_owned();
        self.client
            .publish(topic, QoS::AtLeastOnce, retain, payload)
            .await
            .expect("asked");
        self.acknowledged.recv().await.expect("published");
    }

    pub(super) async fn next(&mut self) -> Publish {
        tokio::time::timeout(PATIENCE, self.messages.recv())
            .await
            .expect("a message in time")
            .expect("a connection")
    }

    /// Topic, payload, QoS and the mark of retained ones.
    pub(super) async fn seen(&mut self) -> (String, String, u8, bool) {
        let publish = self.next().await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            text(&publish.topic),
            text(&publish.payload),
            publish.qos as u8,
            publish.retain,
        )
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}
