//! Exports: a stream of pieces, and how far each is.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{
    Error, Loki,
    answer::Record,
    format::{Format, Writer},
    pages::Pages,
};
use crate::loki::{
    convert::{self, HOUR, Window},
    names::Names,
};

/// Exports that are remembered, of all tenants: 200 bytes each.
const MAX_KNOWN: usize = 10_000;

/// Exports of a tenant that run at once.
const MAX_RUNNING: usize = 8;

/// How long an export is remembered after its end, in nanoseconds.
const KEPT: i64 = HOUR;

/// Pieces that may wait for the caller.
const WAITING: usize = 2;

/// Bytes of a piece beyond which it takes no further entry: a message is not as large as its entries may be.
const PIECE_BYTES: usize = 4 << 20;

/// How an export is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Completed,
    Failed,
    Cancelled,
}

/// How far an export is.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) state: State,
    /// Estimated while it runs.
    pub(crate) total: u64,
    pub(crate) exported: u64,
    /// 0 to 100.
    pub(crate) percent: i32,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) ended: Option<i64>,
    /// Why it failed, for the caller.
    pub(crate) error: String,
}

/// Exports of this replica, by their ids.
#[derive(Default)]
pub(super) struct Exports {
    known: Mutex<HashMap<String, Known>>,
}

struct Known {
    scope: String,
    progress: Arc<Mutex<Progress>>,
}

impl Exports {
    fn begin(&self, id: &str, names: Names<'_>) -> Result<Arc<Mutex<Progress>>, Error> {
        let now = convert::now();
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            known.retain(|_, export| export.progress.lock().ended.is_none_or(|at| now - at < KEPT));
        }
        let running = known
            .values()
            .filter(|export| export.scope == names.scope() && export.progress.lock().ended.is_none());
        if running.count() >= MAX_RUNNING {
            return Err(Error::Quota(format!(
                "the tenant has {MAX_RUNNING} exports running, which is its limit; wait for one to end"
            )));
        }
        if known.len() >= MAX_KNOWN {
            let oldest = known
                .iter()
                .filter_map(|(id, export)| Some((export.progress.lock().ended?, id)))
                .min()
                .map(|(_, id)| id.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
        let progress = Arc::new(Mutex::new(Progress {
            state: State::Running,
            total: 0,
            exported: 0,
            percent: 0,
            created: now,
            ended: None,
            error: String::new(),
        }));
        let export = Known {
            scope: names.scope().to_owned(),
            progress: Arc::clone(&progress),
        };
        known.insert(id.to_owned(), export);
        Ok(progress)
    }

    /// How far an export is, and whose it is.
    fn progress(&self, id: &str) -> Option<(String, Progress)> {
        let known = self.known.lock();
        let export = known.get(id)?;
        let progress = export.progress.lock().clone();
        let is_kept = progress.ended.is_none_or(|at| convert::now() - at < KEPT);
        is_kept.then(|| (export.scope.clone(), progress))
    }
}

/// What is exported.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) query: String,
    pub(crate) window: Window,
    pub(crate) format: Format,
    /// Entries of a piece, at most.
    pub(crate) chunk: usize,
}

/// A piece of an export.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) data: Vec<u8>,
    pub(crate) total: u64,
    pub(crate) exported: u64,
    pub(crate) is_last: bool,
}

impl Loki {
    /// Begins an export with this id. Its pieces come as they are read; the last one says so, or there is an error.
    pub(crate) async fn export(
        self: &Arc<Self>,
        names: Names<'_>,
        id: &str,
        order: Order,
    ) -> Result<mpsc::Receiver<Result<Piece, Error>>, Error> {
        super::query::check_query(&order.query)?;
        let progress = self.exports.begin(id, names)?;
        let mut running = Running {
            pages: Pages::new(Arc::clone(self), names, &order.query, order.window),
            order,
            progress: Ended(progress),
        };
        // The first page before anything is answered: a wrong query is no export.
        let first = running.progress.note(running.pages.next().await)?;
        let (pieces, receiver) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            tokio::select! {
                // Whoever left wants no more.
                () = pieces.closed() => {}
                () = running.run(first, &pieces) => {}
            }
        });
        Ok(receiver)
    }

    /// How far an export is, and whose it is; `None` if there is none with this id any more.
    pub(crate) fn export_progress(&self, id: &str) -> Option<(String, Progress)> {
        self.exports.progress(id)
    }
}

/// An export that runs.
struct Running {
    order: Order,
    pages: Pages,
    progress: Ended,
}

/// Says that it was cancelled, if it ends before it has said how.
struct Ended(Arc<Mutex<Progress>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.end(State::Cancelled, String::new());
    }
}

impl Ended {
    fn end(&self, state: State, error: String) {
        let mut progress = self.0.lock();
        if progress.state == State::Running {
            progress.state = state;
            progress.error = error;
            progress.ended = Some(convert::now());
        }
    }

    /// Notes a failure.
    fn note<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let why = match error {
                Error::Down(_) | Error::Unexpected(_) => "Loki does not answer".to_owned(),
                told => told.to_string(),
            };
            self.end(State::Failed, why);
        }
        result
    }
}

impl Running {
    async fn run(mut self, first: Option<Vec<Record>>, pieces: &mpsc::Sender<Result<Piece, Error>>) {
        let mut writer = Writer::new(self.order.format);
        let mut waiting = 0;
        let mut page = first;
        while let Some(records) = page {
            for record in records {
                writer.write(&record);
                waiting += 1;
                self.progress.0.lock().exported += 1;
                if waiting >= self.order.chunk || writer.size() >= PIECE_BYTES {
                    waiting = 0;
                    let piece = self.piece(writer.take(), false);
                    if pieces.send(Ok(piece)).await.is_err() {
                        return;
                    }
                }
            }
            page = match self.progress.note(self.pages.next().await) {
                Ok(page) => page,
                Err(error) => {
                    // Nobody may be there to read it.
                    let _ = pieces.send(Err(error)).await;
                    return;
                }
            };
        }
        let piece = self.piece(writer.finish(), true);
        // Completed before the caller reads so, and not if it has gone.
        if let Ok(place) = pieces.reserve().await {
            self.progress.end(State::Completed, String::new());
            place.send(Ok(piece));
        }
    }

    fn piece(&self, data: Vec<u8>, is_last: bool) -> Piece {
        let mut progress = self.progress.0.lock();
        let window = self.order.window;
        let read = u64::try_from(self.pages.position() - window.start).unwrap_or_default();
        let whole = u64::try_from(window.length()).unwrap_or(1).max(1);
        let share = (read as f64 / whole as f64).clamp(0.0, 1.0);
        if is_last {
            progress.total = progress.exported;
            progress.percent = 100;
        } else {
            // As if all of the time were like what was read.
            let estimate = progress.exported as f64 / share.max(1e-9);
            progress.total = (estimate as u64).clamp(progress.exported, i64::MAX.unsigned_abs());
            progress.percent = ((share * 100.0) as i32).min(99);
        }
        Piece {
            data,
            total: progress.total,
            exported: progress.exported,
            is_last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_that_is_left_was_cancelled_and_a_tenant_has_so_many() {
        let exports = Exports::default();
        let names = Names::of("x");
        let running: Vec<_> = (0..MAX_RUNNING)
            .map(|n| Ended(exports.begin(&n.to_string(), names).unwrap()))
            .collect();
        assert!(matches!(exports.begin("more", names), Err(Error::Quota(_))));
        assert!(exports.begin("other", Names::of("y")).is_ok());
        running[0].end(State::Completed, String::new());
        drop(running);
        let state = |id| exports.progress(id).unwrap().1.state;
        assert_eq!((state("0"), state("1")), (State::Completed, State::Cancelled));
        assert!(exports.begin("more", names).is_ok());
        assert!(exports.progress("absent").is_none());
    }
}
