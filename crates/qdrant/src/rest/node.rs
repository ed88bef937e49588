//! What operators ask of a node: it is the only one of its cluster.

use std::sync::LazyLock;

use axum::{
    extract::{Path, State},
    response::Response,
};
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::reply::{look, reply};
use crate::{PEER_ID, VERSION, engine::Engine};

/// Since when this process answers, and an id for that time.
static STARTED: LazyLock<(DateTime<Utc>, Uuid)> = LazyLock::new(|| (Utc::now(), Uuid::new_v4()));

/// To be called at the start.
pub(super) fn start() {
    LazyLock::force(&STARTED);
}

pub(super) async fn cluster(State(engine): State<Engine>) -> Response {
    look(&engine, |_| Ok(json!({ "status": "disabled" })))
}

pub(super) async fn collection_cluster(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    reply(&engine, move |service| {
        let points = service.info(&name)?.shard.points_count;
        Ok(json!({
            "peer_id": PEER_ID,
            "shard_count": 1,
            "local_shards": [{ "shard_id": 0, "points_count": points, "state": "Active" }],
            "remote_shards": [],
            "shard_transfers": [],
        }))
    })
    .await
}

/// There are none: a collection is one shard.
pub(super) async fn shard_keys(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    look(&engine, move |service| {
        service.storage().get(&name)?;
        Ok(json!({ "shard_keys": null }))
    })
}

pub(super) async fn telemetry(State(engine): State<Engine>) -> Response {
    look(&engine, |service| {
        let (started, id) = *STARTED;
        Ok(json!({
            "id": id,
            "app": { "name": "qdrant", "version": VERSION, "startup": started },
            "collections": {
                "number_of_collections": service.list().len(),
                "max_collections": service.storage().max_collections(),
            },
            "cluster": { "enabled": false },
        }))
    })
}

/// Nothing watches for what Qdrant reports here.
pub(super) async fn issues(State(engine): State<Engine>) -> Response {
    look(&engine, |_| Ok(json!({ "issues": [] })))
}

pub(super) async fn clear_issues(State(engine): State<Engine>) -> Response {
    look(&engine, |_| Ok(true))
}
