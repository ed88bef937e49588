//! Typed configuration of the platform: the settings, where they come from, and the closed sets of engines and building blocks.
//!
//! Precedence, lowest first: defaults, `isa.toml`, `ISA_A__B` environment variables, command-line flags.

mod endpoint;
mod engine;
mod loader;
mod server;
mod service;
mod settings;

pub use endpoint::{Endpoint, Endpoints, Secret};
pub use engine::{EngineKind, PortSpec, UnknownEngine};
pub use loader::{Error, Overrides, load};
pub use server::{
    AuditConfig, AuthConfig, AuthMode, ConsulConfig, DrainConfig, LimitsConfig, ReplicasConfig, ServerConfig,
    TenantLimits, TlsConfig, TracesConfig, TransportConfig,
};
pub use service::{ServiceKind, UnknownService};
pub use settings::{Config, EngineConfig, LogFormat};
