//! What is refused, and what is bounded.

use std::time::{Duration, Instant};

use qdrant_client::{
    Qdrant, QdrantError,
    config::CompressionEncoding,
    qdrant::{
        CountPointsBuilder, CreateCollectionBuilder, Distance, PointStruct, UpsertPointsBuilder,
        VectorParamsBuilder,
    },
};
use serde_json::{Value, json};

use crate::{
    access::code,
    server::{Server, Setup, fails_to_start},
};

const TOO_LARGE: usize = (32 << 20) + 1;

#[tokio::test]
async fn requests_larger_than_32_mib_are_refused() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let url = server.url("/collections/large/points");
    let body = " ".repeat(TOO_LARGE);
    let answer = reqwest::Client::new().put(url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    let body: Value = answer.json().await.unwrap();
    assert!(body["status"]["error"].is_string(), "{body}");

    let point = PointStruct::new(1, vec![0.0; TOO_LARGE / 4], qdrant_client::Payload::new());
    let upsert = UpsertPointsBuilder::new("large", vec![point]);
    // Zeros are small when they are packed: that one is too large when it is unpacked.
    for compression in [None, Some(CompressionEncoding::Gzip)] {
        let client = Qdrant::new(server.client_config().compression(compression)).unwrap();
        let error = client.upsert_points(upsert.clone()).await.unwrap_err();
        let QdrantError::ResponseError { status } = error else {
            panic!("not an answer: {error}");
        };
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(status.message().contains("33554432 bytes"), "{status}");
    }
}

#[tokio::test]
async fn what_is_not_there_says_so() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let http = reqwest::Client::new();
    for path in [
        "/collections/x/shards",
        "/collections/x/optimizations",
        "/collections/x/vectors/v",
        "/collections/x/shards/0/snapshots",
        "/cluster/recover",
        "/snapshots",
    ] {
        let answer = http.post(server.url(path)).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 501, "{path}");
        let body: Value = answer.json().await.unwrap();
        assert!(
            body["status"]["error"]
                .as_str()
                .unwrap()
                .contains("Not supported"),
            "{body}"
        );
    }
    assert_eq!(
        http.get(server.url("/nonsense")).send().await.unwrap().status(),
        404
    );
    assert_eq!(
        http.delete(server.url("/collections"))
            .send()
            .await
            .unwrap()
            .status(),
        405
    );
    let error = server.client(None).list_full_snapshots().await.unwrap_err();
    assert_eq!(code(error), tonic::Code::Unimplemented);
}

#[tokio::test]
async fn a_folder_serves_one_server() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let said = fails_to_start(storage.path());
    assert!(
        said.contains("is in use by another vector engine") && said.contains("stop that one"),
        "{said}"
    );
    // The lock goes with the process, however that ends.
    server.kill();
    assert!(Server::start(storage.path()).stop().success());
}

#[tokio::test]
async fn a_damaged_collection_is_named() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    create(&server, "c").await;
    assert!(server.stop().success());
    let collections = storage.path().join("collections");
    let dir = std::fs::read_dir(&collections)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let file = dir.join("collection.json");
    std::fs::write(&file, "{").unwrap();
    let said = fails_to_start(storage.path());
    assert!(
        said.contains(&file.display().to_string()) && said.contains("is damaged"),
        "{said}"
    );
}

#[tokio::test]
async fn more_collections_are_used_at_once_than_may_be_open() {
    const COLLECTIONS: u64 = 6;
    const POINTS: u64 = 40;
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start_with(
        storage.path(),
        &Setup {
            max_open_shards: Some(2),
            ..Setup::default()
        },
    );
    for i in 0..COLLECTIONS {
        create(&server, &format!("c{i}")).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let client = server.client(None);
        writers.spawn(async move {
            for id in 0..POINTS {
                // Each writer goes round the collections in its own order.
                let collection = format!("c{}", (id * (writer + 1) + writer) % COLLECTIONS);
                let point = PointStruct::new(
                    writer * POINTS + id,
                    vec![1.0, id as f32],
                    [("writer", (writer as i64).into())],
                );
                client
                    .upsert_points(UpsertPointsBuilder::new(collection, vec![point]).wait(true))
                    .await
                    .unwrap();
            }
        });
    }
    writers.join_all().await;
    let mut total = 0;
    for i in 0..COLLECTIONS {
        let count = CountPointsBuilder::new(format!("c{i}")).exact(true);
        total += server
            .client(None)
            .count(count)
            .await
            .unwrap()
            .result
            .unwrap()
            .count;
    }
    assert_eq!(total, 4 * POINTS);
    let metrics = reqwest::get(server.url("/metrics"))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let open = metrics
        .lines()
        .find_map(|line| line.strip_prefix("open_shards "))
        .unwrap();
    assert!(open.parse::<u64>().unwrap() <= 2, "{open} shards are open");
}

/// What the service asks every other second: two seconds without an answer are an engine that is down.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_does_not_hold_up_the_probe() {
    const COLLECTIONS: usize = 40;
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let mut crowd = tokio::task::JoinSet::new();
    for i in 0..COLLECTIONS {
        let client = server.client(None);
        crowd.spawn(async move {
            let vectors = VectorParamsBuilder::new(2, Distance::Dot);
            let name = format!("c{i}");
            let create = CreateCollectionBuilder::new(&name).vectors_config(vectors);
            client.create_collection(create).await.unwrap();
            client.create_snapshot(&name).await.unwrap();
            client.delete_collection(&name).await.unwrap();
        });
    }
    let client = server.client(None);
    let mut asked = 0;
    loop {
        let start = Instant::now();
        client.collection_exists("none").await.unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(2), "the probe took {took:?}");
        asked += 1;
        if crowd.is_empty() {
            break;
        }
        let pause = tokio::time::sleep(Duration::from_millis(20));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(done) = crowd.join_next() => done.unwrap(),
            }
        }
    }
    assert!(asked > 10, "only {asked} probes beside the crowd");
    assert!(client.list_collections().await.unwrap().collections.is_empty());
}

pub(crate) async fn create(server: &Server, name: &str) {
    let vectors = VectorParamsBuilder::new(2, Distance::Dot);
    let create = CreateCollectionBuilder::new(name).vectors_config(vectors);
    server.client(None).create_collection(create).await.unwrap();
}
