use std::collections::BTreeMap;

use isa_proto::{Bytes, minio as pb};
use tonic::Code;

use super::bed::{Bed, code, noise, user};

fn get(user: &str, key: &str, offset: i64, length: i64) -> pb::GetObjectRequest {
    pb::GetObjectRequest {
        bucket_name: "data".into(),
        object_key: key.into(),
        user_id: user.into(),
        offset,
        length,
        ..Default::default()
    }
}

fn stat(user: &str, key: &str) -> pb::StatObjectRequest {
    pb::StatObjectRequest {
        bucket_name: "data".into(),
        object_key: key.into(),
        user_id: user.into(),
        ..Default::default()
    }
}

pub(super) async fn are_written_read_and_described(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    let data = noise(300_000);
    let metadata = BTreeMap::from([
        ("Author".to_owned(), "Ädä, 日本".to_owned()),
        ("plain".to_owned(), "x".to_owned()),
    ]);
    let about = pb::PutObjectMetadata {
        bucket_name: "data".into(),
        object_key: "a/ü +%?&#.bin".into(),
        user_id: alice.clone(),
        content_type: "text/x-test".into(),
        content_length: data.len() as i64,
        metadata,
        ..Default::default()
    };
    let key = about.object_key.clone();
    let written = bed.put_as(about, vec![Bytes::from(data.clone())]).await.unwrap();
    assert!(written.success && written.size == 300_000 && written.object_key == key);
    let native = bed
        .s3
        .get_object()
        .bucket(bed.engine_name(&alice, "data"))
        .key(&key)
        .send()
        .await
        .unwrap();
    assert_eq!(native.content_type(), Some("text/x-test"));
    assert_eq!(native.body.collect().await.unwrap().into_bytes(), data);

    let (info, bytes) = bed.get(get(&alice, &key, 0, 0)).await.unwrap();
    assert_eq!(bytes, data);
    let described = client
        .stat_object(stat(&alice, &key))
        .await
        .unwrap()
        .into_inner()
        .object_info
        .unwrap();
    assert_eq!(described, info, "StatObject says what GetObject says");
    assert_eq!(
        (info.key.as_str(), info.size, info.content_type.as_str()),
        (key.as_str(), 300_000, "text/x-test")
    );
    assert_eq!(
        (info.owner_id.as_str(), info.etag.as_str()),
        (alice.as_str(), written.etag.as_str())
    );
    let back = BTreeMap::from([
        ("author".to_owned(), "Ädä, 日本".to_owned()),
        ("plain".to_owned(), "x".to_owned()),
    ]);
    assert_eq!(info.metadata, back);
    assert!(info.last_modified.is_some());

    for (offset, length, range) in [
        (10, 0, 10..300_000),
        (10, 5, 10..15),
        (0, 1, 0..1),
        (299_999, 100, 299_999..300_000),
    ] {
        let (info, bytes) = bed.get(get(&alice, &key, offset, length)).await.unwrap();
        assert_eq!((info.size, bytes.as_slice()), (300_000, &data[range]));
    }
    assert_eq!(
        code(bed.get(get(&alice, &key, 300_000, 0)).await),
        Code::OutOfRange
    );
    bed.put(&alice, "data", "empty", b"").await;
    for length in [0, 10] {
        assert!(
            bed.get(get(&alice, "empty", 0, length))
                .await
                .unwrap()
                .1
                .is_empty()
        );
    }
    assert_eq!(code(bed.get(get(&alice, "empty", 1, 0)).await), Code::OutOfRange);
    assert_eq!(code(bed.get(get(&alice, "absent", 0, 0)).await), Code::NotFound);
    assert_eq!(
        code(client.stat_object(stat(&alice, "absent")).await),
        Code::NotFound
    );

    let tags = BTreeMap::from([("k".to_owned(), "v w".to_owned())]);
    let (bucket_name, object_key, user_id) = ("data".to_owned(), key.clone(), alice.clone());
    let set = pb::SetObjectTagsRequest {
        bucket_name: bucket_name.clone(),
        object_key: object_key.clone(),
        user_id: user_id.clone(),
        tags: tags.clone(),
        ..Default::default()
    };
    client.set_object_tags(set).await.unwrap();
    let read = pb::GetObjectTagsRequest {
        bucket_name: bucket_name.clone(),
        object_key: object_key.clone(),
        user_id: user_id.clone(),
        ..Default::default()
    };
    assert_eq!(
        client
            .get_object_tags(read.clone())
            .await
            .unwrap()
            .into_inner()
            .tags,
        tags
    );
    let delete = pb::DeleteObjectTagsRequest {
        bucket_name,
        object_key,
        user_id,
        ..Default::default()
    };
    client.delete_object_tags(delete).await.unwrap();
    assert!(
        client
            .get_object_tags(read)
            .await
            .unwrap()
            .into_inner()
            .tags
            .is_empty()
    );
}

pub(super) async fn are_listed_in_pages(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    let mut keys: Vec<_> = (0..7).map(|i| format!("a/{i}")).collect();
    keys.extend([
        "b/x/1".to_owned(),
        "b/y".to_owned(),
        "c".to_owned(),
        "ö".to_owned(),
    ]);
    for key in &keys {
        bed.put(&alice, "data", key, key.as_bytes()).await;
    }
    let list = pb::ListObjectsRequest {
        bucket_name: "data".into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    let all = client.list_objects(list.clone()).await.unwrap().into_inner();
    assert!(all.success && !all.is_truncated && all.next_continuation_token.is_empty());
    assert_eq!(
        all.objects.iter().map(|it| it.key.clone()).collect::<Vec<_>>(),
        keys
    );
    assert!(
        all.objects
            .iter()
            .all(|it| it.size as usize == it.key.len() && !it.etag.is_empty())
    );

    let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = pb::ListObjectsRequest {
            max_keys: 3,
            continuation_token: token,
            ..list.clone()
        };
        let page = client.list_objects(page).await.unwrap().into_inner();
        assert!(page.objects.len() <= 3);
        seen.extend(page.objects.into_iter().map(|it| it.key));
        (token, pages) = (page.next_continuation_token, pages + 1);
        assert_eq!(page.is_truncated, !token.is_empty());
        if token.is_empty() {
            break;
        }
        let elsewhere = pb::ListObjectsRequest {
            prefix: "b".into(),
            continuation_token: token.clone(),
            ..list.clone()
        };
        assert_eq!(code(client.list_objects(elsewhere).await), Code::InvalidArgument);
    }
    assert_eq!((seen, pages), (keys.clone(), 4));

    let folders = pb::ListObjectsRequest {
        delimiter: "/".into(),
        ..list.clone()
    };
    let folders = client.list_objects(folders).await.unwrap().into_inner();
    assert_eq!(folders.common_prefixes, ["a/", "b/"]);
    assert_eq!(
        folders
            .objects
            .iter()
            .map(|it| it.key.as_str())
            .collect::<Vec<_>>(),
        ["c", "ö"]
    );
    let below = pb::ListObjectsRequest {
        prefix: "b/".into(),
        start_after: "b/x/1".into(),
        ..list.clone()
    };
    let below = client.list_objects(below).await.unwrap().into_inner();
    assert_eq!(
        below.objects.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(),
        ["b/y"]
    );
    for (field, wrong) in [
        (
            "max_keys",
            pb::ListObjectsRequest {
                max_keys: -1,
                ..list.clone()
            },
        ),
        (
            "prefix",
            pb::ListObjectsRequest {
                prefix: "../".into(),
                ..list.clone()
            },
        ),
        (
            "continuation_token",
            pb::ListObjectsRequest {
                continuation_token: "forged".into(),
                ..list.clone()
            },
        ),
    ] {
        let status = client.list_objects(wrong).await.unwrap_err();
        assert!(
            status.code() == Code::InvalidArgument && status.message().starts_with(field),
            "{status:?}"
        );
    }
    let absent = pb::ListObjectsRequest {
        bucket_name: "absent".into(),
        ..list
    };
    assert_eq!(code(client.list_objects(absent).await), Code::NotFound);
}

pub(super) async fn are_copied_and_removed(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    bed.create(&alice, "other").await;
    let data = noise(100_000);
    let about = pb::PutObjectMetadata {
        bucket_name: "data".into(),
        object_key: "from ü+".into(),
        user_id: alice.clone(),
        content_type: "text/plain".into(),
        metadata: BTreeMap::from([("a".to_owned(), "1".to_owned())]),
        ..Default::default()
    };
    bed.put_as(about, vec![Bytes::from(data.clone())]).await.unwrap();
    let copy = pb::CopyObjectRequest {
        source_bucket: "data".into(),
        source_key: "from ü+".into(),
        dest_bucket: "other".into(),
        dest_key: "to/here".into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    let copied = client.copy_object(copy.clone()).await.unwrap().into_inner();
    assert!(copied.success && !copied.etag.is_empty() && copied.last_modified.is_some());
    assert_eq!(bed.read(&alice, "other", "to/here").await.unwrap(), data);
    let replaced = pb::CopyObjectRequest {
        metadata: BTreeMap::from([("b".to_owned(), "2".to_owned())]),
        metadata_directive: "REPLACE".into(),
        ..copy.clone()
    };
    client.copy_object(replaced).await.unwrap();
    let described = pb::StatObjectRequest {
        bucket_name: "other".into(),
        ..stat(&alice, "to/here")
    };
    let described = client
        .stat_object(described)
        .await
        .unwrap()
        .into_inner()
        .object_info
        .unwrap();
    assert_eq!(
        described.metadata,
        BTreeMap::from([("b".to_owned(), "2".to_owned())])
    );
    assert_eq!(described.content_type, "text/plain");
    for (wrong, expected) in [
        (
            pb::CopyObjectRequest {
                source_key: "absent".into(),
                ..copy.clone()
            },
            Code::NotFound,
        ),
        (
            pb::CopyObjectRequest {
                source_bucket: "absent".into(),
                ..copy.clone()
            },
            Code::NotFound,
        ),
        (
            pb::CopyObjectRequest {
                dest_bucket: "absent".into(),
                ..copy.clone()
            },
            Code::NotFound,
        ),
        (
            pb::CopyObjectRequest {
                metadata_directive: "MOVE".into(),
                ..copy.clone()
            },
            Code::InvalidArgument,
        ),
        (
            pb::CopyObjectRequest {
                dest_bucket: "data".into(),
                dest_key: "from ü+".into(),
                ..copy
            },
            Code::InvalidArgument,
        ),
    ] {
        assert_eq!(code(client.copy_object(wrong).await), expected);
    }

    let delete = |bucket: &str, key: &str| pb::DeleteObjectRequest {
        bucket_name: bucket.into(),
        object_key: key.into(),
        user_id: alice.clone(),
        ..Default::default()
    };
    for _ in 0..2 {
        client.delete_object(delete("data", "from ü+")).await.unwrap();
    }
    assert_eq!(code(bed.read(&alice, "data", "from ü+").await), Code::NotFound);
    assert_eq!(
        code(client.delete_object(delete("absent", "x")).await),
        Code::NotFound
    );

    let keys: Vec<_> = (0..20).map(|i| format!("many/{i}")).collect();
    for key in &keys {
        bed.put(&alice, "data", key, b"x").await;
    }
    let mut many = pb::DeleteObjectsRequest {
        bucket_name: "data".into(),
        user_id: alice.clone(),
        object_keys: keys[..10].to_vec(),
        quiet: false,
    };
    many.object_keys.push("many/absent".into());
    let removed = client.delete_objects(many.clone()).await.unwrap().into_inner();
    assert!(removed.success && removed.errors.is_empty());
    assert_eq!(removed.deleted_keys.len(), 11);
    many.object_keys = keys[10..].to_vec();
    many.quiet = true;
    let removed = client.delete_objects(many.clone()).await.unwrap().into_inner();
    assert!(removed.success && removed.deleted_keys.is_empty());
    let left = bed
        .s3
        .list_objects_v2()
        .bucket(bed.engine_name(&alice, "data"))
        .send()
        .await
        .unwrap();
    assert!(left.contents().is_empty());
    many.object_keys = vec!["x".into(); 1001];
    assert_eq!(
        code(client.delete_objects(many.clone()).await),
        Code::InvalidArgument
    );
    many.object_keys.clear();
    assert_eq!(
        code(client.delete_objects(many.clone()).await),
        Code::InvalidArgument
    );
    many.object_keys.push("x".into());
    many.bucket_name = "absent".into();
    assert_eq!(code(client.delete_objects(many).await), Code::NotFound);
}

pub(super) async fn have_signed_urls(bed: &Bed) {
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "data").await;
    let put = pb::GetPresignedPutUrlRequest {
        bucket_name: "data".into(),
        object_key: "in/ü b".into(),
        user_id: alice.clone(),
        expiry_seconds: 60,
        content_type: "text/plain".into(),
    };
    let signed = client.get_presigned_put_url(put).await.unwrap().into_inner();
    assert!(signed.success && signed.expires_at.is_some() && signed.url.starts_with(&bed.node.engine.url));
    let web = reqwest::Client::new();
    let refused = web
        .put(&signed.url)
        .header("content-type", "image/png")
        .body("no")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status().as_u16(), 403, "the content type is signed");
    let sent = web
        .put(&signed.url)
        .header("content-type", "text/plain")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status().as_u16(), 200);
    assert_eq!(bed.read(&alice, "data", "in/ü b").await.unwrap(), b"hello");

    let get = pb::GetPresignedUrlRequest {
        bucket_name: "data".into(),
        object_key: "in/ü b".into(),
        user_id: alice.clone(),
        expiry_seconds: 0,
        request_params: BTreeMap::from([("response-content-type".to_owned(), "text/x-other".to_owned())]),
    };
    let signed = client.get_presigned_url(get.clone()).await.unwrap().into_inner();
    let read = web.get(&signed.url).send().await.unwrap();
    assert_eq!(read.headers()["content-type"], "text/x-other");
    assert_eq!(read.text().await.unwrap(), "hello");
    let changed = signed.url.replace("in/", "out/");
    assert_eq!(web.get(changed).send().await.unwrap().status().as_u16(), 403);
    let param = BTreeMap::from([("x-amz-acl".to_owned(), "public-read".to_owned())]);
    for wrong in [
        pb::GetPresignedUrlRequest {
            expiry_seconds: 604_801,
            ..get.clone()
        },
        pb::GetPresignedUrlRequest {
            expiry_seconds: -1,
            ..get.clone()
        },
        pb::GetPresignedUrlRequest {
            request_params: param,
            ..get
        },
    ] {
        assert_eq!(code(client.get_presigned_url(wrong).await), Code::InvalidArgument);
    }
}
