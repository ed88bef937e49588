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

/// The service for async callers: a bounded number of calls at once, each on a thread that may block.
#[derive(Clone)]
pub(crate) struct Engine {
    service: Arc<Service>,
    permits: Arc<Semaphore>,
    maintenance: Arc<Maintenance>,
}

impl Engine {
    /// Opens the storage and starts the thread that keeps it in shape.
    pub(crate) fn open(root: &Path, max_open_shards: usize, max_concurrency: usize) -> Result<Self, Error> {
        let service = Arc::new(Service::open(root, max_open_shards)?);
        let maintenance = Arc::new(Maintenance::default());
        let engine = Self {
            service,
            permits: Arc::new(Semaphore::new(max_concurrency.max(1))),
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

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Service) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let busy = || Failure::Busy("too many requests at once, try again later".into());
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(busy)?;
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
