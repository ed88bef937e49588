use std::time::Duration;

use isa_proto::loki as pb;
use tonic::{Code, Streaming};

use super::{PATIENCE, SECOND, World, entry, fails, labels, next, now, timestamp, until};

impl World {
    fn tail_request(&self, query: &str) -> pb::TailLogsRequest {
        pb::TailLogsRequest {
            organization_id: self.org.clone(),
            query: query.to_owned(),
            ..Default::default()
        }
    }

    async fn tail(&self, query: &str) -> Streaming<pb::LogEntry> {
        let answer = self.client().tail_logs(self.tail_request(query)).await;
        answer.expect("a tail").into_inner()
    }

    /// Tails that Loki has open, of all tenants.
    async fn open_tails(&self) -> u64 {
        let url = format!("{}/metrics", self.node.engine.url);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix("loki_querier_tail_active "))
            .map_or(0, |count| count.parse::<f64>().unwrap() as u64)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_come_as_they_are_written() {
    let world = World::start().await;
    let other = World::start().await;
    world.push("before", &[("service", "api")], None).await;
    let mut tail = world.tail("{service=\"api\"} |= \"want\"").await;
    let mut all = world.tail("").await;
    let id = world.push("want 0", &[("service", "api")], None).await;
    world.push("not this", &[("service", "api")], None).await;
    world.push("want web", &[("service", "web")], None).await;
    other.push("want theirs", &[("service", "api")], None).await;
    for n in 1..50 {
        world
            .push(&format!("want {n}"), &[("service", "api")], None)
            .await;
    }
    let mut seen = Vec::new();
    while seen.len() < 50 {
        let entry = next(&mut tail).await.unwrap().expect("an entry");
        assert_eq!(
            (entry.labels, entry.stream_id),
            (labels(&[("service", "api")]), id.clone())
        );
        assert!(entry.timestamp.is_some());
        seen.push(entry.line);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 50, "each once");
    let mut count = 0;
    while count < 52 {
        let entry = next(&mut all).await.unwrap().expect("an entry");
        assert!(
            !entry.line.contains("theirs") && entry.line != "before",
            "{}",
            entry.line
        );
        count += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_may_begin_with_what_is_there() {
    let world = World::start().await;
    let at = now() - 60 * SECOND;
    let entries = (0..10).map(|n| entry(&format!("old {n}"), &[("service", "api")], Some(at + n)));
    assert!(world.batch(entries.collect()).await.success);
    let request = pb::TailLogsRequest {
        start: Some(timestamp(at)),
        limit: 4,
        ..world.tail_request("{service=\"api\"}")
    };
    let mut tail = world.client().tail_logs(request).await.unwrap().into_inner();
    world.push("new", &[("service", "api")], None).await;
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.push(next(&mut tail).await.unwrap().expect("an entry").line);
    }
    assert_eq!(lines, ["old 6", "old 7", "old 8", "old 9", "new"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_followed_is_refused() {
    let world = World::start().await;
    type Change = fn(&mut pb::TailLogsRequest);
    let cases: [(&str, Change); 6] = [
        ("query", |request| request.query = "{".into()),
        ("query", |request| request.query = "rate({a=\"b\"}[1m])".into()),
        ("delay_for", |request| request.delay_for = 6),
        ("delay_for", |request| request.delay_for = -1),
        ("limit", |request| request.limit = 5001),
        ("start", |request| request.start = Some(timestamp(1))),
    ];
    for (field, spoil) in cases {
        let mut request = world.tail_request("{a=\"b\"}");
        spoil(&mut request);
        let said = fails(world.client().tail_logs(request).await, Code::InvalidArgument);
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_ends_with_its_caller_and_with_the_server() {
    // Counted alone: other tests have tails too.
    let world = World::of(crate::harness::Node::alone(isa_config::ServiceKind::Loki).await).await;
    let tail = world.tail("{a=\"b\"}").await;
    until("Loki follows", PATIENCE, async || world.open_tails().await == 1).await;
    drop(tail);
    until("Loki follows no more", Duration::from_secs(2), async || {
        world.open_tails().await == 0
    })
    .await;
    let mut tail = world.tail("{a=\"b\"}").await;
    let World { node, .. } = world;
    let drained = tokio::spawn(node.drain());
    assert!(next(&mut tail).await.unwrap().is_none());
    assert!(drained.await.unwrap());
}
