use futures::TryStreamExt;
use tonic::Code;

use super::*;

fn request(bench: &Bench, sql: &str) -> pb::QueryStreamRequest {
    pb::QueryStreamRequest {
        metadata: bench.metadata(),
        sql: sql.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_come_in_parts() {
    let mut bench = Bench::start().await;
    let mut asked = request(
        &bench,
        "SELECT g, g::text AS t FROM generate_series(1, $1::int) g",
    );
    asked.params = vec![number(2501.0)];
    asked.batch_rows = 1000;
    let replies = bench.client.query_stream(asked).await.unwrap().into_inner();
    let replies: Vec<pb::QueryStreamResponse> = replies.try_collect().await.unwrap();
    assert_eq!(replies[0].columns, ["g", "t"]);
    assert_eq!(replies[0].column_types, ["int4", "text"]);
    let sizes: Vec<usize> = replies.iter().map(|reply| reply.rows.len()).collect();
    assert_eq!(sizes, [1000, 1000, 501]);
    assert_eq!(replies[2].rows[500].values, [number(2501.0), text("2501")]);
    let none = request(&bench, "SELECT 1 AS a WHERE false");
    let replies = bench.client.query_stream(none).await.unwrap().into_inner();
    let replies: Vec<pb::QueryStreamResponse> = replies.try_collect().await.unwrap();
    assert_eq!(
        (replies.len(), replies[0].columns.len(), replies[0].rows.len()),
        (1, 1, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_come_before_the_first_part_or_at_the_end() {
    let mut bench = Bench::start().await;
    let wrong = request(&bench, "SELECT * FROM nowhere");
    refused(bench.client.query_stream(wrong).await, Code::NotFound, "nowhere");
    let mut wrong = request(&bench, "SELECT 1");
    wrong.batch_rows = 10_001;
    refused(
        bench.client.query_stream(wrong).await,
        Code::InvalidArgument,
        "batch_rows",
    );
    let late = request(
        &bench,
        "SELECT 1000 / (1500 - g) AS v FROM generate_series(1, 2000) g",
    );
    let mut replies = bench.client.query_stream(late).await.unwrap().into_inner();
    let mut rows = 0;
    let status = loop {
        match replies.message().await {
            Ok(reply) => rows += reply.expect("not the end").rows.len(),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (rows, status.code()),
        (1000, Code::InvalidArgument),
        "{}",
        status.message()
    );
    assert_eq!(bench.value("SELECT 1", vec![]).await.unwrap(), number(1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_last_once_the_stream_has_ended() {
    let mut bench = Bench::start().await;
    bench.execute("CREATE TABLE t (a int)").await.unwrap();
    let write = request(&bench, "INSERT INTO t SELECT generate_series(1, 3) RETURNING a");
    let replies = bench.client.query_stream(write).await.unwrap().into_inner();
    let replies: Vec<pb::QueryStreamResponse> = replies.try_collect().await.unwrap();
    assert_eq!(replies[0].rows.len(), 3);
    let id = bench.begin().await;
    let mut write = request(&bench, "INSERT INTO t VALUES (4) RETURNING a");
    write.transaction_id = id.clone();
    let replies = bench.client.query_stream(write).await.unwrap().into_inner();
    replies.try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(3.0)
    );
    bench.commit(&id).await.unwrap();
    assert_eq!(
        bench.value("SELECT count(*) FROM t", vec![]).await.unwrap(),
        number(4.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_ends_the_statement() {
    let mut bench = Bench::start().await;
    let endless = request(
        &bench,
        "SELECT repeat('x', 10000) FROM generate_series(1, 100000) a, generate_series(1, 100000) b",
    );
    let mut replies = bench.client.query_stream(endless).await.unwrap().into_inner();
    replies.message().await.unwrap();
    let there = bench.administrator().await;
    let role = bench.schema();
    life::until_connections(&there, &role, "state <> 'idle'", 1).await;
    drop(replies);
    life::until_connections(&there, &role, "state <> 'idle'", 0).await;
    assert_eq!(bench.value("SELECT 1", vec![]).await.unwrap(), number(1.0));
}
