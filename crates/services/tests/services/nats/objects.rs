use std::collections::BTreeMap;

use futures::TryStreamExt;
use isa_proto::nats as pb;
use tokio::io::AsyncReadExt;
use tonic::Code;

use super::{World, fails};

impl World {
    async fn put_object(&self, name: &str, data: Vec<u8>) -> String {
        let request = pb::ObjectPutRequest {
            organization_id: self.org.clone(),
            bucket: "files".into(),
            object_name: name.into(),
            data: data.into(),
            metadata: BTreeMap::from([("type".into(), "text".into())]),
            ..Default::default()
        };
        let answer = self
            .client()
            .object_put(request)
            .await
            .expect("written")
            .into_inner();
        assert!(answer.success);
        answer.object_id
    }

    async fn get_object(&self, org: &str, name: &str) -> pb::ObjectGetResponse {
        let request = pb::ObjectGetRequest {
            organization_id: org.into(),
            bucket: "files".into(),
            object_name: name.into(),
            ..Default::default()
        };
        self.client()
            .object_get(request)
            .await
            .expect("an answer")
            .into_inner()
    }

    async fn list_objects(&self, org: &str) -> Vec<pb::ObjectInfo> {
        let request = pb::ObjectListRequest {
            organization_id: org.into(),
            bucket: "files".into(),
            ..Default::default()
        };
        self.client()
            .object_list(request)
            .await
            .expect("a list")
            .into_inner()
            .objects
    }

    /// Messages in the stream under the bucket: chunks and descriptions.
    async fn stored(&self) -> u64 {
        let name = format!("OBJ_{}", self.name("files"));
        let stream = self.jetstream().get_stream(name).await.expect("the stream");
        stream.cached_info().state.messages
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_is_written_read_and_removed() {
    let world = World::start().await;
    let other = format!("{}-other", world.org);
    assert!(!world.get_object(&world.org, "a").await.found);
    assert!(world.list_objects(&world.org).await.is_empty());

    let data: Vec<u8> = (0..3_000_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let first = world.put_object("große Datei.txt", data.clone()).await;
    world.put_object("empty", Vec::new()).await;
    let got = world.get_object(&world.org, "große Datei.txt").await;
    assert!(got.found && got.data == data);
    assert_eq!(got.metadata["type"], "text");
    let empty = world.get_object(&world.org, "empty").await;
    assert!(empty.found && empty.data.is_empty());
    assert!(!world.get_object(&other, "empty").await.found);
    assert!(world.list_objects(&other).await.is_empty());

    let listed = world.list_objects(&world.org).await;
    let seen: Vec<_> = listed
        .iter()
        .map(|object| (object.name.as_str(), object.size))
        .collect();
    assert_eq!(seen, [("empty", 0), ("große Datei.txt", 3_000_000)]);
    assert!(listed.iter().all(|object| object.modified.is_some()));

    // NATS' own client reads it, and the service what that writes.
    let store = world
        .jetstream()
        .get_object_store(world.name("files"))
        .await
        .unwrap();
    let mut object = store.get("große Datei.txt").await.unwrap();
    let mut read = Vec::new();
    object.read_to_end(&mut read).await.unwrap();
    assert!(read == data);
    store.put("foreign", &mut b"hello".as_slice()).await.unwrap();
    assert_eq!(world.get_object(&world.org, "foreign").await.data, "hello");

    // What is written over leaves nothing behind: four descriptions, two with a chunk.
    let again = world.put_object("große Datei.txt", b"short".to_vec()).await;
    assert_ne!(first, again);
    assert_eq!(
        world.get_object(&world.org, "große Datei.txt").await.data,
        "short"
    );
    assert_eq!(world.stored().await, 3 + 2);

    let delete = pb::ObjectDeleteRequest {
        organization_id: world.org.clone(),
        bucket: "files".into(),
        object_name: "große Datei.txt".into(),
        ..Default::default()
    };
    let theirs = pb::ObjectDeleteRequest {
        organization_id: other,
        ..delete.clone()
    };
    fails(world.client().object_delete(theirs).await, Code::NotFound);
    assert!(
        world
            .client()
            .object_delete(delete.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    fails(world.client().object_delete(delete).await, Code::NotFound);
    assert!(!world.get_object(&world.org, "große Datei.txt").await.found);
    let left: Vec<_> = store.list().await.unwrap().try_collect().await.unwrap();
    assert_eq!(left.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_object_is_told() {
    let world = World::start().await;
    world.put_object("a", vec![7; 300_000]).await;
    let stream = world
        .jetstream()
        .get_stream(format!("OBJ_{}", world.name("files")))
        .await
        .unwrap();
    assert!(stream.delete_message(2).await.unwrap());
    let request = pb::ObjectGetRequest {
        organization_id: world.org.clone(),
        bucket: "files".into(),
        object_name: "a".into(),
        ..Default::default()
    };
    fails(world.client().object_get(request).await, Code::DataLoss);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_upload_leaves_nothing_behind() {
    let world = World::start().await;
    world.put_object("there", b"x".to_vec()).await;
    let before = world.stored().await;
    let request = pb::ObjectPutRequest {
        organization_id: world.org.clone(),
        bucket: "files".into(),
        object_name: "large".into(),
        data: vec![1; 40 << 20].into(),
        ..Default::default()
    };
    let mut client = world.client();
    let writing = tokio::spawn(async move { client.object_put(request).await.map(drop) });
    super::until("some chunks are there", super::PATIENCE, async || {
        writing.is_finished() || world.stored().await > before
    })
    .await;
    writing.abort();
    if writing.await.is_ok() {
        // The machine was faster than this test.
        return;
    }
    super::until("the chunks are gone", super::PATIENCE, async || {
        world.stored().await == before
    })
    .await;
    assert!(!world.get_object(&world.org, "large").await.found);
}
