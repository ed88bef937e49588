use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use async_nats::RequestErrorKind;
use futures::StreamExt;
use isa_proto::nats as pb;
use tonic::Code;

use super::{PATIENCE, World, fails, next, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_nats_under_the_tenants_prefix() {
    let world = World::start().await;
    let mut engine = world.engine.subscribe(world.subject("orders.>")).await.unwrap();
    // A flush writes, and no more. An answer says that the server has come so far.
    assert!(!has_listeners(&world, "nobody").await);
    let request = pb::PublishRequest {
        organization_id: world.org.clone(),
        subject: "orders.created".into(),
        data: "one".into(),
        headers: BTreeMap::from([("X-Id".into(), "größe".into())]),
        reply_to: "answers".into(),
        ..Default::default()
    };
    let answer = world.client().publish(request).await.unwrap().into_inner();
    assert!(answer.success && answer.message == "OK");
    let message = tokio::time::timeout(PATIENCE, engine.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(message.subject.as_str(), world.subject("orders.created"));
    assert_eq!(message.reply.unwrap().as_str(), world.subject("answers"));
    assert_eq!(message.payload, "one");
    assert_eq!(message.headers.unwrap().get("X-Id").unwrap().as_str(), "größe");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_stays_in_its_tenant_and_names_come_back_as_given() {
    let world = World::start().await;
    let other = format!("{}-other", world.org);
    let mut mine = world.subscribe(&world.org, ">", "").await;
    let mut theirs = world.subscribe(&other, ">", "").await;
    world.publish(&world.org, "a.b", "mine").await;
    world.publish(&other, "a.b", "theirs").await;
    let first = next(&mut mine).await.unwrap().unwrap();
    assert_eq!((first.subject.as_str(), first.sequence), ("a.b", 1));
    assert_eq!(first.data, "mine");
    assert!(first.timestamp.is_some() && first.reply_to.is_empty());
    assert_eq!(next(&mut theirs).await.unwrap().unwrap().data, "theirs");
    world.publish(&world.org, "c", "again").await;
    let second = next(&mut mine).await.unwrap().unwrap();
    assert_eq!((second.subject.as_str(), second.sequence), ("c", 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_queue_group_gets_each_message() {
    let world = World::start().await;
    let request = || pb::QueueSubscribeRequest {
        organization_id: world.org.clone(),
        subject: "jobs.*".into(),
        queue_group: "workers".into(),
        ..Default::default()
    };
    let mut one = world
        .client()
        .queue_subscribe(request())
        .await
        .unwrap()
        .into_inner();
    let mut two = world
        .client()
        .queue_subscribe(request())
        .await
        .unwrap()
        .into_inner();
    for n in 0..50 {
        world
            .publish(&world.org, &format!("jobs.{n}"), &n.to_string())
            .await;
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let message = tokio::select! {
            message = next(&mut one) => message,
            message = next(&mut two) => message,
        };
        seen.push(message.unwrap().unwrap().subject);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 50);
    let missing = pb::QueueSubscribeRequest {
        queue_group: String::new(),
        ..request()
    };
    let said = fails(
        world.client().queue_subscribe(missing).await,
        Code::InvalidArgument,
    );
    assert!(said.starts_with("queue_group"), "{said}");
}

/// Whether anybody listens, as NATS says it.
async fn has_listeners(world: &World, subject: &str) -> bool {
    let answer = world
        .engine
        .send_request(
            world.subject(subject),
            async_nats::Request::new().timeout(Some(Duration::from_millis(50))),
        )
        .await;
    answer.is_err_and(|error| error.kind() != RequestErrorKind::NoResponders)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_is_unsubscribed_within_a_second() {
    let world = World::start().await;
    let subscription = world.subscribe(&world.org, "gone", "").await;
    assert!(has_listeners(&world, "gone").await);
    drop(subscription);
    until("unsubscribed", Duration::from_secs(1), async || {
        !has_listeners(&world, "gone").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribe_ends_the_callers_own_on_this_subject() {
    let world = World::start().await;
    let mut ended = world.subscribe(&world.org, "news.*", "").await;
    let mut kept = world.subscribe(&world.org, "news.>", "").await;
    let request = pb::UnsubscribeRequest {
        organization_id: world.org.clone(),
        subject: "news.*".into(),
        ..Default::default()
    };
    let answer = world.client().unsubscribe(request.clone()).await.unwrap();
    assert!(answer.into_inner().success);
    assert!(next(&mut ended).await.unwrap().is_none());
    world.publish(&world.org, "news.today", "x").await;
    assert_eq!(next(&mut kept).await.unwrap().unwrap().subject, "news.today");
    assert!(
        world
            .client()
            .unsubscribe(request)
            .await
            .unwrap()
            .into_inner()
            .success
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_when_the_server_stops() {
    let world = World::start().await;
    let mut subscription = world.subscribe(&world.org, "until.the.end", "").await;
    let drained = tokio::spawn(world.node.drain());
    let end = next(&mut subscription).await;
    assert!(matches!(end, Ok(None)), "{end:?}");
    drop(subscription);
    drop(world.channel);
    assert!(drained.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_keep_up_is_cut_off() {
    let world = World::start().await;
    let mut slow = world.subscribe(&world.org, "flood", "").await;
    let data = vec![b'x'; 16 << 10];
    for _ in 0..4096 {
        world
            .engine
            .publish(world.subject("flood"), data.clone().into())
            .await
            .unwrap();
    }
    world.engine.flush().await.unwrap();
    until("cut off", PATIENCE, async || {
        !has_listeners(&world, "flood").await
    })
    .await;
    let end = loop {
        match next(&mut slow).await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    let said = fails(end, Code::ResourceExhausted);
    assert!(said.contains("subscribe again"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_by_another_caller_of_the_tenant() {
    let world = World::start().await;
    let mut service = world.subscribe(&world.org, "sum", "").await;
    let request = pb::RequestRequest {
        organization_id: world.org.clone(),
        subject: "sum".into(),
        data: "1+1".into(),
        ..Default::default()
    };
    let mut client = world.client();
    let asked = tokio::spawn(async move { client.request(request).await });
    let question = next(&mut service).await.unwrap().unwrap();
    assert_eq!(question.data, "1+1");
    assert!(!question.reply_to.is_empty() && !question.reply_to.contains(&world.slug()));
    // Whoever guesses a subject of another tenant's answers nothing.
    world
        .publish(&format!("{}-other", world.org), &question.reply_to, "3")
        .await;
    world.publish(&world.org, &question.reply_to, "2").await;
    let reply = asked.await.unwrap().unwrap().into_inner();
    assert!(reply.success && reply.error_message.is_empty());
    assert_eq!(reply.data, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_nobody_answers_fails() {
    let world = World::start().await;
    let request = |subject: &str, millis| pb::RequestRequest {
        organization_id: world.org.clone(),
        subject: subject.into(),
        timeout: Some(isa_proto::prost_types::Duration {
            seconds: 0,
            nanos: millis * 1_000_000,
        }),
        ..Default::default()
    };
    let began = Instant::now();
    let nobody = world.client().request(request("nobody", 900)).await;
    fails(nobody, Code::Unavailable);
    assert!(began.elapsed() < Duration::from_millis(800));
    let _silent = world.subscribe(&world.org, "silent", "").await;
    let silent = world.client().request(request("silent", 100)).await;
    fails(silent, Code::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_goes_in_order_and_says_what_did_not() {
    let world = World::start().await;
    let mut subscription = world.subscribe(&world.org, "batch.>", "").await;
    let message = |subject: &str| pb::NatsMessage {
        subject: subject.into(),
        data: subject.to_owned().into(),
        ..Default::default()
    };
    let request = pb::PublishBatchRequest {
        organization_id: world.org.clone(),
        messages: vec![message("batch.1"), message("batch.*"), message("batch.2")],
        ..Default::default()
    };
    let answer = world.client().publish_batch(request).await.unwrap().into_inner();
    assert!(!answer.success);
    assert_eq!(answer.published_count, 2);
    assert_eq!(answer.errors.len(), 1);
    assert!(answer.errors[0].starts_with("1: subject"), "{:?}", answer.errors);
    assert_eq!(next(&mut subscription).await.unwrap().unwrap().subject, "batch.1");
    assert_eq!(next(&mut subscription).await.unwrap().unwrap().subject, "batch.2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_health() {
    let world = World::start().await;
    world.create_stream("S", &["s.>"]).await;
    world.publish(&world.org, "s.1", "12345").await;
    let request = pb::GetStatisticsRequest {
        organization_id: world.org.clone(),
        ..Default::default()
    };
    // A plain publish does not wait for streams.
    until("stored", PATIENCE, async || {
        let now = world.client().get_statistics(request.clone()).await.unwrap();
        now.into_inner().total_messages == 1
    })
    .await;
    let figures = world
        .client()
        .get_statistics(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((figures.total_streams, figures.total_messages), (1, 1));
    assert_eq!((figures.in_msgs, figures.in_bytes), (1, 5));
    assert!(figures.total_bytes > 0 && figures.connections == 3);
    let other = pb::GetStatisticsRequest {
        organization_id: format!("{}-other", world.org),
        ..request
    };
    let theirs = world.client().get_statistics(other).await.unwrap().into_inner();
    assert_eq!(
        (theirs.total_streams, theirs.in_msgs, theirs.total_bytes),
        (0, 0, 0)
    );

    let stats = pb::GetStreamStatsRequest {
        organization_id: world.org.clone(),
        stream_name: "S".into(),
        ..Default::default()
    };
    let first = world
        .client()
        .get_stream_stats(stats.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((first.messages, first.message_rate), (1, 0.0));
    world.publish(&world.org, "s.2", "67890").await;
    until("a rate", PATIENCE, async || {
        let now = world.client().get_stream_stats(stats.clone()).await.unwrap();
        now.into_inner().message_rate > 0.0
    })
    .await;

    for deep_check in [false, true] {
        let request = pb::NatsHealthCheckRequest { deep_check };
        let health = world.client().health_check(request).await.unwrap().into_inner();
        assert!(health.healthy && health.jetstream_enabled, "{health:?}");
        assert_eq!(
            (health.nats_status.as_str(), health.connections),
            ("connected", 3)
        );
        assert!(health.checked_at.is_some() && health.message.is_empty());
    }
}
