//! PostgreSQL: SQL, structured calls and transactions, each tenant in a schema of its own.
//!
//! # What keeps tenants apart
//!
//! A tenant has a schema and a LOGIN role of one name (`names.rs`), made at its first call. Its statements run on
//! connections that log in as that role, never on one that has become it: so there is nobody to become again by RESET
//! ROLE or SET SESSION AUTHORIZATION. The role owns nothing but what it makes, is a member of nothing, and has bounds on
//! its connections, time and temporary files. PostgreSQL's privileges are the wall; what `statement.rs` refuses is
//! refused for the sake of clear words.
//!
//! The catalog is closed to tenants (`service/harden.sql`), tables and functions, but for what PostgreSQL needs. The
//! views of `information_schema` work, which show what the role may use; some of their columns with definitions do not.
//! Tables are described for a tenant by the administrator's own connections.
//!
//! - Files, programs, dblink: need a superuser or `pg_read_server_files` and its kin, or an extension, which tenants
//!   cannot create. Large objects share one space of numbers: their functions are revoked.
//! - Advisory locks share one space of numbers: their functions are revoked, so no tenant can block another by them.
//! - NOTIFY: LISTEN is refused, and notifications that a function makes a session get are dropped: none reaches a tenant.
//! - pg_cancel_backend, pg_terminate_backend: PostgreSQL allows them on sessions of the same role alone; revoked as well.
//! - Errors: PostgreSQL's words reach the caller, with the schema's real name replaced and those of others taken out.
//!
//! What remains, because PostgreSQL asks no privilege for it:
//!
//! - a number cast to `regclass`, `regtype`, `regproc`, `regrole` or `regnamespace` becomes a name. Who counts through
//!   all numbers learns names of others' tables, columns no, and their slugs, which are hashes;
//! - whether a schema exists whose name is known (a hash of a tenant's name) shows in `permission denied` against `does
//!   not exist`; `has_table_privilege` and its kin say so too;
//! - `SHOW` and `current_setting` show settings that PostgreSQL has no secret in: versions, sizes, limits;
//! - what is shared by nature: CPU, memory, disk, WAL, transaction numbers.
//!
//! The role may change its own password and settings. Connections bring their settings along, which count for more, and a
//! password that is not the derived one is set again at the next login.
//!
//! # What is left in a session
//!
//! Connections are of one tenant, so nothing of this is about safety. After a statement that is not plain (SET, DDL,
//! SELECT INTO, set_config, …), settings, cursors and temporary tables are reset before the call ends, which costs a round
//! trip; plain ones cost none. A function of the tenant's own that changes a setting, called in a plain statement, leaves it
//! for the tenant's later calls on that connection, which is replaced after 30 min.

mod convert;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod grpc;
mod names;
mod service;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{grpc::Postgres, service::Database};
use crate::StartError;

pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let database = Database::new(endpoint).map_err(|why| StartError::Address(ServiceKind::Postgres, why))?;
    let asked = database.clone();
    let upstream = Upstream::watch(EngineKind::Postgres, move || {
        let database = asked.clone();
        async move { database.version().await.map(drop) }
    });
    let postgres = Postgres {
        database,
        upstream: upstream.clone(),
    };
    Ok((api::postgres::mount(postgres), upstream))
}
