//! Data that a test leaves in each engine and looks for later, through each engine's own client.

use std::time::Duration;

use aws_sdk_s3::{
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use isa_config::{Endpoint, Endpoints, EngineKind};
use isa_testkit::{PATIENCE, eventually};
use qdrant_client::{
    Qdrant,
    qdrant::{
        CreateCollectionBuilder, Distance, GetPointsBuilder, PointStruct, UpsertPointsBuilder,
        VectorParamsBuilder,
    },
};
use redis::{AsyncCommands, IntoConnectionInfo};
use serde_json::json;

/// Written by `write` and expected by `check`.
pub(crate) const VALUE: &str = "kept across everything";

/// Writes `VALUE` to every engine in the list, each write acknowledged.
pub(crate) fn write(endpoints: &Endpoints) {
    block_on(async {
        for (&kind, endpoint) in endpoints {
            write_one(kind, endpoint).await;
        }
    });
}

/// Fails unless every engine in the list has `VALUE`; `since` says after what.
pub(crate) fn check(endpoints: &Endpoints, since: &str) {
    for (&kind, endpoint) in endpoints {
        eventually(&format!("{kind} has its data {since}"), PATIENCE / 4, || {
            let found = block_on(async {
                tokio::time::timeout(Duration::from_secs(10), read_one(kind, endpoint)).await
            });
            match found {
                Ok(Ok(value)) if value == VALUE => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn user(endpoint: &Endpoint) -> &str {
    endpoint.username.as_deref().unwrap_or_default()
}

fn password(endpoint: &Endpoint) -> &str {
    endpoint.password.as_ref().map(|p| p.expose()).unwrap_or_default()
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn s3(endpoint: &Endpoint) -> aws_sdk_s3::Client {
    let credentials = Credentials::new(user(endpoint), password(endpoint), None, None, "test");
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"));
    let config = config
        .endpoint_url(&endpoint.url)
        .force_path_style(true)
        .credentials_provider(credentials);
    let http = aws_smithy_http_client::Builder::new();
    let http = http.tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
        aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
    ));
    aws_sdk_s3::Client::from_conf(config.http_client(http.build_https()).build())
}

async fn redis(endpoint: &Endpoint) -> anyhow::Result<redis::aio::MultiplexedConnection> {
    let server = endpoint.url.as_str().into_connection_info()?;
    let login = server.redis_settings().clone().set_password(password(endpoint));
    let client = redis::Client::open(server.set_redis_settings(login))?;
    let unhurried = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client
        .get_multiplexed_async_connection_with_config(&unhurried)
        .await?)
}

async fn nats(endpoint: &Endpoint) -> anyhow::Result<async_nats::jetstream::Context> {
    let options =
        async_nats::ConnectOptions::with_user_and_password(user(endpoint).into(), password(endpoint).into());
    Ok(async_nats::jetstream::new(options.connect(&endpoint.url).await?))
}

async fn postgres(endpoint: &Endpoint) -> anyhow::Result<tokio_postgres::Client> {
    let mut config: tokio_postgres::Config = endpoint.url.parse()?;
    let (client, connection) = config
        .user(user(endpoint))
        .password(password(endpoint))
        .connect(tokio_postgres::NoTls)
        .await?;
    tokio::spawn(connection);
    Ok(client)
}

fn qdrant(endpoint: &Endpoint) -> anyhow::Result<Qdrant> {
    Ok(Qdrant::from_url(&endpoint.urls["grpc"])
        .api_key(password(endpoint))
        .skip_compatibility_check()
        .build()?)
}

async fn neo4j(endpoint: &Endpoint) -> anyhow::Result<neo4rs::Graph> {
    Ok(neo4rs::Graph::new(
        endpoint.url.as_str(),
        user(endpoint),
        password(endpoint),
    )?)
}

fn mqtt(endpoint: &Endpoint) -> (rumqttc::AsyncClient, rumqttc::EventLoop) {
    let url = url::Url::parse(&endpoint.url).unwrap();
    let mut options = rumqttc::MqttOptions::new(
        uuid::Uuid::new_v4().to_string(),
        url.host_str().unwrap(),
        url.port().unwrap(),
    );
    options.set_credentials(user(endpoint), password(endpoint));
    rumqttc::AsyncClient::new(options, 10)
}

async fn write_one(kind: EngineKind, endpoint: &Endpoint) {
    let written: anyhow::Result<()> = async {
        match kind {
            EngineKind::Consul => {
                http()
                    .put(format!("{}/v1/kv/kept", endpoint.url))
                    .body(VALUE)
                    .send()
                    .await?
                    .error_for_status()?;
            }
            EngineKind::Redis => {
                redis(endpoint).await?.set::<_, _, ()>("kept", VALUE).await?;
            }
            EngineKind::Minio => {
                let s3 = s3(endpoint).await;
                s3.create_bucket().bucket("kept").send().await?;
                s3.put_object()
                    .bucket("kept")
                    .key("kept")
                    .body(ByteStream::from_static(VALUE.as_bytes()))
                    .send()
                    .await?;
            }
            EngineKind::Nats => {
                let js = nats(endpoint).await?;
                let config = async_nats::jetstream::stream::Config {
                    name: "kept".into(),
                    subjects: vec!["kept".into()],
                    ..Default::default()
                };
                js.create_stream(config).await?;
                js.publish("kept", VALUE.into()).await?.await?;
            }
            EngineKind::Mosquitto => {
                let (client, mut events) = mqtt(endpoint);
                client
                    .publish("kept", rumqttc::QoS::AtLeastOnce, true, VALUE)
                    .await?;
                while !matches!(
                    events.poll().await?,
                    rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_))
                ) {}
            }
            EngineKind::Postgres => {
                let client = postgres(endpoint).await?;
                client
                    .batch_execute("CREATE TABLE kept (v text, e vector(3))")
                    .await?;
                client
                    .execute("INSERT INTO kept VALUES ($1, '[1,2,3]')", &[&VALUE])
                    .await?;
            }
            EngineKind::Qdrant => {
                let client = qdrant(endpoint)?;
                let vectors = VectorParamsBuilder::new(3, Distance::Cosine);
                client
                    .create_collection(CreateCollectionBuilder::new("kept").vectors_config(vectors))
                    .await?;
                let point = PointStruct::new(
                    1,
                    vec![1.0, 2.0, 3.0],
                    qdrant_client::Payload::try_from(json!({ "v": VALUE }))?,
                );
                client
                    .upsert_points(UpsertPointsBuilder::new("kept", vec![point]).wait(true))
                    .await?;
            }
            EngineKind::Neo4j => {
                neo4j(endpoint)
                    .await?
                    .run(neo4rs::query("CREATE (:Kept {v: $v})").param("v", VALUE))
                    .await?
            }
            EngineKind::Loki => {
                let now = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)?
                    .as_nanos()
                    .to_string();
                let body = json!({ "streams": [{ "stream": { "app": "kept" }, "values": [[now, VALUE]] }] });
                let request = http()
                    .post(format!("{}/loki/api/v1/push", endpoint.url))
                    .header("X-Scope-OrgID", "kept");
                request.json(&body).send().await?.error_for_status()?;
            }
            EngineKind::Grafana => {}
            EngineKind::Duckdb => {
                let path = url::Url::parse(&endpoint.url)?
                    .to_file_path()
                    .unwrap()
                    .join("kept.duckdb");
                duckdb::Connection::open(path)?
                    .execute_batch(&format!("CREATE TABLE kept AS SELECT '{VALUE}' AS v"))?;
            }
        }
        Ok(())
    }
    .await;
    written.unwrap_or_else(|e| panic!("cannot write to {kind}: {e:?}"));
}

async fn read_one(kind: EngineKind, endpoint: &Endpoint) -> anyhow::Result<String> {
    Ok(match kind {
        EngineKind::Consul => {
            http()
                .get(format!("{}/v1/kv/kept?raw", endpoint.url))
                .send()
                .await?
                .error_for_status()?
                .text()
                .await?
        }
        EngineKind::Redis => {
            let kept: Option<String> = redis(endpoint).await?.get("kept").await?;
            kept.unwrap_or_default()
        }
        EngineKind::Minio => {
            let object = s3(endpoint)
                .await
                .get_object()
                .bucket("kept")
                .key("kept")
                .send()
                .await?;
            String::from_utf8(object.body.collect().await?.to_vec())?
        }
        EngineKind::Nats => {
            let stream = nats(endpoint).await?.get_stream("kept").await?;
            String::from_utf8(
                stream
                    .get_last_raw_message_by_subject("kept")
                    .await?
                    .payload
                    .to_vec(),
            )?
        }
        EngineKind::Mosquitto => {
            let (client, mut events) = mqtt(endpoint);
            client.subscribe("kept", rumqttc::QoS::AtLeastOnce).await?;
            loop {
                if let rumqttc::Event::Incoming(rumqttc::Packet::Publish(message)) = events.poll().await? {
                    break String::from_utf8(message.payload.to_vec())?;
                }
            }
        }
        EngineKind::Postgres => postgres(endpoint)
            .await?
            .query_one("SELECT v FROM kept ORDER BY e <-> '[1,2,3]'", &[])
            .await?
            .get(0),
        EngineKind::Qdrant => {
            let request = GetPointsBuilder::new("kept", vec![1.into()])
                .with_payload(true)
                .with_vectors(true);
            let found = qdrant(endpoint)?.get_points(request).await?;
            let value = found
                .result
                .first()
                .and_then(|p| p.payload["v"].as_str().cloned());
            value.unwrap_or_default()
        }
        EngineKind::Neo4j => {
            let mut rows = neo4j(endpoint)
                .await?
                .execute(neo4rs::query("MATCH (n:Kept) RETURN n.v AS v"))
                .await?;
            rows.next()
                .await?
                .map(|row| row.get("v"))
                .transpose()?
                .unwrap_or_default()
        }
        EngineKind::Loki => {
            let request = http()
                .get(format!("{}/loki/api/v1/query_range", endpoint.url))
                .header("X-Scope-OrgID", "kept");
            let answer: serde_json::Value = request
                .query(&[("query", r#"{app="kept"}"#)])
                .send()
                .await?
                .error_for_status()?
                .json()
                .await?;
            answer["data"]["result"][0]["values"][0][1]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        }
        EngineKind::Grafana => VALUE.to_owned(),
        EngineKind::Duckdb => {
            let path = url::Url::parse(&endpoint.url)?
                .to_file_path()
                .unwrap()
                .join("kept.duckdb");
            duckdb::Connection::open(path)?.query_row("SELECT v FROM kept", [], |row| row.get(0))?
        }
    })
}
