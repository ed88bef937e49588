//! Typed configuration of the platform: the settings, where they come from, and the closed set of engines.
//!
//! Precedence, lowest first: defaults, `isa.toml`, `ISA_A__B` environment variables, command-line flags.

mod endpoint;
mod engine;
mod loader;
mod settings;

pub use endpoint::{Endpoint, Endpoints, Secret};
pub use engine::{EngineKind, PortSpec, UnknownEngine};
pub use loader::{Error, Overrides, load};
pub use settings::{Config, EngineConfig};
