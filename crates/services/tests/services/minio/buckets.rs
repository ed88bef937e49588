use std::collections::BTreeMap;

use isa_proto::minio as pb;
use tonic::Code;

use super::bed::{Bed, code, noise, user};

fn info(user: &str, bucket: &str) -> pb::GetBucketInfoRequest {
    pb::GetBucketInfoRequest {
        bucket_name: bucket.into(),
        user_id: user.into(),
    }
}

fn delete(user: &str, bucket: &str, force: bool) -> pb::DeleteBucketRequest {
    pb::DeleteBucketRequest {
        bucket_name: bucket.into(),
        user_id: user.into(),
        force,
    }
}

async fn names(bed: &Bed, user: &str, prefix: &str) -> Vec<String> {
    let request = pb::ListBucketsRequest {
        user_id: user.into(),
        prefix: prefix.into(),
        organization_id: "default-org".into(),
    };
    let listed = bed
        .client
        .clone()
        .list_buckets(request)
        .await
        .unwrap()
        .into_inner();
    assert!(listed.success && listed.total_count == listed.buckets.len() as i32);
    assert!(listed.buckets.iter().all(|bucket| bucket.creation_date.is_some()));
    listed.buckets.into_iter().map(|bucket| bucket.name).collect()
}

pub(super) async fn are_made_listed_described_and_removed(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    let tags = BTreeMap::from([("team".to_owned(), "a b".to_owned())]);
    let request = pb::CreateBucketRequest {
        bucket_name: "logs".into(),
        user_id: alice.clone(),
        organization_id: "Käse & Co".into(),
        region: "us-east-1".into(),
        tags: tags.clone(),
        ..Default::default()
    };
    let made = client.create_bucket(request.clone()).await.unwrap().into_inner();
    assert!(made.success && made.error.is_empty());
    let made = made.bucket_info.unwrap();
    assert_eq!(
        (made.name.as_str(), made.owner_id.as_str()),
        ("logs", alice.as_str())
    );
    assert_eq!(code(client.create_bucket(request).await), Code::AlreadyExists);
    bed.s3
        .head_bucket()
        .bucket(bed.engine_name(&alice, "logs"))
        .send()
        .await
        .unwrap();

    bed.create(&alice, "archive").await;
    bed.create(&alice, &"z".repeat(40)).await;
    assert_eq!(
        names(bed, &alice, "").await,
        ["archive".to_owned(), "logs".to_owned(), "z".repeat(40)]
    );
    assert_eq!(names(bed, &alice, "lo").await, ["logs"]);
    assert!(names(bed, &alice, "../").await.is_empty());

    bed.put(&alice, "logs", "a", b"12345").await;
    let described = client
        .get_bucket_info(info(&alice, "logs"))
        .await
        .unwrap()
        .into_inner();
    let described = described.bucket_info.unwrap();
    assert_eq!((described.size_bytes, described.object_count), (5, 1));
    assert_eq!(
        (described.owner_id, described.organization_id),
        (alice.clone(), "Käse & Co".to_owned())
    );
    assert_eq!((described.region.as_str(), described.tags), ("us-east-1", tags));
    assert!(described.creation_date.is_some());
    // A change through the service is counted.
    bed.put(&alice, "logs", "b", b"123").await;
    let described = client
        .get_bucket_info(info(&alice, "logs"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(described.bucket_info.unwrap().size_bytes, 8);

    assert_eq!(
        code(client.delete_bucket(delete(&alice, "logs", false)).await),
        Code::FailedPrecondition
    );
    let removed = client
        .delete_bucket(delete(&alice, "archive", false))
        .await
        .unwrap()
        .into_inner();
    assert!(removed.success && removed.deleted_objects == 0);
    for result in [
        client.get_bucket_info(info(&alice, "archive")).await.map(drop),
        client
            .delete_bucket(delete(&alice, "archive", false))
            .await
            .map(drop),
        client
            .delete_bucket(delete(&alice, "archive", true))
            .await
            .map(drop),
    ] {
        assert_eq!(code(result), Code::NotFound);
    }
}

pub(super) async fn are_emptied_by_force(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "full").await;
    let request = pb::SetBucketVersioningRequest {
        bucket_name: "full".into(),
        user_id: alice.clone(),
        enabled: true,
    };
    client.set_bucket_versioning(request).await.unwrap();
    for key in ["a", "b/c", "b/d"] {
        bed.put(&alice, "full", key, &noise(100)).await;
        bed.put(&alice, "full", key, &noise(200)).await;
    }
    let request = pb::DeleteObjectRequest {
        bucket_name: "full".into(),
        object_key: "a".into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    client.delete_object(request).await.unwrap();
    let removed = client
        .delete_bucket(delete(&alice, "full", true))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(removed.deleted_objects, 7, "six versions and a delete marker");
    let gone = bed
        .s3
        .head_bucket()
        .bucket(bed.engine_name(&alice, "full"))
        .send()
        .await;
    assert!(gone.is_err());
}

pub(super) async fn of_another_tenant_do_not_exist(bed: &Bed) {
    let (alice, bob, mut client) = (user("alice"), user("bob"), bed.client.clone());
    bed.create(&alice, "shared").await;
    bed.put(&alice, "shared", "secret", b"hers").await;
    assert!(names(bed, &bob, "").await.is_empty());
    assert_eq!(
        code(client.get_bucket_info(info(&bob, "shared")).await),
        Code::NotFound
    );
    assert_eq!(
        code(client.delete_bucket(delete(&bob, "shared", true)).await),
        Code::NotFound
    );
    assert_eq!(code(bed.read(&bob, "shared", "secret").await), Code::NotFound);
    // The same name is another bucket.
    bed.create(&bob, "shared").await;
    assert_eq!(code(bed.read(&bob, "shared", "secret").await), Code::NotFound);
    bed.put(&bob, "shared", "secret", b"his").await;
    assert_eq!(bed.read(&alice, "shared", "secret").await.unwrap(), b"hers");
    // Nor by the engine's own name.
    let engine_name = bed.engine_name(&alice, "shared");
    assert_ne!(
        bed.read(&bob, &engine_name, "secret").await.unwrap_err().code(),
        Code::Ok
    );
}
