//! A collection as Qdrant's REST API shows it.
#![allow(deprecated)] // `on_disk` and `always_ram` are what servers before 1.20 say.

use isa_proto::qdrant as pb;
use qdrant_client::qdrant::{
    CollectionConfig, CollectionInfo, CollectionParams, CollectionStatus, CompressionRatio, Datatype,
    Distance, HnswConfigDiff, MaxOptimizationThreads, OptimizersConfigDiff, QuantizationConfig, VectorParams,
    WalConfigDiff, max_optimization_threads, quantization_config::Quantization, vectors_config::Config,
};
use serde_json::{Value, json};

use super::json::shown;
use crate::qdrant::names::Collection;

pub(in crate::qdrant) fn info(info: CollectionInfo, collection: &Collection) -> pb::CollectionInfo {
    let status = match CollectionStatus::try_from(info.status) {
        Ok(CollectionStatus::Green) => "green",
        Ok(CollectionStatus::Yellow) => "yellow",
        Ok(CollectionStatus::Red) => "red",
        Ok(CollectionStatus::Grey | CollectionStatus::UnknownCollectionStatus) | Err(_) => "grey",
    };
    let optimizers = match &info.optimizer_status {
        Some(status) if !status.ok => json!({"status": "error", "error": collection.reworded(&status.error)}),
        _ => json!({"status": "ok"}),
    };
    pb::CollectionInfo {
        status: status.to_owned(),
        points_count: info.points_count.unwrap_or_default(),
        segments_count: info.segments_count,
        config: info.config.map(|config| shown(self::config(config))),
        optimizer_status: Some(shown(optimizers)),
    }
}

fn config(config: CollectionConfig) -> Value {
    json!({
        "params": config.params.map(params),
        "hnsw_config": config.hnsw_config.map(hnsw),
        "optimizer_config": config.optimizer_config.map(optimizers),
        "wal_config": config.wal_config.map(wal),
        "quantization_config": config.quantization_config.and_then(quantization),
    })
}

fn params(params: CollectionParams) -> Value {
    let vectors = match params.vectors_config.and_then(|vectors| vectors.config) {
        Some(Config::Params(params)) => vector(params),
        Some(Config::ParamsMap(map)) => map
            .map
            .into_iter()
            .map(|(name, params)| (name, vector(params)))
            .collect(),
        None => Value::Null,
    };
    let sparse = params.sparse_vectors_config.map(|sparse| {
        let names = sparse.map.into_keys();
        names.map(|name| (name, json!({}))).collect::<Value>()
    });
    json!({
        "vectors": vectors,
        "sparse_vectors": sparse,
        "shard_number": params.shard_number,
        "replication_factor": params.replication_factor,
        "write_consistency_factor": params.write_consistency_factor,
        "on_disk_payload": params.on_disk_payload,
    })
}

fn vector(params: VectorParams) -> Value {
    let distance = match Distance::try_from(params.distance) {
        Ok(Distance::Cosine) => "Cosine",
        Ok(Distance::Euclid) => "Euclid",
        Ok(Distance::Dot) => "Dot",
        Ok(Distance::Manhattan) => "Manhattan",
        Ok(Distance::UnknownDistance) | Err(_) => "Unknown",
    };
    let datatype = match params.datatype.map(Datatype::try_from) {
        Some(Ok(Datatype::Float32)) => Some("float32"),
        Some(Ok(Datatype::Uint8)) => Some("uint8"),
        Some(Ok(Datatype::Float16)) => Some("float16"),
        _ => None,
    };
    json!({
        "size": params.size,
        "distance": distance,
        "hnsw_config": params.hnsw_config.map(hnsw),
        "quantization_config": params.quantization_config.and_then(quantization),
        "on_disk": params.on_disk,
        "datatype": datatype,
        "multivector_config": params.multivector_config.map(|_| json!({"comparator": "max_sim"})),
    })
}

fn hnsw(hnsw: HnswConfigDiff) -> Value {
    json!({
        "m": hnsw.m,
        "ef_construct": hnsw.ef_construct,
        "full_scan_threshold": hnsw.full_scan_threshold,
        "max_indexing_threads": hnsw.max_indexing_threads,
        "on_disk": hnsw.on_disk,
        "payload_m": hnsw.payload_m,
    })
}

fn optimizers(optimizers: OptimizersConfigDiff) -> Value {
    let threads = |threads: MaxOptimizationThreads| match threads.variant {
        Some(max_optimization_threads::Variant::Value(threads)) => Some(threads),
        _ => None,
    };
    json!({
        "deleted_threshold": optimizers.deleted_threshold,
        "vacuum_min_vector_number": optimizers.vacuum_min_vector_number,
        "default_segment_number": optimizers.default_segment_number,
        "max_segment_size": optimizers.max_segment_size,
        "memmap_threshold": optimizers.memmap_threshold,
        "indexing_threshold": optimizers.indexing_threshold,
        "flush_interval_sec": optimizers.flush_interval_sec,
        "max_optimization_threads": optimizers.max_optimization_threads.and_then(threads),
    })
}

fn wal(wal: WalConfigDiff) -> Value {
    json!({
        "wal_capacity_mb": wal.wal_capacity_mb,
        "wal_segments_ahead": wal.wal_segments_ahead,
    })
}

fn quantization(config: QuantizationConfig) -> Option<Value> {
    Some(match config.quantization? {
        Quantization::Scalar(scalar) => json!({"scalar": {
            "type": "int8", "quantile": scalar.quantile, "always_ram": scalar.always_ram,
        }}),
        Quantization::Product(product) => {
            let compression = CompressionRatio::try_from(product.compression).unwrap_or(CompressionRatio::X4);
            json!({"product": {
                "compression": compression.as_str_name(), "always_ram": product.always_ram,
            }})
        }
        Quantization::Binary(binary) => json!({"binary": {"always_ram": binary.always_ram}}),
        Quantization::Turboquant(_) => json!({"turboquant": {}}),
    })
}
