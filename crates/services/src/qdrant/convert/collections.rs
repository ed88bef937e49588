#![allow(deprecated)] // `always_ram` is what servers before 1.20 know.

use std::collections::BTreeSet;

use isa_proto::{prost_types::Struct, qdrant as pb};
use qdrant_client::qdrant::{self as engine, quantization_config::Quantization, vectors_config::Config};
use serde_json::json;

use super::json;
use crate::qdrant::{
    names,
    service::{Cluster, Error, Settings},
};

/// Dimensions of a vector.
const MAX_SIZE: u64 = 65_536;

/// Vectors of a collection: each costs files and memory in every segment.
const MAX_VECTORS: usize = 64;

/// What a collection is to be made with.
pub(in crate::qdrant) fn settings(request: pb::CreateCollectionRequest) -> Result<Settings, Error> {
    use pb::create_collection_request::VectorsConfig as Given;
    for (field, number) in [
        ("shard_number", request.shard_number),
        ("replication_factor", request.replication_factor),
        ("write_consistency_factor", request.write_consistency_factor),
    ] {
        if number == Some(0) {
            return Err(Error::invalid(
                field,
                "is zero; leave it out for the engine's own choice",
            ));
        }
    }
    let mut named = BTreeSet::new();
    let config = match request.vectors_config {
        Some(Given::VectorParams(given)) => Some(Config::Params(vector("vector_params", given)?)),
        Some(Given::NamedVectorParams(given)) => {
            if given.params.is_empty() {
                return Err(Error::invalid("named_vector_params.params", "is empty"));
            }
            let mut map = std::collections::HashMap::with_capacity(given.params.len());
            for (name, given) in given.params {
                names::check_vector("named_vector_params.params", &name)?;
                named.insert(name.clone());
                map.insert(
                    name.clone(),
                    vector(&format!("named_vector_params.params.{name}"), given)?,
                );
            }
            Some(Config::ParamsMap(engine::VectorParamsMap { map }))
        }
        None if request.sparse_vectors.is_empty() => {
            return Err(Error::invalid(
                "vectors_config",
                "is missing: give vector_params or named_vector_params",
            ));
        }
        None => None,
    };
    let mut sparse = engine::SparseVectorConfig::default();
    for name in request.sparse_vectors {
        names::check_vector("sparse_vectors", &name)?;
        if !named.insert(name.clone()) {
            return Err(Error::invalid(
                "sparse_vectors",
                format!("{name:?} is there twice"),
            ));
        }
        sparse.map.insert(name, engine::SparseVectorParams::default());
    }
    if named.len() > MAX_VECTORS {
        let why = format!("there are {} vectors, and may be {MAX_VECTORS}", named.len());
        return Err(Error::invalid("named_vector_params.params", why));
    }
    Ok(Settings {
        shard_number: request.shard_number,
        on_disk_payload: request.on_disk_payload,
        vectors_config: config.map(|config| engine::VectorsConfig { config: Some(config) }),
        replication_factor: request.replication_factor,
        write_consistency_factor: request.write_consistency_factor,
        sparse_vectors_config: (!sparse.map.is_empty()).then_some(sparse),
        ..Default::default()
    })
}

fn vector(field: &str, given: pb::VectorParams) -> Result<engine::VectorParams, Error> {
    if !(1..=MAX_SIZE).contains(&given.size) {
        let why = format!("is {}, and may be 1 to {MAX_SIZE}", given.size);
        return Err(Error::invalid(format!("{field}.size"), why));
    }
    let distance = match pb::Distance::try_from(given.distance) {
        Ok(pb::Distance::Cosine) => engine::Distance::Cosine,
        Ok(pb::Distance::Euclid) => engine::Distance::Euclid,
        Ok(pb::Distance::Dot) => engine::Distance::Dot,
        Ok(pb::Distance::Manhattan) => engine::Distance::Manhattan,
        Ok(pb::Distance::Unknown) | Err(_) => {
            return Err(Error::invalid(
                format!("{field}.distance"),
                "is none of cosine, euclid, dot and manhattan",
            ));
        }
    };
    let chosen = |number: u64| (number > 0).then_some(number);
    Ok(engine::VectorParams {
        size: given.size,
        distance: distance.into(),
        hnsw_config: given.hnsw_config.map(|hnsw| engine::HnswConfigDiff {
            m: chosen(hnsw.m),
            ef_construct: chosen(hnsw.ef_construct),
            full_scan_threshold: chosen(hnsw.full_scan_threshold),
            ..Default::default()
        }),
        quantization_config: match given.quantization_config {
            None => None,
            Some(given) => Some(quantization(&format!("{field}.quantization_config"), given)?),
        },
        ..Default::default()
    })
}

fn quantization(field: &str, given: pb::QuantizationConfig) -> Result<engine::QuantizationConfig, Error> {
    use pb::quantization_config::Quantization as Given;
    let wrong = |name: &str, why: &'static str| Err(Error::invalid(format!("{field}.{name}"), why));
    let quantization = match given.quantization {
        None => return wrong("quantization", "is missing: give scalar or product"),
        Some(Given::Scalar(scalar)) => {
            if pb::scalar_quantization::ScalarType::try_from(scalar.r#type).is_err() {
                return wrong("scalar.type", "is not INT8");
            }
            if scalar
                .quantile
                .is_some_and(|quantile| !(0.5..=1.0).contains(&quantile))
            {
                return wrong("scalar.quantile", "is not 0.5 to 1");
            }
            Quantization::Scalar(engine::ScalarQuantization {
                r#type: engine::QuantizationType::Int8.into(),
                quantile: scalar.quantile,
                always_ram: scalar.always_ram,
                ..Default::default()
            })
        }
        Some(Given::Product(product)) => {
            // They have the same numbers.
            let Ok(compression) = engine::CompressionRatio::try_from(product.compression) else {
                return wrong("product.compression", "is none of X4, X8, X16, X32 and X64");
            };
            Quantization::Product(engine::ProductQuantization {
                compression: compression.into(),
                always_ram: product.always_ram,
                ..Default::default()
            })
        }
    };
    Ok(engine::QuantizationConfig {
        quantization: Some(quantization),
    })
}

pub(in crate::qdrant) fn cluster(cluster: Cluster) -> Struct {
    let peers: Vec<_> = cluster
        .peers
        .iter()
        .map(|peer| json!({"id": peer.id, "state": peer.state}))
        .collect();
    json::shown(json!({
        "status": if cluster.is_enabled { "enabled" } else { "disabled" },
        "peer_count": peers.len().max(1),
        "peers": peers,
    }))
}
