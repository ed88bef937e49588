//! Callers that go away, replicas, and an engine that restarts.

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_ends_its_statement() {
    let world = World::start().await;
    let mark = format!("gone_{}", world.slug());
    let cypher = format!("UNWIND range(1, 10000000000) AS {mark} RETURN count(*)");
    let mut client = world.client.clone();
    let request = pb::RunCypherRequest {
        metadata: world.metadata(),
        cypher,
        ..Default::default()
    };
    let call = tokio::spawn(async move { client.run_cypher(request).await });
    until("it runs", PATIENCE, async || world.running(&mark).await > 0).await;
    call.abort();
    until("it has ended at Neo4j", PATIENCE, async || {
        world.running(&mark).await == 0
    })
    .await;
    // And the connection is good for others.
    for _ in 0..3 {
        world.cypher("RETURN 1 AS one", []).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_given_up_in_a_transaction_rolls_it_back() {
    let world = World::start().await;
    let mark = format!("held_{}", world.slug());
    let id = world.begin().await;
    let create = pb::CreateNodeRequest {
        metadata: world.metadata(),
        transaction_id: id.clone(),
        ..Default::default()
    };
    world.client.clone().create_node(create).await.unwrap();
    let mut request = tonic::Request::new(pb::RunCypherRequest {
        metadata: world.metadata(),
        cypher: format!("UNWIND range(1, 10000000000) AS {mark} RETURN count(*)"),
        transaction_id: id.clone(),
        ..Default::default()
    });
    request.set_timeout(Duration::from_millis(300));
    assert!(world.client.clone().run_cypher(request).await.is_err());
    until("it has ended at Neo4j", PATIENCE, async || {
        world.running(&mark).await == 0
    })
    .await;
    refused(world.commit(&id).await, Code::Aborted, "nothing was written");
    assert_eq!(world.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_at_once() {
    let world = World::start().await;
    let calls = (0..200).map(|n| {
        let world = &world;
        async move { world.value("RETURN $n", [("n", number(n.into()))]).await }
    });
    for (n, value) in (0..200).zip(futures::future::join_all(calls).await) {
        assert_eq!(value, number(n.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_when_neo4j_does() {
    let engines =
        tokio::task::spawn_blocking(|| isa_testkit::Engines::start(&[isa_config::EngineKind::Neo4j]));
    let engines = std::sync::Arc::new(engines.await.unwrap());
    let config = crate::harness::open();
    let node = Node::over(
        ServiceKind::Neo4j,
        &config,
        &engines.endpoints().clone(),
        engines.clone(),
    )
    .await;
    let world = World::of(node).await;
    let made = world.create(&["Kept"], [("v", number(1.0))]).await;
    let looking = std::sync::Arc::clone(&engines);
    let pid = tokio::task::spawn_blocking(move || looking.isa().engine(isa_config::EngineKind::Neo4j));
    let pid = pid.await.unwrap().unwrap()["pid"].as_u64().unwrap();
    let killed = tokio::process::Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status()
        .await;
    assert!(killed.unwrap().success());
    until("a call fails", Duration::from_secs(10), async || {
        world.cypher("RETURN 1 AS one", []).await.is_err()
    })
    .await;
    until(
        "it answers again, and has what was written",
        Duration::from_secs(90),
        async || {
            let request = pb::GetNodeRequest {
                metadata: world.metadata(),
                node_id: made.id,
                ..Default::default()
            };
            world
                .client
                .clone()
                .get_node(request)
                .await
                .is_ok_and(|answer| answer.get_ref().node == Some(made.clone()))
        },
    )
    .await;
}
