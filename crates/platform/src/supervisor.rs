//! One task for each engine: start it, wait until it answers, watch it, start it again when it ends.

use std::{
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, Instant},
};

use isa_config::{Endpoint, EngineKind};
use nix::sys::signal::Signal;
use tokio::{
    process::Child,
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    engines::{self, Ctx},
    locate::Program,
    logs,
    platform::Inner,
    ports::Ports,
    process,
    state::Credential,
    status::{EngineStatus, State},
};

/// Between two looks at an engine that starts.
const START_INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks at an engine that is ready, and how long one may take.
const WATCH_INTERVAL: Duration = Duration::from_secs(3);
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// Pause before the first new start; it doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// An engine that was ready this long has recovered: its next failure counts as the first.
const RECOVERED: Duration = Duration::from_secs(60);
/// Failures without ever having been ready after which an engine is given up.
const GIVE_UP: u32 = 5;

/// What an engine is here.
pub(crate) enum Role {
    /// A process of ours.
    Process {
        program: Program,
        ports: Ports,
        credential: Option<Credential>,
    },
    /// Not a process of ours: it runs elsewhere, or in this process.
    Served,
    Missing,
}

/// One engine and how it is reached.
pub(crate) struct Unit {
    pub(crate) kind: EngineKind,
    pub(crate) role: Role,
    pub(crate) endpoint: Endpoint,
}

/// An order from outside, answered when it is carried out.
pub(crate) enum Order {
    Restart(oneshot::Sender<Result<(), String>>),
    Reset(oneshot::Sender<Result<(), String>>),
}

/// Why a life of an engine, or the pause after it, is over.
enum Next {
    Stop,
    Order(Order),
    Ended {
        why: String,
        ready_for: Option<Duration>,
    },
    PauseOver,
}

pub(crate) struct Supervisor {
    pub(crate) inner: Arc<Inner>,
    pub(crate) unit: Unit,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) stop: CancellationToken,
}

impl Supervisor {
    /// Runs until the platform stops; the engine has ended then.
    pub(crate) async fn run(mut self) {
        let depends_on = engines::depends_on(self.unit.kind);
        if !depends_on.is_empty() {
            let mut changes = self.inner.engines.subscribe();
            let ready = changes.wait_for(|all| {
                depends_on
                    .iter()
                    .all(|kind| all.get(kind).is_none_or(|e| e.status.settled()))
            });
            tokio::select! {
                () = self.stop.cancelled() => {}
                _ = ready => {}
            }
        }
        match self.unit.role {
            Role::Process { .. } => self.supervise().await,
            Role::Served => self.watch_served().await,
            Role::Missing => self.refuse_orders().await,
        }
        if !matches!(self.unit.role, Role::Missing) {
            self.set(State::Stopped, |e| e.message = None);
        }
    }

    async fn supervise(&mut self) {
        let mut failures = 0;
        let mut ever_ready = false;
        loop {
            let next = self.life().await;
            let next = match next {
                Next::Ended { why, ready_for } => {
                    ever_ready |= ready_for.is_some();
                    failures = if ready_for.is_some_and(|d| d >= RECOVERED) {
                        1
                    } else {
                        failures + 1
                    };
                    let given_up = failures >= GIVE_UP && !ever_ready;
                    self.pause_after(&why, failures, given_up).await
                }
                next => next,
            };
            match next {
                Next::Stop => return,
                Next::Order(order) => {
                    failures = 0;
                    self.carry_out(order);
                }
                Next::Ended { .. } | Next::PauseOver => {}
            }
        }
    }

    /// Shows why the engine ended, and waits: for the time of its next start, or for an order when it is given up.
    async fn pause_after(&mut self, why: &str, failures: u32, given_up: bool) -> Next {
        let kind = self.unit.kind;
        let pause = (FIRST_PAUSE * 2u32.saturating_pow(failures - 1)).min(LONGEST_PAUSE);
        tracing::warn!(engine = %kind, why, failures, given_up, "engine ended");
        if given_up {
            let message = format!(
                "{why}; it never became ready in {failures} starts. See `isa logs {kind}`, then `isa restart {kind}`"
            );
            self.set(State::Failed, |e| e.message = Some(message));
        } else {
            let message = format!("{why}; next start in {:.1} s", pause.as_secs_f64());
            self.set(State::Restarting, |e| {
                e.message = Some(message);
                e.restarts += 1;
            });
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Next::Stop,
            Some(order) = self.orders.recv() => Next::Order(order),
            () = tokio::time::sleep(pause), if !given_up => Next::PauseOver,
        }
    }

    fn carry_out(&mut self, order: Order) {
        let (reply, result) = match order {
            Order::Restart(reply) => (reply, Ok(())),
            Order::Reset(reply) => (
                reply,
                self.inner.state.wipe(self.unit.kind).map_err(|e| e.to_string()),
            ),
        };
        // Before the reply: whoever ordered and then waits for readiness must not see the old one.
        self.set(State::Starting, |e| e.message = None);
        // Nobody waits any more: the order is carried out all the same.
        let _ = reply.send(result);
    }

    /// One life of the process, from its preparation to its end.
    async fn life(&mut self) -> Next {
        let kind = self.unit.kind;
        self.set(State::Starting, |e| e.pid = None);
        let Role::Process {
            program,
            ports,
            credential,
        } = &self.unit.role
        else {
            return Next::Stop;
        };
        let inner = self.inner.clone();
        let ctx = Ctx {
            kind,
            program,
            bind: inner.config.bind,
            ports,
            state: &inner.state,
            credential: credential.as_ref(),
            endpoint: &self.unit.endpoint,
            loki: inner.endpoints.get(&EngineKind::Loki),
            spawner: &inner.spawner,
        };
        logs::bound(&inner.state.log(kind));
        let prepared = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Next::Stop,
            prepared = engines::prepare(&ctx) => prepared,
        };
        let spawned = match prepared {
            Ok(launch) => {
                let name = launch.program.display().to_string();
                inner
                    .spawner
                    .spawn(launch)
                    .await
                    .map_err(|e| format!("cannot start {name}: {e}"))
            }
            Err(e) => Err(e.to_string()),
        };
        let mut child = match spawned {
            Ok(child) => child,
            Err(why) => return Next::Ended { why, ready_for: None },
        };
        let pid = child.id().unwrap_or_default();
        let pid_file = inner.state.pid_file(kind);
        if let Err(e) = std::fs::write(&pid_file, pid.to_string()) {
            tracing::warn!(engine = %kind, error = %e, "cannot write the pid file");
        }
        self.set(State::Starting, |e| e.pid = Some(pid));

        let mut ready_since = None;
        let next = tokio::select! {
            biased;
            () = self.stop.cancelled() => Next::Stop,
            Some(order) = self.orders.recv() => Next::Order(order),
            ended = child.wait() => {
                let why = ended.map_or_else(|e| e.to_string(), |status| describe(status, &inner.state.log(kind)));
                Next::Ended { why, ready_for: None }
            }
            why = attend(&inner, &ctx, &mut ready_since) => Next::Ended { why, ready_for: None },
        };
        if child.id().is_some() {
            self.set(State::Stopping, |_| {});
            end(
                &mut child,
                pid,
                engines::stop_signal(kind),
                Duration::from_secs(inner.config.stop_timeout_seconds),
            )
            .await;
        }
        let _ = std::fs::remove_file(&pid_file);
        self.set(State::Stopping, |e| e.pid = None);
        match next {
            Next::Ended { why, .. } => Next::Ended {
                why,
                ready_for: ready_since.map(|t: Instant| t.elapsed()),
            },
            next => next,
        }
    }

    /// An engine that is not our process is asked for as long as the platform runs.
    async fn watch_served(&mut self) {
        let kind = self.unit.kind;
        if kind == EngineKind::Duckdb
            && let Err(e) = crate::state::private_dir(&self.inner.state.data(kind), None)
        {
            self.set(State::Failed, |s| s.message = Some(e.to_string()));
            return self.refuse_orders().await;
        }
        loop {
            let look = watch_once(&self.inner, kind, &self.unit.endpoint);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = look => {}
            }
            let pause = if self.inner.state_of(kind) == State::Ready {
                WATCH_INTERVAL
            } else {
                FIRST_PAUSE
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(order) = self.orders.recv() => match order {
                    Order::Reset(reply) if kind == EngineKind::Duckdb => {
                        let wiped = self.inner.state.wipe(kind).and_then(|()| crate::state::private_dir(&self.inner.state.data(kind), None));
                        let _ = reply.send(wiped.map_err(|e| e.to_string()));
                    }
                    other => refuse(other, format!("{kind} is not a process of this platform; restart or reset it where it runs")),
                },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn refuse_orders(&mut self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                Some(order) = self.orders.recv() => refuse(order, format!("{} does not run here; `isa status` says why", self.unit.kind)),
            }
        }
    }

    fn set(&self, state: State, change: impl FnOnce(&mut EngineStatus)) {
        self.inner.set(self.unit.kind, state, change);
    }
}

fn refuse(order: Order, why: String) {
    let (Order::Restart(reply) | Order::Reset(reply)) = order;
    let _ = reply.send(Err(why));
}

/// Waits until the engine is ready and then watches it; returns only when it did not become ready, with the reason.
async fn attend(inner: &Inner, ctx: &Ctx<'_>, ready_since: &mut Option<Instant>) -> String {
    let limit = Duration::from_secs(inner.config.ready_timeout_seconds);
    if let Err(why) = become_ready(inner, ctx, limit).await {
        return why;
    }
    *ready_since = Some(Instant::now());
    loop {
        tokio::time::sleep(WATCH_INTERVAL).await;
        logs::bound(&inner.state.log(ctx.kind));
        watch_once(inner, ctx.kind, ctx.endpoint).await;
    }
}

async fn become_ready(inner: &Inner, ctx: &Ctx<'_>, limit: Duration) -> Result<(), String> {
    let kind = ctx.kind;
    let deadline = Instant::now() + limit;
    let first = tokio::time::timeout(limit, engines::after_start(ctx)).await;
    first
        .map_err(|_| format!("its port did not answer within {} s", limit.as_secs()))?
        .map_err(|e| e.to_string())?;
    loop {
        match isa_checks::probe(kind, ctx.endpoint, PROBE_LIMIT).await {
            Ok(probe) => {
                inner.set(kind, State::Ready, |e| {
                    e.message = None;
                    e.version = probe.version.or_else(|| e.version.take());
                });
                return Ok(());
            }
            Err(e) if Instant::now() >= deadline => {
                return Err(format!("not ready within {} s: {}", limit.as_secs(), e.explain()));
            }
            Err(_) => tokio::time::sleep(START_INTERVAL).await,
        }
    }
}

async fn watch_once(inner: &Inner, kind: EngineKind, endpoint: &Endpoint) {
    match isa_checks::probe(kind, endpoint, PROBE_LIMIT).await {
        Ok(probe) => inner.set(kind, State::Ready, |e| {
            e.message = None;
            e.version = probe.version.or_else(|| e.version.take());
        }),
        Err(e) => inner.set(kind, State::Unresponsive, |s| s.message = Some(e.explain())),
    }
}

/// Asks the process to end, and kills it and its group when it does not in time.
async fn end(child: &mut Child, pid: u32, signal: Signal, limit: Duration) {
    process::signal(pid, signal);
    // A stopped process (SIGSTOP) takes no other signal before it goes on.
    process::signal(pid, Signal::SIGCONT);
    if tokio::time::timeout(limit, child.wait()).await.is_err() {
        tracing::warn!(
            pid,
            limit_seconds = limit.as_secs(),
            "engine does not stop, killing it"
        );
        process::kill_group(pid);
        let _ = child.wait().await;
    }
}

/// How a process ended, with the last line of its log.
fn describe(status: ExitStatus, log: &Path) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("unknown", Signal::as_str);
            return format!("killed by signal {number} ({name})");
        }
        (None, None) => "ended".to_owned(),
    };
    match logs::tail(log, 1).pop() {
        Some(line) => format!("{how}: {}", shortened(line.trim())),
        None => how,
    }
}

/// Longest line of a log that a status message repeats, in characters.
const LINE_LIMIT: usize = 300;

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LINE_LIMIT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
