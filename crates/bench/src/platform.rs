//! A platform of its own, as a user boots it, that wants tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use isa_config::{Endpoint, Endpoints, EngineKind, ServiceKind};
use serde::de::DeserializeOwned;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// A channel that sends the token.
pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Callers that share a connection.
const CALLERS_PER_CONNECTION: usize = 64;

/// Connections to a service, for at most 256 callers.
const CONNECTIONS: usize = 256 / CALLERS_PER_CONNECTION;

/// Adds the token to each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

pub(crate) struct Platform {
    program: PathBuf,
    folder: tempfile::TempDir,
    endpoints: Endpoints,
    services: BTreeMap<ServiceKind, String>,
    token: Bearer,
    pid: u32,
    version: String,
}

impl Platform {
    /// Starts `isa up` with the engines of these services; everything is gone when this is dropped.
    pub(crate) fn boot(program: &Path, kinds: &[ServiceKind]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("isa-bench-").tempdir()?;
        // PostgreSQL runs as another user when root measures; he must pass the folder.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open)?;
        let mut platform = Self {
            program: program.to_owned(),
            folder,
            endpoints: Endpoints::new(),
            services: BTreeMap::new(),
            token: Bearer(MetadataValue::from_static("")),
            pid: 0,
            version: String::new(),
        };
        let version = platform.isa(&["--version"])?;
        platform.version = version.trim().to_owned();
        platform.isa(&["keys", "rotate", "--keys", "keys"])?;
        // Raw Cypher wants a scope of its own.
        let issue = ["token", "issue", "bench", "--lifetime", "86400", "--keys", "keys"];
        let token = platform.isa(&[&issue[..], &["--scope", "neo4j:cypher"]].concat())?;
        platform.token = Bearer(format!("Bearer {}", token.trim()).parse().context("the token")?);
        let engines = kinds
            .iter()
            .flat_map(|kind| kind.also_uses().iter().copied().chain(iter::once(kind.engine())));
        let engines: BTreeSet<&str> = engines.map(EngineKind::name).collect();
        let engines: Vec<&str> = engines.into_iter().collect();
        platform.isa(&["up", "--free-ports", "--detach", "--only", &engines.join(",")])?;
        platform.endpoints = platform.state("endpoints.json")?;
        platform.services = platform.state("services.json")?;
        let status: serde_json::Value = serde_json::from_str(&platform.isa(&["status", "-o", "json"])?)?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        platform.pid = pid.context("isa status gives no pid")?;
        Ok(platform)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ISA_")) {
            command.env_remove(name);
        }
        command
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .env("ISA_SERVER__AUTH__MODE", "required")
            .env("ISA_SERVER__AUTH__KEYS_DIR", self.folder.path().join("keys"))
            // On, and never reached.
            .env("ISA_SERVER__LIMITS__DEFAULT__CALLS_PER_SECOND", "1000000")
            .env("ISA_SERVER__LIMITS__DEFAULT__BURST", "1000000");
        command
    }

    /// Runs a command that must succeed.
    fn isa(&self, args: &[&str]) -> anyhow::Result<String> {
        let done = self.command(args).output().context("isa does not start")?;
        if !done.status.success() {
            bail!(
                "isa {} ended with {}: {}{}",
                args.join(" "),
                done.status,
                String::from_utf8_lossy(&done.stdout),
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(String::from_utf8(done.stdout)?)
    }

    fn state<T: DeserializeOwned>(&self, file: &str) -> anyhow::Result<T> {
        let path = self.folder.path().join(".isa").join(file);
        let text = std::fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// The process that serves.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How many building blocks are in it.
    pub(crate) fn services(&self) -> usize {
        self.services.len()
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn endpoint(&self, kind: ServiceKind) -> anyhow::Result<&Endpoint> {
        let endpoint = self.endpoints.get(&kind.engine());
        endpoint.with_context(|| format!("no engine {}", kind.engine()))
    }

    /// The engine's address with its credentials.
    pub(crate) fn engine_url(&self, kind: ServiceKind) -> anyhow::Result<url::Url> {
        let endpoint = self.endpoint(kind)?;
        let mut url = url::Url::parse(&endpoint.url)?;
        let no_user = |()| anyhow::anyhow!("{}: cannot carry credentials", endpoint.url);
        if let Some(username) = &endpoint.username {
            url.set_username(username).map_err(no_user)?;
        }
        if let Some(password) = &endpoint.password {
            url.set_password(Some(password.expose())).map_err(no_user)?;
        }
        Ok(url)
    }

    /// Connections to a service, made; a caller takes the one of its number.
    pub(crate) async fn channels(&self, kind: ServiceKind) -> anyhow::Result<Channels> {
        let address = self
            .services
            .get(&kind)
            .with_context(|| format!("no service {kind}"))?;
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            let channel = Channel::from_shared(format!("http://{address}"))?;
            // As grpc-go and others do: windows that grow with the line.
            let channel = channel.http2_adaptive_window(true).connect().await?;
            channels.push(InterceptedService::new(channel, self.token.clone()));
        }
        Ok(Channels(channels))
    }
}

/// Connections to one service.
pub(crate) struct Channels(Vec<Authorized>);

impl Channels {
    /// The connection of a caller: the first 64 share the first one.
    pub(crate) fn of(&self, caller: usize) -> Authorized {
        self.0[caller / CALLERS_PER_CONNECTION % CONNECTIONS].clone()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Err(error) = self.isa(&["down"]) {
            eprintln!("{error}");
        }
    }
}
