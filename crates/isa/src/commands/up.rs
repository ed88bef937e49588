//! `isa up`

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::OpenOptionsExt,
    process::{ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use isa_config::{Config, ConsulConfig, Endpoints, EngineKind, ServiceKind};
use isa_platform::{
    Platform, StateDir,
    control::Client,
    status::{PlatformStatus, State},
};
use isa_server::EngineState;
use tokio::task::JoinSet;

use super::{INTERRUPTED, Own, progress::Progress, signals::Signals, state_dir};
use crate::{
    app::App,
    cli::{Global, Up},
    output::{self, say, tell},
};

/// How often `--detach` asks how far the platform is.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// The command's own defaults, and its flags as settings.
pub(super) fn own(up: &Up) -> anyhow::Result<Own> {
    // On loopback, with no one to issue tokens, callers are who they say.
    let defaults = vec![("server.auth.mode".into(), "open".into())];
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
        if let Some(service) = place.strip_suffix("-grpc") {
            let kind: ServiceKind = service.parse()?;
            set.push((format!("server.ports.{kind}"), number.clone()));
            continue;
        }
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
    Ok(Own { defaults, flags: set })
}

pub(super) async fn run(global: &Global, own: Own, config: Config, up: &Up) -> anyhow::Result<ExitCode> {
    if up.detach && !up.detached {
        return detach(&config).await;
    }
    if up.detached {
        // Out of the terminal's session: closing it does not reach us.
        nix::unistd::setsid().context("cannot leave the terminal's session")?;
    }
    // Before anything starts, so that Ctrl-C at any moment leads to an orderly end.
    let mut signals = Signals::new()?;
    let mut platform = Platform::start(config).await?;
    let mut app = serve(global.clone(), own, &mut platform).await?;
    let _watching = watch(&app, &platform);
    let mut progress = Progress::new();
    let (mut engines, mut services) = (platform.changes(), platform.service_changes());
    let settled = async {
        loop {
            let status = platform.status();
            progress.show(&status);
            if status.settled() {
                return;
            }
            // Their senders live in the platform.
            tokio::select! {
                _ = engines.changed() => {}
                _ = services.changed() => {}
            }
        }
    };
    let interrupted = tokio::select! {
        biased;
        name = signals.next() => Some(name),
        () = settled => None,
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
        None => tokio::select! {
            name = signals.next() => name,
            never = app.keep_current() => match never {},
        },
    };
    tell!("{name}: stopping everything (once more to kill it)");
    let stop = async {
        app.drain().await;
        platform.shutdown().await;
    };
    tokio::select! {
        () = stop => tell!("stopped; the data stays for the next `isa up`"),
        // Leaving is enough: the kernel kills the engines with us.
        _ = signals.next() => return Ok(ExitCode::from(INTERRUPTED)),
    }
    Ok(code)
}

/// Serves the building blocks over the engines that have just been started.
async fn serve(global: Global, own: Own, platform: &mut Platform) -> anyhow::Result<App> {
    let listeners = platform.listeners();
    let (endpoints, state) = (platform.endpoints().clone(), platform.state().clone());
    let read = move || Ok(on_this_machine(super::load(&global, &own)?, &endpoints, &state));
    App::start(read, listeners, platform.endpoints()).await
}

/// What the building blocks of this machine need not be told.
fn on_this_machine(mut config: Config, endpoints: &Endpoints, state: &StateDir) -> Config {
    let server = &mut config.server;
    server.bind = config.bind;
    server.audit.file.get_or_insert_with(|| state.audit_log());
    let consul = endpoints
        .get(&EngineKind::Consul)
        .and_then(|consul| consul.url.parse().ok());
    if server.consul.is_none() {
        server.consul = consul.map(ConsulConfig::at);
    }
    config
}

/// Keeps the platform's status of the building blocks right, for as long as the tasks are held.
fn watch(app: &App, platform: &Platform) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (&kind, upstream) in app.upstreams() {
        let (mut states, report) = (upstream.changes(), platform.report());
        tasks.spawn(async move {
            loop {
                let (state, message) = match &*states.borrow_and_update() {
                    EngineState::Starting => (State::Waiting, None),
                    EngineState::Up => (State::Ready, None),
                    EngineState::Down { why } => (
                        State::Unresponsive,
                        Some(format!("{} does not answer: {why}", kind.engine())),
                    ),
                };
                report.set(kind, state, message);
                if states.changed().await.is_err() {
                    return;
                }
            }
        });
    }
    // A service need not wait for its next look at an engine that has just become ready.
    let (mut engines, upstreams) = (platform.changes(), app.upstreams().clone());
    tasks.spawn(async move {
        let mut ready = BTreeSet::new();
        loop {
            for (kind, engine) in &*engines.borrow_and_update() {
                if engine.status != State::Ready {
                    ready.remove(kind);
                } else if ready.insert(*kind) {
                    let over = upstreams.iter().filter(|(service, _)| service.engine() == *kind);
                    over.for_each(|(_, upstream)| upstream.ask());
                }
            }
            if engines.changed().await.is_err() {
                return;
            }
        }
    });
    tasks
}

fn ready_line(status: &PlatformStatus, hint: &str) -> String {
    let ready = status.engines.iter().filter(|e| e.status == State::Ready).count();
    let serving = status
        .services
        .iter()
        .filter(|s| s.status == State::Ready)
        .count();
    let services = match status.services.len() {
        0 => String::new(),
        all => format!(", {serving} of {all} services,"),
    };
    let time = |ms: Option<u64>| ms.map_or_else(|| "-".into(), output::seconds);
    let last = status.engines.iter().filter_map(|e| e.ready_ms).max();
    format!(
        "{ready} of {} engines ready{services} in {} (the first after {}). State is in {}; {hint}.",
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
            progress.show(&status);
            if status.settled() {
                progress.finish();
                output::print_status(&status);
                say!("\n{}", ready_line(&status, "`isa down` stops it"));
                return Ok(if status.is_ready() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
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
