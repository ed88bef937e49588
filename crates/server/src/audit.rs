//! The record of every call that may have changed something: who, what, when, and how it ended.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, SecondsFormat, Utc};
use isa_config::AuditConfig;
use isa_proto::{Error, ErrorCode};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// How long a call waits for a place in the queue before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long records gather before they are written, all at once: to wake the writer for each costs more than the call.
const GATHER: Duration = Duration::from_millis(2);

/// Records written at once, at most.
const BATCH: usize = 256;

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    #[serde(serialize_with = "in_milliseconds")]
    pub(crate) time: DateTime<Utc>,
    pub(crate) request_id: String,
    /// Empty if the call was refused before it was known who asks.
    pub(crate) subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor: Option<String>,
    pub(crate) tenant: String,
    pub(crate) service: &'static str,
    pub(crate) method: &'static str,
    /// The name of the gRPC status.
    pub(crate) status: &'static str,
    pub(crate) milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) custom: Vec<(String, String)>,
}

fn in_milliseconds<S: serde::Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

enum Entry {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

/// Writes records in a thread of its own, in the order in which calls end.
pub(crate) struct Audit {
    queue: mpsc::Sender<Entry>,
    /// Why the file cannot be written, while it cannot.
    broken: Arc<ArcSwapOption<String>>,
}

/// A place in the queue, taken before the call runs: what happened can always be recorded.
pub(crate) struct Slot(mpsc::OwnedPermit<Entry>);

impl Slot {
    pub(crate) fn fill(self, record: Record) {
        self.0.send(Entry::Record(Box::new(record)));
    }
}

impl Audit {
    pub(crate) fn new(config: &AuditConfig) -> io::Result<Self> {
        let (queue, entries) = mpsc::channel(config.queue.max(1));
        let broken = Arc::default();
        let sink = config.file.as_deref().map(Sink::open).transpose()?;
        let noted = Arc::clone(&broken);
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write(entries, sink, &noted))?;
        Ok(Self { queue, broken })
    }

    /// Waits for a place. What cannot be recorded does not happen.
    pub(crate) async fn slot(&self) -> Result<Slot, Error> {
        if let Some(why) = &*self.broken.load() {
            return Err(unavailable().caused_by(why.as_str()));
        }
        let place = self.queue.clone().reserve_owned();
        match tokio::time::timeout(PATIENCE, place).await {
            Ok(Ok(permit)) => Ok(Slot(permit)),
            Ok(Err(_)) => Err(unavailable().caused_by("the writer has ended")),
            Err(_) => Err(unavailable().caused_by("the queue is full")),
        }
    }

    /// Waits until all that was recorded so far is in the file.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.queue.send(Entry::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }
}

fn unavailable() -> Error {
    Error::new(
        ErrorCode::Starting,
        "the audit record cannot be written, so nothing is changed; try again, and tell the operator",
    )
}

/// The file, opened anew when it was moved away (log rotation).
struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    fn open(path: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("audit file {}: {e}", path.display()));
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)
            .map_err(named)?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        let same = self.path.metadata().is_ok_and(|there| {
            self.file
                .metadata()
                .is_ok_and(|ours| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        });
        if !same {
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(lines)
    }
}

fn write(mut entries: mpsc::Receiver<Entry>, mut sink: Option<Sink>, broken: &ArcSwapOption<String>) {
    let mut batch = Vec::new();
    let mut lines = Vec::new();
    while entries.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut flushed = Vec::new();
        for entry in batch.drain(..) {
            match entry {
                Entry::Record(record) => {
                    log(&record);
                    if sink.is_some() && serde_json::to_writer(&mut lines, &record).is_ok() {
                        lines.push(b'\n');
                    }
                }
                Entry::Flush(done) => flushed.push(done),
            }
        }
        if let Some(sink) = &mut sink {
            keep_trying(sink, &lines, broken, &entries);
        }
        lines.clear();
        for done in flushed {
            let _ = done.send(());
        }
        // The writer's own thread. Who waits for a flush waits for this at most.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(GATHER);
    }
}

/// A full disk ends at some time; until then calls are refused, and what they were is kept here.
fn keep_trying(
    sink: &mut Sink,
    lines: &[u8],
    broken: &ArcSwapOption<String>,
    entries: &mpsc::Receiver<Entry>,
) {
    while let Err(error) = sink.write(lines) {
        tracing::error!(%error, "the audit record cannot be written; changes are refused until it can");
        broken.store(Some(Arc::new(error.to_string())));
        if entries.is_closed() {
            return;
        }
        // The writer's own thread, with nothing to wait for but the operator.
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(Duration::from_secs(1));
    }
    if broken.load().is_some() {
        broken.store(None);
    }
}

fn log(record: &Record) {
    tracing::info!(
        target: "audit",
        request_id = record.request_id,
        subject = record.subject,
        actor = record.actor,
        tenant = record.tenant,
        service = record.service,
        method = record.method,
        status = record.status,
        resource = record.resource,
    );
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn record(method: &'static str) -> Record {
        Record {
            time: Utc::now(),
            request_id: "r".into(),
            subject: "alice".into(),
            actor: None,
            tenant: "org:acme".into(),
            service: "redis",
            method,
            status: "OK",
            milliseconds: 0.25,
            peer: None,
            resource: Some("key".into()),
            custom: Vec::new(),
        }
    }

    #[tokio::test]
    async fn records_are_lines_of_json_and_follow_a_rotated_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("audit.jsonl");
        let config = AuditConfig {
            file: Some(file.clone()),
            queue: 2,
        };
        let audit = Audit::new(&config).unwrap();
        for method in ["Set", "Delete", "Expire"] {
            audit.slot().await.unwrap().fill(record(method));
        }
        audit.flush().await;
        let moved = folder.path().join("audit.1");
        std::fs::rename(&file, &moved).unwrap();
        audit.slot().await.unwrap().fill(record("Rename"));
        audit.flush().await;
        let first = std::fs::read_to_string(&moved).unwrap();
        assert_eq!(first.lines().count(), 3);
        let line: serde_json::Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&line["method"], &line["subject"]),
            (&"Set".into(), &"alice".into())
        );
        assert!(std::fs::read_to_string(&file).unwrap().contains("Rename"));
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_recorded_is_refused() {
        let config = AuditConfig { file: None, queue: 1 };
        let audit = Audit::new(&config).unwrap();
        let held = audit.slot().await.unwrap();
        assert!(audit.slot().await.is_err());
        drop(held);
        assert!(audit.slot().await.is_ok());
    }
}
