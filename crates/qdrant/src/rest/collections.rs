use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{JsonPath, Payload, PayloadFieldSchema, QuantizationConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    output,
    reply::{Body, look, reply, reply_to_work, reply_to_write},
};
use crate::{
    engine::{Engine, Work},
    service::{
        CreateCollection, Failure, Hnsw, Optimizers, SparseVectorParams, Update, Vectors, Wal,
        check::{only_one, refuse_present},
    },
};

pub(super) async fn list(State(engine): State<Engine>) -> Response {
    look(&engine, |service| {
        let names = service.list();
        Ok(json!({ "collections": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() }))
    })
}

pub(super) async fn exists(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    look(&engine, move |service| {
        Ok(json!({ "exists": service.exists(&name) }))
    })
}

pub(super) async fn info(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    reply(&engine, move |service| {
        service.info(&name).map(|info| output::info(&info))
    })
    .await
}

pub(super) async fn create(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply_to_work(&engine, Work::Collections, move |service| {
        service.create(&name, body.parse::<CreateRequest>()?.into_domain()?)?;
        Ok(true)
    })
    .await
}

pub(super) async fn delete(State(engine): State<Engine>, Path(name): Path<String>) -> Response {
    reply_to_work(&engine, Work::Collections, move |service| service.delete(&name)).await
}

pub(super) async fn create_index(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    reply_to_write(&engine, move |service| {
        let request: IndexRequest = body.parse()?;
        let schema = request
            .field_schema
            .or(request.field_type)
            .ok_or_else(|| Failure::invalid("field_schema: is required"))?;
        let update = Update::CreateIndex {
            field: request.field_name,
            schema,
        };
        Ok(output::updated(service.update(&name, vec![update])?).pop())
    })
    .await
}

pub(super) async fn delete_index(
    State(engine): State<Engine>,
    Path((name, field)): Path<(String, String)>,
) -> Response {
    reply_to_write(&engine, move |service| {
        let field = field
            .parse::<JsonPath>()
            .map_err(|()| Failure::Invalid(format!("field_name: {field:?} is not a path in a payload")))?;
        Ok(output::updated(service.update(&name, vec![Update::DeleteIndex(field)])?).pop())
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexRequest {
    field_name: JsonPath,
    field_schema: Option<PayloadFieldSchema>,
    /// Its name in old clients.
    field_type: Option<PayloadFieldSchema>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    vectors: Option<Vectors>,
    sparse_vectors: Option<BTreeMap<String, SparseVectorParams>>,
    on_disk_payload: Option<bool>,
    hnsw_config: Option<Hnsw>,
    optimizers_config: Option<OptimizersRequest>,
    wal_config: Option<Wal>,
    quantization_config: Option<QuantizationConfig>,
    metadata: Option<Payload>,
    shard_number: Option<u64>,
    replication_factor: Option<u64>,
    write_consistency_factor: Option<u64>,
    sharding_method: Option<Value>,
    strict_mode_config: Option<Value>,
    init_from: Option<Value>,
    payload: Option<Value>,
    id_tracker: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OptimizersRequest {
    deleted_threshold: Option<f64>,
    vacuum_min_vector_number: Option<usize>,
    default_segment_number: Option<usize>,
    max_segment_size: Option<usize>,
    indexing_threshold: Option<usize>,
    prevent_unoptimized: Option<bool>,
    memmap_threshold: Option<Value>,
    flush_interval_sec: Option<Value>,
    max_optimization_threads: Option<Value>,
}

impl CreateRequest {
    fn into_domain(self) -> Result<CreateCollection, Failure> {
        refuse_present(&[
            (
                "sharding_method",
                self.sharding_method.is_some_and(|method| method != "auto"),
            ),
            ("strict_mode_config", self.strict_mode_config.is_some()),
            ("init_from", self.init_from.is_some()),
            ("payload", self.payload.is_some()),
            ("id_tracker", self.id_tracker.is_some()),
        ])?;
        only_one(&[
            ("shard_number", self.shard_number),
            ("replication_factor", self.replication_factor),
            ("write_consistency_factor", self.write_consistency_factor),
        ])?;
        Ok(CreateCollection {
            vectors: self.vectors.unwrap_or_default(),
            sparse_vectors: self.sparse_vectors.unwrap_or_default(),
            on_disk_payload: self.on_disk_payload,
            hnsw: self.hnsw_config.unwrap_or_default(),
            optimizers: self
                .optimizers_config
                .map(OptimizersRequest::into_domain)
                .transpose()?
                .unwrap_or_default(),
            wal: self.wal_config.unwrap_or_default(),
            quantization: self.quantization_config,
            metadata: self.metadata,
        })
    }
}

impl OptimizersRequest {
    pub(super) fn into_domain(self) -> Result<Optimizers, Failure> {
        refuse_present(&[
            (
                "optimizers_config.memmap_threshold",
                self.memmap_threshold.is_some(),
            ),
            (
                "optimizers_config.flush_interval_sec",
                self.flush_interval_sec.is_some(),
            ),
            (
                "optimizers_config.max_optimization_threads",
                self.max_optimization_threads.is_some(),
            ),
        ])?;
        Ok(Optimizers {
            deleted_threshold: self.deleted_threshold,
            vacuum_min_vector_number: self.vacuum_min_vector_number,
            default_segment_number: self.default_segment_number,
            max_segment_size: self.max_segment_size,
            indexing_threshold: self.indexing_threshold,
            prevent_unoptimized: self.prevent_unoptimized,
        })
    }
}
