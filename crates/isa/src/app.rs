//! Where the building blocks are put together: engines' addresses and listeners in, a running server out.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use isa_config::{Config, Endpoints, ServiceKind};
use isa_server::{Running, Server, Upstream};

use crate::log;

/// How often files of the configuration are looked at for changes.
const LOOK: Duration = Duration::from_secs(5);

/// Building blocks that are served by this process.
pub(crate) struct App {
    /// `None` if there is nothing to serve.
    running: Option<Running>,
    upstreams: BTreeMap<ServiceKind, Upstream>,
    /// The configuration as it is when read anew, and what it was made of.
    read: Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>,
    seen: u64,
    config: Config,
}

impl App {
    /// Serves what there is a listener for, over the engines at `endpoints`, which need not answer yet. `read` reads the
    /// configuration, now and when its files change.
    ///
    /// # Errors
    /// An engine has no address, a file of the configuration cannot be used, or nobody could call.
    pub(crate) async fn start(
        read: impl Fn() -> anyhow::Result<Config> + Send + Sync + 'static,
        listeners: BTreeMap<ServiceKind, TcpListener>,
        endpoints: &Endpoints,
    ) -> anyhow::Result<Self> {
        let config = read()?;
        let mut upstreams = BTreeMap::new();
        if listeners.is_empty() {
            return Ok(Self {
                running: None,
                upstreams,
                seen: fingerprint(&config),
                read: Box::new(read),
                config,
            });
        }
        let mut server = Server::new(&config.server)?;
        for (kind, listener) in listeners {
            let (mount, upstream) = isa_services::mount(kind, endpoints)?;
            server.add(mount, upstream.clone(), listener)?;
            upstreams.insert(kind, upstream);
        }
        Ok(Self {
            running: Some(server.start().await?),
            upstreams,
            seen: fingerprint(&config),
            read: Box::new(read),
            config,
        })
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&ServiceKind, &SocketAddr)> {
        self.running.iter().flat_map(Running::addresses)
    }

    /// The engine behind each service.
    pub(crate) fn upstreams(&self) -> &BTreeMap<ServiceKind, Upstream> {
        &self.upstreams
    }

    /// Takes limits, keys, certificates and the log's filter anew whenever their files change. Never ends.
    pub(crate) async fn keep_current(&mut self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            if fingerprint(&self.config) != self.seen {
                self.reload();
            }
        }
    }

    /// Takes limits, keys, certificates and the log's filter anew. What cannot be used is told in the log, and all stays
    /// as it was.
    pub(crate) fn reload(&mut self) {
        // Seen now: a broken file is told once, and a change while it is read is another change.
        self.seen = fingerprint(&self.config);
        let outcome = (self.read)().and_then(|config| {
            if let Some(running) = &mut self.running {
                running.reload(&config.server)?;
            }
            log::reload(&config.log)?;
            Ok(config)
        });
        match outcome {
            Ok(config) => {
                self.seen = fingerprint(&config);
                self.config = config;
                tracing::info!("configuration was read anew");
            }
            Err(error) => tracing::error!("configuration was not taken, all stays as it was: {error:#}"),
        }
    }

    /// Leaves Consul, lets running calls end, and stops. Whether none was cut off.
    pub(crate) async fn drain(self) -> bool {
        match self.running {
            Some(running) => running.drain().await,
            None => true,
        }
    }
}

/// Changes when a file does that the configuration was read from, or that it names.
fn fingerprint(config: &Config) -> u64 {
    let server = &config.server;
    let mut files: Vec<PathBuf> = config.files.clone();
    files.extend(server.auth.api_keys_file.clone());
    if let Some(tls) = &server.tls {
        files.extend([tls.certificate.clone(), tls.key.clone()]);
        files.extend(tls.client_ca.clone());
    }
    if let Some(folder) = &server.auth.keys_dir {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut keys: Vec<_> = entries.map(|entry| entry.path()).collect();
        keys.sort();
        files.extend(keys);
    }
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        changed(&file).hash(&mut hasher);
    }
    hasher.finish()
}

/// When a file was last changed, and its size. Kubernetes replaces mounted files through links: these are followed.
fn changed(file: &Path) -> Option<(std::time::SystemTime, u64)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
