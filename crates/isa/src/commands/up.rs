//! `isa up`

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use isa_config::{Config, EngineKind};
use isa_platform::{
    Platform,
    control::Client,
    status::{PlatformStatus, State},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{INTERRUPTED, progress::Progress, state_dir};
use crate::{
    cli::Up,
    output::{self, say, tell},
};

/// How often `--detach` asks how far the platform is.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// The command's own flags as settings.
pub(super) fn overrides(up: &Up) -> anyhow::Result<Vec<(String, String)>> {
    let mut set = Vec::new();
    for kind in EngineKind::ALL {
        let left_out = !up.only.is_empty() && !up.only.contains(&kind) || up.without.contains(&kind);
        if left_out {
            set.push((format!("engines.{kind}.enabled"), "false".into()));
        }
    }
    for (engine, implementation) in &up.engine {
        let kind: EngineKind = engine.parse()?;
        set.push((format!("engines.{kind}.implementation"), implementation.clone()));
    }
    for (place, number) in &up.port {
        let (engine, name) = place
            .split_once('.')
            .map_or((place.as_str(), None), |(e, p)| (e, Some(p)));
        let kind: EngineKind = engine.parse()?;
        let name = name.or_else(|| kind.ports().first().map(|p| p.name));
        let name = name.with_context(|| format!("--port: {kind} has no ports"))?;
        set.push((format!("engines.{kind}.ports.{name}"), number.clone()));
    }
    if up.free_ports {
        set.push(("free_ports".into(), "true".into()));
    }
    Ok(set)
}

pub(super) async fn run(config: Config, up: &Up) -> anyhow::Result<ExitCode> {
    if up.detach && !up.detached {
        return detach(&config).await;
    }
    if up.detached {
        // Out of the terminal's session: closing it does not reach us.
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
    }
    // Before anything starts, so that Ctrl-C at any moment leads to an orderly end.
    let mut signals = Signals::new()?;
    let platform = Platform::start(config).await?;
    let mut changes = platform.changes();
    let mut progress = Progress::new();
    let settled = changes.wait_for(|engines| {
        progress.show(engines.values());
        engines.values().all(|e| e.status.settled())
    });
    let interrupted = tokio::select! {
        biased;
        name = signals.next() => Some(name),
        _ = settled => None,
    };
    progress.finish();
    if interrupted.is_none() {
        let status = platform.status();
        output::print_status(&status);
        say!("\n{}", ready_line(&status, "Ctrl-C stops it"));
    }
    let code = if interrupted.is_some() {
        ExitCode::from(INTERRUPTED)
    } else {
        ExitCode::SUCCESS
    };
    let name = match interrupted {
        Some(name) => name,
        None => signals.next().await,
    };
    tell!("{name}: stopping the engines (once more to kill them)");
    tokio::select! {
        () = platform.shutdown() => tell!("stopped; the data stays for the next `isa up`"),
        // Leaving is enough: the kernel kills the engines with us.
        _ = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    Ok(code)
}

fn ready_line(status: &PlatformStatus, hint: &str) -> String {
    let ready = status.engines.iter().filter(|e| e.status == State::Ready).count();
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".into(), output::seconds);
    let last = status.engines.iter().filter_map(|e| e.ready_ms).max();
    format!(
        "{ready} of {} engines ready in {} (the first after {}). State is in {}; {hint}.",
        status.engines.len(),
        time(status.all_ready_ms.or(last)),
        time(status.first_ready_ms),
        status.state_dir.display(),
    )
}

/// Starts the same command in the background and returns when its engines have settled.
async fn detach(config: &Config) -> anyhow::Result<ExitCode> {
    let state = state_dir(config)?;
    state.create(config)?;
    // For its message, should another platform run here; the child takes the lock for itself.
    drop(state.lock()?);
    let log_path = state.own_log();
    let log = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&log_path);
    let log = log.with_context(|| format!("cannot write {}", log_path.display()))?;
    let mut command =
        std::process::Command::new(std::env::current_exe().context("cannot find the program isa itself")?);
    command.args(std::env::args_os().skip(1)).arg("--detached");
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let mut child = command.spawn().context("cannot start isa in the background")?;

    let mut signals = Signals::new()?;
    let client = Client::new(state);
    let mut progress = Progress::new();
    loop {
        if let Some(exit) = child.try_wait().context("cannot watch the background process")? {
            progress.finish();
            let words = fs::read_to_string(&log_path).unwrap_or_default();
            let words = words.trim().trim_start_matches("error: ");
            bail!("{words} (the background process ended with {exit})");
        }
        if let Ok(status) = client.status().await {
            progress.show(status.engines.iter());
            if status.settled() {
                progress.finish();
                output::print_status(&status);
                say!("\n{}", ready_line(&status, "`isa down` stops it"));
                let failed = status.not_ready().count() > 0;
                return Ok(if failed {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                });
            }
        }
        tokio::select! {
            name = signals.next() => {
                progress.finish();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGTERM)?;
                let _ = tokio::task::spawn_blocking(move || child.wait()).await;
                tell!("{name}: stopped");
                return Ok(ExitCode::from(INTERRUPTED));
            }
            () = tokio::time::sleep(ASK_INTERVAL) => {}
        }
    }
}

/// The signals that ask isa to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
