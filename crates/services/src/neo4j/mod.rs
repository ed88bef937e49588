//! Neo4j: Cypher, and a graph for each tenant in one database.
//!
//! # What keeps tenants apart
//!
//! Community has one database and no rights within it, so labels do it (`names.rs`). Every structured call looks for
//! nodes by a label that is the tenant's, at both ends of a relationship and at every node of a path; labels, types and keys
//! of callers are quoted, values are parameters, and answers show none of our labels. Indexes and constraints are made
//! on labels that are the tenant's alone.
//!
//! Raw Cypher sees the whole graph. It needs the scope `neo4j:cypher`, which is for those who may see everything; an open
//! server grants it to everyone. What raw Cypher makes has no tenant, so structured calls do not see it.

mod convert;
mod grpc;
mod names;
mod service;

use isa_config::{Endpoint, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{grpc::Neo4j, service::Graph};
use crate::StartError;

/// The service over Neo4j at `endpoint`, which need not answer yet.
pub(crate) fn mount(endpoint: &Endpoint) -> Result<(Mount, Upstream), StartError> {
    let graph = Graph::new(endpoint).map_err(|why| StartError::Address(ServiceKind::Neo4j, why))?;
    let asked = graph.clone();
    let upstream = Upstream::watch(EngineKind::Neo4j, move || {
        let graph = asked.clone();
        async move { graph.components().await.map(drop) }
    });
    let service = Neo4j {
        graph,
        upstream: upstream.clone(),
    };
    Ok((api::neo4j::mount(service), upstream))
}
