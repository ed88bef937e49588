use isa_proto::loki as pb;
use tonic::Code;

use super::{PATIENCE, SECOND, World, entry, fails, next, now, timestamp, until};

impl World {
    fn export_request(&self, at: i64, format: pb::ExportFormat) -> pb::ExportLogsRequest {
        pb::ExportLogsRequest {
            organization_id: self.org.clone(),
            query: "{service=\"export\"}".to_owned(),
            start: Some(timestamp(at)),
            end: Some(timestamp(now() + SECOND)),
            format: format.into(),
            ..Default::default()
        }
    }

    /// Every piece of an export that goes well.
    async fn export(&self, request: pb::ExportLogsRequest) -> Vec<pb::ExportLogsResponse> {
        let mut stream = self
            .client()
            .export_logs(request)
            .await
            .expect("a stream")
            .into_inner();
        let mut pieces = Vec::new();
        while let Some(piece) = next(&mut stream).await.expect("a piece") {
            pieces.push(piece);
        }
        pieces
    }

    async fn export_status(&self, id: &str) -> Result<pb::GetExportStatusResponse, tonic::Status> {
        let request = pb::GetExportStatusRequest {
            export_id: id.to_owned(),
            ..Default::default()
        };
        let answer = self.client().get_export_status(request).await;
        answer.map(tonic::Response::into_inner)
    }

    /// So many entries to export; the time of the first.
    async fn fill(&self, count: i64) -> i64 {
        let at = now() - 60 * SECOND;
        for begin in (0..count).step_by(5000) {
            let entries = (begin..count.min(begin + 5000)).map(|n| {
                let host = format!("h{}", n % 3);
                // Four at each time.
                entry(
                    &format!("line {n:05} \"quoted\", and more"),
                    &[("service", "export"), ("host", &host)],
                    Some(at + n / 4),
                )
            });
            assert!(self.batch(entries.collect()).await.success);
        }
        at
    }
}

fn whole(pieces: &[pb::ExportLogsResponse]) -> String {
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_entries_are_exported_the_oldest_first_each_once() {
    let world = World::start().await;
    let at = world.fill(12_000).await;
    let pieces = world
        .export(world.export_request(at, pb::ExportFormat::ExportJsonl))
        .await;
    assert!(pieces.len() > 10 && pieces.iter().all(|piece| piece.export_id == pieces[0].export_id));
    let last = pieces.last().unwrap();
    assert!(last.complete && pieces.iter().filter(|piece| piece.complete).count() == 1);
    assert_eq!((last.processed_entries, last.total_entries), (12_000, 12_000));
    assert!(
        pieces
            .iter()
            .all(|piece| piece.total_entries >= piece.processed_entries)
    );
    let text = whole(&pieces);
    let objects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<_> = objects
        .iter()
        .map(|object| object["timestamp"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted());
    let mut lines: Vec<_> = objects
        .iter()
        .map(|object| object["line"].as_str().unwrap().to_owned())
        .collect();
    lines.sort();
    lines.dedup();
    assert_eq!(lines.len(), 12_000);
    assert_eq!(objects[0]["labels"]["service"], "export");

    let status = world.export_status(&last.export_id).await.unwrap();
    assert_eq!(
        (status.status.as_str(), status.progress_percentage),
        ("completed", 100)
    );
    assert_eq!((status.total_entries, status.exported_entries), (12_000, 12_000));
    assert!(status.created_at.is_some() && status.completed_at.is_some() && status.error_message.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_format_is_whole_over_its_pieces() {
    let world = World::start().await;
    let at = world.fill(25).await;
    let export = async |format, chunk_size| {
        let request = pb::ExportLogsRequest {
            chunk_size,
            ..world.export_request(at, format)
        };
        world.export(request).await
    };
    let pieces = export(pb::ExportFormat::ExportJson, 10).await;
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[0].processed_entries, 10);
    let array: Vec<serde_json::Value> = serde_json::from_str(&whole(&pieces)).unwrap();
    assert_eq!(array.len(), 25);
    let csv = whole(&export(pb::ExportFormat::ExportCsv, 10).await);
    let mut lines = csv.split("\r\n");
    assert_eq!(lines.next(), Some("timestamp,line,labels"));
    assert!(lines.next().unwrap().contains("\"line 0000"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), 26);
    let text = whole(&export(pb::ExportFormat::ExportText, 7).await);
    assert_eq!(text.lines().count(), 25);
    assert!(text.lines().all(|line| line.contains("Z line 000")), "{text}");

    let nothing = pb::ExportLogsRequest {
        query: "{service=\"absent\"}".into(),
        ..world.export_request(at, pb::ExportFormat::ExportJson)
    };
    let pieces = world.export(nothing).await;
    assert_eq!((pieces.len(), whole(&pieces).as_str()), (1, "[]\n"));
    assert!(pieces[0].complete);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_is_left_is_cancelled() {
    let world = World::start().await;
    let at = world.fill(10_000).await;
    let request = pb::ExportLogsRequest {
        chunk_size: 10,
        ..world.export_request(at, pb::ExportFormat::ExportJsonl)
    };
    let mut stream = world.client().export_logs(request).await.unwrap().into_inner();
    let id = next(&mut stream).await.unwrap().unwrap().export_id;
    assert_eq!(world.export_status(&id).await.unwrap().status, "running");
    drop(stream);
    until("it is cancelled", PATIENCE, async || {
        world.export_status(&id).await.unwrap().status == "cancelled"
    })
    .await;
    let status = world.export_status(&id).await.unwrap();
    assert!(status.exported_entries < 10_000 && status.progress_percentage < 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_exported_is_refused() {
    let world = World::start().await;
    type Change = fn(&mut pb::ExportLogsRequest);
    let cases: [(&str, Change); 6] = [
        ("query", |request| request.query = "{".into()),
        ("query", |request| request.query = "rate({a=\"b\"}[1m])".into()),
        ("format", |request| request.format = 9),
        ("chunk_size", |request| request.chunk_size = 10_001),
        ("chunk_size", |request| request.chunk_size = -1),
        ("end", |request| request.end = request.start),
    ];
    for (field, spoil) in cases {
        let mut request = world.export_request(now() - SECOND, pb::ExportFormat::ExportJson);
        spoil(&mut request);
        let said = fails(world.client().export_logs(request).await, Code::InvalidArgument);
        assert!(said.starts_with(&format!("{field}: ")), "{said}");
    }
    for bad in ["", "x"] {
        let said = fails(world.export_status(bad).await, Code::InvalidArgument);
        assert!(said.starts_with("export_id: "), "{said}");
    }
    let request = pb::ExportLogsRequest {
        query: "{service=\"absent\"}".into(),
        ..world.export_request(now() - SECOND, pb::ExportFormat::ExportJson)
    };
    let id = world.export(request).await[0].export_id.clone();
    let last = if id.ends_with('0') { '1' } else { '0' };
    let other = format!("{}{last}", &id[..id.len() - 1]);
    fails(world.export_status(&other).await, Code::NotFound);
    // Of a process that is no more.
    let (replica, rest) = id.split_once('-').unwrap();
    let (_, random) = rest.split_once('-').unwrap();
    fails(
        world.export_status(&format!("{replica}-00000000-{random}")).await,
        Code::NotFound,
    );
}
