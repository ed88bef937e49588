//! What was acknowledged is there after the server was killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use qdrant_client::{
    Payload, Qdrant,
    qdrant::{
        Condition, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder, DeletePayloadPointsBuilder,
        DeletePointsBuilder, Distance, FieldType, Filter, OptimizersConfigDiffBuilder, PointStruct,
        ScrollPointsBuilder, SetPayloadPointsBuilder, UpsertPointsBuilder, VectorParamsBuilder,
        point_id::PointIdOptions, value::Kind, vector_output, vectors_output::VectorsOptions,
    },
};

use crate::server::{Server, Setup};

const COLLECTION: &str = "journalled";
const BATCH: u64 = 25;
const DIM: usize = 8;

/// What a point is expected to be: vector and the payload's fields.
#[derive(Debug, Clone, PartialEq)]
struct Point {
    vector: Vec<f32>,
    batch: i64,
    mark: Option<i64>,
}

type State = BTreeMap<u64, Point>;

/// The effect of write number `n`. Upserts for the most part, of new and of old points; between them writes that
/// select their points by a filter.
fn expect(state: &mut State, n: u64) {
    match n % 5 {
        3 => state
            .values_mut()
            .filter(|p| p.batch % 2 == 0)
            .for_each(|p| p.mark = Some(n as i64)),
        4 if n.is_multiple_of(2) => state.retain(|_, p| p.batch % 7 != 3),
        4 => state
            .values_mut()
            .filter(|p| p.batch % 3 == 0)
            .for_each(|p| p.mark = None),
        _ => {
            for i in 0..BATCH {
                let point = Point {
                    vector: vector(n, i),
                    batch: n as i64,
                    mark: None,
                };
                state.insert(id(n, i), point);
            }
        }
    }
}

/// Half of a batch overwrites points of earlier ones.
fn id(n: u64, i: u64) -> u64 {
    if i.is_multiple_of(2) {
        n * BATCH + i
    } else {
        (n * 31 + i * 17) % (n * BATCH + 1)
    }
}

fn vector(n: u64, i: u64) -> Vec<f32> {
    (0..DIM as u64)
        .map(|k| ((n * 131 + i * 17 + k * 7) % 1009) as f32 / 1009.0 + 0.1)
        .collect()
}

async fn write(client: &Qdrant, n: u64) -> Result<(), qdrant_client::QdrantError> {
    let wait = !n.is_multiple_of(3);
    let batch_in = |n: i64, k: i64| {
        // All batches so far that are `k` modulo `n`.
        Filter::must([Condition::matches("class", vec![format!("{n}:{k}")])])
    };
    match n % 5 {
        3 => {
            let payload = Payload::from([("mark", (n as i64).into())]);
            let set = SetPayloadPointsBuilder::new(COLLECTION, payload)
                .points_selector(batch_in(2, 0))
                .wait(wait);
            client.set_payload(set).await?;
        }
        4 if n.is_multiple_of(2) => {
            client
                .delete_points(
                    DeletePointsBuilder::new(COLLECTION)
                        .points(batch_in(7, 3))
                        .wait(wait),
                )
                .await?;
        }
        4 => {
            let delete = DeletePayloadPointsBuilder::new(COLLECTION, vec!["mark".to_owned()]);
            client
                .delete_payload(delete.points_selector(batch_in(3, 0)).wait(wait))
                .await?;
        }
        _ => {
            let class: Vec<_> = [2, 3, 7].map(|k| format!("{k}:{}", n % k)).to_vec();
            let points: Vec<_> = (0..BATCH)
                .map(|i| {
                    let payload = [("batch", (n as i64).into()), ("class", class.clone().into())];
                    let payload: [(&str, qdrant_client::qdrant::Value); 2] = payload;
                    PointStruct::new(id(n, i), vector(n, i), payload)
                })
                .collect();
            client
                .upsert_points(UpsertPointsBuilder::new(COLLECTION, points).wait(wait))
                .await?;
        }
    }
    Ok(())
}

async fn read(client: &Qdrant) -> State {
    let mut state = State::new();
    let mut offset = None;
    loop {
        let mut scroll = ScrollPointsBuilder::new(COLLECTION)
            .limit(1_000)
            .with_payload(true)
            .with_vectors(true);
        if let Some(offset) = offset {
            scroll = scroll.offset(qdrant_client::qdrant::PointId {
                point_id_options: Some(offset),
            });
        }
        let page = client.scroll(scroll).await.unwrap();
        for point in page.result {
            let Some(PointIdOptions::Num(id)) = point.id.unwrap().point_id_options else {
                panic!("not a number")
            };
            let Some(VectorsOptions::Vector(vector)) = point.vectors.unwrap().vectors_options else {
                panic!("named")
            };
            let Some(vector_output::Vector::Dense(dense)) = vector.vector else {
                panic!("not dense")
            };
            let int = |key: &str| match point.payload.get(key).and_then(|value| value.kind.as_ref()) {
                Some(Kind::IntegerValue(number)) => Some(*number),
                _ => None,
            };
            state.insert(
                id,
                Point {
                    vector: dense.data,
                    batch: int("batch").unwrap(),
                    mark: int("mark"),
                },
            );
        }
        match page.next_page_offset.and_then(|id| id.point_id_options) {
            Some(next) => offset = Some(next),
            None => return state,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_writes_survive_kill_9() {
    let storage = tempfile::tempdir().unwrap();
    let server = Server::start(storage.path());
    let client = server.client(None);
    // So that the optimizer is at work as well when the server dies.
    let optimizers = OptimizersConfigDiffBuilder::default()
        .indexing_threshold(8)
        .default_segment_number(2);
    let create = CreateCollectionBuilder::new(COLLECTION)
        .vectors_config(VectorParamsBuilder::new(DIM as u64, Distance::Dot))
        .optimizers_config(optimizers);
    client.create_collection(create).await.unwrap();
    let index = CreateFieldIndexCollectionBuilder::new(COLLECTION, "class", FieldType::Keyword);
    client.create_field_index(index).await.unwrap();
    drop(server);

    let mut expected = State::new();
    let mut next = 0;
    for (round, writes) in [40, 3, 90, 1, 60].into_iter().enumerate() {
        let server = Server::start(storage.path());
        let acknowledged = Arc::new(AtomicU64::new(next));
        let writer = tokio::spawn({
            let (client, acknowledged) = (server.client(None), Arc::clone(&acknowledged));
            async move {
                let mut n = next;
                // Ends when the server dies.
                while write(&client, n).await.is_ok() {
                    n += 1;
                    acknowledged.store(n, Ordering::SeqCst);
                }
            }
        });
        let enough = async {
            while acknowledged.load(Ordering::SeqCst) < next + writes {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), enough)
            .await
            .expect("the writes are acknowledged");
        server.kill();
        writer.await.unwrap();

        let acknowledged = acknowledged.load(Ordering::SeqCst);
        (next..acknowledged).for_each(|n| expect(&mut expected, n));
        // The write that was under way when the server died may or may not have made it.
        let mut with_one_more = expected.clone();
        expect(&mut with_one_more, acknowledged);

        let server = Server::start(storage.path());
        let found = read(&server.client(None)).await;
        next = acknowledged;
        if found == with_one_more {
            expected = with_one_more;
            next += 1;
        }
        let missing: Vec<_> = expected
            .iter()
            .filter(|(id, p)| found.get(id) != Some(p))
            .take(5)
            .collect();
        let wrong: Vec<_> = found
            .iter()
            .filter(|(id, p)| expected.get(id) != Some(p))
            .take(5)
            .collect();
        assert_eq!(
            found, expected,
            "round {round}, {acknowledged} writes; expected but not found: {missing:?}; found but not expected: {wrong:?}"
        );
        // Once in an orderly way, which leaves nothing to recover.
        if round == 2 {
            assert!(server.stop().success());
            assert!(
                journals(storage.path()).iter().all(|len| *len == 16),
                "a journal was not folded in"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_created_and_deleted_whole() {
    let storage = tempfile::tempdir().unwrap();
    let mut expected = BTreeSet::new();
    let mut next = 0_u64;
    for changes in [7, 1, 12, 2, 9] {
        let server = Server::start(storage.path());
        let acknowledged = Arc::new(AtomicU64::new(next));
        let changer = tokio::spawn({
            let (client, acknowledged) = (server.client(None), Arc::clone(&acknowledged));
            async move {
                let mut n = next;
                while change(&client, n).await.is_ok() {
                    n += 1;
                    acknowledged.store(n, Ordering::SeqCst);
                }
            }
        });
        let enough = async {
            while acknowledged.load(Ordering::SeqCst) < next + changes {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), enough)
            .await
            .expect("the changes are acknowledged");
        server.kill();
        changer.await.unwrap();

        let acknowledged = acknowledged.load(Ordering::SeqCst);
        (next..acknowledged).for_each(|n| expect_change(&mut expected, n));
        let mut with_one_more = expected.clone();
        expect_change(&mut with_one_more, acknowledged);

        let server = Server::start_with(
            storage.path(),
            &Setup {
                max_open_shards: Some(2),
                ..Setup::default()
            },
        );
        let client = server.client(None);
        let list = client.list_collections().await.unwrap();
        let found: BTreeSet<_> = list
            .collections
            .into_iter()
            .map(|collection| collection.name)
            .collect();
        next = acknowledged;
        if found == with_one_more {
            expected = with_one_more;
            next += 1;
        }
        assert_eq!(found, expected, "{acknowledged} changes");
        for name in &found {
            let point = PointStruct::new(1, vec![1.0, 2.0], Payload::new());
            client
                .upsert_points(UpsertPointsBuilder::new(name, vec![point]))
                .await
                .unwrap();
        }
        let dirs = |name: &str| std::fs::read_dir(storage.path().join(name)).unwrap().count();
        assert_eq!(dirs("collections"), found.len());
        assert_eq!(dirs("staging"), 0);
    }
}

/// Creates two collections, then deletes the one before.
async fn change(client: &Qdrant, n: u64) -> Result<(), qdrant_client::QdrantError> {
    if n % 3 == 2 {
        client.delete_collection(format!("c{}", n - 2)).await?;
    } else {
        let vectors = VectorParamsBuilder::new(2, Distance::Dot);
        client
            .create_collection(CreateCollectionBuilder::new(format!("c{n}")).vectors_config(vectors))
            .await?;
    }
    Ok(())
}

fn expect_change(names: &mut BTreeSet<String>, n: u64) {
    if n % 3 == 2 {
        names.remove(&format!("c{}", n - 2));
    } else {
        names.insert(format!("c{n}"));
    }
}

fn journals(storage: &Path) -> Vec<u64> {
    let dirs = std::fs::read_dir(storage.join("collections")).unwrap();
    dirs.map(|dir| dir.unwrap().path().join("journal").metadata().unwrap().len())
        .collect()
}
