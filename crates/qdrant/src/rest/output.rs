//! Answers in the shape of Qdrant's REST API.

use qdrant_edge::{
    FacetResponse, FacetValue, OrderValue, Payload, PointId, Record, ScoredPoint, VectorStructInternal,
    VectorStructPersisted, external::uuid::Uuid,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    engine::CHECKPOINT_EVERY,
    service::{Group, Info, Vectors},
};

#[derive(Serialize)]
pub(super) struct Point {
    id: PointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Payload>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<VectorStructPersisted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_value: Option<OrderValue>,
}

impl From<Record> for Point {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            version: None,
            score: None,
            payload: record.payload,
            vector: record.vector.map(vectors),
            order_value: record.order_value,
        }
    }
}

impl From<ScoredPoint> for Point {
    fn from(point: ScoredPoint) -> Self {
        Self {
            id: point.id,
            version: Some(point.version),
            score: Some(point.score),
            payload: point.payload,
            vector: point.vector.map(vectors),
            order_value: point.order_value,
        }
    }
}

pub(super) fn points<T: Into<Point>>(points: Vec<T>) -> Vec<Point> {
    points.into_iter().map(Into::into).collect()
}

fn vectors(vectors: VectorStructInternal) -> VectorStructPersisted {
    vectors.into()
}

#[derive(Serialize)]
pub(super) struct Updated {
    operation_id: u64,
    /// Always: writes are applied and durable before they are acknowledged.
    status: &'static str,
}

pub(super) fn updated(operations: Vec<u64>) -> Vec<Updated> {
    operations
        .into_iter()
        .map(|operation_id| Updated {
            operation_id,
            status: "completed",
        })
        .collect()
}

pub(super) fn facet(response: FacetResponse) -> Value {
    let value = |value| match value {
        FacetValue::Keyword(text) => json!(text),
        FacetValue::Int(number) => json!(number),
        FacetValue::Uuid(uuid) => json!(Uuid::from_u128(uuid).to_string()),
        FacetValue::Bool(flag) => json!(flag),
    };
    let hits = response
        .hits
        .into_iter()
        .map(|hit| json!({ "value": value(hit.value), "count": hit.count }));
    json!({ "hits": hits.collect::<Vec<_>>() })
}

pub(super) fn groups(groups: Vec<Group>) -> Value {
    let group = |group: Group| {
        let mut out = json!({ "id": group.id, "hits": points(group.hits) });
        if let Some(record) = group.lookup {
            out["lookup"] = json!(Point::from(record));
        }
        out
    };
    json!({ "groups": groups.into_iter().map(group).collect::<Vec<_>>() })
}

pub(super) fn info(info: &Info) -> Value {
    let config = &info.config;
    let optimizers = &config.optimizers;
    let no_vectors = matches!(&config.vectors, Vectors::Named(named) if named.is_empty());
    let mut params = json!({
        "shard_number": 1,
        "replication_factor": 1,
        "write_consistency_factor": 1,
        "on_disk_payload": config.on_disk_payload,
    });
    if !no_vectors {
        params["vectors"] = json!(config.vectors);
    }
    if !config.sparse_vectors.is_empty() {
        params["sparse_vectors"] = json!(config.sparse_vectors);
    }
    let schema: serde_json::Map<_, _> = info
        .shard
        .payload_schema
        .iter()
        .map(|(field, index)| (field.to_string(), json!(index)))
        .collect();
    json!({
        "status": match (&info.optimizer_error, info.optimizing) {
            (Some(_), _) => "red",
            (None, true) => "yellow",
            (None, false) => "green",
        },
        "optimizer_status": info.optimizer_error.as_ref().map_or_else(|| json!("ok"), |e| json!({ "error": e })),
        "indexed_vectors_count": info.shard.indexed_vectors_count,
        "points_count": info.shard.points_count,
        "segments_count": info.shard.segments_count,
        "config": {
            "params": params,
            "hnsw_config": config.hnsw,
            "optimizer_config": {
                "deleted_threshold": optimizers.deleted_threshold.unwrap_or(0.2),
                "vacuum_min_vector_number": optimizers.vacuum_min_vector_number.unwrap_or(1_000),
                "default_segment_number": optimizers.default_segment_number.unwrap_or(0),
                "max_segment_size": optimizers.max_segment_size,
                "memmap_threshold": null,
                "indexing_threshold": optimizers.indexing_threshold.unwrap_or(10_000),
                "flush_interval_sec": CHECKPOINT_EVERY.as_secs(),
                "max_optimization_threads": null,
                "prevent_unoptimized": optimizers.prevent_unoptimized,
            },
            "wal_config": {
                "wal_capacity_mb": config.wal.wal_capacity_mb.unwrap_or(32),
                "wal_segments_ahead": config.wal.wal_segments_ahead.unwrap_or(0),
                "wal_retain_closed": config.wal.wal_retain_closed.unwrap_or(1),
            },
            "quantization_config": config.quantization,
            "metadata": config.metadata,
        },
        "payload_schema": schema,
    })
}
