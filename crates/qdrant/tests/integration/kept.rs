//! What is done to whole collections is there, whole or not at all, after the server was killed.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use qdrant_client::{
    Payload, Qdrant, QdrantError,
    qdrant::{
        CollectionStatus, CountPointsBuilder, CreateAliasBuilder, CreateCollectionBuilder, Distance,
        HnswConfigDiffBuilder, OptimizersConfigDiffBuilder, PointStruct, UpdateCollectionBuilder,
        UpsertPointsBuilder, VectorParamsBuilder,
    },
};
use serde_json::{Value, json};

use crate::{
    limits::create,
    server::{Server, Setup},
};

const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a condition holds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"));
}

/// Does something again and again, with the number of the try, until the server is killed: once `least` tries were
/// acknowledged. Returns how many were.
async fn until_killed<F, T>(server: Server, least: u64, act: F) -> u64
where
    F: Fn(Qdrant, u64) -> T + Send + 'static,
    T: Future<Output = Result<(), QdrantError>> + Send + 'static,
{
    let acknowledged = Arc::new(AtomicU64::new(0));
    let actor = tokio::spawn({
        let (client, acknowledged) = (server.client(None), Arc::clone(&acknowledged));
        async move {
            let mut n = 0;
            while act(client.clone(), n).await.is_ok() {
                n += 1;
                acknowledged.store(n, Ordering::SeqCst);
            }
        }
    });
    eventually("the changes are acknowledged", async || {
        acknowledged.load(Ordering::SeqCst) >= least
    })
    .await;
    server.kill();
    actor.await.unwrap();
    acknowledged.load(Ordering::SeqCst)
}

async fn get(server: &Server, path: &str) -> Value {
    let answer = reqwest::get(server.url(path)).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let mut body: Value = answer.json().await.unwrap();
    body["result"].take()
}

async fn config(server: &Server, collection: &str) -> Value {
    get(server, &format!("/collections/{collection}")).await["config"].take()
}

async fn send(request: reqwest::RequestBuilder, body: Value) {
    let answer = request.json(&body).send().await.unwrap();
    let status = answer.status();
    assert_eq!(status, 200, "{}", answer.text().await.unwrap());
}

fn point(id: u64, x: f32) -> PointStruct {
    PointStruct::new(id, vec![x, 1.0], Payload::new())
}

async fn put(client: &Qdrant, collection: &str, ids: impl Iterator<Item = u64>) {
    let points: Vec<_> = ids.map(|id| point(id, id as f32)).collect();
    client
        .upsert_points(UpsertPointsBuilder::new(collection, points))
        .await
        .unwrap();
}

async fn count(client: &Qdrant, collection: &str) -> u64 {
    let answer = client
        .count(CountPointsBuilder::new(collection).exact(true))
        .await;
    answer.unwrap().result.unwrap().count
}

/// All that is expected is there, numbers rounded as the engine does.
fn includes(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => expected
            .iter()
            .all(|(key, value)| found.get(key).is_some_and(|found| includes(found, value))),
        (Value::Number(found), Value::Number(expected)) => {
            (found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-6
        }
        _ => found == expected,
    }
}

fn entries(storage: &Path, folder: &str) -> usize {
    std::fs::read_dir(storage.join(folder)).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_change_together_and_survive_kill_9() {
    let storage = tempfile::tempdir().unwrap();
    let mut server = Server::start(storage.path());
    for name in ["even", "odd"] {
        create(&server, name).await;
    }
    // Two aliases that always lead to the same collection.
    let mut url = server.url("/collections/aliases");
    for least in [1, 30, 7] {
        let http = reqwest::Client::new();
        let acknowledged = until_killed(server, least, move |_, n| {
            let to = if n % 2 == 0 { "even" } else { "odd" };
            let actions = ["a", "b"]
                .map(|alias| json!({ "create_alias": { "collection_name": to, "alias_name": alias } }));
            let request = http.post(&url).json(&json!({ "actions": actions })).send();
            async move {
                let answer = request.await;
                let ok = answer.is_ok_and(|answer| answer.status() == 200);
                ok.then_some(())
                    .ok_or_else(|| QdrantError::ConversionError("the server is gone".into()))
            }
        })
        .await;
        server = Server::start(storage.path());
        url = server.url("/collections/aliases");
        let answer = get(&server, "/aliases").await;
        let found: BTreeMap<_, _> = answer["aliases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|alias| (alias["alias_name"].as_str().unwrap(), &alias["collection_name"]))
            .collect();
        let to = found["a"];
        assert_eq!(found["b"], to, "half of a change");
        // The last that was acknowledged, or the one that was under way.
        let last = if acknowledged % 2 == 1 { "even" } else { "odd" };
        let next = if acknowledged % 2 == 1 { "odd" } else { "even" };
        assert!(to == last || to == next);
    }
    // Deleted with their collection, also by a crash in between.
    let client = server.client(None);
    client
        .create_alias(CreateAliasBuilder::new("even", "c"))
        .await
        .unwrap();
    client.delete_collection("even").await.unwrap();
    server.kill();
    let server = Server::start(storage.path());
    let left = get(&server, "/aliases").await.to_string();
    assert!(!left.contains("even"), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_are_kept() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let body = json!({
        "vectors": {
            "plain": { "size": 8, "distance": "Cosine", "on_disk": true },
            "scalar": {
                "size": 8,
                "distance": "Dot",
                "hnsw_config": { "m": 24 },
                "quantization_config": { "scalar": { "type": "int8", "quantile": 0.98, "always_ram": true } },
            },
            "product": {
                "size": 8,
                "distance": "Euclid",
                "quantization_config": { "product": { "compression": "x16" } },
            },
            "binary": {
                "size": 8,
                "distance": "Manhattan",
                "quantization_config": { "binary": { "encoding": "two_bits", "always_ram": false } },
            },
            "rows": { "size": 8, "distance": "Dot", "multivector_config": { "comparator": "max_sim" } },
        },
        "sparse_vectors": { "words": { "modifier": "idf", "index": { "on_disk": true } } },
        "hnsw_config": { "ef_construct": 77, "on_disk": true },
        "optimizers_config": { "indexing_threshold": 123 },
        "on_disk_payload": false,
        "metadata": { "owner": "tests" },
    });
    send(
        reqwest::Client::new().put(server.url("/collections/c")),
        body.clone(),
    )
    .await;
    create(&server, "changing").await;
    let before = config(&server, "c").await;
    for (name, vector) in body["vectors"].as_object().unwrap() {
        for (key, value) in vector.as_object().unwrap() {
            let shown = &before["params"]["vectors"][name][key];
            assert!(includes(shown, value), "{name}.{key}: {shown}");
        }
    }
    assert_eq!(before["params"]["sparse_vectors"], body["sparse_vectors"]);
    server.kill();
    let server = Server::start(storage.path());
    assert_eq!(config(&server, "c").await, before);

    // Changes as well, while points are written.
    put(&server.client(None), "changing", 0..10).await;
    let acknowledged = until_killed(server, 12, |client, n| async move {
        let hnsw = HnswConfigDiffBuilder::default().m(4 + n);
        client
            .update_collection(UpdateCollectionBuilder::new("changing").hnsw_config(hnsw))
            .await?;
        let points = vec![point(100 + n, 1.0)];
        client
            .upsert_points(UpsertPointsBuilder::new("changing", points))
            .await?;
        Ok(())
    })
    .await;
    let server = Server::start(storage.path());
    let m = config(&server, "changing").await["hnsw_config"]["m"]
        .as_u64()
        .unwrap();
    assert!(
        [3 + acknowledged, 4 + acknowledged].contains(&m),
        "{m} after {acknowledged}"
    );
    let points = count(&server.client(None), "changing").await;
    assert!(
        [10, 11].contains(&(points - acknowledged)),
        "{points} after {acknowledged}"
    );
    assert!(server.stop().success());
    let server = Server::start(storage.path());
    assert_eq!(config(&server, "c").await, before);
    assert_eq!(config(&server, "changing").await["hnsw_config"]["m"], m);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_whole_after_kill_9() {
    let storage = tempfile::tempdir().unwrap();
    let mut server = Server::start(storage.path());
    create(&server, "c").await;
    put(&server.client(None), "c", 0..500).await;
    let mut total = 0;
    for least in [1, 4, 2] {
        total += until_killed(server, least, |client, n| async move {
            client
                .upsert_points(UpsertPointsBuilder::new("c", vec![point(1_000 + n, 0.5)]))
                .await?;
            client.create_snapshot("c").await.map(drop)
        })
        .await;
        server = Server::start(storage.path());
        let found = get(&server, "/collections/c/snapshots").await;
        assert_eq!(entries(storage.path(), "staging"), 0);
        let found = found.as_array().unwrap();
        let names: Vec<_> = found.iter().map(|snapshot| &snapshot["name"]).collect();
        // The last may have made it, though nobody was told.
        let one_more = found.len() as u64 == total + 1;
        assert!(
            one_more || found.len() as u64 == total,
            "{names:?}, {total} acknowledged"
        );
        total = found.len() as u64;
        let http = reqwest::Client::new();
        for snapshot in found {
            // Reads and checks the whole file.
            let name = snapshot["name"].as_str().unwrap();
            let location = format!("file://{}/snapshots/c/{name}", storage.path().display());
            let body = json!({ "location": location, "checksum": snapshot["checksum"] });
            send(http.put(server.url("/collections/copy/snapshots/recover")), body).await;
            assert!(count(&server.client(None), "copy").await > 500);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_whole_after_kill_9() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    create(&server, "c").await;
    let client = server.client(None);
    put(&client, "c", 0..300).await;
    let small = client.create_snapshot("c").await.unwrap();
    put(&client, "c", 300..600).await;
    let large = client.create_snapshot("c").await.unwrap();
    let names = [small, large].map(|answer| answer.snapshot_description.unwrap().name);
    let mut server = server;
    for least in [1, 5, 2, 3] {
        let (url, names) = (server.url("/collections/c/snapshots/recover"), names.clone());
        let http = reqwest::Client::new();
        until_killed(server, least, move |_, n| {
            let body = json!({ "location": names[(n % 2) as usize] });
            let request = http.put(&url).json(&body).send();
            async move {
                let ok = request.await.is_ok_and(|answer| answer.status() == 200);
                ok.then_some(())
                    .ok_or_else(|| QdrantError::ConversionError("the server is gone".into()))
            }
        })
        .await;
        server = Server::start(storage.path());
        let found = count(&server.client(None), "c").await;
        assert!(found == 300 || found == 600, "{found} points");
        assert_eq!(entries(storage.path(), "collections"), 1);
        assert_eq!(entries(storage.path(), "staging"), 0);
        // And can be written to, durably.
        put(&server.client(None), "c", 9_000..9_001).await;
        server.kill();
        server = Server::start(storage.path());
        assert_eq!(count(&server.client(None), "c").await, found + 1);
    }
}

/// Points of a collection whose index takes many times as long to build as all that is done meanwhile, but not so long
/// that a busy machine is still at it when patience ends: nothing can stop it.
const BUSY_POINTS: u64 = 8_000;

/// Such a collection, and the optimizer at it.
async fn busy_collection(server: &Server, name: &str) {
    const DIM: u64 = 256;
    let client = server.client(None);
    let created = CreateCollectionBuilder::new(name)
        .vectors_config(VectorParamsBuilder::new(DIM, Distance::Euclid))
        .hnsw_config(
            HnswConfigDiffBuilder::default()
                .m(32)
                .ef_construct(600)
                .full_scan_threshold(10),
        )
        .optimizers_config(OptimizersConfigDiffBuilder::default().indexing_threshold(1_000));
    client.create_collection(created).await.unwrap();
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 40) as f32
    };
    for start in (0..BUSY_POINTS).step_by(1_000) {
        let points: Vec<_> = (start..start + 1_000)
            .map(|id| {
                let vector: Vec<f32> = (0..DIM).map(|_| random()).collect();
                PointStruct::new(id, vector, Payload::new())
            })
            .collect();
        client
            .upsert_points(UpsertPointsBuilder::new(name, points))
            .await
            .unwrap();
    }
    being_built(&client, name).await;
}

/// Waits until the optimizer is in the midst of it.
async fn being_built(client: &Qdrant, name: &str) {
    let mut since = None;
    eventually("the index is being built", async || {
        let info = client.collection_info(name).await.unwrap().result.unwrap();
        let yellow = info.status == CollectionStatus::Yellow as i32;
        since = if yellow {
            since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
        since.is_some_and(|since| since.elapsed() > Duration::from_millis(1_500))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_an_index_that_is_being_built() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    busy_collection(&server, "deleted").await;
    let client = server.client(None);
    let quick = |what: &str, since: Instant, limit: u64| {
        let took = since.elapsed();
        assert!(took < Duration::from_secs(limit), "{what} took {took:?}");
    };
    // Neither a write, nor a change, nor the deletion.
    let start = Instant::now();
    let one = PointStruct::new(77_777, vec![1.0; 256], Payload::new());
    client
        .upsert_points(UpsertPointsBuilder::new("deleted", vec![one]))
        .await
        .unwrap();
    quick("a write", start, 5);
    let start = Instant::now();
    let change = UpdateCollectionBuilder::new("deleted").hnsw_config(HnswConfigDiffBuilder::default().m(16));
    client.update_collection(change).await.unwrap();
    quick("a change", start, 5);
    let start = Instant::now();
    client.delete_collection("deleted").await.unwrap();
    quick("a deletion", start, 5);
    let left = entries(storage.path(), "collections");
    assert_eq!(left, 1, "the files of an index that is being built");
    assert!(!client.collection_exists("deleted").await.unwrap());
    // The name is free at once.
    create(&server, "deleted").await;
    put(&client, "deleted", 0..3).await;
    assert_eq!(count(&client, "deleted").await, 3);
    // The files go without a restart.
    eventually("the files of the deleted collection are removed", async || {
        entries(storage.path(), "collections") == 1 && entries(storage.path(), "staging") == 0
    })
    .await;
    assert_eq!(count(&client, "deleted").await, 3);

    // A stop does not wait either; nor is anything lost, or left, when the server dies.
    busy_collection(&server, "stopped").await;
    let start = Instant::now();
    assert!(server.stop().success());
    quick("a stop", start, 6);
    let server = Server::start(storage.path());
    assert_eq!(count(&server.client(None), "stopped").await, BUSY_POINTS);
    let one = PointStruct::new(77_777, vec![1.0; 256], Payload::new());
    let upsert = UpsertPointsBuilder::new("stopped", vec![one]);
    server.client(None).upsert_points(upsert).await.unwrap();
    being_built(&server.client(None), "stopped").await;
    server.client(None).delete_collection("stopped").await.unwrap();
    server.kill();
    let server = Server::start_with(storage.path(), &Setup::default());
    let client = server.client(None);
    assert!(!client.collection_exists("stopped").await.unwrap());
    assert_eq!(entries(storage.path(), "collections"), 1);
    assert_eq!(count(&client, "deleted").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_replaced_does_not_come_back() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let client = server.client(None);
    create(&server, "small").await;
    let snapshot = client.create_snapshot("small").await.unwrap();
    let name = snapshot.snapshot_description.unwrap().name;
    busy_collection(&server, "large").await;
    let location = format!("file://{}/snapshots/small/{name}", storage.path().display());
    let recover = reqwest::Client::new().put(server.url("/collections/large/snapshots/recover"));
    send(recover, json!({ "location": location })).await;
    assert_eq!(count(&client, "large").await, 0);
    let left = entries(storage.path(), "collections");
    assert_eq!(left, 3, "the files of an index that is being built");
    // Its files outlive the one that took its place.
    client.delete_collection("large").await.unwrap();
    server.kill();
    let server = Server::start(storage.path());
    assert!(!server.client(None).collection_exists("large").await.unwrap());
    assert_eq!(entries(storage.path(), "collections"), 1);
    assert_eq!(entries(storage.path(), "staging"), 0);
}
