use tonic::{Code, Streaming};

use super::*;

async fn subscribe<const N: usize>(test: &Test, channels: [&str; N]) -> Streaming<pb::MessageResponse> {
    done!(
        test,
        subscribe,
        SubscribeRequest {
            channels: texts(channels)
        }
    )
}

async fn publish(test: &Test, channel: &str, message: &str) -> i32 {
    done!(test, publish, PublishRequest { channel, message }).subscriber_count
}

async fn next(stream: &mut Streaming<pb::MessageResponse>) -> Option<(String, String)> {
    let message = tokio::time::timeout(PATIENCE, stream.message())
        .await
        .expect("in time");
    message.expect("no error").map(|it| (it.channel, it.message))
}

/// How many connections of Redis listen to a channel.
async fn listeners(test: &Test, channel: &str) -> i64 {
    let (_, count): (String, i64) = test
        .raw(redis::cmd("PUBSUB").arg("NUMSUB").arg(test.name(channel)))
        .await;
    count
}

fn some(channel: &str, message: &str) -> Option<(String, String)> {
    Some((channel.into(), message.into()))
}

#[tokio::test]
async fn what_is_published_after_the_headers_arrives() {
    let test = Test::start().await;
    assert_eq!(publish(&test, "a", "before").await, 0);
    let mut stream = subscribe(&test, ["a", "b", "a"]).await;
    assert_eq!(publish(&test, "a", "1").await, 1);
    assert_eq!(publish(&test, "b", "2").await, 1);
    assert_eq!(publish(&test, "c", "3").await, 0);
    let () = test.raw(redis::cmd("PUBLISH").arg(test.name("a")).arg("")).await;
    assert_eq!(next(&mut stream).await, some("a", "1"));
    assert_eq!(next(&mut stream).await, some("b", "2"));
    assert_eq!(next(&mut stream).await, some("a", ""));
}

#[tokio::test]
async fn subscribers_of_a_replica_share_a_connection() {
    let test = Test::start().await;
    let mut first = subscribe(&test, ["a"]).await;
    let mut second = subscribe(&test, ["a"]).await;
    assert_eq!(publish(&test, "a", "1").await, 1);
    assert_eq!(next(&mut first).await, some("a", "1"));
    assert_eq!(next(&mut second).await, some("a", "1"));
    drop(first);
    assert_eq!(publish(&test, "a", "2").await, 1);
    assert_eq!(next(&mut second).await, some("a", "2"));
}

#[tokio::test]
async fn names_are_no_patterns() {
    let test = Test::start().await;
    let mut stream = subscribe(&test, ["*", "a?"]).await;
    publish(&test, "ab", "no").await;
    publish(&test, "*", "yes").await;
    assert_eq!(next(&mut stream).await, some("*", "yes"));
}

#[tokio::test]
async fn redis_forgets_who_went_away() {
    let test = Test::start().await;
    let stream = subscribe(&test, ["a", "b"]).await;
    assert_eq!(listeners(&test, "a").await, 1);
    drop(stream);
    for channel in ["a", "b"] {
        eventually("nobody listens", GONE, async || {
            listeners(&test, channel).await == 0
        })
        .await;
    }
}

#[tokio::test]
async fn unsubscribe_ends_streams() {
    let test = Test::start().await;
    let mut both = subscribe(&test, ["a", "b"]).await;
    let mut one = subscribe(&test, ["a"]).await;
    assert!(
        done!(
            test,
            unsubscribe,
            UnsubscribeRequest {
                channels: texts(["a"])
            }
        )
        .success
    );
    assert_eq!(next(&mut one).await, None, "its last channel is gone");
    assert_eq!(publish(&test, "a", "no").await, 0);
    publish(&test, "b", "yes").await;
    assert_eq!(next(&mut both).await, some("b", "yes"));
    assert!(done!(test, unsubscribe, UnsubscribeRequest {}).success);
    assert_eq!(next(&mut both).await, None);
    assert!(
        done!(test, unsubscribe, UnsubscribeRequest {}).success,
        "also if nothing is subscribed"
    );
}

#[tokio::test]
async fn unsubscribe_reaches_other_replicas_and_no_other_users() {
    let (test, mut replica) = (Test::start().await, Test::start().await);
    let mut other = subscribe(&replica, ["a"]).await;
    replica.user.clone_from(&test.user);
    let mut stream = subscribe(&replica, ["a"]).await;
    done!(test, unsubscribe, UnsubscribeRequest {});
    assert_eq!(next(&mut stream).await, None);
    let end = tokio::time::timeout(Duration::from_millis(100), other.message()).await;
    assert!(end.is_err(), "another user's goes on");
}

#[tokio::test]
async fn who_does_not_read_is_cut_off() {
    let test = Test::start().await;
    let mut slow = subscribe(&test, ["a"]).await;
    let mut quick = subscribe(&test, ["b"]).await;
    let mut many = redis::pipe();
    // Together less than what makes Redis itself cut off who is slow: our one connection.
    let text = "x".repeat(2 << 10);
    for _ in 0..4000 {
        many.cmd("PUBLISH").arg(test.name("a")).arg(&text).ignore();
    }
    many.query_async::<()>(&mut test.raw.clone())
        .await
        .expect("published");
    eventually("the slow one is off", PATIENCE, async || {
        listeners(&test, "a").await == 0
    })
    .await;
    let mut read = 0;
    let status = loop {
        match tokio::time::timeout(PATIENCE, slow.message())
            .await
            .expect("in time")
        {
            Ok(Some(_)) => read += 1,
            Ok(None) => panic!("an end without a reason after {read} messages"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!((1000..4000).contains(&read), "{read}");
    publish(&test, "b", "still there").await;
    assert_eq!(next(&mut quick).await, some("b", "still there"));
}

#[tokio::test]
async fn a_drain_ends_streams() {
    let test = Test::start().await;
    let mut stream = subscribe(&test, ["a"]).await;
    let Test { node, .. } = test;
    let (clean, ended) = tokio::join!(node.drain(), stream.message());
    assert!(clean, "no stream is waited for");
    assert_eq!(ended.expect_err("an end that is told").code(), Code::Unavailable);
}
