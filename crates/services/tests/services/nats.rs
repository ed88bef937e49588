//! isa.nats on a real NATS. What the service did is looked at with NATS' own client.

mod buckets;
mod input;
mod jetstream;
mod messages;
mod objects;
mod replicas;

use std::time::Duration;

use async_nats::ConnectOptions;
use isa_config::ServiceKind;
use isa_proto::nats::{self as pb, nats_service_client::NatsServiceClient};
use isa_server::Tenant;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::harness::Node;

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with a tenant that nobody else has, and NATS' own client.
struct World {
    node: Node,
    channel: Channel,
    engine: async_nats::Client,
    org: String,
}

impl World {
    async fn start() -> Self {
        let node = Node::start(ServiceKind::Nats).await;
        let endpoint = &node.engine;
        let password = endpoint.password.as_ref().expect("a password").expose();
        let engine = ConnectOptions::new()
            .user_and_password(endpoint.username.clone().expect("a user"), password.to_owned())
            .connect(endpoint.url.as_str())
            .await
            .expect("a connection to NATS");
        let channel = node.channel().await;
        Self {
            node,
            channel,
            engine,
            org: format!("org-{:x}", rand::random::<u64>()),
        }
    }

    fn client(&self) -> NatsServiceClient<Channel> {
        NatsServiceClient::new(self.channel.clone())
            .max_decoding_message_size(128 << 20)
            .max_encoding_message_size(128 << 20)
    }

    fn slug(&self) -> String {
        Tenant::organization(&self.org).slug().to_owned()
    }

    /// The full name of one of the tenant's subjects.
    fn subject(&self, subject: &str) -> String {
        format!("t.{}.{subject}", self.slug())
    }

    /// The full name of one of the tenant's streams or buckets.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.slug())
    }

    fn jetstream(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.engine.clone())
    }

    async fn publish(&self, org: &str, subject: &str, data: &str) {
        let request = pb::PublishRequest {
            organization_id: org.to_owned(),
            subject: subject.to_owned(),
            data: data.to_owned().into(),
            ..Default::default()
        };
        let answer = self.client().publish(request).await.expect("published");
        assert!(answer.into_inner().success);
    }

    async fn subscribe(&self, org: &str, subject: &str, group: &str) -> Streaming<pb::MessageResponse> {
        let request = pb::SubscribeRequest {
            organization_id: org.to_owned(),
            subject: subject.to_owned(),
            queue_group: group.to_owned(),
            ..Default::default()
        };
        let answer = self.client().subscribe(request).await.expect("subscribed");
        answer.into_inner()
    }

    async fn create_stream(&self, name: &str, subjects: &[&str]) -> pb::StreamInfo {
        let answer = self
            .client()
            .create_stream(self.stream_request(name, subjects))
            .await
            .expect("a stream");
        answer.into_inner().stream.expect("its description")
    }

    fn stream_request(&self, name: &str, subjects: &[&str]) -> pb::CreateStreamRequest {
        pb::CreateStreamRequest {
            organization_id: self.org.clone(),
            config: Some(pb::StreamConfig {
                name: name.to_owned(),
                subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
                max_msgs: -1,
                max_bytes: -1,
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

async fn next<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("a message in time")
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
