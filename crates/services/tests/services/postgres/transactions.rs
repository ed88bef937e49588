use tonic::Code;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_seen_once_it_is_committed() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let id = bench.begin().await;
    bench
        .in_transaction(&id, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    bench.in_transaction(&id, "SAVEPOINT s").await.unwrap();
    refused(
        bench.in_transaction(&id, "INSERT INTO t VALUES (1/0)").await,
        Code::InvalidArgument,
        "division",
    );
    refused(
        bench.in_transaction(&id, "SELECT 1").await,
        Code::FailedPrecondition,
        "aborted",
    );
    bench.in_transaction(&id, "ROLLBACK TO s").await.unwrap();
    refused(
        bench.in_transaction(&id, "COMMIT").await,
        Code::FailedPrecondition,
        "CommitTransaction",
    );
    let insert = pb::InsertIntoRequest {
        metadata: bench.metadata(),
        table: "t".into(),
        rows: vec![fields([("a", number(2.0))])],
        transaction_id: id.clone(),
        ..Default::default()
    };
    bench.client.insert_into(insert).await.unwrap();
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(0.0)
    );
    bench.commit(&id).await.unwrap();
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(2.0)
    );
    refused(bench.commit(&id).await, Code::NotFound, "transaction");
    refused(
        bench.in_transaction(&id, "SELECT 1").await,
        Code::NotFound,
        "transaction",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_committed_is_aborted() {
    let mut bench = Bench::start().await;
    bench
        .execute("CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        .await
        .unwrap();
    let failed = bench.begin().await;
    assert!(bench.in_transaction(&failed, "nonsense").await.is_err());
    refused(bench.commit(&failed).await, Code::Aborted, "nothing was written");
    let deferred = bench.begin().await;
    bench
        .in_transaction(&deferred, "INSERT INTO t VALUES (1), (1)")
        .await
        .unwrap();
    refused(bench.commit(&deferred).await, Code::Aborted, "t_a_key");
    let dropped = bench.begin().await;
    bench
        .in_transaction(&dropped, "INSERT INTO t VALUES (1)")
        .await
        .unwrap();
    let request = pb::RollbackTransactionRequest {
        metadata: bench.metadata(),
        transaction_id: dropped.clone(),
    };
    assert!(
        bench
            .client
            .rollback_transaction(request.clone())
            .await
            .unwrap()
            .into_inner()
            .success
    );
    refused(
        bench.client.rollback_transaction(request).await,
        Code::NotFound,
        "transaction",
    );
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(0.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_aborted() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    bench.execute("INSERT INTO t VALUES (1)").await.unwrap();
    let request = pb::BeginTransactionRequest {
        metadata: bench.metadata(),
        isolation_level: "Repeatable_Read".into(),
    };
    let id = bench
        .client
        .begin_transaction(request)
        .await
        .unwrap()
        .into_inner()
        .transaction_id;
    bench.in_transaction(&id, "SELECT * FROM t").await.unwrap();
    bench.execute("UPDATE t SET a = 2").await.unwrap();
    refused(
        bench.in_transaction(&id, "UPDATE t SET a = 3").await,
        Code::Aborted,
        "serialize",
    );
    let request = pb::BeginTransactionRequest {
        metadata: bench.metadata(),
        isolation_level: "chaos".into(),
    };
    refused(
        bench.client.begin_transaction(request).await,
        Code::InvalidArgument,
        "isolation_level",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_sixteen_and_nobody_elses() {
    let mut bench = Bench::start().await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(bench.begin().await);
    }
    let request = pb::BeginTransactionRequest {
        metadata: bench.metadata(),
        ..Default::default()
    };
    refused(
        bench.client.begin_transaction(request.clone()).await,
        Code::ResourceExhausted,
        "16",
    );
    let other = execute_in(&mut bench.client, "another", "SELECT 1", &open[0]).await;
    refused(other, Code::NotFound, "transaction");
    bench.commit(&open[0]).await.unwrap();
    bench.client.begin_transaction(request).await.unwrap();
    refused(
        bench.commit("nonsense").await,
        Code::InvalidArgument,
        "transaction_id",
    );
    refused(bench.commit("").await, Code::InvalidArgument, "transaction_id");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_one_transaction_wait_for_each_other() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let id = bench.begin().await;
    let calls = (0..8).map(|_| {
        let (mut client, user, id) = (bench.client.clone(), bench.user.clone(), id.clone());
        async move {
            execute_in(
                &mut client,
                &user,
                "INSERT INTO t SELECT 1 FROM pg_sleep(0.01)",
                &id,
            )
            .await
        }
    });
    for done in futures::future::join_all(calls).await {
        assert_eq!(done.unwrap().rows_affected, 1);
    }
    bench.commit(&id).await.unwrap();
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(8.0)
    );
}
