//! A caller that goes away in the middle: within a second the engine does nothing more for it.

use std::time::Duration;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use futures::{StreamExt, stream};
use isa_config::{Endpoint, ServiceKind};
use isa_proto::{
    loki::{self, loki_service_client::LokiServiceClient},
    minio::{self, min_io_service_client::MinIoServiceClient},
    mqtt::{self, mqtt_service_client::MqttServiceClient},
    nats::{self, nats_service_client::NatsServiceClient},
    neo4j::{self, neo4j_service_client::Neo4jServiceClient},
    postgres::{self, postgres_service_client::PostgresServiceClient},
    redis::{self as pb, redis_service_client::RedisServiceClient},
};
use tokio_postgres::NoTls;
use tonic::{Code, Request};

use crate::{
    place::{for_ever, put},
    platform::{Platform, eventually, unique},
};

/// The engine has closed its side by then.
const CLOSED: Duration = Duration::from_secs(1);

/// For what must be there first.
const OPEN: Duration = Duration::from_secs(10);

fn present(found: bool, what: &str) -> Result<(), String> {
    if found { Ok(()) } else { Err(format!("no {what}")) }
}

fn absent(found: bool, what: &str) -> Result<(), String> {
    if found {
        Err(format!("{what} is there"))
    } else {
        Ok(())
    }
}

/// A URL with its credentials.
fn with_credentials(endpoint: &Endpoint) -> url::Url {
    let mut url = url::Url::parse(&endpoint.url).expect("a URL");
    if let Some(username) = &endpoint.username {
        url.set_username(username).expect("a user");
    }
    if let Some(password) = &endpoint.password {
        url.set_password(Some(password.expose())).expect("a password");
    }
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_unsubscribes_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Redis;
    let services = platform.serve(&[kind]).await;
    let engine = redis::Client::open(with_credentials(&platform.endpoint(kind)).as_str()).expect("a client");
    let engine = engine
        .get_multiplexed_async_connection()
        .await
        .expect("a connection");
    let channel = unique();
    let subscribed = || {
        let (mut engine, pattern) = (engine.clone(), format!("*{channel}*"));
        async move {
            let mut command = redis::cmd("PUBSUB");
            command.arg("CHANNELS").arg(&pattern);
            let channels: Vec<String> = command.query_async(&mut engine).await.expect("channels");
            !channels.is_empty()
        }
    };
    let request = pb::SubscribeRequest {
        channels: vec![channel.clone()],
        ..Default::default()
    };
    let mut client = RedisServiceClient::new(services.channel(kind));
    let stream = client.subscribe(request).await.expect("a stream").into_inner();
    eventually("Redis has the subscription", OPEN, || async {
        present(subscribed().await, "channel")
    })
    .await;
    drop(stream);
    eventually("Redis has no subscription", CLOSED, || async {
        absent(subscribed().await, "the channel")
    })
    .await;
}

/// PostgreSQL by its own client. The connection ends with the client.
pub(crate) async fn postgres_itself(platform: &Platform) -> tokio_postgres::Client {
    let url = with_credentials(&platform.endpoint(ServiceKind::Postgres));
    let (engine, connection) = tokio_postgres::connect(url.as_str(), NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    engine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_works_for_nobody_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Postgres;
    let services = platform.serve(&[kind]).await;
    let engine = postgres_itself(&platform).await;
    let mark = unique();
    let (engine, like) = (&engine, format!("%{mark}%"));
    let busy = || {
        let like = like.clone();
        async move {
            let sql = "select count(*) from pg_stat_activity where query like $1 and state <> 'idle' and pid <> pg_backend_pid()";
            let count: i64 = engine.query_one(sql, &[&like]).await.expect("a count").get(0);
            count > 0
        }
    };
    let mut client = PostgresServiceClient::new(services.channel(kind));

    // A cursor that nobody reads on.
    let request = postgres::QueryStreamRequest {
        sql: format!("select repeat('x', 1000) as text /* {mark} */ from generate_series(1, 1000000)"),
        ..Default::default()
    };
    let mut rows = client.query_stream(request).await.expect("a stream").into_inner();
    rows.message().await.expect("rows").expect("some rows");
    drop(rows);
    eventually("PostgreSQL has closed the cursor", CLOSED, || async {
        absent(busy().await, "the query")
    })
    .await;

    // A statement that runs when the caller leaves, and one when its deadline passes.
    let sleep = || postgres::QueryRequest {
        sql: format!("select pg_sleep(60) /* {mark} */"),
        ..Default::default()
    };
    let mut leaving = client.clone();
    let request = sleep();
    let call = tokio::spawn(async move { leaving.query(request).await });
    eventually("PostgreSQL runs the statement", OPEN, || async {
        present(busy().await, "query")
    })
    .await;
    call.abort();
    eventually("PostgreSQL has cancelled it", CLOSED, || async {
        absent(busy().await, "the query")
    })
    .await;

    let mut request = Request::new(sleep());
    request.set_timeout(Duration::from_millis(300));
    let status = client.query(request).await.expect_err("too slow");
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    eventually("PostgreSQL has cancelled it", CLOSED, || async {
        absent(busy().await, "the query")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_unsubscribes_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Nats;
    let services = platform.serve(&[kind]).await;
    let monitor = platform.endpoint(kind).urls["monitor"]
        .trim_end_matches('/')
        .to_owned();
    let mark = unique();
    let seen = |page: &'static str| {
        let (url, mark) = (format!("{monitor}/{page}"), mark.clone());
        async move {
            let text = reqwest::get(url)
                .await
                .expect("an answer")
                .text()
                .await
                .expect("a text");
            (text.contains(&mark), text)
        }
    };
    const SUBSCRIPTIONS: &str = "subsz?subs=1&limit=100000";
    let mut client = NatsServiceClient::new(services.channel(kind));

    let request = nats::SubscribeRequest {
        subject: format!("{mark}.>"),
        ..Default::default()
    };
    let stream = client.subscribe(request).await.expect("a stream").into_inner();
    eventually("NATS has the subscription", OPEN, || async {
        present(seen(SUBSCRIPTIONS).await.0, "subscription")
    })
    .await;
    drop(stream);
    eventually("NATS has no subscription", CLOSED, || async {
        absent(seen(SUBSCRIPTIONS).await.0, "it")
    })
    .await;

    // What a watch reads through is bound no more. Its record stays for the 30 s after which NATS removes it by itself.
    let request = nats::KvCreateBucketRequest {
        bucket: mark.clone(),
        ..Default::default()
    };
    client.kv_create_bucket(request).await.expect("a bucket");
    let request = nats::KvWatchRequest {
        bucket: mark.clone(),
        ..Default::default()
    };
    let mut watch = client.kv_watch(request).await.expect("a stream").into_inner();
    watch.message().await.expect("an entry");
    let consumers = || async {
        let (_, text) = seen("jsz?streams=true&consumers=true&config=true&limit=10000").await;
        let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let streams = all["account_details"][0]["stream_detail"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let stream = streams
            .into_iter()
            .find(|stream| stream["name"].as_str().is_some_and(|name| name.contains(&mark)));
        let consumers =
            stream.map(|stream| stream["consumer_detail"].as_array().cloned().unwrap_or_default());
        let bound = |consumer: &&serde_json::Value| consumer["push_bound"] == true;
        consumers.unwrap_or_default().iter().filter(bound).count()
    };
    eventually("NATS has the watch", OPEN, || async {
        present(consumers().await > 0, "consumer")
    })
    .await;
    drop(watch);
    eventually("NATS has no watch", CLOSED, || async {
        absent(consumers().await > 0, "the consumer")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loki_follows_for_nobody_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Loki;
    let services = platform.serve(&[kind]).await;
    let metrics = format!("{}/metrics", platform.endpoint(kind).url);
    let followed = || {
        let metrics = metrics.clone();
        async move {
            let text = reqwest::get(metrics).await.expect("an answer").text().await;
            let text = text.expect("a text");
            let count = text
                .lines()
                .find_map(|line| line.strip_prefix("loki_querier_tail_active "));
            count.is_some_and(|count| count != "0")
        }
    };
    let mut client = LokiServiceClient::new(services.channel(kind));
    let request = loki::TailLogsRequest {
        query: format!("{{service=\"{}\"}}", unique()),
        ..Default::default()
    };
    let stream = client.tail_logs(request).await.expect("a stream").into_inner();
    eventually("Loki follows", OPEN, || async {
        present(followed().await, "tail")
    })
    .await;
    drop(stream);
    eventually("Loki does not follow", CLOSED, || async {
        absent(followed().await, "the tail")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_keeps_nothing_of_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Minio;
    let services = platform.serve(&[kind]).await;
    let engine = s3(&platform.endpoint(kind));
    let name = unique();
    let mut client = MinIoServiceClient::new(services.channel(kind));
    let request = minio::CreateBucketRequest {
        bucket_name: name.clone(),
        ..Default::default()
    };
    client.create_bucket(request).await.expect("a bucket");
    let buckets = engine.list_buckets().send().await.expect("buckets");
    let bucket = buckets
        .buckets()
        .iter()
        .filter_map(|bucket| bucket.name())
        .find(|bucket| bucket.contains(&name))
        .expect("the engine's bucket")
        .to_owned();
    let uploads = || async {
        let uploads = engine
            .list_multipart_uploads()
            .bucket(&bucket)
            .send()
            .await
            .expect("uploads");
        uploads.uploads().len()
    };

    // More than goes in one piece, and then nothing more: neither data nor an end.
    let chunks = stream::iter(0..40)
        .map(|_| vec![7_u8; 1 << 20])
        .chain(stream::once(for_ever()));
    let request = put(&name, "half", chunks);
    let mut leaving = client.clone();
    let call = tokio::spawn(async move { leaving.put_object(request).await });
    eventually("the engine has an upload", OPEN, || async {
        present(uploads().await > 0, "upload")
    })
    .await;
    call.abort();
    eventually("the engine has no upload", CLOSED, || async {
        absent(uploads().await > 0, "the upload")
    })
    .await;
    let objects = engine
        .list_objects_v2()
        .bucket(&bucket)
        .send()
        .await
        .expect("objects");
    assert_eq!(objects.contents().len(), 0, "half an object");

    // A reader that leaves, again and again, must not use connections up.
    let whole = put(&name, "whole", stream::iter(0..32).map(|_| vec![7_u8; 1 << 20]));
    client.put_object(whole).await.expect("an object");
    for _ in 0..100 {
        let request = minio::GetObjectRequest {
            bucket_name: name.clone(),
            object_key: "whole".into(),
            ..Default::default()
        };
        let mut chunks = client.get_object(request).await.expect("a stream").into_inner();
        chunks.message().await.expect("a message").expect("the metadata");
        chunks.message().await.expect("a message").expect("a chunk");
    }
    let port = url::Url::parse(&platform.endpoint(kind).url)
        .expect("a URL")
        .port()
        .expect("a port");
    eventually("the service has closed its connections", CLOSED * 3, || async {
        let open = connections_to(port);
        if open <= 40 {
            Ok(())
        } else {
            Err(format!("{open} connections"))
        }
    })
    .await;
}

/// Established connections of this machine to a port.
fn connections_to(port: u16) -> usize {
    let wanted = format!(":{port:04X}");
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines())
        .filter(|line| {
            let mut words = line.split_whitespace().skip(2);
            words.next().is_some_and(|remote| remote.ends_with(&wanted)) && words.next() == Some("01")
        })
        .count()
}

fn s3(endpoint: &Endpoint) -> aws_sdk_s3::Client {
    let key = endpoint.username.as_deref().unwrap_or_default();
    let secret = endpoint
        .password
        .as_ref()
        .map_or("", |password| password.expose());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .endpoint_url(&endpoint.url)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "endpoint"))
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neo4j_works_for_nobody_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Neo4j;
    let services = platform.serve(&[kind]).await;
    let endpoint = platform.endpoint(kind);
    let engine = neo4rs::Graph::new(
        endpoint.url.as_str(),
        endpoint.username.as_deref().expect("a user"),
        endpoint.password.as_ref().expect("a password").expose(),
    )
    .expect("a client");
    let mark = unique();
    let busy = || async {
        let cypher = format!(
            "SHOW TRANSACTIONS YIELD currentQuery WHERE currentQuery CONTAINS '{mark}' \
             AND NOT currentQuery CONTAINS 'SHOW' RETURN count(*) AS count"
        );
        let mut rows = engine.execute(neo4rs::query(&cypher)).await.expect("rows");
        let row = rows.next().await.expect("a row").expect("a row");
        row.get::<i64>("count").expect("a count") > 0
    };
    let request = neo4j::RunCypherRequest {
        cypher: format!("UNWIND range(1, 10000000000) AS n RETURN count(*) /* {mark} */"),
        ..Default::default()
    };
    let mut client = Neo4jServiceClient::new(services.channel(kind));
    let call = tokio::spawn(async move { client.run_cypher(request).await });
    eventually("Neo4j runs the statement", OPEN, || async {
        present(busy().await, "statement")
    })
    .await;
    call.abort();
    eventually("Neo4j has ended the statement", CLOSED, || async {
        absent(busy().await, "the statement")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_unsubscribes_who_is_gone() {
    let platform = Platform::take().await;
    let kind = ServiceKind::Mqtt;
    let services = platform.serve(&[kind]).await;
    let mut client = MqttServiceClient::new(services.channel(kind));
    let session_id = client
        .connect(mqtt::ConnectRequest::default())
        .await
        .expect("a session")
        .into_inner()
        .session_id;
    let request = mqtt::SubscribeRequest {
        session_id: session_id.clone(),
        topic_filter: "gone/#".into(),
        ..Default::default()
    };
    let stream = client.subscribe(request).await.expect("a stream").into_inner();
    drop(stream);
    // The subscription is there no more for the service, which unsubscribes at once, nor then for the broker.
    eventually("no subscription is left", CLOSED, || async {
        let mut client = MqttServiceClient::new(services.channel(kind));
        let request = mqtt::ListSubscriptionsRequest {
            session_id: session_id.clone(),
            ..Default::default()
        };
        let listed = client
            .list_subscriptions(request)
            .await
            .expect("a list")
            .into_inner();
        absent(!listed.subscriptions.is_empty(), "the subscription")
    })
    .await;
    let request = mqtt::UnsubscribeRequest {
        session_id,
        topic_filters: vec!["gone/#".into()],
        ..Default::default()
    };
    let left = client.unsubscribe(request).await.expect("an answer").into_inner();
    assert_eq!(
        left.unsubscribed_count, 0,
        "the broker had the subscription still"
    );
}
