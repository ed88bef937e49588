use std::time::Duration;

use futures::StreamExt;
use isa_proto::{Bytes, minio as pb};
use tonic::{Code, Status};

use super::bed::{Bed, code, noise, until, user};

const MIB: usize = 1 << 20;

fn about(user: &str, key: &str, length: usize) -> pb::PutObjectMetadata {
    pb::PutObjectMetadata {
        bucket_name: "ups".into(),
        object_key: key.into(),
        user_id: user.into(),
        content_length: length as i64,
        ..Default::default()
    }
}

fn pieces(data: &[u8], size: usize) -> Vec<Bytes> {
    data.chunks(size).map(Bytes::copy_from_slice).collect()
}

pub(super) async fn of_any_size_arrive_whole(bed: &Bed) {
    let alice = user("alice");
    bed.create(&alice, "ups").await;
    // Around the bound between one request and several, and with pieces that do not fit parts.
    for (number, (length, piece, announced)) in [
        (0, MIB, true),
        (1, MIB, false),
        (16 * MIB, MIB, true),
        (16 * MIB + 1, 700_001, false),
        (29 * MIB + 5, 5 * MIB, true),
        (40 * MIB, 3 * MIB + 7, false),
        (200_000, 11, true),
    ]
    .into_iter()
    .enumerate()
    {
        let data = noise(length);
        let key = format!("object-{number}");
        let announce = if announced { length } else { 0 };
        let written = bed
            .put_as(about(&alice, &key, announce), pieces(&data, piece))
            .await
            .unwrap();
        assert_eq!(written.size, length as i64);
        assert!(
            bed.read(&alice, "ups", &key).await.unwrap() == data,
            "object {number} is another"
        );
        let head = bed
            .s3
            .head_object()
            .bucket(bed.engine_name(&alice, "ups"))
            .key(&key)
            .send()
            .await
            .unwrap();
        assert_eq!(head.content_length(), Some(length as i64));
        assert_eq!(
            head.e_tag().unwrap().contains('-'),
            length > 16 * MIB,
            "in parts beyond 16 MiB"
        );
    }
}

async fn is_clean(bed: &Bed, user: &str, key: &str) -> bool {
    let bucket = bed.engine_name(user, "ups");
    let uploads = bed
        .s3
        .list_multipart_uploads()
        .bucket(&bucket)
        .prefix(key)
        .send()
        .await
        .unwrap();
    let object = bed.s3.head_object().bucket(&bucket).key(key).send().await;
    uploads.uploads().is_empty() && object.is_err()
}

pub(super) async fn that_break_off_leave_nothing(bed: &Bed) {
    use pb::put_object_request::Data;
    let (alice, mut client) = (user("alice"), bed.client.clone());
    bed.create(&alice, "ups").await;
    let data = noise(20 * MIB);
    for (key, announced, chunks) in [
        ("short", 30 * MIB, pieces(&data, MIB)),
        ("long", 19 * MIB, pieces(&data, MIB)),
        ("small-short", 10, vec![Bytes::from_static(b"123")]),
        ("small-long", 2, vec![Bytes::from_static(b"123")]),
    ] {
        let status = bed
            .put_as(about(&alice, key, announced), chunks)
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with("content_length: "), "{status:?}");
        until("nothing is left", Duration::from_secs(5), || {
            is_clean(bed, &alice, key)
        })
        .await;
    }

    // The caller goes away in the middle, when parts are at the engine already.
    let first = Data::Metadata(about(&alice, "gone", 0));
    let messages: Vec<_> = std::iter::once(first)
        .chain(pieces(&data, MIB).into_iter().map(Data::Chunk))
        .map(|data| pb::PutObjectRequest { data: Some(data) })
        .collect();
    let endless = futures::stream::iter(messages).chain(futures::stream::pending());
    let call = tokio::spawn(async move { client.put_object(endless).await });
    let bucket = bed.engine_name(&alice, "ups");
    until("the upload has begun", Duration::from_secs(10), || async {
        let uploads = bed
            .s3
            .list_multipart_uploads()
            .bucket(&bucket)
            .prefix("gone")
            .send()
            .await
            .unwrap();
        !uploads.uploads().is_empty()
    })
    .await;
    call.abort();
    until("the upload is taken back", Duration::from_secs(5), || {
        is_clean(bed, &alice, "gone")
    })
    .await;

    // An object that was there stays as it was.
    bed.put(&alice, "ups", "kept", b"before").await;
    assert_eq!(
        code(bed.put_as(about(&alice, "kept", 9), pieces(b"after", 2)).await),
        Code::InvalidArgument
    );
    assert_eq!(bed.read(&alice, "ups", "kept").await.unwrap(), b"before");
}

fn initiate(user: &str, key: &str) -> pb::InitiateMultipartUploadRequest {
    pb::InitiateMultipartUploadRequest {
        bucket_name: "ups".into(),
        object_key: key.into(),
        user_id: user.into(),
        content_type: "text/x-parts".into(),
        ..Default::default()
    }
}

async fn part(
    bed: &Bed,
    user: &str,
    upload_id: &str,
    number: i32,
    size: i64,
    data: &[u8],
) -> Result<pb::CompletedPart, Status> {
    use pb::upload_part_request::Data;
    let about = pb::UploadPartMetadata {
        bucket_name: "ups".into(),
        object_key: "parts".into(),
        user_id: user.into(),
        upload_id: upload_id.into(),
        part_number: number,
        part_size: size,
    };
    let messages: Vec<_> = std::iter::once(Data::Metadata(about))
        .chain(pieces(data, MIB).into_iter().map(Data::Chunk))
        .map(|data| pb::UploadPartRequest { data: Some(data) })
        .collect();
    let written = bed
        .client
        .clone()
        .upload_part(futures::stream::iter(messages))
        .await?
        .into_inner();
    assert!(written.success && written.part_number == number);
    Ok(pb::CompletedPart {
        part_number: number,
        etag: written.etag,
    })
}

pub(super) async fn in_parts_are_the_callers_own(bed: &Bed) {
    let (alice, bob, mut client) = (user("alice"), user("bob"), bed.client.clone());
    bed.create(&alice, "ups").await;
    bed.create(&bob, "ups").await;
    let begun = client
        .initiate_multipart_upload(initiate(&alice, "parts"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (begun.bucket_name.as_str(), begun.object_key.as_str()),
        ("ups", "parts")
    );
    let id = begun.upload_id;
    let data = noise(25 * MIB);
    let first = part(bed, &alice, &id, 1, 5 * MIB as i64, &data[..5 * MIB])
        .await
        .unwrap();
    // Larger than what is held: it goes to the engine while it comes.
    let second = part(bed, &alice, &id, 2, 20 * MIB as i64, &data[5 * MIB..])
        .await
        .unwrap();
    let third = part(bed, &alice, &id, 7, 0, b"end").await.unwrap();

    for (size, sent) in [(4, 3), (2, 3), (20 * MIB, 19 * MIB), (17 * MIB, 18 * MIB)] {
        let wrong = part(bed, &alice, &id, 9, size as i64, &data[..sent]).await;
        assert_eq!(
            code(wrong),
            Code::InvalidArgument,
            "{size} announced, {sent} sent"
        );
    }
    assert_eq!(code(part(bed, &bob, &id, 1, 0, b"x").await), Code::NotFound);
    assert_eq!(
        code(part(bed, &alice, "../../x", 1, 0, b"x").await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(part(bed, &alice, &id, 0, 0, b"x").await),
        Code::InvalidArgument
    );
    assert_eq!(
        code(part(bed, &alice, &id, 10_001, 0, b"x").await),
        Code::InvalidArgument
    );

    let complete = pb::CompleteMultipartUploadRequest {
        bucket_name: "ups".into(),
        object_key: "parts".into(),
        user_id: alice.clone(),
        upload_id: id.clone(),
        parts: vec![first.clone(), second.clone(), third],
    };
    for wrong in [
        pb::CompleteMultipartUploadRequest {
            parts: vec![],
            ..complete.clone()
        },
        pb::CompleteMultipartUploadRequest {
            parts: vec![second, first],
            ..complete.clone()
        },
    ] {
        assert_eq!(
            code(client.complete_multipart_upload(wrong).await),
            Code::InvalidArgument
        );
    }
    let strangers = pb::CompleteMultipartUploadRequest {
        user_id: bob.clone(),
        ..complete.clone()
    };
    assert_eq!(
        code(client.complete_multipart_upload(strangers).await),
        Code::NotFound
    );
    let completed = client
        .complete_multipart_upload(complete.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (completed.location.as_str(), completed.success),
        ("ups/parts", true)
    );
    assert!(completed.etag.ends_with("-3"), "{}", completed.etag);
    let (head, tail) = (data.as_slice(), b"end".as_slice());
    assert!(bed.read(&alice, "ups", "parts").await.unwrap() == [head, tail].concat());
    assert_eq!(
        code(client.complete_multipart_upload(complete).await),
        Code::NotFound
    );

    let id = client
        .initiate_multipart_upload(initiate(&alice, "parts"))
        .await
        .unwrap()
        .into_inner()
        .upload_id;
    let one = part(bed, &alice, &id, 1, 0, b"too small").await.unwrap();
    let two = part(bed, &alice, &id, 2, 0, b"the last").await.unwrap();
    let complete = pb::CompleteMultipartUploadRequest {
        bucket_name: "ups".into(),
        object_key: "parts".into(),
        user_id: alice.clone(),
        upload_id: id.clone(),
        parts: vec![one, two],
    };
    let small = client.complete_multipart_upload(complete).await;
    assert_eq!(
        code(small),
        Code::InvalidArgument,
        "all parts but the last need 5 MiB"
    );
    let abort = pb::AbortMultipartUploadRequest {
        bucket_name: "ups".into(),
        object_key: "parts".into(),
        user_id: alice.clone(),
        upload_id: id,
    };
    let strangers = pb::AbortMultipartUploadRequest {
        user_id: bob,
        ..abort.clone()
    };
    assert_eq!(
        code(client.abort_multipart_upload(strangers).await),
        Code::NotFound
    );
    client.abort_multipart_upload(abort.clone()).await.unwrap();
    assert_eq!(code(client.abort_multipart_upload(abort).await), Code::NotFound);
    assert_eq!(
        code(
            client
                .initiate_multipart_upload(pb::InitiateMultipartUploadRequest {
                    bucket_name: "absent".into(),
                    ..initiate(&alice, "x")
                })
                .await
        ),
        Code::NotFound
    );
}
