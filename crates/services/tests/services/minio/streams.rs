use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use isa_config::{Endpoint, Endpoints, EngineKind, ServiceKind};
use isa_proto::minio as pb;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::Code;

use super::bed::{Bed, code, noise, s3, until, user};
use crate::harness::{Node, open};

/// Stands between the service and the engine, and knows how many connections there are.
struct Between {
    open: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    cut: watch::Sender<bool>,
    address: String,
}

impl Between {
    async fn to(engine: &Endpoint) -> Self {
        let target = engine
            .url
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (open, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (cut, cuts) = watch::channel(false);
        let (opened, ended) = (Arc::clone(&open), Arc::clone(&closed));
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (target, opened, ended, mut cuts) =
                    (target.clone(), opened.clone(), ended.clone(), cuts.clone());
                tokio::spawn(async move {
                    if *cuts.borrow() {
                        return;
                    }
                    opened.fetch_add(1, SeqCst);
                    let mut engine = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut engine) => {}
                        _ = cuts.wait_for(|cut| *cut) => {}
                    }
                    opened.fetch_sub(1, SeqCst);
                    ended.fetch_add(1, SeqCst);
                });
            }
        });
        Self {
            open,
            closed,
            cut,
            address,
        }
    }
}

async fn bed() -> (Bed, Between) {
    let direct = Arc::new(Node::start(ServiceKind::Minio).await);
    let between = Between::to(&direct.engine).await;
    let mut engine = direct.engine.clone();
    engine.url.clone_from(&between.address);
    let endpoints = Endpoints::from([(EngineKind::Minio, engine)]);
    let node = Node::over(ServiceKind::Minio, &open(), &endpoints, direct).await;
    (Bed::over(node, false).await, between)
}

pub(super) async fn a_reader_that_leaves_closes_the_engines_side() {
    let (bed, between) = bed().await;
    let alice = user("alice");
    bed.create(&alice, "big").await;
    bed.put(&alice, "big", "object", &noise(64 << 20)).await;
    let get = pb::GetObjectRequest {
        bucket_name: "big".into(),
        object_key: "object".into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    let mut replies = bed
        .client
        .clone()
        .get_object(get.clone())
        .await
        .unwrap()
        .into_inner();
    for _ in 0..3 {
        replies.message().await.unwrap().unwrap();
    }
    assert!(between.open.load(SeqCst) > 0);
    let closed = between.closed.load(SeqCst);
    drop(replies);
    until(
        "the connection to the engine is closed",
        Duration::from_secs(1),
        || async { between.closed.load(SeqCst) > closed },
    )
    .await;
    assert_eq!(bed.get(get).await.unwrap().1.len(), 64 << 20);
}

pub(super) async fn an_engine_that_is_down_is_unavailable_and_unhealthy() {
    let (bed, between) = bed().await;
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    let detailed = pb::MinIoHealthCheckRequest { detailed: true };
    let health = client.health_check(detailed).await.unwrap().into_inner();
    assert!(
        health.success && health.healthy && health.status == "SERVING",
        "{health:?}"
    );
    let details = health.details.unwrap().fields;
    assert!(details.contains_key("latency_ms") && format!("{:?}", details["engine"]).contains("minio"));

    between.cut.send(true).unwrap();
    let list = || async {
        let request = pb::ListBucketsRequest {
            user_id: alice.clone(),
            ..Default::default()
        };
        bed.client.clone().list_buckets(request).await
    };
    let status = list().await.unwrap_err();
    assert!(
        status.code() == Code::Unavailable && !status.message().contains("127.0.0.1"),
        "{status:?}"
    );
    let health = client.health_check(detailed).await.unwrap().into_inner();
    assert!(!health.healthy && health.status == "NOT_SERVING", "{health:?}");
    assert_eq!(code(list().await), Code::Unavailable);
    between.cut.send(false).unwrap();
    until(
        "the service comes back by itself",
        Duration::from_secs(10),
        || async { list().await.is_ok() },
    )
    .await;
    let native = s3(&bed.node.engine);
    native
        .head_bucket()
        .bucket(bed.engine_name(&alice, "data"))
        .send()
        .await
        .unwrap();
}
