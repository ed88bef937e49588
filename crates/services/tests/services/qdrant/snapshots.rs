use super::*;

#[tokio::test]
async fn snapshots_are_made_listed_and_removed() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    world.upsert("c", vec![point(1, &[1.0, 0.0], json!({}))]).await;
    let create = || {
        let request = pb::CreateSnapshotRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
        };
        let mut client = world.client();
        async move {
            client
                .create_snapshot(request)
                .await
                .expect("a snapshot")
                .into_inner()
        }
    };
    let list = |metadata| {
        let request = pb::ListSnapshotsRequest {
            metadata,
            collection_name: "c".to_owned(),
        };
        let mut client = world.client();
        async move {
            client
                .list_snapshots(request)
                .await
                .map(|answer| answer.into_inner().snapshots)
        }
    };
    let delete = |name: &str| {
        let request = pb::DeleteSnapshotRequest {
            metadata: world.me(),
            collection_name: "c".to_owned(),
            snapshot_name: name.to_owned(),
        };
        let mut client = world.client();
        async move { client.delete_snapshot(request).await }
    };
    let first = create().await;
    let slug = Tenant::organization(&world.org).slug().to_owned();
    assert!(
        !first.snapshot_name.is_empty() && !first.snapshot_name.contains(&slug),
        "{first:?}"
    );
    assert!(first.created_at.is_some());
    // Names have seconds in them.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let second = create().await;
    let found = list(world.me()).await.unwrap();
    let names: Vec<_> = found.iter().map(|snapshot| snapshot.name.as_str()).collect();
    assert_eq!(
        names,
        [&second.snapshot_name, &first.snapshot_name],
        "newest first"
    );
    assert!(
        found
            .iter()
            .all(|snapshot| snapshot.size_bytes > 0 && snapshot.created_at.is_some())
    );
    let on_engine = world
        .engine
        .list_snapshots(world.full("c"))
        .await
        .unwrap()
        .snapshot_descriptions;
    assert_eq!(on_engine.len(), 2);

    let (_, them) = world.another();
    fails(list(them).await, Code::NotFound);
    delete(&first.snapshot_name).await.expect("removed");
    assert_eq!(list(world.me()).await.unwrap().len(), 1);
    fails(delete(&first.snapshot_name).await, Code::NotFound);
    fails(delete("../c").await, Code::InvalidArgument);
}
