use std::sync::Arc;

use async_nats::{ConnectOptions, jetstream};
use isa_config::ServiceKind;
use isa_proto::{
    Bytes,
    nats::{
        CreateStreamRequest, PublishRequest, PublishToStreamRequest, StorageType, StreamConfig,
        nats_service_client::NatsServiceClient,
    },
};

use super::Case;
use crate::{measure::operation, platform::Platform};

const KIND: ServiceKind = ServiceKind::Nats;

/// Of a message, in bytes.
const MESSAGE: usize = 100;

/// A stream keeps so many: the disk is not what is measured.
const KEPT: i32 = 10_000;

pub(crate) async fn cases(platform: &Platform) -> anyhow::Result<Vec<Case>> {
    let endpoint = platform.endpoint(KIND)?;
    let mut options = ConnectOptions::new();
    if let (Some(username), Some(password)) = (&endpoint.username, &endpoint.password) {
        options = options.user_and_password(username.clone(), password.expose().to_owned());
    }
    let native = options.connect(&endpoint.url).await?;
    let stream = jetstream::new(native.clone());
    let channels = Arc::new(platform.channels(KIND).await?);
    stream
        .create_stream(jetstream::stream::Config {
            name: "bench".into(),
            subjects: vec!["bench.stream".into()],
            max_messages: i64::from(KEPT),
            ..Default::default()
        })
        .await?;
    let request = CreateStreamRequest {
        config: Some(StreamConfig {
            name: "bench".into(),
            subjects: vec!["bench.stream".into()],
            storage: StorageType::StorageFile.into(),
            max_msgs: KEPT,
            ..Default::default()
        }),
        ..Default::default()
    };
    NatsServiceClient::new(channels.of(0))
        .create_stream(request)
        .await?;
    let data = Bytes::from(vec![b'x'; MESSAGE]);

    let (client, message) = (native, data.clone());
    let native_publish = operation(move |_| {
        let (client, message) = (client.clone(), message.clone());
        async move {
            client.publish("bench.plain", message).await?;
            // The service answers when NATS has it: so must this.
            client.flush().await?;
            Ok(0)
        }
    });
    let (publish_channels, message) = (Arc::clone(&channels), data.clone());
    let service_publish = operation(move |caller| {
        let mut client = NatsServiceClient::new(publish_channels.of(caller));
        let request = PublishRequest {
            subject: "bench.plain".into(),
            data: message.clone(),
            ..Default::default()
        };
        async move {
            client.publish(request).await?;
            Ok(0)
        }
    });
    let message = data.clone();
    let native_stream = operation(move |_| {
        let (stream, message) = (stream.clone(), message.clone());
        async move {
            stream.publish("bench.stream", message).await?.await?;
            Ok(0)
        }
    });
    let service_stream = operation(move |caller| {
        let mut client = NatsServiceClient::new(channels.of(caller));
        let request = PublishToStreamRequest {
            stream_name: "bench".into(),
            subject: "bench.stream".into(),
            data: data.clone(),
            ..Default::default()
        };
        async move {
            client.publish_to_stream(request).await?;
            Ok(0)
        }
    });
    Ok(vec![
        Case::new(
            KIND,
            "Publish, 100 B",
            Some(25.0),
            native_publish,
            service_publish,
        ),
        Case::new(
            KIND,
            "PublishToStream, 100 B",
            None,
            native_stream,
            service_stream,
        ),
    ])
}
