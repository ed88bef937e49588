//! Where the items of a load go in each engine, and how they are written and read back.

use std::{future::pending, time::Duration};

use futures::{StreamExt, stream};
use isa_config::ServiceKind;
use isa_proto::{
    loki::{self, loki_service_client::LokiServiceClient},
    minio::{self, min_io_service_client::MinIoServiceClient, put_object_request::Data},
    mqtt::{self, mqtt_service_client::MqttServiceClient},
    nats::{self, nats_service_client::NatsServiceClient},
    neo4j::{self, neo4j_service_client::Neo4jServiceClient},
    postgres::{self, postgres_service_client::PostgresServiceClient},
    prost_types::value::Kind,
    qdrant::{self, qdrant_service_client::QdrantServiceClient},
    redis::{self, redis_service_client::RedisServiceClient},
};
use tonic::{Request, Status, transport::Channel};

/// How long a call of the load may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Where items go: a list, a table, a bucket, a stream, a collection.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) kind: ServiceKind,
    name: String,
    /// Of MQTT.
    session: String,
}

fn bounded<M>(message: M, deadline: Duration) -> Request<M> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

impl Place {
    /// For how long the engine may keep from its files what it has acknowledged. Redis does while it syncs them, which it
    /// does each second (`appendfsync everysec`): for 2 s at most, to which a busy machine adds.
    pub(crate) fn holds_back(&self) -> Duration {
        match self.kind {
            ServiceKind::Redis => Duration::from_secs(3),
            _ => Duration::ZERO,
        }
    }

    /// Makes the place.
    pub(crate) async fn new(kind: ServiceKind, channel: Channel) -> Self {
        let name = crate::platform::unique();
        let mut session = String::new();
        let made = match kind {
            ServiceKind::Postgres => {
                let sql = format!("create table {name} (id int8 primary key)");
                execute(channel, sql, DEADLINE).await
            }
            ServiceKind::Minio => {
                let request = minio::CreateBucketRequest {
                    bucket_name: name.clone(),
                    ..Default::default()
                };
                MinIoServiceClient::new(channel)
                    .create_bucket(request)
                    .await
                    .map(drop)
            }
            ServiceKind::Nats => {
                let config = nats::StreamConfig {
                    name: name.clone(),
                    subjects: vec![format!("{name}.>")],
                    ..Default::default()
                };
                let request = nats::CreateStreamRequest {
                    config: Some(config),
                    ..Default::default()
                };
                NatsServiceClient::new(channel)
                    .create_stream(request)
                    .await
                    .map(drop)
            }
            ServiceKind::Qdrant => {
                let vector = qdrant::VectorParams {
                    size: 4,
                    distance: qdrant::Distance::Dot.into(),
                    ..Default::default()
                };
                let request = qdrant::CreateCollectionRequest {
                    collection_name: name.clone(),
                    vectors_config: Some(qdrant::create_collection_request::VectorsConfig::VectorParams(
                        vector,
                    )),
                    ..Default::default()
                };
                QdrantServiceClient::new(channel)
                    .create_collection(request)
                    .await
                    .map(drop)
            }
            ServiceKind::Mqtt => connect(channel, &name).await.map(|id| session = id),
            _ => Ok(()),
        };
        made.unwrap_or_else(|status| panic!("{kind}: {status:?}"));
        Self { kind, name, session }
    }

    /// Writes one item.
    pub(crate) async fn write(&self, channel: Channel, item: u64, deadline: Duration) -> Result<(), Status> {
        let name = self.name.clone();
        match self.kind {
            ServiceKind::Redis => {
                let request = redis::RPushRequest {
                    key: name,
                    values: vec![item.to_string()],
                    ..Default::default()
                };
                let mut client = RedisServiceClient::new(channel);
                client.r_push(bounded(request, deadline)).await.map(drop)
            }
            ServiceKind::Postgres => {
                execute(channel, format!("insert into {name} values ({item})"), deadline).await
            }
            ServiceKind::Minio => {
                let request = put(&name, &item.to_string(), stream::iter([b"data".to_vec()]));
                let mut client = MinIoServiceClient::new(channel);
                client.put_object(bounded(request, deadline)).await.map(drop)
            }
            ServiceKind::Nats => {
                let request = nats::PublishToStreamRequest {
                    subject: format!("{name}.item"),
                    stream_name: name,
                    data: item.to_string().into_bytes().into(),
                    ..Default::default()
                };
                let mut client = NatsServiceClient::new(channel);
                client
                    .publish_to_stream(bounded(request, deadline))
                    .await
                    .map(drop)
            }
            ServiceKind::Qdrant => {
                let request = upsert(&name, [qdrant::point::Id::NumId(item)]);
                let mut client = QdrantServiceClient::new(channel);
                client.upsert_points(bounded(request, deadline)).await.map(drop)
            }
            ServiceKind::Neo4j => {
                let properties = fields("item", Kind::StringValue(item.to_string()));
                let request = neo4j::CreateNodeRequest {
                    labels: vec![name],
                    properties: Some(properties),
                    ..Default::default()
                };
                let mut client = Neo4jServiceClient::new(channel);
                client.create_node(bounded(request, deadline)).await.map(drop)
            }
            // What Mosquitto keeps of messages, a kill may take: devices are kept elsewhere.
            ServiceKind::Mqtt => {
                let request = mqtt::RegisterDeviceRequest {
                    user_id: name,
                    device_id: item.to_string(),
                    ..Default::default()
                };
                let mut client = MqttServiceClient::new(channel);
                client.register_device(bounded(request, deadline)).await.map(drop)
            }
            ServiceKind::Loki => {
                let mut client = LokiServiceClient::new(channel);
                let request = self.line(item.to_string());
                client.push_log(bounded(request, deadline)).await.map(drop)
            }
            other => panic!("{other} has no load"),
        }
    }

    /// Has the engine itself take something. Devices, which `write` makes, are not Mosquitto's.
    pub(crate) async fn reach(&self, channel: Channel, item: u64, deadline: Duration) -> Result<(), Status> {
        if self.kind != ServiceKind::Mqtt {
            return self.write(channel, item, deadline).await;
        }
        let request = mqtt::PublishRequest {
            user_id: self.name.clone(),
            session_id: self.session.clone(),
            topic: "item".into(),
            payload: item.to_string().into_bytes().into(),
            qos: mqtt::QoSLevel::QosAtLeastOnce.into(),
            ..Default::default()
        };
        let mut client = MqttServiceClient::new(channel);
        client.publish(bounded(request, deadline)).await.map(drop)
    }

    fn line(&self, line: String) -> loki::PushLogRequest {
        let entry = loki::LogEntry {
            line,
            labels: [("service".to_owned(), self.name.clone())].into(),
            ..Default::default()
        };
        loki::PushLogRequest {
            entry: Some(entry),
            ..Default::default()
        }
    }

    /// Every item that is there, as often as it is.
    pub(crate) async fn read(&self, channel: Channel) -> Vec<u64> {
        let name = self.name.clone();
        let items: Vec<String> = match self.kind {
            ServiceKind::Redis => {
                let request = redis::LRangeRequest {
                    key: name,
                    start: 0,
                    stop: -1,
                    ..Default::default()
                };
                let answer = RedisServiceClient::new(channel).l_range(request).await;
                answer.expect("the list").into_inner().values
            }
            ServiceKind::Postgres => {
                let request = postgres::QueryRequest {
                    sql: format!("select id::text from {name}"),
                    ..Default::default()
                };
                let answer = PostgresServiceClient::new(channel).query(request).await;
                let rows = answer.expect("the rows").into_inner().rows;
                rows.into_iter()
                    .filter_map(|row| match row.fields.get("id")?.kind.clone()? {
                        Kind::StringValue(text) => Some(text),
                        _ => None,
                    })
                    .collect()
            }
            ServiceKind::Minio => self.objects(channel).await,
            ServiceKind::Nats => self.messages(channel).await,
            ServiceKind::Qdrant => self.points(channel).await,
            ServiceKind::Neo4j => self.nodes(channel).await,
            ServiceKind::Mqtt => self.devices(channel).await,
            ServiceKind::Loki => self.lines(channel).await,
            other => panic!("{other} has no load"),
        };
        // Slow calls leave other things.
        items.iter().filter_map(|text| text.parse().ok()).collect()
    }

    async fn lines(&self, channel: Channel) -> Vec<String> {
        let request = loki::ExportLogsRequest {
            query: format!("{{service=\"{}\"}}", self.name),
            format: loki::ExportFormat::ExportText.into(),
            ..Default::default()
        };
        let mut pieces = LokiServiceClient::new(channel)
            .export_logs(request)
            .await
            .expect("an export")
            .into_inner();
        let mut text = Vec::new();
        while let Some(piece) = pieces.message().await.expect("a piece") {
            text.extend_from_slice(&piece.data);
        }
        let text = String::from_utf8(text).expect("lines");
        // Each after its time.
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(_, line)| line.to_owned()).collect()
    }

    async fn objects(&self, channel: Channel) -> Vec<String> {
        let mut client = MinIoServiceClient::new(channel);
        let mut keys = Vec::new();
        let mut token = String::new();
        loop {
            let request = minio::ListObjectsRequest {
                bucket_name: self.name.clone(),
                continuation_token: token,
                ..Default::default()
            };
            let page = client.list_objects(request).await.expect("a page").into_inner();
            keys.extend(page.objects.into_iter().map(|object| object.key));
            if !page.is_truncated {
                return keys;
            }
            token = page.next_continuation_token;
        }
    }

    async fn nodes(&self, channel: Channel) -> Vec<String> {
        let mut client = Neo4jServiceClient::new(channel);
        let mut items = Vec::new();
        loop {
            let request = neo4j::FindNodesRequest {
                label: Some(self.name.clone()),
                limit: Some(10_000),
                skip: i32::try_from(items.len()).ok(),
                ..Default::default()
            };
            let nodes = client
                .find_nodes(request)
                .await
                .expect("nodes")
                .into_inner()
                .nodes;
            if nodes.is_empty() {
                return items;
            }
            items.extend(nodes.into_iter().map(|node| {
                let item = node.properties.unwrap_or_default().fields.remove("item");
                match item.and_then(|item| item.kind) {
                    Some(Kind::StringValue(item)) => item,
                    other => panic!("{other:?} is no item"),
                }
            }));
        }
    }

    async fn devices(&self, channel: Channel) -> Vec<String> {
        let mut client = MqttServiceClient::new(channel);
        let mut ids = Vec::new();
        for page in 1.. {
            let request = mqtt::ListDevicesRequest {
                user_id: self.name.clone(),
                page,
                page_size: 1000,
                ..Default::default()
            };
            let devices = client
                .list_devices(request)
                .await
                .expect("a page")
                .into_inner()
                .devices;
            if devices.is_empty() {
                break;
            }
            ids.extend(devices.into_iter().map(|device| device.device_id));
        }
        ids
    }

    async fn consumer(&self, client: &mut NatsServiceClient<Channel>, subject: &str) -> String {
        let consumer = crate::platform::unique();
        let config = nats::ConsumerConfig {
            name: consumer.clone(),
            filter_subject: subject.to_owned(),
            ack_policy: nats::AckPolicy::AckNone.into(),
            ..Default::default()
        };
        let request = nats::CreateConsumerRequest {
            stream_name: self.name.clone(),
            config: Some(config),
            ..Default::default()
        };
        client.create_consumer(request).await.expect("a consumer");
        consumer
    }

    async fn messages(&self, channel: Channel) -> Vec<String> {
        let mut client = NatsServiceClient::new(channel);
        let consumer = self.consumer(&mut client, "").await;
        let mut items = Vec::new();
        loop {
            let request = nats::PullMessagesRequest {
                stream_name: self.name.clone(),
                consumer_name: consumer.clone(),
                batch_size: 1000,
                ..Default::default()
            };
            let messages = client
                .pull_messages(request)
                .await
                .expect("messages")
                .into_inner()
                .messages;
            if messages.is_empty() {
                return items;
            }
            items.extend(
                messages
                    .iter()
                    .map(|message| String::from_utf8_lossy(&message.data).into_owned()),
            );
        }
    }

    async fn points(&self, channel: Channel) -> Vec<String> {
        let mut client = QdrantServiceClient::new(channel);
        let mut ids = Vec::new();
        let mut offset = None;
        loop {
            let request = qdrant::ScrollRequest {
                collection_name: self.name.clone(),
                limit: Some(1000),
                offset,
                ..Default::default()
            };
            let page = client.scroll(request).await.expect("a page").into_inner();
            ids.extend(page.points.into_iter().filter_map(|point| match point.id? {
                qdrant::point::Id::NumId(id) => Some(id.to_string()),
                qdrant::point::Id::StrId(_) => None,
            }));
            offset = page.next_page_offset;
            if offset.is_none() {
                return ids;
            }
        }
    }

    /// A call that takes about a second.
    pub(crate) async fn slow(&self, channel: Channel, held: &str) -> Result<(), Status> {
        match self.kind {
            ServiceKind::Redis => {
                let request = redis::AcquireLockRequest {
                    lock_key: held.to_owned(),
                    ttl: Some(duration(1000)),
                    wait_timeout: Some(duration(3000)),
                    ..Default::default()
                };
                RedisServiceClient::new(channel)
                    .acquire_lock(request)
                    .await
                    .map(drop)
            }
            ServiceKind::Postgres => execute(channel, "select pg_sleep(1)".into(), DEADLINE).await,
            ServiceKind::Minio => {
                let chunks = stream::iter(0..10_u8).then(|n| async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    vec![n; 1000]
                });
                let request = put(&self.name, held, chunks);
                let answer = MinIoServiceClient::new(channel).put_object(request).await?;
                assert_eq!(
                    answer.into_inner().size,
                    10_000,
                    "half an upload was taken for a whole"
                );
                Ok(())
            }
            ServiceKind::Nats => {
                let mut client = NatsServiceClient::new(channel);
                let consumer = self
                    .consumer(&mut client, &format!("{}.nothing", self.name))
                    .await;
                let request = nats::PullMessagesRequest {
                    stream_name: self.name.clone(),
                    consumer_name: consumer,
                    max_wait: Some(duration(1000)),
                    ..Default::default()
                };
                client.pull_messages(request).await.map(drop)
            }
            // It takes what it takes; its ids are none of the load's.
            ServiceKind::Qdrant => {
                let ids = (0..10_000_u32)
                    .map(|n| qdrant::point::Id::StrId(format!("{n:08x}-0000-4000-8000-000000000000")));
                let request = upsert(&self.name, ids);
                QdrantServiceClient::new(channel)
                    .upsert_points(request)
                    .await
                    .map(drop)
            }
            ServiceKind::Neo4j => {
                // The loop takes about a second on any machine that this runs on, more or less.
                let request = neo4j::RunCypherRequest {
                    cypher: "UNWIND range(1, 3000000) AS n RETURN count(n % 7) AS n".into(),
                    ..Default::default()
                };
                let mut client = Neo4jServiceClient::new(channel);
                client.run_cypher(bounded(request, DEADLINE * 4)).await.map(drop)
            }
            ServiceKind::Mqtt => {
                // Its replica is not the one that the place was made by.
                let session_id = connect(channel.clone(), &self.name).await?;
                let mut client = MqttServiceClient::new(channel);
                let message = mqtt::PublishRequest {
                    topic: held.to_owned(),
                    qos: mqtt::QoSLevel::QosExactlyOnce.into(),
                    ..Default::default()
                };
                let request = mqtt::PublishBatchRequest {
                    user_id: self.name.clone(),
                    session_id,
                    messages: vec![message; 10_000],
                };
                let answer = client.publish_batch(request).await?.into_inner();
                assert!(answer.success, "{:?}", answer.errors.first());
                Ok(())
            }
            ServiceKind::Loki => {
                let line = self.line(held.to_owned());
                let lines = stream::iter(vec![line; 10]).then(|line| async move {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    line
                });
                let answer = LokiServiceClient::new(channel).push_log_stream(lines).await?;
                assert_eq!(
                    answer.into_inner().accepted_count,
                    10,
                    "some of a stream was lost"
                );
                Ok(())
            }
            other => panic!("{other} has no slow call"),
        }
    }
}

/// The id of a session.
async fn connect(channel: Channel, user: &str) -> Result<String, Status> {
    let request = mqtt::ConnectRequest {
        user_id: user.to_owned(),
        ..Default::default()
    };
    let answer = MqttServiceClient::new(channel).connect(request).await?;
    Ok(answer.into_inner().session_id)
}

fn duration(milliseconds: i64) -> isa_proto::prost_types::Duration {
    isa_proto::prost_types::Duration {
        seconds: milliseconds / 1000,
        nanos: i32::try_from(milliseconds % 1000 * 1_000_000).unwrap_or_default(),
    }
}

fn upsert(collection: &str, ids: impl IntoIterator<Item = qdrant::point::Id>) -> qdrant::UpsertPointsRequest {
    let point = |id| qdrant::Point {
        id: Some(id),
        vectors: Some(qdrant::point::Vectors::Vector(qdrant::Vector {
            data: vec![1.0; 4],
            ..Default::default()
        })),
        ..Default::default()
    };
    qdrant::UpsertPointsRequest {
        collection_name: collection.to_owned(),
        points: ids.into_iter().map(point).collect(),
        wait: Some(true),
        ..Default::default()
    }
}

fn fields(name: &str, kind: Kind) -> isa_proto::prost_types::Struct {
    let value = isa_proto::prost_types::Value { kind: Some(kind) };
    isa_proto::prost_types::Struct {
        fields: [(name.to_owned(), value)].into(),
    }
}

async fn execute(channel: Channel, sql: String, deadline: Duration) -> Result<(), Status> {
    let request = postgres::ExecuteRequest {
        sql,
        ..Default::default()
    };
    let mut client = PostgresServiceClient::new(channel);
    client.execute(bounded(request, deadline)).await.map(drop)
}

/// An upload of chunks.
pub(crate) fn put(
    bucket: &str,
    key: &str,
    chunks: impl futures::Stream<Item = Vec<u8>> + Send + 'static,
) -> impl futures::Stream<Item = minio::PutObjectRequest> + Send + 'static {
    let metadata = minio::PutObjectMetadata {
        bucket_name: bucket.to_owned(),
        object_key: key.to_owned(),
        ..Default::default()
    };
    let of = |data| minio::PutObjectRequest { data: Some(data) };
    stream::iter([of(Data::Metadata(metadata))]).chain(chunks.map(move |chunk| of(Data::Chunk(chunk.into()))))
}

/// Never ends.
pub(crate) async fn for_ever() -> Vec<u8> {
    pending().await
}
