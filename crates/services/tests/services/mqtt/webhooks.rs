use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hmac::{Hmac, Mac};
use isa_proto::mqtt as pb;
use parking_lot::Mutex;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tonic::Code;

use super::{PATIENCE, World, fails, until};

/// What a receiver got: its head, in lower case, and its body.
struct Got {
    head: String,
    body: Vec<u8>,
}

/// A receiver of webhooks on this machine.
struct Receiver {
    url: String,
    got: mpsc::UnboundedReceiver<Got>,
    answers: Arc<Mutex<Vec<&'static str>>>,
}

impl Receiver {
    /// Answers as given, in turn, and then with 200.
    async fn start(answers: &[&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let (sender, got) = mpsc::unbounded_channel();
        let turns = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut bytes = Vec::new();
                let (head, length) = loop {
                    if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        break (String::new(), 0);
                    }
                    let text = String::from_utf8_lossy(&bytes).to_lowercase();
                    if let Some((head, _)) = text.split_once("\r\n\r\n") {
                        let length = head
                            .lines()
                            .find_map(|line| line.strip_prefix("content-length: "));
                        break (
                            head.to_owned(),
                            length.map_or(0, |it| it.trim().parse().expect("a length")),
                        );
                    }
                };
                let start = bytes
                    .windows(4)
                    .position(|it| it == b"\r\n\r\n")
                    .map_or(0, |at| at + 4);
                while bytes.len() < start + length {
                    if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let answer = {
                    let mut turns = turns.lock();
                    if turns.is_empty() {
                        "200 OK"
                    } else {
                        turns.remove(0)
                    }
                };
                let reply = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = socket.write_all(reply.as_bytes()).await;
                let body = bytes.split_off(start);
                let _ = sender.send(Got { head, body });
            }
        });
        Self { url, got, answers }
    }

    async fn next(&mut self) -> Got {
        tokio::time::timeout(PATIENCE, self.got.recv())
            .await
            .expect("a delivery in time")
            .expect("a receiver")
    }
}

fn hook(world: &World, url: &str) -> pb::RegisterWebhookRequest {
    pb::RegisterWebhookRequest {
        user_id: world.user.clone(),
        url: url.to_owned(),
        secret: "secret".into(),
        headers: BTreeMap::from([("Authorization".into(), "Bearer x".into())]),
        ..Default::default()
    }
}

async fn register(world: &World, request: pb::RegisterWebhookRequest) -> String {
    let answer = world
        .client()
        .register_webhook(request)
        .await
        .expect("registered")
        .into_inner();
    let webhook = answer.webhook.expect("a webhook");
    assert!(answer.success && webhook.enabled && webhook.webhook_id == answer.webhook_id);
    answer.webhook_id
}

async fn listed(world: &World) -> Vec<pb::WebhookInfo> {
    let request = pb::ListWebhooksRequest {
        user_id: world.user.clone(),
        include_disabled: true,
        ..Default::default()
    };
    let answer = world
        .client()
        .list_webhooks(request)
        .await
        .expect("listed")
        .into_inner();
    assert_eq!(usize::try_from(answer.total_count), Ok(answer.webhooks.len()));
    answer.webhooks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_delivered_once_signed_and_tried_again() {
    // Another replica shares the work, and knows by a call that it is open.
    let [world, other] = World::pair().await;
    let health = pb::MqttHealthCheckRequest::default();
    assert!(
        other
            .client()
            .health_check(health)
            .await
            .unwrap()
            .into_inner()
            .healthy
    );
    let mut receiver = Receiver::start(&["500 No", "302 Found\r\nlocation: http://127.0.0.1:1/"]).await;
    let mut request = hook(&world, &receiver.url);
    request.message_types = vec![pb::DeviceMessageType::DeviceMessageTelemetry.into()];
    let id = register(&world, request).await;
    let mut engine = world.engine().await;
    engine
        .publish(&world.topic("devices/d/status"), "online", false)
        .await;
    engine
        .publish(&world.topic("devices/d/telemetry"), "größe", false)
        .await;
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let got = receiver.next().await;
        assert!(got.head.starts_with("post /hook http/1.1"), "{}", got.head);
        assert!(got.head.contains("authorization: bearer x"), "{}", got.head);
        let signature = got
            .head
            .lines()
            .find_map(|line| line.strip_prefix("x-isa-signature: "));
        let (time, hash) = signature.unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(format!("{}.", time.strip_prefix("t=").unwrap()).as_bytes());
        mac.update(&got.body);
        assert_eq!(hash, hex::encode(mac.finalize().into_bytes()));
        bodies.push(got.body);
    }
    assert_eq!(bodies[0], bodies[2], "the same delivery, tried again");
    let body: serde_json::Value = serde_json::from_slice(&bodies[0]).unwrap();
    assert_eq!(body["webhook_id"], id.as_str());
    assert_eq!(
        (&body["device_id"], &body["message_type"]),
        (&"d".into(), &"telemetry".into())
    );
    assert_eq!(
        (&body["topic"], &body["payload"]),
        (&"devices/d/telemetry".into(), &"Z3LDtsOfZQ==".into())
    );
    until("the delivery is counted", PATIENCE, async || {
        let webhooks = listed(&world).await;
        (webhooks[0].success_count, webhooks[0].failure_count) == (1, 0)
    })
    .await;
    assert!(receiver.got.try_recv().is_err(), "delivered twice");
    assert!(receiver.answers.lock().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_gone_gets_nothing() {
    let world = World::alone().await;
    let mut receiver = Receiver::start(&[]).await;
    let gone = register(&world, hook(&world, &receiver.url)).await;
    let left = register(&world, hook(&world, &receiver.url)).await;
    let ids: Vec<_> = listed(&world).await.into_iter().map(|it| it.webhook_id).collect();
    assert_eq!(ids, [gone.as_str(), left.as_str()]);
    let forget = |user: &str, id: &str| pb::UnregisterWebhookRequest {
        user_id: user.to_owned(),
        webhook_id: id.to_owned(),
    };
    fails(
        world.client().unregister_webhook(forget("another", &gone)).await,
        Code::NotFound,
    );
    assert!(
        world
            .client()
            .unregister_webhook(forget(&world.user, &gone))
            .await
            .unwrap()
            .into_inner()
            .success
    );
    fails(
        world
            .client()
            .unregister_webhook(forget(&world.user, &gone))
            .await,
        Code::NotFound,
    );
    fails(
        world
            .client()
            .unregister_webhook(forget(&world.user, "a.>"))
            .await,
        Code::NotFound,
    );
    let mut engine = world.engine().await;
    engine.publish(&world.topic("devices/d/x"), "1", false).await;
    let body: serde_json::Value = serde_json::from_slice(&receiver.next().await.body).unwrap();
    assert_eq!(body["webhook_id"], left.as_str());
    assert!(
        tokio::time::timeout(Duration::from_millis(300), receiver.got.recv())
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_platforms_own_network_is_not_reached() {
    let world = World::start().await;
    let engine = url::Url::parse(&world.node.engine.url).unwrap().port().unwrap();
    for forbidden in [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:10.0.0.1]/",
        "http://192.168.1.1/",
        "https://100.64.0.1/",
        "http://0/",
        &format!("http://127.0.0.1:{engine}/"),
        &format!("http://localhost:{engine}/"),
    ] {
        let answer = world.client().register_webhook(hook(&world, forbidden)).await;
        fails(answer, Code::PermissionDenied);
    }
    for bad in [
        "",
        "ftp://example.com/",
        "http://user:password@example.com/",
        "nonsense",
    ] {
        let said = fails(
            world.client().register_webhook(hook(&world, bad)).await,
            Code::InvalidArgument,
        );
        assert!(said.starts_with("url"), "{said}");
    }
    let mut request = hook(&world, "http://127.0.0.1:9/");
    request.headers = BTreeMap::from([("Host".into(), "x".into())]);
    let said = fails(
        world.client().register_webhook(request).await,
        Code::InvalidArgument,
    );
    assert!(said.starts_with("headers"), "{said}");
    assert!(listed(&world).await.is_empty());
}
