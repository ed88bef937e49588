//! What is particular to each engine: its configuration, its command line, its endpoint. One file an engine.

mod consul;
mod grafana;
mod loki;
mod minio;
mod mosquitto;
mod nats;
mod neo4j;
mod postgres;
mod qdrant;
mod redis;
mod seaweedfs;

use std::{
    ffi::OsString,
    fmt::Display,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use isa_config::{Endpoint, EngineKind};
use nix::sys::signal::Signal;

use crate::{
    locate::Program,
    ports::Ports,
    process::{Launch, Spawner, kill_group},
    state::{self, Credential, StateDir},
};

/// How long a helper program of an engine, such as `initdb`, may take.
const TOOL_LIMIT: Duration = Duration::from_secs(120);

/// Why an engine could not be prepared for its start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    State(#[from] state::Error),
    #[error("{tool} {outcome}; its last words: {output}")]
    Tool {
        tool: String,
        outcome: String,
        output: String,
    },
    #[error("{0}")]
    Unusable(String),
    #[error("cannot start {program}: {source}", program = program.display())]
    Spawn {
        program: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot set the first password: {0}")]
    Password(String),
}

/// What an engine's file gets to work with.
pub(crate) struct Ctx<'a> {
    pub(crate) kind: EngineKind,
    pub(crate) program: &'a Program,
    pub(crate) bind: IpAddr,
    pub(crate) ports: &'a Ports,
    pub(crate) state: &'a StateDir,
    pub(crate) credential: Option<&'a Credential>,
    pub(crate) endpoint: &'a Endpoint,
    /// Where Loki answers, for Grafana's data source.
    pub(crate) loki: Option<&'a Endpoint>,
    pub(crate) spawner: &'a Spawner,
}

impl Ctx<'_> {
    /// Number of the port that `EngineKind::ports` calls `name`.
    pub(crate) fn port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or_default()
    }

    /// `address:port`, for configuration files.
    pub(crate) fn listen(&self, name: &str) -> String {
        host_port(self.bind, self.port(name))
    }

    pub(crate) fn user(&self) -> &str {
        self.credential.map_or("", |c| c.username.as_str())
    }

    pub(crate) fn password(&self) -> &str {
        self.credential.map_or("", |c| c.password.expose())
    }

    /// The engine's data folder, made if missing.
    pub(crate) fn data(&self) -> Result<PathBuf, Error> {
        let path = self.state.data(self.kind);
        state::private_dir(&path, None)?;
        Ok(path)
    }

    /// Writes a generated configuration file of mode 0600 and returns its path.
    pub(crate) fn write_conf(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let folder = self.state.conf(self.kind);
        state::private_dir(&folder, None)?;
        let path = folder.join(name);
        state::write_private(&path, text.as_bytes(), None)?;
        Ok(path)
    }

    /// The launch of the located program with these arguments, in `cwd`.
    pub(crate) fn launch<A: Into<OsString>>(&self, cwd: &Path, args: impl IntoIterator<Item = A>) -> Launch {
        Launch {
            program: self.program.program.clone(),
            args: args.into_iter().map(Into::into).collect(),
            env: self
                .program
                .env
                .iter()
                .map(|(k, v)| (k.clone(), v.into()))
                .collect(),
            cwd: cwd.to_owned(),
            log: self.state.log(self.kind),
            stdin: None,
            run_as: None,
        }
    }

    /// Runs a helper program of the engine to its end; its output goes to the engine's log.
    pub(crate) async fn run_tool(&self, launch: Launch) -> Result<(), Error> {
        let tool = launch
            .program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let program = launch.program.clone();
        let spawned = self.spawner.spawn(launch).await;
        let mut child = spawned.map_err(|source| Error::Spawn { program, source })?;
        let outcome = match tokio::time::timeout(TOOL_LIMIT, child.wait()).await {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("ended with {status}"),
            Ok(Err(e)) => format!("could not be waited for: {e}"),
            Err(_) => {
                if let Some(pid) = child.id() {
                    kill_group(pid);
                }
                format!("did not end within {} s", TOOL_LIMIT.as_secs())
            }
        };
        let output = crate::logs::tail(&self.state.log(self.kind), 5).join(" | ");
        Err(Error::Tool {
            tool,
            outcome,
            output,
        })
    }
}

pub(crate) fn host_port(host: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(host, port).to_string()
}

/// A string as the quoted form of JSON, which the configuration files of Consul, NATS and YAML readers take.
pub(crate) fn quoted(text: impl Display) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

/// The user name that the platform generates a password for; none where the engine has no accounts here.
///
/// Consul and Loki listen on loopback without accounts: Loki tells tenants apart by `X-Scope-OrgID`.
pub(crate) fn username(kind: EngineKind) -> Option<&'static str> {
    match kind {
        EngineKind::Minio | EngineKind::Nats | EngineKind::Mosquitto | EngineKind::Postgres => Some("isa"),
        EngineKind::Redis => Some("default"),
        EngineKind::Qdrant => Some("api-key"),
        EngineKind::Neo4j => Some("neo4j"),
        EngineKind::Grafana => Some("admin"),
        EngineKind::Consul | EngineKind::Loki | EngineKind::Duckdb => None,
    }
}

/// The engines that must have settled before this one starts.
pub(crate) fn depends_on(kind: EngineKind) -> &'static [EngineKind] {
    match kind {
        EngineKind::Grafana => &[EngineKind::Loki],
        _ => &[],
    }
}

/// The signal that asks for an orderly end.
pub(crate) fn stop_signal(kind: EngineKind) -> Signal {
    match kind {
        // "Fast" shutdown: sessions are ended and a checkpoint is written; SIGTERM would wait for sessions.
        EngineKind::Postgres => Signal::SIGINT,
        _ => Signal::SIGTERM,
    }
}

/// Where an engine that runs here answers.
pub(crate) fn endpoint(
    kind: EngineKind,
    bind: IpAddr,
    ports: &Ports,
    credential: Option<&Credential>,
    state: &StateDir,
) -> Endpoint {
    let url = |scheme: &str, port: &str| {
        format!(
            "{scheme}://{}",
            host_port(bind, ports.get(port).copied().unwrap_or_default())
        )
    };
    let endpoint = match kind {
        EngineKind::Consul => Endpoint::new(url("http", "http")),
        EngineKind::Redis => Endpoint::new(url("redis", "client")),
        EngineKind::Minio => Endpoint::new(url("http", "api")).with_url("console", url("http", "console")),
        EngineKind::Nats => Endpoint::new(url("nats", "client")).with_url("monitor", url("http", "monitor")),
        EngineKind::Mosquitto => {
            Endpoint::new(url("mqtt", "mqtt")).with_url("websockets", url("ws", "websockets"))
        }
        EngineKind::Postgres => {
            Endpoint::new(format!("{}/{}", url("postgres", "client"), postgres::DATABASE))
        }
        EngineKind::Qdrant => Endpoint::new(url("http", "rest")).with_url("grpc", url("http", "grpc")),
        EngineKind::Neo4j => Endpoint::new(url("bolt", "bolt")).with_url("http", url("http", "http")),
        EngineKind::Loki | EngineKind::Grafana => Endpoint::new(url("http", "http")),
        EngineKind::Duckdb => Endpoint::new(format!("file://{}", state.data(kind).display())),
    };
    match credential {
        Some(c) => endpoint.with_credentials(&c.username, c.password.clone()),
        None => endpoint,
    }
}

/// Writes the engine's configuration, makes its data folder on the first start, and says how to start it.
pub(crate) async fn prepare(ctx: &Ctx<'_>) -> Result<Launch, Error> {
    match ctx.kind {
        EngineKind::Consul => consul::prepare(ctx),
        EngineKind::Redis => redis::prepare(ctx),
        EngineKind::Minio if ctx.program.implementation == "seaweedfs" => seaweedfs::prepare(ctx),
        EngineKind::Minio => minio::prepare(ctx),
        EngineKind::Nats => nats::prepare(ctx),
        EngineKind::Mosquitto => mosquitto::prepare(ctx).await,
        EngineKind::Postgres => postgres::prepare(ctx).await,
        EngineKind::Qdrant => qdrant::prepare(ctx),
        EngineKind::Neo4j => neo4j::prepare(ctx),
        EngineKind::Loki => loki::prepare(ctx),
        EngineKind::Grafana => grafana::prepare(ctx),
        EngineKind::Duckdb => Err(Error::Unusable(
            "DuckDB runs in this process and is not started".into(),
        )),
    }
}

/// What must happen once between the start of the process and its first use.
pub(crate) async fn after_start(ctx: &Ctx<'_>) -> Result<(), Error> {
    match ctx.kind {
        EngineKind::Neo4j => neo4j::set_first_password(ctx).await,
        _ => Ok(()),
    }
}
