use std::collections::BTreeMap;

use isa_proto::{Bytes, minio as pb};
use tonic::{Code, Status};

use super::bed::{Bed, code, user};

fn refused<T: std::fmt::Debug>(result: Result<T, Status>, field: &str) {
    let status = result.expect_err(field);
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().starts_with(&format!("{field}: ")), "{status:?}");
}

pub(super) async fn name_the_field(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    let long = "x".repeat(10_000);
    for name in [
        "",
        "..",
        "a/../b",
        "*",
        "Ünicode",
        "UPPER",
        "a.b",
        "-ab",
        "ab",
        &"a".repeat(41),
        &long,
    ] {
        let create = pb::CreateBucketRequest {
            bucket_name: name.into(),
            user_id: alice.clone(),
            ..Default::default()
        };
        refused(client.create_bucket(create).await, "bucket_name");
        let info = pb::GetBucketInfoRequest {
            bucket_name: name.into(),
            user_id: alice.clone(),
        };
        refused(client.get_bucket_info(info).await, "bucket_name");
    }
    for key in [
        "",
        "../x",
        "a/../../b",
        "/a",
        "a//b",
        ".",
        "a\u{0}",
        "a\nb",
        &long,
    ] {
        let about = pb::PutObjectMetadata {
            bucket_name: "data".into(),
            object_key: key.into(),
            user_id: alice.clone(),
            ..Default::default()
        };
        refused(bed.put_as(about, vec![]).await, "object_key");
        refused(bed.read(&alice, "data", key).await, "object_key");
        let delete = pb::DeleteObjectsRequest {
            bucket_name: "data".into(),
            user_id: alice.clone(),
            object_keys: vec!["ok".into(), key.into()],
            quiet: false,
        };
        refused(client.delete_objects(delete).await, "object_keys");
    }
    let about = pb::PutObjectMetadata {
        bucket_name: "data".into(),
        object_key: "key".into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    let with = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    for (field, wrong) in [
        (
            "content_type",
            pb::PutObjectMetadata {
                content_type: "a\r\nb".into(),
                ..about.clone()
            },
        ),
        (
            "content_length",
            pb::PutObjectMetadata {
                content_length: -1,
                ..about.clone()
            },
        ),
        (
            "content_length",
            pb::PutObjectMetadata {
                content_length: i64::MAX,
                ..about.clone()
            },
        ),
        (
            "metadata",
            pb::PutObjectMetadata {
                metadata: with("a b", ""),
                ..about.clone()
            },
        ),
        (
            "metadata",
            pb::PutObjectMetadata {
                metadata: with("a", &long),
                ..about.clone()
            },
        ),
        (
            "storage_class",
            pb::PutObjectMetadata {
                storage_class: "WARM".into(),
                ..about.clone()
            },
        ),
    ] {
        refused(bed.put_as(wrong, vec![Bytes::from_static(b"x")]).await, field);
    }
    use pb::put_object_request::Data;
    for order in [
        vec![],
        vec![None],
        vec![Some(Data::Chunk(Bytes::new()))],
        vec![Some(Data::Metadata(about.clone())), None],
        vec![
            Some(Data::Metadata(about.clone())),
            Some(Data::Metadata(about.clone())),
        ],
    ] {
        let messages: Vec<_> = order
            .into_iter()
            .map(|data| pb::PutObjectRequest { data })
            .collect();
        refused(client.put_object(futures::stream::iter(messages)).await, "data");
    }
    for (field, offset, length) in [
        ("offset", -1, 0),
        ("length", 0, -1),
        ("offset", i64::MIN, i64::MIN),
    ] {
        let get = pb::GetObjectRequest {
            bucket_name: "data".into(),
            object_key: "key".into(),
            user_id: alice.clone(),
            offset,
            length,
            ..Default::default()
        };
        refused(client.get_object(get).await, field);
    }
    let get = pb::GetObjectRequest {
        bucket_name: "data".into(),
        object_key: "key".into(),
        user_id: alice.clone(),
        version_id: "../../x".into(),
        ..Default::default()
    };
    refused(client.get_object(get.clone()).await, "version_id");
    let far = pb::GetObjectRequest {
        version_id: String::new(),
        offset: i64::MAX,
        length: i64::MAX,
        ..get
    };
    bed.put(&alice, "data", "key", b"x").await;
    assert_eq!(code(client.get_object(far).await), Code::OutOfRange);
    let (bucket_name, user_id) = ("data".to_owned(), alice.clone());
    for tags in [
        with("isa:owner", "eve"),
        with("", "x"),
        with("a", &long),
        with("\u{1}", "x"),
    ] {
        let set = pb::SetBucketTagsRequest {
            bucket_name: bucket_name.clone(),
            user_id: user_id.clone(),
            tags,
        };
        refused(client.set_bucket_tags(set).await, "tags");
    }
    let policy = pb::SetBucketPolicyRequest {
        bucket_name,
        user_id,
        policy_type: 77,
        ..Default::default()
    };
    refused(client.set_bucket_policy(policy).await, "policy_type");
}

/// What a stranger asks of a bucket that another has, and of one that nobody has.
pub(super) async fn are_the_same_for_strangers(bed: &Bed) {
    let (alice, bob) = (user("alice"), user("bob"));
    bed.create(&alice, "hers").await;
    bed.put(&alice, "hers", "key", b"secret").await;
    let before = bed
        .s3
        .list_objects_v2()
        .bucket(bed.engine_name(&alice, "hers"))
        .send()
        .await
        .unwrap();
    for bucket in ["hers", "nobodys"] {
        let mut client = bed.client.clone();
        let (bucket_name, user_id, object_key) = (bucket.to_owned(), bob.clone(), "key".to_owned());
        macro_rules! absent {
            ($($method:ident($request:ident { $($field:ident: $value:expr),* }))*) => {
                $(
                    #[allow(clippy::needless_update, reason = "some requests have no more fields")]
                    let request = pb::$request {
                        bucket_name: bucket_name.clone(),
                        user_id: user_id.clone(),
                        $($field: $value,)*
                        ..Default::default()
                    };
                    let result = client.$method(request).await;
                    assert_eq!(code(result), Code::NotFound, "{} of {bucket}", stringify!($method));
                )*
            };
        }
        let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        absent! {
            get_bucket_info(GetBucketInfoRequest {})
            delete_bucket(DeleteBucketRequest { force: true })
            set_bucket_policy(SetBucketPolicyRequest { policy_type: 1 })
            get_bucket_policy(GetBucketPolicyRequest {})
            set_bucket_tags(SetBucketTagsRequest { tags: tags.clone() })
            get_bucket_tags(GetBucketTagsRequest {})
            delete_bucket_tags(DeleteBucketTagsRequest {})
            set_bucket_versioning(SetBucketVersioningRequest { enabled: true })
            get_bucket_versioning(GetBucketVersioningRequest {})
            get_bucket_lifecycle(GetBucketLifecycleRequest {})
            delete_bucket_lifecycle(DeleteBucketLifecycleRequest {})
            list_objects(ListObjectsRequest {})
            stat_object(StatObjectRequest { object_key: object_key.clone() })
            delete_object(DeleteObjectRequest { object_key: object_key.clone() })
            delete_objects(DeleteObjectsRequest { object_keys: vec![object_key.clone()] })
            set_object_tags(SetObjectTagsRequest { object_key: object_key.clone(), tags: tags.clone() })
            get_object_tags(GetObjectTagsRequest { object_key: object_key.clone() })
            delete_object_tags(DeleteObjectTagsRequest { object_key: object_key.clone() })
            initiate_multipart_upload(InitiateMultipartUploadRequest { object_key: object_key.clone() })
            abort_multipart_upload(AbortMultipartUploadRequest {
                object_key: object_key.clone(),
                upload_id: "abc".to_owned()
            })
        }
        assert_eq!(code(bed.read(&bob, bucket, "key").await), Code::NotFound);
        let about = pb::PutObjectMetadata {
            bucket_name,
            object_key,
            user_id,
            ..Default::default()
        };
        assert_eq!(
            code(bed.put_as(about, vec![Bytes::from_static(b"x")]).await),
            Code::NotFound
        );
        // Signed without asking the engine: what the URL opens is the stranger's own name.
        let sign = pb::GetPresignedUrlRequest {
            bucket_name: bucket.into(),
            object_key: "key".into(),
            user_id: bob.clone(),
            ..Default::default()
        };
        let signed = client.get_presigned_url(sign).await.unwrap().into_inner().url;
        assert!(!signed.contains(&bed.engine_name(&alice, bucket)));
        assert_eq!(reqwest::get(signed).await.unwrap().status().as_u16(), 404);
    }
    let after = bed
        .s3
        .list_objects_v2()
        .bucket(bed.engine_name(&alice, "hers"))
        .send()
        .await
        .unwrap();
    assert_eq!(before.contents(), after.contents());
    assert_eq!(bed.read(&alice, "hers", "key").await.unwrap(), b"secret");
}
