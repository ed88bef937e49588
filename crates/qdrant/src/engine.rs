use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

use crate::{
    Error,
    service::{Failure, Service},
};

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);
/// The optimizer looks at what was written at most this often.
const OPTIMIZE_EVERY: Duration = Duration::from_secs(1);
/// How often journals are folded into the engine's files, so that a crash leaves little to replay.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);

/// Collections that are made, changed or deleted at once.
const MAX_CHANGES: usize = 4;
/// Snapshots that are made or recovered at once: each reads and writes a whole collection.
const MAX_SNAPSHOTS: usize = 1;

/// What a request asks for, which says whose turn it waits for. A crowd of one kind does not hold up another.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Searches, reads and writes of points.
    Points,
    /// Collections are made, changed or deleted: these wait for the disk, and for each other.
    Collections,
    /// A snapshot is made or recovered.
    Snapshots,
}

/// The service for async callers: a bounded number of calls at once, each on a thread that may block.
#[derive(Clone)]
pub(crate) struct Engine {
    service: Arc<Service>,
    points: Arc<Semaphore>,
    collections: Arc<Semaphore>,
    snapshots: Arc<Semaphore>,
    maintenance: Arc<Maintenance>,
}

impl Engine {
    /// Opens the storage and starts the thread that keeps it in shape.
    pub(crate) fn open(root: &Path, max_open_shards: usize, max_concurrency: usize) -> Result<Self, Error> {
        let service = Arc::new(Service::open(root, max_open_shards)?);
        let maintenance = Arc::new(Maintenance::default());
        let engine = Self {
            service,
            points: Arc::new(Semaphore::new(max_concurrency.max(1))),
            collections: Arc::new(Semaphore::new(MAX_CHANGES)),
            snapshots: Arc::new(Semaphore::new(MAX_SNAPSHOTS)),
            maintenance,
        };
        let (service, maintenance) = (Arc::clone(&engine.service), Arc::clone(&engine.maintenance));
        // A thread of its own, not one of the runtime's: building an index cannot be interrupted, and the runtime
        // would wait for it when it is dropped.
        std::thread::Builder::new()
            .name("qdrant-optimizer".into())
            .spawn(move || maintenance.run(&service))
            .map_err(|source| Error::Io {
                action: "start the optimizer of",
                path: root.to_owned(),
                source,
            })?;
        Ok(engine)
    }

    /// Something that looks into memory alone. It waits for nobody, so that a busy engine still says that it is there.
    pub(crate) fn look<T>(&self, call: impl FnOnce(&Service) -> T) -> T {
        call(&self.service)
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: Work,
        call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (permits, busy) = match work {
            Work::Points => (&self.points, "too many requests at once"),
            Work::Collections => (&self.collections, "too many collections are being changed"),
            Work::Snapshots => (&self.snapshots, "another snapshot is being made or recovered"),
        };
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(permits).acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Failure::Busy(format!("{busy}, try again later")))?;
        let service = Arc::clone(&self.service);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call(&service)
        });
        task.await
            .unwrap_or_else(|error| Err(Failure::Internal(format!("the request panicked: {error}"))))
    }

    /// Tells the optimizer that there is something to do.
    pub(crate) fn written(&self) {
        self.maintenance.tell(|state| state.written = true);
    }

    /// Stops the optimizer, and flushes and closes what is idle before the deadline. Blocks.
    pub(crate) fn close(&self, deadline: Instant) {
        self.maintenance.tell(|state| state.stopping = true);
        self.service.storage().close(deadline);
    }
}

#[derive(Default)]
struct Maintenance {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    written: bool,
    stopping: bool,
}

impl Maintenance {
    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.told.notify_all();
    }

    fn run(&self, service: &Service) {
        let mut next_checkpoint = Instant::now() + CHECKPOINT_EVERY;
        while self.wait(next_checkpoint) {
            let checkpoint = Instant::now() >= next_checkpoint;
            for shard in service.storage().open_shards() {
                let mut done = shard.optimize();
                if checkpoint {
                    done = done.and_then(|()| shard.checkpoint(0));
                }
                if let Err(failure) = done {
                    tracing::error!(shard = %shard.engine().path().display(), %failure, "maintenance failed");
                }
                drop(shard);
                service.storage().sweep();
                if self.state.lock().stopping {
                    return;
                }
            }
            service.storage().sweep();
            if self.state.lock().stopping {
                return;
            }
            if service.storage().reload_outdated() {
                self.tell(|state| state.written = true);
            }
            if checkpoint {
                service.storage().recycle();
                next_checkpoint = Instant::now() + CHECKPOINT_EVERY;
            }
        }
    }

    /// Waits until there is something to do; false when the server stops.
    fn wait(&self, next_checkpoint: Instant) -> bool {
        let pause = Instant::now() + OPTIMIZE_EVERY;
        let mut state = self.state.lock();
        while !state.stopping && Instant::now() < pause {
            self.told.wait_until(&mut state, pause);
        }
        while !state.stopping && !state.written && Instant::now() < next_checkpoint {
            self.told.wait_until(&mut state, next_checkpoint);
        }
        state.written = false;
        !state.stopping
    }
}
