//! Raw Cypher.

use isa_config::{AuthMode, ServerConfig};
use isa_server::{Claims, issue_token, rotate_keys};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn rows_columns_and_a_summary() {
    let world = World::start().await;
    let answer = world
        .cypher(
            "UNWIND $list AS n CREATE (x:Cypher {n: n, run: $run}) RETURN x.n AS zebra, x.n * 2 AS ant ORDER BY zebra",
            [("list", list(vec![number(1.0), number(2.0)])), ("run", text(&world.user))],
        )
        .await
        .unwrap();
    assert_eq!(answer.columns, ["zebra", "ant"]);
    let expected = [("zebra", number(2.0)), ("ant", number(4.0))];
    assert_eq!(answer.rows[1].fields, fields(expected).fields);
    let summary = answer.summary.unwrap();
    assert_eq!(
        (
            summary.query_type.as_str(),
            summary.nodes_created,
            summary.properties_set,
            summary.labels_added
        ),
        ("rw", 2, 4, 2)
    );
    let request = pb::RunCypherWriteRequest {
        metadata: world.metadata(),
        cypher: "MATCH (n:Cypher {run: $run}) DELETE n".into(),
        parameters: fields([("run", text(&world.user))]).fields,
        ..Default::default()
    };
    let gone = world
        .client
        .clone()
        .run_cypher_write(request)
        .await
        .unwrap()
        .into_inner();
    let summary = gone.summary.unwrap();
    assert_eq!((summary.query_type.as_str(), summary.nodes_deleted), ("w", 2));
    assert!(gone.rows.is_empty() && gone.columns.is_empty());
    let empty = world
        .cypher("MATCH (n:Cypher:Never) RETURN n AS what", [])
        .await
        .unwrap();
    assert_eq!((empty.rows.len(), empty.columns), (0, texts(&["what"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_may_not_write() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let read = |cypher: &str, transaction: &str| pb::RunCypherReadRequest {
        metadata: world.metadata(),
        cypher: cypher.into(),
        transaction_id: transaction.into(),
        ..Default::default()
    };
    let answer = client
        .run_cypher_read(read("RETURN 1 AS one", ""))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.rows.len(), answer.summary.unwrap().query_type.as_str()),
        (1, "r")
    );
    let write = "CREATE (n:Never) RETURN n";
    refused(
        client.run_cypher_read(read(write, "")).await,
        Code::InvalidArgument,
        "",
    );
    let id = world.begin().await;
    client
        .run_cypher_read(read("RETURN 1 AS one", &id))
        .await
        .unwrap();
    refused(
        client.run_cypher_read(read(write, &id)).await,
        Code::InvalidArgument,
        "RunCypherWrite",
    );
    // Nothing was run, so the transaction goes on.
    client
        .run_cypher_read(read("RETURN 1 AS one", &id))
        .await
        .unwrap();
    world.commit(&id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told() {
    let world = World::start().await;
    let refusal = world.cypher("MATCH (n) RETRUN n", []).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert!(
        refusal.message().contains("RETRUN") && refusal.message().contains("column"),
        "{refusal:?}"
    );
    let error = isa_proto::Error::from(refusal);
    assert_eq!(error.code(), isa_proto::ErrorCode::InvalidArgument);
    for (cypher, code, words) in [
        ("", Code::InvalidArgument, "cypher"),
        (" \n", Code::InvalidArgument, "cypher"),
        ("RETURN $missing", Code::InvalidArgument, "missing"),
        ("RETURN 1/0", Code::InvalidArgument, "zero"),
        ("RETURN nothing()", Code::InvalidArgument, "nothing"),
        ("RETURN 1 + date()", Code::InvalidArgument, ""),
        ("DROP CONSTRAINT never_was", Code::NotFound, "never_was"),
        (
            "CREATE USER x SET PASSWORD 'yyyyyyyyyyyy'",
            Code::Unimplemented,
            "",
        ),
        (
            "UNWIND range(1, 10001) AS n RETURN n",
            Code::ResourceExhausted,
            "10000",
        ),
        (
            "UNWIND range(1, 300) AS n RETURN reduce(s = 'xxxxxxxxxx', i IN range(1, 15) | s + s) AS s",
            Code::ResourceExhausted,
            "64 MiB",
        ),
        (
            "RETURN reduce(l = [], n IN range(1, 1000) | [l]) AS l",
            Code::InvalidArgument,
            "deep",
        ),
        (
            "RETURN reduce(l = [], n IN range(1, 31) | [l]) AS l",
            Code::InvalidArgument,
            "deep",
        ),
    ] {
        refused(world.cypher(cypher, []).await, code, words);
    }
    world
        .cypher("RETURN reduce(l = [], n IN range(1, 29) | [l]) AS l", [])
        .await
        .unwrap();
    let many = world
        .cypher("UNWIND range(1, 10000) AS n RETURN n", [])
        .await
        .unwrap();
    assert_eq!(many.rows.len(), 10_000);
    // What is refused for its rows has not written either.
    let cypher = format!(
        "UNWIND range(1, 10001) AS n CREATE (x:Much {{run: '{}'}}) RETURN n",
        world.user
    );
    refused(world.cypher(&cypher, []).await, Code::ResourceExhausted, "10000");
    let count = format!(
        "MATCH (x:Much {{run: '{}'}}) RETURN count(x) AS count",
        world.user
    );
    assert_eq!(world.look::<i64>(&count, "count").await, [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_none() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let query = |cypher: String| pb::CypherQuery {
        cypher,
        parameters: fields([("run", text(&world.user))]).fields,
    };
    let mut queries: Vec<_> = (0..40)
        .map(|n| query(format!("CREATE (n:Batch {{run: $run, n: {n}}}) RETURN n.n AS n")))
        .collect();
    queries.push(query(
        "MATCH (n:Batch {run: $run}) RETURN count(n) AS count".into(),
    ));
    let request = pb::RunCypherBatchRequest {
        metadata: world.metadata(),
        queries: queries.clone(),
        ..Default::default()
    };
    let answer = client.run_cypher_batch(request).await.unwrap().into_inner();
    assert_eq!(answer.results.len(), 41);
    assert_eq!(answer.results[7].rows[0].fields["n"], number(7.0));
    assert_eq!(answer.results[40].rows[0].fields["count"], number(40.0));
    queries[20] = query("RETURN 1/0".into());
    let request = pb::RunCypherBatchRequest {
        metadata: world.metadata(),
        queries,
        ..Default::default()
    };
    refused(
        client.run_cypher_batch(request).await,
        Code::InvalidArgument,
        "queries[20]",
    );
    let count = format!(
        "MATCH (n:Batch {{run: '{}'}}) RETURN count(n) AS count",
        world.user
    );
    assert_eq!(world.look::<i64>(&count, "count").await, [40]);
    let empty = pb::RunCypherBatchRequest::default();
    refused(
        client.run_cypher_batch(empty).await,
        Code::InvalidArgument,
        "queries",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_so_much_time() {
    let world = World::start().await;
    let mut client = world.client.clone();
    let mark = format!("slow_{}", world.slug());
    let request = pb::RunCypherRequest {
        metadata: world.metadata(),
        cypher: format!("UNWIND range(1, 1000000000) AS {mark} RETURN count(*)"),
        timeout_ms: Some(300),
        ..Default::default()
    };
    let began = std::time::Instant::now();
    refused(
        client.run_cypher(request.clone()).await,
        Code::DeadlineExceeded,
        "",
    );
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let negative = pb::RunCypherRequest {
        timeout_ms: Some(-1),
        ..request
    };
    refused(
        client.run_cypher(negative).await,
        Code::InvalidArgument,
        "timeout_ms",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_scope_there_is_none() {
    let keys = tempfile::tempdir().unwrap();
    rotate_keys(keys.path(), 1).unwrap();
    let mut config = ServerConfig::default();
    config.auth.mode = AuthMode::Required;
    config.auth.keys_dir = Some(keys.path().to_owned());
    let node = Node::with(ServiceKind::Neo4j, &config).await;
    let token = |scope: &str| {
        let claims = Claims {
            sub: "someone".into(),
            org: None,
            roles: Default::default(),
            scope: scope.into(),
            iss: None,
            aud: None,
            iat: None,
            exp: 0,
        };
        issue_token(keys.path(), claims, Duration::from_secs(600)).unwrap()
    };
    let mut client = client(&node).await;
    let mut run = async |scope: &str| {
        let mut request = tonic::Request::new(pb::RunCypherRequest {
            cypher: "RETURN 1 AS one".into(),
            ..Default::default()
        });
        let header = format!("Bearer {}", token(scope));
        request
            .metadata_mut()
            .insert("authorization", header.parse().unwrap());
        client.run_cypher(request).await.map(tonic::Response::into_inner)
    };
    refused(run("").await, Code::PermissionDenied, "neo4j:cypher");
    assert_eq!(run("neo4j:cypher").await.unwrap().rows.len(), 1);
}
