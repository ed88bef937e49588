//! Entries that are written.

use std::time::Duration;

use isa_proto::loki as pb;
use isa_server::{Call, Error, Requests};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    BOUND, Service, bound,
    error::{renamed, told},
    names, names_for,
};
use crate::loki::{
    convert,
    names::{Names, check_tenant_id},
    service::{self, Entry, Loki, Report},
};

/// Entries of a batch.
const MAX_BATCH: usize = 10_000;

/// A stream of entries is written in batches: so many, so many bytes, or what came in such a time.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;
const BATCH_TIME: Duration = Duration::from_millis(100);

pub(super) async fn push_log(
    loki: &Loki,
    call: &Call,
    request: pb::PushLogRequest,
) -> Result<pb::PushLogResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let given = request
        .entry
        .ok_or_else(|| service::Error::invalid("entry", "is missing"))?;
    let pushed = match convert::entry(given, convert::now()) {
        Ok(entry) => loki.push(names, entry, bound(call)).await,
        Err(error) => Err(error),
    };
    pushed
        .map(written)
        .map_err(|error| renamed(error, |field| format!("entry.{field}")))
}

pub(super) async fn push_simple_log(
    loki: &Loki,
    call: &Call,
    request: pb::PushSimpleLogRequest,
) -> Result<pb::PushLogResponse, service::Error> {
    let mut labels = request.extra_labels;
    let service = match request.service.as_str() {
        "" => "unknown".to_owned(),
        service => service.to_owned(),
    };
    let level = convert::level("level", request.level)?.to_owned();
    for (name, value) in [("service", service), ("level", level)] {
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(service::Error::invalid(
                "extra_labels",
                format!("{name:?} has a field of its own"),
            ));
        }
    }
    let entry = convert::entry_of(request.timestamp, request.message, labels, convert::now());
    let pushed = match entry {
        Ok(entry) => loki.push(names(call), entry, bound(call)).await,
        Err(error) => Err(error),
    };
    pushed.map(written).map_err(|error| {
        renamed(error, |field| {
            match field {
                "line" => "message",
                "labels" => "extra_labels",
                other => other,
            }
            .to_owned()
        })
    })
}

fn written(stream_id: String) -> pb::PushLogResponse {
    pb::PushLogResponse {
        success: true,
        message: "OK".to_owned(),
        stream_id,
    }
}

pub(super) async fn push_log_batch(
    loki: &Loki,
    call: &Call,
    request: pb::PushLogBatchRequest,
) -> Result<pb::PushLogBatchResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let count = request.entries.len();
    if count == 0 || count > MAX_BATCH {
        return Err(service::Error::invalid(
            "entries",
            format!("has {count} entries, and must have 1 to {MAX_BATCH}"),
        ));
    }
    let mut report = Report::default();
    let mut good = Vec::with_capacity(count);
    for (index, given) in (0..).zip(request.entries) {
        match convert::entry(given, convert::now()) {
            Ok(entry) => good.push((index, entry)),
            Err(error) => report.reject(index, error),
        }
    }
    loki.push_batch(names, good, &mut report, bound(call)).await?;
    answer(report)
}

/// Counts, unless nothing was written for a reason that is no entry's.
fn answer(mut report: Report) -> Result<pb::PushLogBatchResponse, service::Error> {
    if report.rejected > 0
        && let Some(error) = report.failure()
    {
        return Err(error);
    }
    let success = report.rejected == 0;
    Ok(pb::PushLogBatchResponse {
        success,
        accepted_count: convert::small(report.accepted),
        rejected_count: convert::small(report.rejected),
        message: if success {
            "OK".to_owned()
        } else {
            format!("{} entries were not written", report.rejected)
        },
        errors: report.errors,
    })
}

/// Entries on their way to be written, and the indexes of those that are none.
#[derive(Default)]
struct Batch {
    entries: Vec<(u64, Entry)>,
    rejected: Vec<(u64, service::Error)>,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.entries.len() + self.rejected.len() >= BATCH || self.bytes >= BATCH_BYTES
    }
}

impl Service {
    pub(super) async fn push_stream(
        &self,
        call: Call,
        requests: Requests<pb::PushLogRequest>,
    ) -> Result<pb::PushLogBatchResponse, Error> {
        // One batch is written while the next one comes.
        let (sender, receiver) = mpsc::channel(1);
        let read = collect(self, &call, requests, sender);
        let write = async {
            let written = write_batches(&self.loki, names(&call), receiver).await;
            self.tell(written)
        };
        let ((), report) = tokio::try_join!(read, write)?;
        self.tell(answer(report))
    }
}

/// Reads entries to their end, in batches.
async fn collect(
    service: &Service,
    call: &Call,
    mut requests: Requests<pb::PushLogRequest>,
    batches: mpsc::Sender<Batch>,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    let mut due: Option<Instant> = None;
    let mut index = 0;
    loop {
        let next = match due {
            Some(at) => match timeout_at(at, requests.next()).await {
                Ok(next) => next?,
                Err(_) => {
                    due = None;
                    if !flush(&batches, &mut batch).await {
                        return Ok(());
                    }
                    continue;
                }
            },
            None => requests.next().await?,
        };
        let Some(request) = next else {
            flush(&batches, &mut batch).await;
            return Ok(());
        };
        check_tenant_id(call.tenant(), &request.tenant_id).map_err(|error| told(&service.upstream, error))?;
        let entry = match request.entry {
            Some(given) => convert::entry(given, convert::now()),
            None => Err(service::Error::invalid("entry", "is missing")),
        };
        match entry {
            Ok(entry) => {
                batch.bytes += entry.size();
                batch.entries.push((index, entry));
            }
            Err(error) => batch.rejected.push((index, error)),
        }
        index += 1;
        if batch.is_full() {
            if !flush(&batches, &mut batch).await {
                return Ok(());
            }
            due = None;
        } else if due.is_none() {
            due = Some(Instant::now() + BATCH_TIME);
        }
    }
}

/// Hands a batch on. False if nobody takes it: writing has failed, and says so itself.
async fn flush(batches: &mpsc::Sender<Batch>, batch: &mut Batch) -> bool {
    let batch = std::mem::take(batch);
    (batch.entries.is_empty() && batch.rejected.is_empty()) || batches.send(batch).await.is_ok()
}

async fn write_batches(
    loki: &Loki,
    names: Names<'_>,
    mut batches: mpsc::Receiver<Batch>,
) -> Result<Report, service::Error> {
    let mut report = Report::default();
    while let Some(batch) = batches.recv().await {
        for (index, error) in batch.rejected {
            report.reject(index, error);
        }
        loki.push_batch(names, batch.entries, &mut report, BOUND).await?;
    }
    Ok(report)
}
