use isa_proto::nats as pb;
use tonic::{Code, Status};

use super::{World, fails, next};

impl World {
    async fn put(&self, key: &str, value: &str, expected: Option<i64>) -> Result<i64, Status> {
        let request = pb::KvPutRequest {
            organization_id: self.org.clone(),
            bucket: "config".into(),
            key: key.into(),
            value: value.to_owned().into(),
            expected_revision: expected,
            ..Default::default()
        };
        let answer = self.client().kv_put(request).await?.into_inner();
        assert!(answer.success);
        Ok(answer.revision)
    }

    async fn get(&self, org: &str, key: &str) -> pb::KvGetResponse {
        let request = pb::KvGetRequest {
            organization_id: org.into(),
            bucket: "config".into(),
            key: key.into(),
            ..Default::default()
        };
        self.client()
            .kv_get(request)
            .await
            .expect("an answer")
            .into_inner()
    }

    async fn delete(&self, key: &str) {
        let request = pb::KvDeleteRequest {
            organization_id: self.org.clone(),
            bucket: "config".into(),
            key: key.into(),
            ..Default::default()
        };
        let answer = self.client().kv_delete(request).await.expect("an answer");
        assert!(answer.into_inner().success);
    }

    async fn keys(&self, org: &str) -> Vec<String> {
        let request = pb::KvKeysRequest {
            organization_id: org.into(),
            bucket: "config".into(),
            ..Default::default()
        };
        self.client()
            .kv_keys(request)
            .await
            .expect("keys")
            .into_inner()
            .keys
    }

    async fn history(&self, key: &str) -> Result<Vec<pb::KvEntry>, Status> {
        let request = pb::KvHistoryRequest {
            organization_id: self.org.clone(),
            bucket: "config".into(),
            key: key.into(),
            ..Default::default()
        };
        Ok(self.client().kv_history(request).await?.into_inner().entries)
    }

    fn bucket_request(&self, history: i32) -> pb::KvCreateBucketRequest {
        pb::KvCreateBucketRequest {
            organization_id: self.org.clone(),
            bucket: "config".into(),
            history,
            ..Default::default()
        }
    }

    fn watch_request(&self) -> pb::KvWatchRequest {
        pb::KvWatchRequest {
            organization_id: self.org.clone(),
            bucket: "config".into(),
            ..Default::default()
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_written_read_and_deleted() {
    let world = World::start().await;
    let other = format!("{}-other", world.org);
    assert!(!world.get(&world.org, "a").await.found);
    assert!(world.keys(&world.org).await.is_empty());
    world.delete("a").await;
    fails(world.history("a").await, Code::NotFound);

    let first = world.put("a", "1", None).await.unwrap();
    let second = world.put("a", "2", None).await.unwrap();
    assert!(second > first);
    world.put("b/c=d.e_f-g", "x", None).await.unwrap();
    let got = world.get(&world.org, "a").await;
    assert!(got.found && got.created.is_some());
    assert_eq!((got.value.as_ref(), got.revision), (b"2".as_ref(), second));
    assert!(!world.get(&other, "a").await.found);
    assert!(world.keys(&other).await.is_empty());
    assert_eq!(world.keys(&world.org).await, ["a", "b/c=d.e_f-g"]);

    let store = world
        .jetstream()
        .get_key_value(world.name("config"))
        .await
        .unwrap();
    assert_eq!(store.get("a").await.unwrap().unwrap(), "2");
    store.put("c", "from elsewhere".into()).await.unwrap();
    assert_eq!(world.get(&world.org, "c").await.value, "from elsewhere");

    world.delete("a").await;
    assert!(!world.get(&world.org, "a").await.found);
    assert!(store.get("a").await.unwrap().is_none());
    assert_eq!(world.keys(&world.org).await, ["b/c=d.e_f-g", "c"]);

    // Buckets are no streams to the tenant.
    let list = pb::ListStreamsRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let streams = world
        .client()
        .list_streams(list)
        .await
        .unwrap()
        .into_inner()
        .streams;
    assert!(streams.is_empty());
    let figures = pb::GetStatisticsRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    let figures = world.client().get_statistics(figures).await.unwrap().into_inner();
    assert_eq!(figures.total_streams, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_may_expect_a_revision() {
    let world = World::start().await;
    let first = world.put("a", "1", Some(0)).await.unwrap();
    fails(world.put("a", "2", Some(0)).await, Code::Aborted);
    let second = world.put("a", "2", Some(first)).await.unwrap();
    fails(world.put("a", "3", Some(first)).await, Code::Aborted);
    assert_eq!(world.get(&world.org, "a").await.value, "2");
    world.delete("a").await;
    fails(world.put("a", "3", Some(second)).await, Code::Aborted);
    world.put("a", "3", Some(0)).await.unwrap();
    assert_eq!(world.get(&world.org, "a").await.value, "3");
    fails(world.put("a", "4", Some(-1)).await, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_keeps_its_history() {
    let world = World::start().await;
    for _ in 0..2 {
        let made = world.client().kv_create_bucket(world.bucket_request(3)).await;
        assert!(made.unwrap().into_inner().success);
    }
    fails(
        world.client().kv_create_bucket(world.bucket_request(4)).await,
        Code::AlreadyExists,
    );
    for value in ["1", "2", "3"] {
        world.put("a", value, None).await.unwrap();
    }
    world.delete("a").await;
    let entries = world.history("a").await.unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|entry| (entry.value.as_ref(), entry.deleted))
        .collect();
    assert_eq!(
        seen,
        [
            (b"2".as_ref(), false),
            (b"3".as_ref(), false),
            (b"".as_ref(), true)
        ]
    );
    assert!(
        entries
            .iter()
            .all(|entry| entry.key == "a" && entry.created.is_some())
    );
    assert!(entries.is_sorted_by_key(|entry| entry.revision));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_may_expire_and_may_be_full() {
    let world = World::start().await;
    let request = pb::KvCreateBucketRequest {
        ttl: Some(isa_proto::prost_types::Duration { seconds: 1, nanos: 0 }),
        max_bytes: 2048,
        storage: pb::StorageType::StorageMemory.into(),
        ..world.bucket_request(0)
    };
    world.client().kv_create_bucket(request).await.unwrap();
    world.put("a", "1", None).await.unwrap();
    fails(
        world.put("b", &"x".repeat(4096), None).await,
        Code::ResourceExhausted,
    );
    super::until("expired", super::PATIENCE, async || {
        !world.get(&world.org, "a").await.found
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_shows_what_is_there_and_then_each_change() {
    let world = World::start().await;
    fails(
        world.client().kv_watch(world.watch_request()).await,
        Code::NotFound,
    );
    world
        .client()
        .kv_create_bucket(world.bucket_request(5))
        .await
        .unwrap();
    let mut empty = world
        .client()
        .kv_watch(world.watch_request())
        .await
        .unwrap()
        .into_inner();
    assert!(next(&mut empty).await.unwrap().unwrap().caught_up);

    world.put("a", "1", None).await.unwrap();
    let second = world.put("a", "2", None).await.unwrap();
    world.put("b", "x", None).await.unwrap();
    let shown = next(&mut empty).await.unwrap().unwrap();
    assert_eq!((shown.key.as_str(), shown.value.as_ref()), ("a", b"1".as_ref()));

    let request = pb::KvWatchRequest {
        key_filter: "a".into(),
        ..world.watch_request()
    };
    let mut one = world.client().kv_watch(request).await.unwrap().into_inner();
    let shown = next(&mut one).await.unwrap().unwrap();
    assert_eq!((shown.value.as_ref(), shown.revision), (b"2".as_ref(), second));
    assert!(next(&mut one).await.unwrap().unwrap().caught_up);
    world.delete("a").await;
    let shown = next(&mut one).await.unwrap().unwrap();
    assert!(shown.deleted && shown.value.is_empty());

    let request = pb::KvWatchRequest {
        from_revision: second,
        ..world.watch_request()
    };
    let mut later = world.client().kv_watch(request).await.unwrap().into_inner();
    for (key, deleted) in [("a", false), ("b", false), ("a", true)] {
        let shown = next(&mut later).await.unwrap().unwrap();
        assert_eq!((shown.key.as_str(), shown.deleted), (key, deleted));
    }
    assert!(next(&mut later).await.unwrap().unwrap().caught_up);

    let request = pb::KvWatchRequest {
        updates_only: true,
        ..world.watch_request()
    };
    let mut updates = world.client().kv_watch(request).await.unwrap().into_inner();
    assert!(next(&mut updates).await.unwrap().unwrap().caught_up);
    world.put("c", "new", None).await.unwrap();
    assert_eq!(next(&mut updates).await.unwrap().unwrap().key, "c");
}
