//! The configuration of a collection.
#![allow(deprecated)] // `on_disk` and `always_ram` are what clients before 1.20 send and read

use std::collections::BTreeMap;

use qdrant_client::qdrant as pb;
use qdrant_edge::{
    CompressionRatio, Distance, HnswIndexConfig, Modifier, MultiVectorComparator, MultiVectorConfig,
    QuantizationConfig, VectorStorageDatatype,
};
use serde_json::{Value, json};

use super::{
    index,
    pb::{
        binary_quantization_query_encoding as query_encoding, quantization_config::Quantization,
        vectors_config,
    },
    values::{payload, payload_out, required, size},
};
use crate::{
    engine::CHECKPOINT_EVERY,
    service::{
        CollectionConfig, CreateCollection, Failure, Hnsw, Info, Optimizers, SparseIndex, SparseVectorParams,
        VectorParams, Vectors, Wal,
        check::{only_one, refuse_present},
    },
};

pub(super) fn create(request: pb::CreateCollection) -> Result<CreateCollection, Failure> {
    let custom = pb::ShardingMethod::Custom as i32;
    refuse_present(&[
        ("sharding_method", request.sharding_method == Some(custom)),
        ("strict_mode_config", request.strict_mode_config.is_some()),
        ("payload", request.payload.is_some()),
        ("id_tracker", request.id_tracker.is_some()),
    ])?;
    only_one(&[
        ("shard_number", request.shard_number.map(u64::from)),
        ("replication_factor", request.replication_factor.map(u64::from)),
        (
            "write_consistency_factor",
            request.write_consistency_factor.map(u64::from),
        ),
    ])?;
    let sparse = request
        .sparse_vectors_config
        .map(|config| config.map)
        .unwrap_or_default();
    Ok(CreateCollection {
        vectors: match request.vectors_config.and_then(|config| config.config) {
            None => Vectors::default(),
            Some(vectors_config::Config::Params(params)) => {
                Vectors::Single(vector("vectors_config", params)?)
            }
            Some(vectors_config::Config::ParamsMap(map)) => {
                let one = |(name, params)| {
                    let params = vector(&format!("vectors_config.{name}"), params)?;
                    Ok((name, params))
                };
                Vectors::Named(map.map.into_iter().map(one).collect::<Result<_, Failure>>()?)
            }
        },
        sparse_vectors: sparse
            .into_iter()
            .map(|(name, params)| {
                let params = self::sparse(&format!("sparse_vectors_config.{name}"), params)?;
                Ok((name, params))
            })
            .collect::<Result<BTreeMap<_, _>, Failure>>()?,
        on_disk_payload: request.on_disk_payload,
        hnsw: request
            .hnsw_config
            .map(|config| hnsw("hnsw_config", config))
            .transpose()?
            .unwrap_or_default(),
        optimizers: request
            .optimizers_config
            .map(optimizers)
            .transpose()?
            .unwrap_or_default(),
        wal: request.wal_config.map(wal).transpose()?.unwrap_or_default(),
        quantization: request
            .quantization_config
            .map(|config| quantization("quantization_config", config))
            .transpose()?,
        metadata: if request.metadata.is_empty() {
            None
        } else {
            Some(payload(request.metadata)?)
        },
    })
}

fn optional(field: &str, value: Option<u64>) -> Result<Option<usize>, Failure> {
    value.map(|value| size(field, value)).transpose()
}

fn vector(field: &str, params: pb::VectorParams) -> Result<VectorParams, Failure> {
    refuse_present(&[("memory", params.memory.is_some())])?;
    let distance = match pb::Distance::try_from(params.distance) {
        Ok(pb::Distance::Cosine) => Distance::Cosine,
        Ok(pb::Distance::Euclid) => Distance::Euclid,
        Ok(pb::Distance::Dot) => Distance::Dot,
        Ok(pb::Distance::Manhattan) => Distance::Manhattan,
        _ => return Err(Failure::Invalid(format!("{field}.distance: is required"))),
    };
    let quantization_config = params
        .quantization_config
        .map(|config| quantization(&format!("{field}.quantization_config"), config))
        .transpose()?;
    Ok(VectorParams {
        size: size(&format!("{field}.size"), params.size)?,
        distance,
        hnsw_config: params
            .hnsw_config
            .map(|config| hnsw(&format!("{field}.hnsw_config"), config))
            .transpose()?,
        quantization_config,
        on_disk: params.on_disk,
        datatype: datatype(field, params.datatype)?,
        multivector_config: params.multivector_config.map(|_| MultiVectorConfig {
            comparator: MultiVectorComparator::MaxSim,
        }),
    })
}

pub(super) fn sparse(field: &str, params: pb::SparseVectorParams) -> Result<SparseVectorParams, Failure> {
    let index = params.index.map(|index| {
        refuse_present(&[("memory", index.memory.is_some())])?;
        Ok::<_, Failure>(SparseIndex {
            full_scan_threshold: optional(
                &format!("{field}.full_scan_threshold"),
                index.full_scan_threshold,
            )?,
            on_disk: index.on_disk,
            datatype: datatype(field, index.datatype)?,
        })
    });
    let modifier = match params.modifier.map(pb::Modifier::try_from) {
        None => None,
        Some(Ok(pb::Modifier::None)) => Some(Modifier::None),
        Some(Ok(pb::Modifier::Idf)) => Some(Modifier::Idf),
        Some(Err(_)) => return Err(Failure::Invalid(format!("{field}.modifier: is not a modifier"))),
    };
    Ok(SparseVectorParams {
        index: index.transpose()?,
        modifier,
    })
}

fn datatype(field: &str, datatype: Option<i32>) -> Result<Option<VectorStorageDatatype>, Failure> {
    Ok(match datatype.map(pb::Datatype::try_from) {
        None | Some(Ok(pb::Datatype::Default)) => None,
        Some(Ok(pb::Datatype::Float32)) => Some(VectorStorageDatatype::Float32),
        Some(Ok(pb::Datatype::Uint8)) => Some(VectorStorageDatatype::Uint8),
        Some(Ok(pb::Datatype::Float16)) => Some(VectorStorageDatatype::Float16),
        Some(Ok(pb::Datatype::Turbo4)) => Some(VectorStorageDatatype::Turbo4),
        Some(Ok(_)) => return Err(Failure::unsupported("the datatypes `turbo8` and `turbo16`")),
        Some(Err(_)) => return Err(Failure::Invalid(format!("{field}.datatype: is not a datatype"))),
    })
}

pub(super) fn hnsw(field: &str, config: pb::HnswConfigDiff) -> Result<Hnsw, Failure> {
    refuse_present(&[("hnsw_config.memory", config.memory.is_some())])?;
    Ok(Hnsw {
        m: optional(&format!("{field}.m"), config.m)?,
        ef_construct: optional(&format!("{field}.ef_construct"), config.ef_construct)?,
        full_scan_threshold: optional(
            &format!("{field}.full_scan_threshold"),
            config.full_scan_threshold,
        )?,
        max_indexing_threads: optional(
            &format!("{field}.max_indexing_threads"),
            config.max_indexing_threads,
        )?,
        on_disk: config.on_disk,
        payload_m: optional(&format!("{field}.payload_m"), config.payload_m)?,
        inline_storage: config.inline_storage,
    })
}

pub(super) fn optimizers(config: pb::OptimizersConfigDiff) -> Result<Optimizers, Failure> {
    let threads =
        config.max_optimization_threads.is_some() || config.deprecated_max_optimization_threads.is_some();
    refuse_present(&[
        (
            "optimizers_config.memmap_threshold",
            config.memmap_threshold.is_some(),
        ),
        (
            "optimizers_config.flush_interval_sec",
            config.flush_interval_sec.is_some(),
        ),
        ("optimizers_config.max_optimization_threads", threads),
    ])?;
    let field = |name: &str| format!("optimizers_config.{name}");
    Ok(Optimizers {
        deleted_threshold: config.deleted_threshold,
        vacuum_min_vector_number: optional(
            &field("vacuum_min_vector_number"),
            config.vacuum_min_vector_number,
        )?,
        default_segment_number: optional(&field("default_segment_number"), config.default_segment_number)?,
        max_segment_size: optional(&field("max_segment_size"), config.max_segment_size)?,
        indexing_threshold: optional(&field("indexing_threshold"), config.indexing_threshold)?,
        prevent_unoptimized: config.prevent_unoptimized,
    })
}

fn wal(config: pb::WalConfigDiff) -> Result<Wal, Failure> {
    Ok(Wal {
        wal_capacity_mb: optional("wal_config.wal_capacity_mb", config.wal_capacity_mb)?,
        wal_segments_ahead: optional("wal_config.wal_segments_ahead", config.wal_segments_ahead)?,
        wal_retain_closed: optional("wal_config.wal_retain_closed", config.wal_retain_closed)?,
    })
}

/// By way of its JSON, which is part of the API: the engine does not export all types that it is made of.
pub(super) fn quantization(
    field: &str,
    config: pb::QuantizationConfig,
) -> Result<QuantizationConfig, Failure> {
    let unknown = |what: &str| Failure::Invalid(format!("{field}.{what}: is not one"));
    let json = match required(field, config.quantization)? {
        Quantization::Scalar(q) => {
            refuse_present(&[("memory", q.memory.is_some())])?;
            let mut scalar = json!({ "type": "int8", "always_ram": q.always_ram });
            // As a number of its own precision.
            scalar["quantile"] = json!(q.quantile);
            json!({ "scalar": scalar })
        }
        Quantization::Product(q) => {
            refuse_present(&[("memory", q.memory.is_some())])?;
            let ratio = pb::CompressionRatio::try_from(q.compression).map_err(|_| unknown("compression"))?;
            json!({ "product": { "compression": ratio.as_str_name(), "always_ram": q.always_ram } })
        }
        Quantization::Binary(q) => {
            refuse_present(&[("memory", q.memory.is_some())])?;
            let encoding = match q.encoding.map(pb::BinaryQuantizationEncoding::try_from) {
                None => Value::Null,
                Some(Ok(pb::BinaryQuantizationEncoding::OneBit)) => "one_bit".into(),
                Some(Ok(pb::BinaryQuantizationEncoding::TwoBits)) => "two_bits".into(),
                Some(Ok(pb::BinaryQuantizationEncoding::OneAndHalfBits)) => "one_and_half_bits".into(),
                Some(Err(_)) => return Err(unknown("encoding")),
            };
            let query = match q.query_encoding.and_then(|query| query.variant) {
                None => Value::Null,
                Some(query_encoding::Variant::Setting(setting)) => query_encoding::Setting::try_from(setting)
                    .map_err(|_| unknown("query_encoding"))?
                    .as_str_name()
                    .to_lowercase()
                    .into(),
            };
            json!({ "binary": { "always_ram": q.always_ram, "encoding": encoding, "query_encoding": query } })
        }
        Quantization::Turboquant(q) => {
            refuse_present(&[("memory", q.memory.is_some())])?;
            let bits = q
                .bits
                .map(pb::TurboQuantBitSize::try_from)
                .transpose()
                .map_err(|_| unknown("bits"))?;
            let bits = bits.map(|bits| bits.as_str_name().to_lowercase());
            json!({ "turbo": { "always_ram": q.always_ram, "bits": bits } })
        }
    };
    serde_json::from_value(json).map_err(|e| Failure::Invalid(format!("{field}: {e}")))
}

pub(super) fn info_out(info: Info) -> pb::CollectionInfo {
    let status = match (&info.optimizer_error, info.optimizing) {
        (Some(_), _) => pb::CollectionStatus::Red,
        (None, true) => pb::CollectionStatus::Yellow,
        (None, false) => pb::CollectionStatus::Green,
    };
    let schema = info.shard.payload_schema.iter();
    pb::CollectionInfo {
        status: status.into(),
        optimizer_status: Some(pb::OptimizerStatus {
            ok: info.optimizer_error.is_none(),
            error: info.optimizer_error.unwrap_or_default(),
        }),
        segments_count: info.shard.segments_count as u64,
        points_count: Some(info.shard.points_count as u64),
        indexed_vectors_count: Some(info.shard.indexed_vectors_count as u64),
        payload_schema: schema
            .map(|(field, info)| (field.to_string(), index::info_out(info)))
            .collect(),
        config: Some(config_out(info.config)),
        ..Default::default()
    }
}

fn config_out(config: CollectionConfig) -> pb::CollectionConfig {
    let vectors = match config.vectors {
        Vectors::Single(params) => vectors_config::Config::Params(vector_out(params)),
        Vectors::Named(map) => vectors_config::Config::ParamsMap(pb::VectorParamsMap {
            map: map
                .into_iter()
                .map(|(name, params)| (name, vector_out(params)))
                .collect(),
        }),
    };
    let sparse = (!config.sparse_vectors.is_empty()).then(|| pb::SparseVectorConfig {
        map: config
            .sparse_vectors
            .into_iter()
            .map(|(name, params)| (name, sparse_out(params)))
            .collect(),
    });
    let optimizers = config.optimizers;
    pb::CollectionConfig {
        params: Some(pb::CollectionParams {
            shard_number: 1,
            on_disk_payload: config.on_disk_payload,
            vectors_config: Some(pb::VectorsConfig {
                config: Some(vectors),
            }),
            replication_factor: Some(1),
            write_consistency_factor: Some(1),
            sparse_vectors_config: sparse,
            ..Default::default()
        }),
        hnsw_config: Some(full_hnsw_out(config.hnsw)),
        optimizer_config: Some(pb::OptimizersConfigDiff {
            deleted_threshold: Some(optimizers.deleted_threshold.unwrap_or(0.2)),
            vacuum_min_vector_number: Some(optimizers.vacuum_min_vector_number.unwrap_or(1_000) as u64),
            default_segment_number: Some(optimizers.default_segment_number.unwrap_or(0) as u64),
            max_segment_size: optimizers.max_segment_size.map(|n| n as u64),
            indexing_threshold: Some(optimizers.indexing_threshold.unwrap_or(10_000) as u64),
            flush_interval_sec: Some(CHECKPOINT_EVERY.as_secs()),
            prevent_unoptimized: optimizers.prevent_unoptimized,
            ..Default::default()
        }),
        wal_config: Some(pb::WalConfigDiff {
            wal_capacity_mb: Some(config.wal.wal_capacity_mb.unwrap_or(32) as u64),
            wal_segments_ahead: Some(config.wal.wal_segments_ahead.unwrap_or(0) as u64),
            wal_retain_closed: Some(config.wal.wal_retain_closed.unwrap_or(1) as u64),
        }),
        quantization_config: config.quantization.map(|config| quantization_out(&config)),
        metadata: payload_out(config.metadata),
        ..Default::default()
    }
}

fn vector_out(params: VectorParams) -> pb::VectorParams {
    let distance = match params.distance {
        Distance::Cosine => pb::Distance::Cosine,
        Distance::Euclid => pb::Distance::Euclid,
        Distance::Dot => pb::Distance::Dot,
        Distance::Manhattan => pb::Distance::Manhattan,
    };
    let comparator = pb::MultiVectorComparator::MaxSim.into();
    pb::VectorParams {
        size: params.size as u64,
        distance: distance.into(),
        hnsw_config: params.hnsw_config.map(hnsw_out),
        quantization_config: params.quantization_config.map(|config| quantization_out(&config)),
        on_disk: params.on_disk,
        datatype: params.datatype.map(datatype_out),
        multivector_config: params
            .multivector_config
            .map(|_| pb::MultiVectorConfig { comparator }),
        ..Default::default()
    }
}

fn sparse_out(params: SparseVectorParams) -> pb::SparseVectorParams {
    pb::SparseVectorParams {
        index: params.index.map(|index| pb::SparseIndexConfig {
            full_scan_threshold: index.full_scan_threshold.map(|n| n as u64),
            on_disk: index.on_disk,
            datatype: index.datatype.map(datatype_out),
            ..Default::default()
        }),
        modifier: params.modifier.map(|modifier| match modifier {
            Modifier::None => pb::Modifier::None.into(),
            Modifier::Idf => pb::Modifier::Idf.into(),
        }),
    }
}

fn datatype_out(datatype: VectorStorageDatatype) -> i32 {
    let datatype = match datatype {
        VectorStorageDatatype::Float32 => pb::Datatype::Float32,
        VectorStorageDatatype::Float16 => pb::Datatype::Float16,
        VectorStorageDatatype::Uint8 => pb::Datatype::Uint8,
        VectorStorageDatatype::Turbo4 => pb::Datatype::Turbo4,
    };
    datatype.into()
}

fn hnsw_out(hnsw: Hnsw) -> pb::HnswConfigDiff {
    pb::HnswConfigDiff {
        m: hnsw.m.map(|n| n as u64),
        ef_construct: hnsw.ef_construct.map(|n| n as u64),
        full_scan_threshold: hnsw.full_scan_threshold.map(|n| n as u64),
        max_indexing_threads: hnsw.max_indexing_threads.map(|n| n as u64),
        on_disk: hnsw.on_disk,
        payload_m: hnsw.payload_m.map(|n| n as u64),
        inline_storage: hnsw.inline_storage,
        ..Default::default()
    }
}

fn full_hnsw_out(hnsw: HnswIndexConfig) -> pb::HnswConfigDiff {
    hnsw_out(Hnsw {
        m: Some(hnsw.m),
        ef_construct: Some(hnsw.ef_construct),
        full_scan_threshold: Some(hnsw.full_scan_threshold),
        max_indexing_threads: Some(hnsw.max_indexing_threads),
        on_disk: hnsw.on_disk,
        payload_m: hnsw.payload_m,
        inline_storage: hnsw.inline_storage,
    })
}

fn quantization_out(config: &QuantizationConfig) -> pb::QuantizationConfig {
    let quantization = match config {
        QuantizationConfig::Scalar(q) => Quantization::Scalar(pb::ScalarQuantization {
            r#type: pb::QuantizationType::Int8.into(),
            quantile: q.scalar.quantile,
            always_ram: q.scalar.always_ram,
            ..Default::default()
        }),
        QuantizationConfig::Product(q) => {
            let compression = match q.product.compression {
                CompressionRatio::X4 => pb::CompressionRatio::X4,
                CompressionRatio::X8 => pb::CompressionRatio::X8,
                CompressionRatio::X16 => pb::CompressionRatio::X16,
                CompressionRatio::X32 => pb::CompressionRatio::X32,
                CompressionRatio::X64 => pb::CompressionRatio::X64,
            };
            Quantization::Product(pb::ProductQuantization {
                compression: compression.into(),
                always_ram: q.product.always_ram,
                ..Default::default()
            })
        }
        QuantizationConfig::Binary(q) => {
            let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
            let encoding = q
                .binary
                .encoding
                .map(|encoding| match text(json!(encoding)).as_str() {
                    "two_bits" => pb::BinaryQuantizationEncoding::TwoBits.into(),
                    "one_and_half_bits" => pb::BinaryQuantizationEncoding::OneAndHalfBits.into(),
                    _ => pb::BinaryQuantizationEncoding::OneBit.into(),
                });
            let query_encoding = q.binary.query_encoding.map(|query| {
                let setting = match text(json!(query)).as_str() {
                    "binary" => query_encoding::Setting::Binary,
                    "scalar4bits" => query_encoding::Setting::Scalar4Bits,
                    "scalar8bits" => query_encoding::Setting::Scalar8Bits,
                    _ => query_encoding::Setting::Default,
                };
                let variant = Some(query_encoding::Variant::Setting(setting.into()));
                pb::BinaryQuantizationQueryEncoding { variant }
            });
            Quantization::Binary(pb::BinaryQuantization {
                always_ram: q.binary.always_ram,
                encoding,
                query_encoding,
                ..Default::default()
            })
        }
        QuantizationConfig::Turbo(q) => Quantization::Turboquant(pb::TurboQuantization {
            always_ram: q.turbo.always_ram,
            bits: q.turbo.bits.map(|bits| match json!(bits).as_str() {
                Some("bits1") => pb::TurboQuantBitSize::Bits1.into(),
                Some("bits1_5") => pb::TurboQuantBitSize::Bits15.into(),
                Some("bits2") => pb::TurboQuantBitSize::Bits2.into(),
                _ => pb::TurboQuantBitSize::Bits4.into(),
            }),
            ..Default::default()
        }),
    };
    pb::QuantizationConfig {
        quantization: Some(quantization),
    }
}
