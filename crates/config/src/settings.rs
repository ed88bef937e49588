use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{Endpoint, EngineKind, Secret, ServerConfig, ServiceKind};

/// All settings. `isa config dump` prints them with where each came from already applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of the running platform: data, logs, credentials. Relative to the folder `isa` is started in.
    pub state_dir: PathBuf,
    /// Folder of installed engines; must not lie in the state folder. Root: `/var/cache/isa`, otherwise
    /// `$XDG_CACHE_HOME/isa` or `~/.cache/isa`.
    pub cache_dir: PathBuf,
    /// Address that every engine listens on. Loopback only: the local platform is not hardened for a network.
    pub bind: IpAddr,
    /// Filter of `isa`'s own log, in the notation of `RUST_LOG`: `warn,isa_platform=debug`.
    pub log: String,
    /// How its lines are written.
    pub log_format: LogFormat,
    /// Pick a free port wherever the configuration names none, instead of the platform's fixed numbers.
    pub free_ports: bool,
    /// How long an engine may take from its start to its first answer, in seconds.
    pub ready_timeout_seconds: u64,
    /// How long an engine may take to stop before it is killed, in seconds.
    pub stop_timeout_seconds: u64,
    /// Free space, in MiB, that the disk of the state folder must have before anything starts.
    pub min_free_disk_mb: u64,
    /// Settings of each engine, by name.
    pub engines: BTreeMap<EngineKind, EngineConfig>,
    /// The building blocks that are served; all that there are if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceKind>>,
    /// What building blocks share: who may call, limits, certificates, audit.
    pub server: ServerConfig,
    /// The files that this was read from.
    #[serde(skip)]
    pub files: Vec<PathBuf>,
}

/// How lines of the log are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: a JSON object a line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: ".isa".into(),
            cache_dir: PathBuf::new(), // the loader fills it in: it depends on the user
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            // What goes wrong with a cluster is an error of the command, which says it better.
            log: "warn,isa=info,isa_platform=info,isa_qdrant=info,isa_server=info,isa_services=info,kube_client=off,kube_runtime=off".into(),
            log_format: LogFormat::Text,
            free_ports: false,
            ready_timeout_seconds: 60,
            stop_timeout_seconds: 20,
            min_free_disk_mb: 512,
            engines: BTreeMap::new(),
            services: None,
            server: ServerConfig::default(),
            files: Vec::new(),
        }
    }
}

impl Config {
    /// The settings of one engine: those given, or the defaults.
    pub fn engine(&self, kind: EngineKind) -> EngineConfig {
        self.engines.get(&kind).cloned().unwrap_or_default()
    }

    /// The name of the implementation that stands for this engine.
    pub fn implementation(&self, kind: EngineKind) -> &str {
        let chosen = self.engines.get(&kind).and_then(|e| e.implementation.as_deref());
        chosen.unwrap_or_else(|| kind.implementations()[0])
    }
}

/// Settings of one engine: `[engines.redis]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Whether `isa up` runs it at all.
    pub enabled: bool,
    /// An engine that runs elsewhere; nothing is started then. Credentials may stand in the URL or below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<url::Url>,
    /// User name at `url`; the access key of S3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password at `url`; the secret key of S3, the API key of Qdrant, the token of Consul.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Further addresses of an engine that runs elsewhere, by port name: `urls.grpc` for Qdrant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub urls: BTreeMap<String, String>,
    /// Which implementation to run: `minio = "seaweedfs"`, `redis = "valkey"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implementation: Option<String>,
    /// Program to run instead of the one that is found on PATH or in the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<PathBuf>,
    /// Port numbers by port name; 0 picks a free one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            url: None,
            username: None,
            password: None,
            urls: BTreeMap::new(),
            implementation: None,
            program: None,
            ports: BTreeMap::new(),
        }
    }
}

impl EngineConfig {
    /// The endpoint of an engine that runs elsewhere, if `url` is set.
    pub fn external(&self) -> Option<Endpoint> {
        let url = self.url.as_ref()?;
        let mut bare = url.clone();
        let in_url = |text: &str| (!text.is_empty()).then(|| percent_decoded(text));
        let username = self.username.clone().or_else(|| in_url(url.username()));
        let password = self
            .password
            .clone()
            .or_else(|| url.password().and_then(in_url).map(Secret::new));
        // Both fail only for URLs that cannot carry credentials, which then have none to remove.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        let text = bare.to_string();
        Some(Endpoint {
            url: text.trim_end_matches('/').to_owned(),
            username,
            password,
            urls: self.urls.clone(),
        })
    }
}

fn percent_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("v={}", text.replace('+', "%2B")).as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_endpoint_takes_credentials_out_of_the_url() {
        let config = EngineConfig {
            url: Some("redis://app:p%40ss+1@cache.example:6379/".parse().unwrap()),
            ..Default::default()
        };
        let endpoint = config.external().unwrap();
        assert_eq!(endpoint.url, "redis://cache.example:6379");
        assert_eq!(endpoint.username.as_deref(), Some("app"));
        assert_eq!(endpoint.password.unwrap().expose(), "p@ss+1");
    }
}
