//! `isa doctor`: what could keep the platform from running, and what to do about it.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use isa_config::{Config, EngineKind};
use nix::sys::resource::{Resource, getrlimit};
use serde::Serialize;

use crate::{
    locate::{Located, locate},
    ports,
    state::{self, StateDir},
};

/// Open files that all engines together may want at the same time.
const FILES_WANTED: u64 = 4096;
/// Memory that all engines together take when idle, with room for work.
const MEMORY_WANTED_MB: u64 = 2048;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Ok,
    /// The platform runs, with something missing or at risk.
    Warning,
    /// The platform will not run.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    pub subject: String,
    pub level: Level,
    /// What was found and, unless it is fine, what to do.
    pub text: String,
}

fn finding(subject: impl Into<String>, level: Level, text: impl Into<String>) -> Finding {
    Finding {
        subject: subject.into(),
        level,
        text: text.into(),
    }
}

/// Looks at everything; changes nothing.
pub fn examine(config: &Config) -> Result<Vec<Finding>, state::Error> {
    let state = StateDir::new(config).map_err(|e| state::io_error("find", &config.state_dir, e))?;
    let running = state.owner();
    let mut all = vec![match running {
        Some(pid) => finding(
            "platform",
            Level::Ok,
            format!("runs as process {pid} in {}", state.root().display()),
        ),
        None => finding(
            "platform",
            Level::Ok,
            format!("does not run in {}", state.root().display()),
        ),
    }];
    all.extend(engines(config));
    if running.is_none() {
        all.push(free_ports(config));
    }
    all.push(disk("state disk", state.root(), config.min_free_disk_mb));
    all.push(disk("cache disk", &config.cache_dir, config.min_free_disk_mb));
    all.push(memory());
    all.push(open_files());
    all.push(clock(&state));
    all.push(stale(&state, running));
    Ok(all)
}

fn engines(config: &Config) -> impl Iterator<Item = Finding> {
    let enabled = EngineKind::ALL
        .into_iter()
        .filter(|&kind| config.engine(kind).enabled);
    enabled.map(|kind| match locate(config, kind) {
        Located::External(endpoint) => finding(
            kind.name(),
            Level::Ok,
            format!("runs elsewhere, at {}", endpoint.url),
        ),
        Located::BuiltIn { version } => finding(kind.name(), Level::Ok, format!("{version}, built in")),
        Located::Program(program) => finding(
            kind.name(),
            Level::Ok,
            format!(
                "{} {} from {}: {}",
                program.implementation,
                program.version,
                program.source,
                program.program.display()
            ),
        ),
        Located::Missing { why, how } => finding(kind.name(), Level::Warning, format!("{why}; {how}")),
    })
}

fn free_ports(config: &Config) -> Finding {
    let processes: Vec<_> = EngineKind::ALL
        .into_iter()
        .filter(|&kind| config.engine(kind).enabled && matches!(locate(config, kind), Located::Program(_)))
        .collect();
    let services = config.services.as_deref().unwrap_or_default();
    match ports::assign(config, &processes, services) {
        Ok(_) => finding("ports", Level::Ok, "all free"),
        Err(busy) => finding("ports", Level::Problem, busy.to_string()),
    }
}

fn disk(subject: &str, path: &Path, needed_mb: u64) -> Finding {
    let existing = path
        .ancestors()
        .find(|p| p.exists())
        .unwrap_or_else(|| Path::new("/"));
    match state::free_mb(existing) {
        Ok(free) if free < needed_mb => finding(
            subject,
            Level::Problem,
            format!(
                "{free} MiB free at {}, {needed_mb} MiB needed; free some, or choose another folder",
                path.display()
            ),
        ),
        Ok(free) if free < 4 * needed_mb => finding(
            subject,
            Level::Warning,
            format!("only {free} MiB free at {}", path.display()),
        ),
        Ok(free) => finding(
            subject,
            Level::Ok,
            format!("{:.1} GiB free at {}", free as f64 / 1024.0, path.display()),
        ),
        Err(e) => finding(
            subject,
            Level::Problem,
            format!("{} cannot be examined: {e}", existing.display()),
        ),
    }
}

fn memory() -> Finding {
    use procfs::Current;
    match procfs::Meminfo::current().ok().and_then(|m| m.mem_available) {
        Some(bytes) if bytes / (1 << 20) < MEMORY_WANTED_MB => finding(
            "memory",
            Level::Warning,
            format!(
                "{} MiB available; all engines want {MEMORY_WANTED_MB} MiB, so leave some out with --without",
                bytes / (1 << 20)
            ),
        ),
        Some(bytes) => finding(
            "memory",
            Level::Ok,
            format!("{:.1} GiB available", bytes as f64 / f64::from(1 << 30)),
        ),
        None => finding(
            "memory",
            Level::Warning,
            "the kernel does not say how much is available",
        ),
    }
}

fn open_files() -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) if hard < FILES_WANTED => finding(
            "open files",
            Level::Warning,
            format!(
                "at most {hard} allowed, {FILES_WANTED} wanted; raise the limit (`ulimit -Hn`, /etc/security/limits.conf)"
            ),
        ),
        Ok((soft, hard)) => finding(
            "open files",
            Level::Ok,
            format!("limit {soft}, can be raised to {hard}"),
        ),
        Err(e) => finding(
            "open files",
            Level::Warning,
            format!("the limit cannot be asked for: {e}"),
        ),
    }
}

/// A clock that ran backwards breaks tokens, leases and log order. There is no network time to compare with, but the
/// program and the state folder cannot be from the future.
fn clock(state: &StateDir) -> Finding {
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let known = [
        std::env::current_exe().ok().and_then(|p| modified(&p)),
        modified(state.root()),
        modified(&state.endpoints_file()),
    ];
    let latest = known
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH);
    match latest.duration_since(SystemTime::now()) {
        Ok(ahead) if ahead > Duration::from_secs(60) => finding(
            "clock",
            Level::Problem,
            format!(
                "files of the platform are {} s newer than now: the clock was set back; set it right",
                ahead.as_secs()
            ),
        ),
        _ => finding("clock", Level::Ok, "not behind the platform's own files"),
    }
}

fn stale(state: &StateDir, running: Option<u32>) -> Finding {
    if running.is_some() {
        return finding("stale state", Level::Ok, "none");
    }
    let left: Vec<_> = EngineKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let pid: i32 = fs::read_to_string(state.pid_file(kind))
                .ok()?
                .trim()
                .parse()
                .ok()?;
            Some((kind, pid))
        })
        .collect();
    let alive = |pid: i32| {
        let process = procfs::process::Process::new(pid).ok()?;
        // The number may have gone to another program: ours works inside the state folder.
        process.cwd().ok().filter(|cwd| cwd.starts_with(state.root()))
    };
    let orphans: Vec<_> = left
        .iter()
        .filter(|(_, pid)| alive(*pid).is_some())
        .map(|(k, pid)| format!("{k} ({pid})"))
        .collect();
    if !orphans.is_empty() {
        return finding(
            "stale state",
            Level::Problem,
            format!(
                "engines run without isa: {}; end them with kill",
                orphans.join(", ")
            ),
        );
    }
    if !left.is_empty() {
        return finding(
            "stale state",
            Level::Ok,
            "the last `isa up` was killed; the next one recovers by itself",
        );
    }
    finding("stale state", Level::Ok, "none")
}
