//! What cannot be right is refused before NATS sees it, and names the field.

use std::collections::BTreeMap;

use isa_proto::{nats as pb, prost_types};
use tonic::Code;

use super::{World, fails};

const BAD_SUBJECTS: [&str; 14] = [
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a.",
    "a b",
    "a\tb",
    "a\r\nPUB x 0",
    "$JS.API.STREAM.LIST",
    "$SYS.REQ",
    "_INBOX.abc",
    "a*b",
    "../x",
];

const BAD_NAMES: [&str; 9] = ["", "a.b", "*", ">", "a b", "a/b", "..\\x", "a\nb", "\u{2003}"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crafted_subjects_are_refused() {
    let world = World::start().await;
    let long = "x".repeat(10_240);
    for bad in BAD_SUBJECTS.into_iter().chain([long.as_str()]) {
        // `../x` has empty tokens.
        let publish = pb::PublishRequest {
            subject: bad.into(),
            ..Default::default()
        };
        let said = fails(world.client().publish(publish).await, Code::InvalidArgument);
        assert!(said.starts_with("subject: "), "{said}");
        let subscribe = pb::SubscribeRequest {
            subject: bad.into(),
            ..Default::default()
        };
        let said = fails(world.client().subscribe(subscribe).await, Code::InvalidArgument);
        assert!(said.starts_with("subject: "), "{said}");
        let request = pb::RequestRequest {
            subject: bad.into(),
            ..Default::default()
        };
        fails(world.client().request(request).await, Code::InvalidArgument);
        if !bad.is_empty() {
            let publish = pb::PublishRequest {
                subject: "good".into(),
                reply_to: bad.into(),
                ..Default::default()
            };
            let said = fails(world.client().publish(publish).await, Code::InvalidArgument);
            assert!(said.starts_with("reply_to: "), "{said}");
        }
        let stream = world.stream_request("S", &[bad]);
        let said = fails(world.client().create_stream(stream).await, Code::InvalidArgument);
        assert!(said.starts_with("config.subjects: "), "{said}");
    }
    for wildcard in ["a.*", ">"] {
        let publish = pb::PublishRequest {
            subject: wildcard.into(),
            ..Default::default()
        };
        fails(world.client().publish(publish).await, Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crafted_names_are_refused() {
    let world = World::start().await;
    let long = "x".repeat(10_240);
    for bad in BAD_NAMES.into_iter().chain([long.as_str()]) {
        let stream = world.stream_request(bad, &["a"]);
        let said = fails(world.client().create_stream(stream).await, Code::InvalidArgument);
        assert!(said.starts_with("config.name: "), "{said}");
        let pull = pb::PullMessagesRequest {
            stream_name: "S".into(),
            consumer_name: bad.into(),
            ..Default::default()
        };
        let said = fails(world.client().pull_messages(pull).await, Code::InvalidArgument);
        assert!(said.starts_with("consumer_name: "), "{said}");
        let ack = pb::AckMessageRequest {
            stream_name: bad.into(),
            consumer_name: "c".into(),
            sequence: 1,
            ..Default::default()
        };
        let said = fails(world.client().ack_message(ack).await, Code::InvalidArgument);
        assert!(said.starts_with("stream_name: "), "{said}");
        let get = pb::KvGetRequest {
            bucket: bad.into(),
            key: "k".into(),
            ..Default::default()
        };
        let said = fails(world.client().kv_get(get).await, Code::InvalidArgument);
        assert!(said.starts_with("bucket: "), "{said}");
    }
    for bad in ["", "a b", ".a", "a.", "a..b", "a.*", ">", "ä", &long] {
        let get = pb::KvGetRequest {
            bucket: "b".into(),
            key: bad.into(),
            ..Default::default()
        };
        let said = fails(world.client().kv_get(get).await, Code::InvalidArgument);
        assert!(said.starts_with("key: "), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_out_of_range_are_refused() {
    let world = World::start().await;
    let negative = Some(prost_types::Duration {
        seconds: -1,
        nanos: 0,
    });
    type Change = fn(&mut pb::StreamConfig);
    let streams: [(&str, Change); 6] = [
        ("config.max_msgs", |config| config.max_msgs = -2),
        ("config.max_bytes", |config| config.max_bytes = i64::MIN),
        ("config.max_msg_size", |config| config.max_msg_size = -2),
        ("config.replicas", |config| config.replicas = 6),
        ("config.storage", |config| config.storage = 9),
        ("config.max_age", |config| {
            config.max_age = Some(prost_types::Duration { seconds: 0, nanos: 1 });
        }),
    ];
    for (field, spoil) in streams {
        let mut request = world.stream_request("S", &["a"]);
        spoil(request.config.as_mut().unwrap());
        let said = fails(world.client().create_stream(request).await, Code::InvalidArgument);
        assert!(said.starts_with(field), "{said}");
    }
    let pull = pb::PullMessagesRequest {
        stream_name: "S".into(),
        consumer_name: "c".into(),
        batch_size: 1001,
        ..Default::default()
    };
    let said = fails(world.client().pull_messages(pull).await, Code::InvalidArgument);
    assert!(said.starts_with("batch_size"), "{said}");
    let pull = pb::PullMessagesRequest {
        stream_name: "S".into(),
        consumer_name: "c".into(),
        max_wait: negative,
        ..Default::default()
    };
    let said = fails(world.client().pull_messages(pull).await, Code::InvalidArgument);
    assert!(said.starts_with("max_wait"), "{said}");
    let ack = pb::AckMessageRequest {
        stream_name: "S".into(),
        consumer_name: "c".into(),
        ..Default::default()
    };
    let said = fails(world.client().ack_message(ack).await, Code::InvalidArgument);
    assert!(said.starts_with("sequence"), "{said}");
    let batch = pb::PublishBatchRequest::default();
    let said = fails(world.client().publish_batch(batch).await, Code::InvalidArgument);
    assert!(said.starts_with("messages"), "{said}");
    let request = pb::RequestRequest {
        subject: "a".into(),
        timeout: negative,
        ..Default::default()
    };
    let said = fails(world.client().request(request).await, Code::InvalidArgument);
    assert!(said.starts_with("timeout"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_sizes_are_checked() {
    let world = World::start().await;
    for (name, value) in [
        ("", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("ä", "x"),
        ("a", "x\r\ny"),
        ("Nats-Trace-Dest", "t.other"),
    ] {
        let publish = pb::PublishRequest {
            subject: "a".into(),
            headers: BTreeMap::from([(name.into(), value.into())]),
            ..Default::default()
        };
        let said = fails(world.client().publish(publish).await, Code::InvalidArgument);
        assert!(said.starts_with("headers"), "{said}");
    }
    let publish = pb::PublishRequest {
        subject: "a".into(),
        data: vec![0; 9 << 20].into(),
        ..Default::default()
    };
    fails(world.client().publish(publish).await, Code::ResourceExhausted);
}
