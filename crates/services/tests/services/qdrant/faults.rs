//! What becomes of calls when the engine goes away.

use super::*;

#[tokio::test]
async fn a_dead_engine_is_said_at_once_and_comes_back() {
    let engines =
        tokio::task::spawn_blocking(|| isa_testkit::Engines::start(&[isa_config::EngineKind::Qdrant]));
    let engines = std::sync::Arc::new(engines.await.expect("the engine"));
    let endpoints = engines.endpoints().clone();
    let node = Node::over(
        ServiceKind::Qdrant,
        &crate::harness::open(),
        &endpoints,
        engines.clone(),
    )
    .await;
    let world = World::over(node).await;
    world.collection("c", 2, pb::Distance::Dot).await;
    world.upsert("c", vec![point(1, &[1.0, 0.0], json!({}))]).await;

    let status = {
        let engines = engines.clone();
        tokio::task::spawn_blocking(move || engines.isa().engine(isa_config::EngineKind::Qdrant))
            .await
            .expect("isa status")
            .expect("the engine's status")
    };
    let pid = status["pid"].as_u64().expect("a pid");
    let killed = std::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(killed.expect("kill").success());
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let began = tokio::time::Instant::now();
        let answer = world
            .try_upsert("c", vec![point(2, &[1.0, 0.0], json!({}))])
            .await;
        assert!(began.elapsed() < Duration::from_secs(5), "it fails fast");
        match answer {
            Ok(_) => break,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        assert!(tokio::time::Instant::now() < end, "the engine did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(world.count("c", None).await, 2, "what was acknowledged is there");
}

#[tokio::test]
async fn a_deadline_bounds_the_engine_too() {
    let world = World::start().await;
    world.collection("c", 2, pb::Distance::Dot).await;
    let request = pb::CountRequest {
        metadata: world.me(),
        collection_name: "c".to_owned(),
        ..Default::default()
    };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_nanos(1));
    let status = world.client().count(request).await.expect_err("no time");
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    assert!(world.node.drain().await);
}
