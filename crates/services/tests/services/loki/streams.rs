use isa_proto::loki as pb;
use tonic::Code;

use super::{SECOND, World, entry, fails, labels, nanoseconds, now, timestamp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_listed_page_by_page_with_their_figures() {
    let world = World::start().await;
    let at = now() - 60 * SECOND;
    let mut entries = Vec::new();
    for n in 0..5_i64 {
        for _ in 0..=n {
            let name = format!("s{n}");
            let line = format!("line {}", entries.len());
            let when = at + i64::try_from(entries.len()).unwrap() * SECOND;
            entries.push(entry(&line, &[("service", &name), ("zone", "a")], Some(when)));
        }
    }
    entries.push(entry("other", &[("zone", "b"), ("user_id", "u")], Some(at)));
    assert!(world.batch(entries).await.success);
    let list = async |page: i32, size: i32, filter: &[(&str, &str)]| {
        let request = pb::ListStreamsRequest {
            organization_id: world.org.clone(),
            label_filter: labels(filter),
            page,
            page_size: size,
            ..Default::default()
        };
        world
            .client()
            .list_streams(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let all = list(0, 0, &[]).await.unwrap();
    assert_eq!((all.total_count, all.page, all.page_size), (6, 1, 50));
    assert_eq!(all.streams.len(), 6);
    let found = list(2, 2, &[("zone", "a")]).await.unwrap();
    assert_eq!((found.total_count, found.page, found.page_size), (5, 2, 2));
    let names: Vec<_> = found
        .streams
        .iter()
        .map(|stream| stream.labels["service"].as_str())
        .collect();
    assert_eq!(names, ["s2", "s3"]);
    let third = &found.streams[0];
    assert_eq!((third.entry_count, third.bytes), (3, 18));
    assert_eq!(third.organization_id, world.org);
    let millisecond = 1_000_000;
    assert_eq!(
        nanoseconds(third.first_entry_at) / millisecond,
        (at + 3 * SECOND) / millisecond
    );
    assert_eq!(
        nanoseconds(third.last_entry_at) / millisecond,
        (at + 5 * SECOND) / millisecond
    );
    let other = list(1, 10, &[("zone", "b")]).await.unwrap().streams;
    assert_eq!(other[0].user_id, "u");
    assert!(list(9, 10, &[]).await.unwrap().streams.is_empty());
    assert!(list(1, 10, &[("zone", "c")]).await.unwrap().streams.is_empty());
    for (page, size, filter, field) in [
        (-1, 0, [("zone", "a")], "page"),
        (1, 501, [("zone", "a")], "page_size"),
        (1, 1, [("a b", "a")], "label_filter"),
    ] {
        let said = fails(list(page, size, &filter).await, Code::InvalidArgument);
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_described_by_its_id() {
    let world = World::start().await;
    let at = now() - 30 * SECOND;
    let id = world.push("first", &[("service", "api")], Some(at)).await;
    world
        .push("second", &[("service", "api")], Some(at + SECOND))
        .await;
    // Another stream, with a label more.
    let more = world
        .push("other", &[("service", "api"), ("zone", "a")], Some(at))
        .await;
    assert_ne!(id, more);
    let info = async |world: &World, org: &str, id: &str| {
        let request = pb::GetStreamInfoRequest {
            user_id: org.to_owned(),
            stream_id: id.to_owned(),
        };
        world.client().get_stream_info(request).await
    };
    let found = info(&world, "", &id).await.unwrap().into_inner().stream.unwrap();
    assert_eq!(found.stream_id, id);
    assert_eq!(found.labels, labels(&[("service", "api")]));
    assert_eq!((found.entry_count, found.bytes), (2, 11));
    assert_eq!(nanoseconds(found.first_entry_at) / 1_000_000, at / 1_000_000);
    assert_eq!(
        nanoseconds(found.last_entry_at) / 1_000_000,
        (at + SECOND) / 1_000_000
    );

    for bad in ["", "x", "../", &id[1..], &"x".repeat(10_240)] {
        let said = fails(info(&world, "", bad).await, Code::InvalidArgument);
        assert!(said.starts_with("stream_id: "), "{said}");
    }
    // Labels that nothing was written with.
    let absent = world.push("x", &[("service", "gone"), ("zone", "b")], None).await;
    let shorter = absent[..21].to_owned() + &id[21..].replace('A', "B");
    let answer = info(&world, "", &shorter).await;
    assert!(matches!(
        answer.unwrap_err().code(),
        Code::NotFound | Code::InvalidArgument
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_is_asked_of_loki() {
    let world = World::start().await;
    let at = now() - 30 * SECOND;
    let id = world.push("first", &[("service", "api")], Some(at)).await;
    world
        .push("second", &[("service", "api")], Some(at + 10 * SECOND))
        .await;
    world
        .push("other", &[("service", "api"), ("zone", "a")], Some(at))
        .await;
    let delete = async |id: &str, start: Option<i64>, end: Option<i64>| {
        let request = pb::DeleteStreamRequest {
            stream_id: id.to_owned(),
            start: start.map(timestamp),
            end: end.map(timestamp),
            ..Default::default()
        };
        world
            .client()
            .delete_stream(request)
            .await
            .map(tonic::Response::into_inner)
    };
    let some = delete(&id, Some(at - SECOND), Some(at + SECOND)).await.unwrap();
    assert_eq!((some.success, some.deleted_entries), (true, 1));
    let all = delete(&id, None, None).await.unwrap();
    assert_eq!((all.success, all.deleted_entries), (true, 2));
    let asked = world.ask("/loki/api/v1/delete", &[]).await;
    let asked = asked.as_array().expect("a list");
    assert_eq!(asked.len(), 2, "{asked:?}");
    for request in asked {
        assert_eq!(request["query"], "{__isa__=\"1\",service=\"api\",zone=\"\"}");
    }
    let said = fails(delete(&id, Some(at), Some(at)).await, Code::InvalidArgument);
    assert!(said.starts_with("end: "), "{said}");
    let said = fails(delete("x", None, None).await, Code::InvalidArgument);
    assert!(said.starts_with("stream_id: "), "{said}");
    fails(
        delete(&id, Some(at - 7200 * SECOND), Some(at - 3600 * SECOND)).await,
        Code::NotFound,
    );
}
