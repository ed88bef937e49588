//! What all building blocks of a process share: `[server]`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::{Secret, ServiceKind};

/// Settings that all services of a process share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address that services listen on. With `auth.mode = "open"` it must be a loopback address.
    pub bind: IpAddr,
    /// Port of each service, where it is not its fixed one; 0 picks a free one.
    pub ports: BTreeMap<ServiceKind, u16>,
    /// Where metrics and probes are answered over HTTP: `/metrics`, `/livez`, `/readyz`. Nowhere if absent.
    pub admin: Option<SocketAddr>,
    /// Who may call.
    pub auth: AuthConfig,
    /// How much a tenant may ask.
    pub limits: LimitsConfig,
    /// How calls and connections are bounded.
    pub transport: TransportConfig,
    /// Certificates. Without them, connections are plain.
    pub tls: Option<TlsConfig>,
    /// Where what was changed is recorded.
    pub audit: AuditConfig,
    /// Where traces are sent; nowhere if absent.
    pub traces: Option<TracesConfig>,
    /// How a server stops.
    pub drain: DrainConfig,
    /// Registration in Consul; none if absent.
    pub consul: Option<ConsulConfig>,
    /// How this replica finds the others that hold state between calls; alone if absent.
    pub replicas: Option<ReplicasConfig>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: BTreeMap::new(),
            admin: None,
            auth: AuthConfig::default(),
            limits: LimitsConfig::default(),
            transport: TransportConfig::default(),
            tls: None,
            audit: AuditConfig::default(),
            traces: None,
            drain: DrainConfig::default(),
            consul: None,
            replicas: None,
        }
    }
}

impl ServerConfig {
    /// The address that a service listens on.
    pub fn address(&self, kind: ServiceKind) -> SocketAddr {
        let port = self.ports.get(&kind).copied().unwrap_or_else(|| kind.port());
        SocketAddr::new(self.bind, port)
    }
}

/// Whether callers must prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Everybody is who the request says. For one machine: such a server listens on loopback addresses only.
    Open,
    /// Every call carries a token or an API key.
    #[default]
    Required,
}

/// Who may call: `[server.auth]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    pub mode: AuthMode,
    /// Folder of keys that tokens are checked with, as `isa keys rotate` makes it: `<kid>.pem`, each a private or a
    /// public key, Ed25519 or RSA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_dir: Option<PathBuf>,
    /// Where an identity provider publishes its keys (JWKS).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_url: Option<Url>,
    /// How often these keys are read anew, in seconds. A token with an unknown key asks at once.
    pub jwks_refresh_seconds: u64,
    /// `iss` that tokens must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// `aud` that tokens must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// How far clocks may be apart, in seconds.
    pub leeway_seconds: u64,
    /// File of API keys, hashed, in TOML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys_file: Option<PathBuf>,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            mode: AuthMode::Required,
            keys_dir: None,
            jwks_url: None,
            jwks_refresh_seconds: 300,
            issuer: None,
            audience: None,
            leeway_seconds: 30,
            api_keys_file: None,
        }
    }
}

/// How much a tenant may ask: `[server.limits]`. Each service of each replica counts for itself.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// What every tenant has that is not named below.
    pub default: TenantLimits,
    /// By tenant: `"org:acme"`, `"user:alice"`.
    pub tenants: BTreeMap<String, TenantLimits>,
}

/// What one tenant may ask of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantLimits {
    /// Calls a second, sustained. 0 is no limit.
    pub calls_per_second: u32,
    /// Calls at once after a pause; at least 1.
    pub burst: u32,
    /// Calls running at once, those that answer with a stream apart. 0 is no limit.
    pub concurrent_calls: u32,
    /// Calls that answer with a stream, running at once. 0 is no limit.
    pub concurrent_streams: u32,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            calls_per_second: 5000,
            burst: 10_000,
            concurrent_calls: 512,
            concurrent_streams: 256,
        }
    }
}

/// Calls and connections: `[server.transport]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransportConfig {
    /// Largest message, in MiB, either way, packed or not.
    pub max_message_mib: usize,
    /// Longest call without a deadline of its own, in seconds. Streams have none.
    pub default_deadline_seconds: u64,
    /// Calls of one connection at once; others wait in the client.
    pub max_streams_per_connection: u32,
    /// Connections of one service at once; others wait to be accepted.
    pub max_connections: usize,
    /// How often a silent connection is asked whether it lives, in seconds. Clients may ping as often as they like.
    pub keepalive_seconds: u64,
    /// How long it may take to answer, in seconds.
    pub keepalive_timeout_seconds: u64,
    /// Answers of at least so many bytes are packed, if the caller takes it.
    pub compress_from_bytes: usize,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            max_message_mib: 100,
            // Longer than the longest wait that the contract has: AcquireLock, 5 min.
            default_deadline_seconds: 330,
            max_streams_per_connection: 1024,
            max_connections: 4096,
            keepalive_seconds: 60,
            keepalive_timeout_seconds: 20,
            compress_from_bytes: 4096,
        }
    }
}

/// Certificates: `[server.tls]`. Files are read anew when the configuration is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Certificates, PEM, of those who sign clients' certificates. With it, a client without one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

/// The record of changes: `[server.audit]`. Lines also reach the log, as target `audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// File that a line of JSON is added to for each call that may change something. Created with mode 0600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Records that may wait to be written. When they are so many, calls that change something wait too.
    pub queue: usize,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            file: None,
            queue: 8192,
        }
    }
}

/// Traces: `[server.traces]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TracesConfig {
    /// A collector that takes OTLP over gRPC, such as `http://127.0.0.1:4317`.
    pub url: Url,
    /// Which part of the traces that begin here is sent, 0 to 1. What the caller's own trace has sampled always is.
    #[serde(default = "TracesConfig::all")]
    pub ratio: f64,
}

impl TracesConfig {
    const fn all() -> f64 {
        1.0
    }
}

/// How a server stops: `[server.drain]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrainConfig {
    /// How long it still accepts calls after it has said that it stops, in seconds: until everybody has heard. On
    /// Kubernetes a few seconds.
    pub linger_seconds: u64,
    /// How long running calls may take after that, in seconds.
    pub timeout_seconds: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            linger_seconds: 0,
            timeout_seconds: 20,
        }
    }
}

/// Registration in Consul: `[server.consul]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsulConfig {
    /// Consul's HTTP address, such as `http://127.0.0.1:8500`.
    pub url: Url,
    /// ACL token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// Address under which clients, and Consul's own check, reach this process; else the one it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<IpAddr>,
    /// The registration ends if it is not renewed for so long, in seconds; it is renewed three times as often.
    #[serde(default = "ConsulConfig::ttl")]
    pub ttl_seconds: u64,
    /// How often Consul asks the service's health, in seconds.
    #[serde(default = "ConsulConfig::check")]
    pub check_seconds: u64,
}

impl ConsulConfig {
    /// The defaults, for a Consul at this address.
    pub const fn at(url: Url) -> Self {
        Self {
            url,
            token: None,
            advertise: None,
            ttl_seconds: Self::ttl(),
            check_seconds: Self::check(),
        }
    }

    const fn ttl() -> u64 {
        30
    }

    const fn check() -> u64 {
        10
    }
}

/// The other replicas: `[server.replicas]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicasConfig {
    /// Address under which the other replicas reach this one.
    pub advertise: IpAddr,
    /// Name, by service, that resolves to the addresses of all its replicas: that of a headless Service.
    pub dns: BTreeMap<ServiceKind, String>,
    /// With `server.tls`: the name in the replicas' certificates, which is checked when calls are sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_name: Option<String>,
    /// With `server.tls`: certificates, PEM, of those who sign the replicas' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
}
