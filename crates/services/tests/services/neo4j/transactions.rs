//! Transactions.

use super::*;

fn node_in(world: &World, transaction: &str) -> pb::CreateNodeRequest {
    pb::CreateNodeRequest {
        metadata: world.metadata(),
        labels: texts(&["Tx"]),
        transaction_id: transaction.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_seen_once_it_is_committed() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let id = world.begin().await;
    let made = client
        .create_node(node_in(&world, &id))
        .await
        .unwrap()
        .into_inner()
        .node
        .unwrap();
    let mut update = pb::UpdateNodeRequest {
        metadata: world.metadata(),
        node_id: made.id,
        properties: Some(fields([("a", number(1.0))])),
        transaction_id: id.clone(),
        ..Default::default()
    };
    client.update_node(update.clone()).await.unwrap();
    // Not there is no failure of the transaction.
    update.node_id = i64::MAX;
    refused(client.update_node(update).await, Code::NotFound, "node");
    assert_eq!(
        world.cypher_in(&id, "RETURN 1 AS one").await.unwrap().rows.len(),
        1
    );
    assert_eq!(world.count().await, 0);
    world.commit(&id).await.unwrap();
    assert_eq!(world.count().await, 1);
    refused(world.commit(&id).await, Code::NotFound, "transaction");
    refused(
        client.create_node(node_in(&world, &id)).await,
        Code::NotFound,
        "transaction",
    );

    let id = world.begin().await;
    client.create_node(node_in(&world, &id)).await.unwrap();
    world.rollback(&id).await.unwrap();
    refused(world.rollback(&id).await, Code::NotFound, "transaction");
    assert_eq!(world.count().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_statement_ends_it() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let id = world.begin().await;
    client.create_node(node_in(&world, &id)).await.unwrap();
    refused(
        world.cypher_in(&id, "RETURN 1/0").await,
        Code::InvalidArgument,
        "zero",
    );
    refused(
        world.cypher_in(&id, "RETURN 1").await,
        Code::FailedPrecondition,
        "failed",
    );
    refused(world.commit(&id).await, Code::Aborted, "nothing was written");
    refused(world.commit(&id).await, Code::NotFound, "transaction");
    let id = world.begin().await;
    refused(world.cypher_in(&id, "nonsense").await, Code::InvalidArgument, "");
    world.rollback(&id).await.unwrap();
    assert_eq!(world.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_sixteen_and_nobody_elses() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(world.begin().await);
    }
    let mut request = pb::BeginTransactionRequest {
        metadata: world.metadata(),
        ..Default::default()
    };
    refused(
        client.begin_transaction(request.clone()).await,
        Code::ResourceExhausted,
        "16",
    );
    let other = pb::CommitTransactionRequest {
        metadata: metadata("another"),
        transaction_id: open[0].clone(),
    };
    refused(
        client.commit_transaction(other).await,
        Code::NotFound,
        "transaction",
    );
    for id in &open {
        world.rollback(id).await.unwrap();
    }
    for timeout in [-1, 300_001] {
        request.timeout_ms = Some(timeout);
        refused(
            client.begin_transaction(request.clone()).await,
            Code::InvalidArgument,
            "timeout_ms",
        );
    }
    for id in ["", "nonsense"] {
        refused(world.commit(id).await, Code::InvalidArgument, "transaction_id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_time_is_bounded() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let request = pb::BeginTransactionRequest {
        metadata: world.metadata(),
        timeout_ms: Some(500),
        ..Default::default()
    };
    let id = client
        .begin_transaction(request)
        .await
        .unwrap()
        .into_inner()
        .transaction_id;
    client.create_node(node_in(&world, &id)).await.unwrap();
    until("the transaction has ended", Duration::from_secs(10), async || {
        client
            .create_node(node_in(&world, &id))
            .await
            .is_err_and(|status| status.code() == Code::NotFound)
    })
    .await;
    assert_eq!(world.count().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_one_wait_for_each_other() {
    let world = World::start().await;
    let id = world.begin().await;
    let calls = (0..8).map(|_| {
        let (mut client, request) = (world.client.clone(), node_in(&world, &id));
        async move { client.create_node(request).await }
    });
    for made in futures::future::join_all(calls).await {
        made.unwrap();
    }
    world.commit(&id).await.unwrap();
    assert_eq!(world.count().await, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_aborted_and_nothing_is_stuck() {
    let world = World::start().await;
    let (a, b) = (
        world.create(&["Tx"], []).await.id,
        world.create(&["Tx"], []).await.id,
    );
    let (one, two) = (world.begin().await, world.begin().await);
    let set = |id: &str, node: i64| pb::UpdateNodeRequest {
        metadata: world.metadata(),
        node_id: node,
        properties: Some(fields([("by", text(id))])),
        transaction_id: id.into(),
        ..Default::default()
    };
    let (mut first, mut second) = (world.client.clone(), world.client.clone());
    first.update_node(set(&one, a)).await.unwrap();
    second.update_node(set(&two, b)).await.unwrap();
    let (x, y) = tokio::join!(first.update_node(set(&one, b)), second.update_node(set(&two, a)));
    let failed: Vec<Status> = [x.err(), y.err()].into_iter().flatten().collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].code(), Code::Aborted, "{failed:?}");
    let committed = [world.commit(&one).await, world.commit(&two).await];
    assert_eq!(
        committed.iter().filter(|done| done.is_ok()).count(),
        1,
        "{committed:?}"
    );
}
