//! What `isa status` shows.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use chrono::{DateTime, Utc};
use isa_config::{EngineKind, ServiceKind};
use serde::{Deserialize, Serialize};

/// Where an engine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Another engine must settle first.
    Waiting,
    Starting,
    Ready,
    /// It was ready, and its process runs, but it does not answer.
    Unresponsive,
    /// It ended and is started again after a pause.
    Restarting,
    /// It ended several times without ever being ready; `isa restart NAME` tries again.
    Failed,
    /// It cannot be had on this machine as it is; the message says how to get it.
    Missing,
    Stopping,
    Stopped,
}

impl State {
    /// Whether the engine has come as far as it will by itself.
    pub fn settled(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Missing | Self::Stopped)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EngineStatus {
    pub name: EngineKind,
    pub status: State,
    pub pid: Option<u32>,
    /// The main port.
    pub port: Option<u16>,
    /// All ports by name.
    pub ports: BTreeMap<String, u16>,
    /// The main address, without credentials.
    pub url: Option<String>,
    /// Which implementation runs: `minio` or `seaweedfs`.
    pub implementation: String,
    /// Where it comes from: `url`, `config`, `path`, `cache`, `built in`.
    pub source: Option<String>,
    pub version: Option<String>,
    /// How often the engine was started again since `isa up`, because it ended.
    pub restarts: u32,
    /// From `isa up` to its first readiness, in milliseconds.
    pub ready_ms: Option<u64>,
    /// Resident memory, in bytes, when asked.
    pub rss_bytes: Option<u64>,
    /// When `status` last changed.
    pub since: DateTime<Utc>,
    /// Why it is not ready, and what to do.
    pub message: Option<String>,
}

impl EngineStatus {
    /// An engine of which nothing is known yet.
    pub fn new(name: EngineKind, implementation: &str) -> Self {
        Self {
            name,
            status: State::Waiting,
            pid: None,
            port: None,
            ports: BTreeMap::new(),
            url: None,
            implementation: implementation.to_owned(),
            source: None,
            version: None,
            restarts: 0,
            ready_ms: None,
            rss_bytes: None,
            since: Utc::now(),
            message: None,
        }
    }

    pub(crate) fn enter(&mut self, state: State) {
        if self.status != state {
            self.status = state;
            self.since = Utc::now();
        }
    }
}

/// One building block.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: ServiceKind,
    pub status: State,
    /// `127.0.0.1:50055`.
    pub address: Option<SocketAddr>,
    /// From `isa up` to its first readiness, in milliseconds.
    pub ready_ms: Option<u64>,
    /// Why it is not ready, and what to do.
    pub message: Option<String>,
}

/// The platform that runs in a state folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlatformStatus {
    /// Whether an `isa up` runs at all.
    pub running: bool,
    pub pid: Option<u32>,
    pub state_dir: PathBuf,
    pub started_at: Option<DateTime<Utc>>,
    /// Resident memory of `isa` itself, in bytes.
    pub rss_bytes: Option<u64>,
    /// From `isa up` to the first readiness of anything, in milliseconds.
    pub first_ready_ms: Option<u64>,
    /// From `isa up` to the moment when everything that can be had was ready, in milliseconds.
    pub all_ready_ms: Option<u64>,
    pub engines: Vec<EngineStatus>,
    pub services: Vec<ServiceStatus>,
}

impl PlatformStatus {
    /// Whether everything has come as far as it will. A service whose engine does not come waits for ever.
    pub fn settled(&self) -> bool {
        let engine = |service: &ServiceStatus| self.engines.iter().find(|e| e.name == service.name.engine());
        let waits = |service: &&ServiceStatus| {
            !service.status.settled() && engine(service).is_some_and(|e| e.status == State::Ready)
        };
        self.engines.iter().all(|e| e.status.settled()) && !self.services.iter().any(|s| waits(&s))
    }

    /// Whether everything that can be had here is ready.
    pub fn is_ready(&self) -> bool {
        let engines = self.engines.iter().map(|e| e.status);
        let mut all = engines.chain(self.services.iter().map(|s| s.status));
        all.all(|state| matches!(state, State::Ready | State::Missing))
    }
}
