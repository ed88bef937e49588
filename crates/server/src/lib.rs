//! What every server shares, and the one builder through which services are mounted, so that none can miss any of it:
//! identity, tenancy, limits, audit, deadlines, metrics, health, reflection, drain. `HOWTO.md` says how to use it.
//!
//! A request's way: `connection` (HTTP/2, TLS) → `front` (request id, readiness, engine, who calls, limits, audit,
//! deadline, panics) → tonic (message) → `guard` (who the message says that calls) → the service.

mod admin;
pub mod api;
mod audit;
mod auth;
mod beside;
mod body;
mod call;
mod caller;
pub mod connect;
mod connection;
mod consul;
mod ending;
mod error;
mod front;
mod guard;
mod limits;
pub mod metrics;
mod readiness;
mod received;
mod replica;
mod server;
mod shared;
mod tls;
pub mod trace;
mod upstream;

use isa_config::ServiceKind;
pub use isa_proto::{Error, ErrorCode};

pub use self::{
    auth::{ApiKey, ApiKeyFile, Audience, AuthError, Claims, KeyRing, issue_token, new_api_key, rotate_keys},
    call::Call,
    caller::{ACT_AS, Caller, DEFAULT_USER, Tenant},
    error::ServerError,
    guard::{Replies, Requests, StatusStream},
    readiness::{Hold, Readiness},
    replica::{Place, Remote, StatefulId},
    server::{Mount, Running, Server},
    upstream::{EngineState, Upstream},
};
