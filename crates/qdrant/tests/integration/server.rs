use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use qdrant_client::{Qdrant, config::QdrantConfig};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a process of its own, so that it can be killed. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) rest: u16,
    pub(crate) grpc: u16,
}

/// How a server is started.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) api_key: Option<&'static str>,
    pub(crate) max_open_shards: Option<usize>,
}

impl Server {
    /// Starts a server. It listens when this returns; requests wait until it is ready.
    pub(crate) fn start(storage: &Path) -> Self {
        Self::start_with(storage, &Setup::default())
    }

    pub(crate) fn start_with(storage: &Path, setup: &Setup) -> Self {
        let mut child = command(storage, setup).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut ports = line.split_whitespace().map(|port| port.parse().unwrap());
        Self {
            child,
            rest: ports.next().unwrap(),
            grpc: ports.next().unwrap(),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.rest)
    }

    /// The official Rust client, which speaks gRPC only.
    pub(crate) fn client(&self, api_key: Option<&str>) -> Qdrant {
        let mut config = self.client_config();
        if let Some(key) = api_key {
            config.set_api_key(key);
        }
        Qdrant::new(config).unwrap()
    }

    pub(crate) fn client_config(&self) -> QdrantConfig {
        QdrantConfig::from_url(&format!("http://127.0.0.1:{}", self.grpc)).timeout(PATIENCE)
    }

    /// Dies at once, as by `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops in an orderly way.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a server that is expected to end by itself, and returns what it said.
pub(crate) fn fails_to_start(storage: &Path) -> String {
    let output = command(storage, &Setup::default())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn command(storage: &Path, setup: &Setup) -> Command {
    let mut command = Command::new(program());
    command
        .arg(storage)
        .args(["0", "0"])
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    if let Some(max) = setup.max_open_shards {
        command.arg(max.to_string());
    }
    if let Some(key) = setup.api_key {
        command.env("QDRANT_API_KEY", key);
    }
    command
}

/// Cargo builds the examples along with the tests, beside them.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests
        .parent()
        .and_then(Path::parent)
        .unwrap()
        .join("examples/serve");
    assert!(
        program.is_file(),
        "{} is not there: cargo build -p isa-qdrant --examples",
        program.display()
    );
    program
}
