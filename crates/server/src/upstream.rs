//! Whether an engine answers: known without asking it, so that calls fail fast while it does not.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use isa_config::EngineKind;
use isa_proto::{Error, ErrorCode};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// How often an engine that answers is asked.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long it may take: one that takes longer is as good as down.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often one is asked that does not answer: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The engine behind a service, as it was last seen. Clones are the same one.
///
/// A task of its own asks the engine, for as long as there is a clone and the server runs, and calls that fail make it
/// ask at once. The server refuses calls while the engine is down, but for `HealthCheck`, and says so in the service's
/// health.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    engine: EngineKind,
    state: watch::Sender<EngineState>,
    ask: Notify,
    left: CancellationToken,
}

/// What is known of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineState {
    /// Not asked yet.
    Starting,
    Up,
    Down {
        /// For the log and for health; not for callers.
        why: String,
    },
}

impl Upstream {
    /// Watches an engine by `probe`, which asks it something real, reconnecting if need be.
    pub fn watch<P, F, E>(engine: EngineKind, mut probe: P) -> Self
    where
        P: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let upstream = Self::with_state(engine, EngineState::Starting);
        let inner = Arc::downgrade(&upstream.0);
        let left = upstream.0.left.clone();
        let watching = async move {
            let mut failures = 0_u32;
            loop {
                let failure = match timeout(PATIENCE, probe()).await {
                    Ok(Ok(())) => None,
                    Ok(Err(error)) => Some(error.to_string()),
                    Err(_) => Some(format!("no answer in {PATIENCE:?}")),
                };
                failures = if failure.is_some() { failures + 1 } else { 0 };
                if !note(&inner, failure, failures) {
                    return;
                }
                let pause = match failures {
                    0 => INTERVAL,
                    _ => BACKOFF.0.saturating_mul(1 << failures.min(8)).min(BACKOFF.1),
                };
                wait(&inner, pause).await;
            }
        };
        tokio::spawn(async move { left.run_until_cancelled(watching).await });
        upstream
    }

    /// An engine in this process, which is there as long as the process is.
    pub fn in_process(engine: EngineKind) -> Self {
        Self::with_state(engine, EngineState::Up)
    }

    fn with_state(engine: EngineKind, state: EngineState) -> Self {
        Self(Arc::new(Inner {
            engine,
            state: watch::Sender::new(state),
            ask: Notify::new(),
            left: CancellationToken::new(),
        }))
    }

    pub fn engine(&self) -> EngineKind {
        self.0.engine
    }

    pub fn state(&self) -> EngineState {
        self.0.state.borrow().clone()
    }

    pub fn is_up(&self) -> bool {
        *self.0.state.borrow() == EngineState::Up
    }

    /// Changes of the state.
    pub fn changes(&self) -> watch::Receiver<EngineState> {
        self.0.state.subscribe()
    }

    /// Fails with UNAVAILABLE while the engine is down.
    pub fn check(&self) -> Result<(), Error> {
        match *self.0.state.borrow() {
            EngineState::Up => Ok(()),
            EngineState::Starting => Err(Error::new(
                ErrorCode::Starting,
                format!("{} was not reached yet; try again", self.0.engine),
            )),
            EngineState::Down { .. } => Err(self.down()),
        }
    }

    /// Nobody asks the engine any more: whoever serves has stopped, and the engine may stop next.
    pub(crate) fn leave(&self) {
        self.0.left.cancel();
    }

    /// Has the engine asked at once: somebody knows that it may have changed.
    pub fn ask(&self) {
        self.0.ask.notify_one();
    }

    /// What a call answers whose connection to the engine failed: nobody knows how far it came. Has the engine asked at
    /// once.
    pub fn failed(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.ask();
        let engine = self.0.engine;
        Error::new(
            ErrorCode::EngineLost,
            format!(
                "{engine} was lost during the call; a write may have happened, a read can be tried again"
            ),
        )
        .with("engine", engine)
        .caused_by(cause)
    }

    fn down(&self) -> Error {
        Error::new(
            ErrorCode::EngineDown,
            format!("{} does not answer; try again", self.0.engine),
        )
        .with("engine", self.0.engine)
    }
}

/// False once nobody is interested any more.
fn note(inner: &Weak<Inner>, failure: Option<String>, failures: u32) -> bool {
    let Some(inner) = inner.upgrade() else {
        return false;
    };
    let new = match failure {
        None => EngineState::Up,
        // One failure may be an accident of the connection: it is asked again at once.
        Some(_) if failures < 2 && *inner.state.borrow() == EngineState::Up => return true,
        Some(why) => EngineState::Down { why },
    };
    inner.state.send_if_modified(|state| {
        let changed = std::mem::discriminant(state) != std::mem::discriminant(&new);
        if changed {
            match &new {
                EngineState::Down { why } => tracing::warn!(engine = %inner.engine, why, "engine is down"),
                _ => tracing::info!(engine = %inner.engine, "engine answers"),
            }
        }
        *state = new;
        changed
    });
    true
}

async fn wait(inner: &Weak<Inner>, pause: Duration) {
    let Some(strong) = inner.upgrade() else {
        return;
    };
    let _ = timeout(pause, strong.ask.notified()).await;
    // Not faster than this, however many calls fail.
    drop(strong);
    tokio::time::sleep(BACKOFF.0).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_engine_goes_down_and_comes_back() {
        let alive = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&alive);
        let upstream = Upstream::watch(EngineKind::Redis, move || {
            let answers = seen.load(SeqCst);
            async move { if answers { Ok(()) } else { Err("refused") } }
        });
        assert_eq!(upstream.check().unwrap_err().code(), ErrorCode::Starting);
        let mut changes = upstream.changes();
        changes
            .wait_for(|state| matches!(state, EngineState::Down { .. }))
            .await
            .unwrap();
        assert_eq!(upstream.check().unwrap_err().code(), ErrorCode::EngineDown);
        alive.store(true, SeqCst);
        changes.wait_for(|state| *state == EngineState::Up).await.unwrap();
        assert!(upstream.check().is_ok());
        alive.store(false, SeqCst);
        let error = upstream.failed("reset by peer");
        assert!(
            error.retry_after().is_some() && !error.to_string().contains("peer"),
            "{error:?}"
        );
        changes.wait_for(|state| *state != EngineState::Up).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_hangs_is_down() {
        let upstream = Upstream::watch(EngineKind::Redis, std::future::pending::<Result<(), String>>);
        let mut changes = upstream.changes();
        let down = changes
            .wait_for(|state| matches!(state, EngineState::Down { .. }))
            .await
            .unwrap()
            .clone();
        assert!(format!("{down:?}").contains("no answer"));
    }
}
