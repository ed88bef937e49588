//! One open collection: the engine's shard, and the journal that makes its writes survive a crash.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use qdrant_edge::{
    EdgeConfig, EdgeShard, OperationError, OperationResult, PointId, UpdateOperation, WithPayloadInterface,
    WithVector,
};

use super::{
    disk,
    journal::{self, Journal},
};
use crate::service::Failure;

pub(super) const SHARD_DIR: &str = "shard";
pub(super) const JOURNAL_FILE: &str = "journal";

/// The engine's own log is never read again, see [`Journal`]: all but its last closed file are deleted on closing.
const ENGINE_LOG_DIR: &str = "wal";

/// A journal of this size is folded into the engine's files at the next write. Bounds the time to reopen.
const CHECKPOINT_BYTES: u64 = 32 << 20;

/// The optimizer looks at a shard after every write. A look that lasts longer found something to do.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) struct Shard {
    engine: EdgeShard,
    journal: Journal,
    /// Held while an operation is applied and journalled, so that both have the same order.
    writer: Mutex<()>,
    /// Held while the optimizer or a checkpoint runs: the engine's flush panics when it meets the optimizer.
    /// Taken before `writer`.
    maintenance: Mutex<()>,
    /// The engine refuses writes after an internal error; only loading it again helps.
    failed: AtomicBool,
    /// Written to since the optimizer last looked.
    written: AtomicBool,
    /// Opened with a configuration that its files were not made with, and not looked at by the optimizer since.
    reconfigured: AtomicBool,
    /// Since when the optimizer runs.
    optimizing: Mutex<Option<Instant>>,
    optimizer_error: Mutex<Option<String>>,
}

impl Shard {
    /// Creates the files of an empty shard in `dir`, durably.
    pub(super) fn create(dir: &Path, config: EdgeConfig) -> Result<(), Failure> {
        let path = dir.join(SHARD_DIR);
        let io = |e: std::io::Error| Failure::io("create a collection in", dir, &e);
        std::fs::create_dir_all(&path).map_err(io)?;
        // Dropping flushes.
        guarded(|| EdgeShard::new(&path, config).map(drop))?;
        Journal::create(&dir.join(JOURNAL_FILE), 0).map_err(io)?;
        disk::sync_dir(&path)
            .and_then(|()| disk::sync_dir(dir))
            .map_err(io)
    }

    /// Loads the engine with a configuration and applies what the journal holds: the acknowledged writes of a process that did not close
    /// the shard. Operations are idempotent and in order, so it does not matter how much of them the engine's files
    /// already have.
    pub(super) fn open(dir: &Path, config: EdgeConfig) -> Result<Self, Failure> {
        let path = dir.join(SHARD_DIR);
        let before = guarded(|| EdgeConfig::load(&path).transpose())?;
        let reconfigured = before.is_some_and(|before| before != config);
        let engine = guarded(|| EdgeShard::load(&path, Some(config)))?;
        let mut replayed = 0_u64;
        let journal = Journal::open(&dir.join(JOURNAL_FILE), |operation| {
            replayed += 1;
            let operation = guarded(|| without_missing_points(&engine, operation)).map_err(Replay)?;
            guarded(|| engine.update(operation)).map_err(Replay)
        })
        .map_err(|Replay(failure)| failure)?;
        let shard = Self {
            engine,
            journal,
            writer: Mutex::new(()),
            maintenance: Mutex::new(()),
            failed: AtomicBool::new(false),
            // What an earlier process may have left to do.
            written: AtomicBool::new(true),
            reconfigured: AtomicBool::new(reconfigured),
            optimizing: Mutex::new(None),
            optimizer_error: Mutex::new(None),
        };
        if replayed > 0 {
            tracing::info!(dir = %dir.display(), replayed, "recovered writes from the journal");
            shard.checkpoint(0)?;
        }
        Ok(shard)
    }

    pub(crate) fn engine(&self) -> &EdgeShard {
        &self.engine
    }

    /// Runs a read. Reads run beside each other and beside one write.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&EdgeShard) -> OperationResult<T>) -> Result<T, Failure> {
        guarded(|| read(&self.engine))
    }

    /// Applies the operations that `plan` makes of the state it sees and returns the number of the last one.
    ///
    /// When this returns the operations are in the journal and on the disk: they survive the death of the process
    /// and of the machine. One that the engine refuses is never replayed.
    pub(crate) fn apply(
        &self,
        plan: impl FnOnce(&EdgeShard) -> Result<Vec<UpdateOperation>, Failure>,
    ) -> Result<u64, Failure> {
        let number = {
            let _writer = self.writer.lock();
            for operation in plan(&self.engine)? {
                self.apply_one(operation)?;
            }
            self.journal.last()
        };
        self.written.store(true, Ordering::Release);
        self.journal
            .sync(number)
            .map_err(|e| self.fail(Failure::Internal(format!("cannot sync the journal: {e}"))))?;
        if self.journal.size() >= CHECKPOINT_BYTES
            && let Some(_maintenance) = self.maintenance.try_lock()
        {
            self.flush()?;
        }
        Ok(number)
    }

    fn apply_one(&self, operation: UpdateOperation) -> Result<(), Failure> {
        if self.has_failed() {
            return Err(Failure::Busy(
                "the collection is being reloaded after an internal error".into(),
            ));
        }
        let bytes = journal::encode(&operation)
            .map_err(|e| Failure::Internal(format!("cannot encode the operation: {e}")))?;
        let cannot =
            |e: std::io::Error| self.fail(Failure::Internal(format!("cannot write the journal: {e}")));
        let begun = self.journal.begin(&bytes).map_err(cannot)?;
        if let Err(failure) = guarded(|| self.engine.update(operation)) {
            self.journal.withdraw().map_err(cannot)?;
            return Err(self.fail(failure));
        }
        self.journal.done(&begun).map(drop).map_err(cannot)
    }

    /// Notes an internal failure, after which the shard must be loaded again.
    fn fail(&self, failure: Failure) -> Failure {
        if matches!(failure, Failure::Internal(_)) {
            tracing::error!(shard = %self.engine.path().display(), %failure, "the shard will be reloaded");
            self.failed.store(true, Ordering::Release);
        }
        failure
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Builds the indexes and merges the segments that are due since the last write; can take minutes. Reads and
    /// writes go on beside it.
    pub(crate) fn optimize(&self) -> Result<(), Failure> {
        if !self.written.load(Ordering::Acquire) {
            return Ok(());
        }
        let _maintenance = self.maintenance.lock();
        *self.optimizing.lock() = Some(Instant::now());
        self.written.store(false, Ordering::Release);
        let done = self.optimize_now();
        self.reconfigured.store(false, Ordering::Release);
        *self.optimizing.lock() = None;
        done
    }

    /// The caller holds `maintenance`.
    fn optimize_now(&self) -> Result<(), Failure> {
        // The optimizer makes its files durable, with the numbers of operations in them. After a power cut the log
        // must not hand out those numbers again: the engine would take new writes for old ones.
        if let Err(error) = self.sync_engine_log() {
            tracing::warn!(%error, shard = %self.engine.path().display(), "cannot sync the engine's log");
            return Ok(());
        }
        let optimized = guarded(|| self.engine.optimize());
        *self.optimizer_error.lock() = optimized.as_ref().err().map(ToString::to_string);
        if optimized? { self.flush() } else { Ok(()) }
    }

    fn sync_engine_log(&self) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.engine.path().join(ENGINE_LOG_DIR))? {
            match std::fs::File::open(entry?.path()) {
                Ok(file) => file.sync_data()?,
                // Renamed when it was full, which the engine syncs.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// An index is built or segments are merged.
    pub(crate) fn is_optimizing(&self) -> bool {
        self.optimizing
            .lock()
            .is_some_and(|since| since.elapsed() >= LOOK)
    }

    /// The optimizer has the shard, if only to look at it. It cannot be stopped.
    pub(super) fn optimizer_runs(&self) -> bool {
        self.optimizing.lock().is_some()
    }

    /// There are writes, or a change of the configuration, that the optimizer has not yet dealt with.
    pub(crate) fn is_unseen(&self) -> bool {
        self.written.load(Ordering::Acquire) || self.optimizer_runs()
    }

    pub(crate) fn is_reconfigured(&self) -> bool {
        self.reconfigured.load(Ordering::Acquire)
    }

    /// Folds the journal into the engine's files and runs `call` while nothing changes these. Writes wait; reads go
    /// on. Busy if the optimizer has the shard for longer than `patience`.
    pub(super) fn frozen<T>(
        &self,
        patience: Duration,
        call: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _maintenance = self.maintenance.try_lock_for(patience).ok_or_else(|| {
            Failure::Busy("an index of the collection is being built, try again later".into())
        })?;
        let _writer = self.writer.lock();
        self.flush_frozen()?;
        if self.has_failed() {
            return Err(Failure::Busy(
                "the collection is being reloaded after an internal error".into(),
            ));
        }
        call()
    }

    /// Why the optimizer failed when it last ran.
    pub(crate) fn optimizer_error(&self) -> Option<String> {
        self.optimizer_error.lock().clone()
    }

    /// Folds a journal of more than `bytes` into the engine's files.
    pub(crate) fn checkpoint(&self, bytes: u64) -> Result<(), Failure> {
        let _maintenance = self.maintenance.lock();
        if self.journal.size() > bytes {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// The caller holds `maintenance`.
    fn flush(&self) -> Result<(), Failure> {
        let _writer = self.writer.lock();
        self.flush_frozen()
    }

    /// The caller holds `maintenance` and `writer`.
    fn flush_frozen(&self) -> Result<(), Failure> {
        // A failed engine may have applied half of an operation: keep the journal that repairs it.
        if self.has_failed() {
            return Ok(());
        }
        guarded(|| {
            self.engine.flush();
            Ok(())
        })
        .map_err(|failure| self.fail(failure))?;
        let reset = self.journal.reset();
        reset.map_err(|e| self.fail(Failure::Internal(format!("cannot start a new journal: {e}"))))
    }

    /// Bytes of writes that only the journal holds.
    pub(crate) fn journal_bytes(&self) -> u64 {
        self.journal.size()
    }

    /// Closed files of the engine's own log.
    pub(super) fn engine_log_files(&self) -> usize {
        closed_log_files(&self.engine.path().join(ENGINE_LOG_DIR)).map_or(0, |files| files.len())
    }

    /// Flushes and closes. What cannot be flushed stays in the journal, to be applied by the next open.
    pub(super) fn close(self) {
        if let Err(failure) = self.checkpoint(0) {
            tracing::warn!(%failure, "closed a shard without flushing it");
        }
        let log = self.engine.path().join(ENGINE_LOG_DIR);
        let Self { engine, .. } = self;
        if let Err(failure) = guarded(|| {
            drop(engine);
            Ok(())
        }) {
            tracing::warn!(%failure, "the engine failed while closing a shard");
        }
        if let Err(error) = prune_engine_log(&log) {
            tracing::warn!(%error, log = %log.display(), "cannot delete old files of the engine's log");
        }
    }
}

/// Carries a failure through [`Journal::open`], which only knows I/O errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Replay(Failure);

impl From<std::io::Error> for Replay {
    fn from(error: std::io::Error) -> Self {
        Self(Failure::Internal(format!("cannot read the journal: {error}")))
    }
}

/// Leaves the points out of a journalled operation that do not exist: the engine's files may hold a later state, in
/// which they are deleted already, and the engine would stop in the middle of the operation at such a point.
fn without_missing_points(
    engine: &EdgeShard,
    mut operation: UpdateOperation,
) -> OperationResult<UpdateOperation> {
    if operation.upsert_point_ids().is_none()
        && let Some(ids) = operation.point_ids()
    {
        let existing = existing_points(engine, &ids)?;
        operation.retain_point_ids(|id| existing.contains(id));
    }
    Ok(operation)
}

/// Those of the points that exist.
pub(crate) fn existing_points(engine: &EdgeShard, ids: &[PointId]) -> OperationResult<HashSet<PointId>> {
    let nothing = (
        Some(WithPayloadInterface::Bool(false)),
        Some(WithVector::Bool(false)),
    );
    let found = engine.retrieve(ids, nothing.0, nothing.1)?;
    Ok(found.into_iter().map(|record| record.id).collect())
}

/// Calls the engine. Its panics become failures of this one request.
fn guarded<T>(call: impl FnOnce() -> Result<T, OperationError>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Failure::from),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(Failure::Internal(format!("the engine panicked: {text}")))
        }
    }
}

/// Deletes the closed files of the engine's log but for the last one, from which it takes the number of its next
/// operation. It never does so itself.
fn prune_engine_log(dir: &Path) -> std::io::Result<()> {
    let mut closed = closed_log_files(dir)?;
    closed.sort();
    closed.pop();
    // Oldest first, so that the numbers stay contiguous wherever this is interrupted.
    closed.iter().try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// The closed files of the engine's log with the number of their first operation.
fn closed_log_files(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut closed = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("closed-"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            closed.push((number, path));
        }
    }
    Ok(closed)
}
