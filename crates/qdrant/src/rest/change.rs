//! Changing the configuration of a collection.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Payload, QuantizationConfig};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{
    collections::OptimizersRequest,
    reply::{Body, reply_to_work},
};
use crate::{
    engine::{Engine, Work},
    service::{
        Failure, Hnsw, QuantizationChange, SparseVectorParams, UpdateCollection, VectorChange,
        check::{only_one, refuse_present},
    },
};

pub(super) async fn update(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply_to_work(&engine, Work::Collections, move |service| {
        service.update_collection(&name, body.parse::<UpdateRequest>()?.into_domain()?)?;
        Ok(true)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateRequest {
    vectors: Option<BTreeMap<String, VectorRequest>>,
    sparse_vectors: Option<BTreeMap<String, SparseVectorParams>>,
    params: Option<ParamsRequest>,
    hnsw_config: Option<Hnsw>,
    optimizers_config: Option<OptimizersRequest>,
    quantization_config: Option<QuantizationChange>,
    metadata: Option<Payload>,
    strict_mode_config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorRequest {
    hnsw_config: Option<Hnsw>,
    quantization_config: Option<QuantizationChange>,
    on_disk: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParamsRequest {
    on_disk_payload: Option<bool>,
    replication_factor: Option<u64>,
    write_consistency_factor: Option<u64>,
    read_fan_out_factor: Option<u64>,
    read_fan_out_delay_ms: Option<Value>,
    payload: Option<Value>,
    id_tracker: Option<Value>,
}

impl<'de> Deserialize<'de> for QuantizationChange {
    // By hand, so that a mistake is reported as such and not as "did not match any variant".
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) if text == "Disabled" => Ok(Self::Disable),
            Value::String(text) => Err(de::Error::custom(format!("{text:?} is not \"Disabled\""))),
            config => serde_json::from_value::<QuantizationConfig>(config)
                .map(Self::Set)
                .map_err(de::Error::custom),
        }
    }
}

impl UpdateRequest {
    fn into_domain(self) -> Result<UpdateCollection, Failure> {
        refuse_present(&[("strict_mode_config", self.strict_mode_config.is_some())])?;
        let vectors = self.vectors.unwrap_or_default().into_iter();
        Ok(UpdateCollection {
            vectors: vectors
                .map(|(name, vector)| {
                    let change = VectorChange {
                        hnsw: vector.hnsw_config,
                        quantization: vector.quantization_config,
                        on_disk: vector.on_disk,
                    };
                    (name, change)
                })
                .collect(),
            sparse_vectors: self.sparse_vectors.unwrap_or_default(),
            on_disk_payload: self.params.map(ParamsRequest::into_domain).transpose()?.flatten(),
            hnsw: self.hnsw_config.unwrap_or_default(),
            optimizers: self
                .optimizers_config
                .map(OptimizersRequest::into_domain)
                .transpose()?
                .unwrap_or_default(),
            quantization: self.quantization_config,
            metadata: self.metadata,
        })
    }
}

impl ParamsRequest {
    /// Whether the payload is on the disk: all that a single node can change.
    fn into_domain(self) -> Result<Option<bool>, Failure> {
        only_one(&[
            ("params.replication_factor", self.replication_factor),
            ("params.write_consistency_factor", self.write_consistency_factor),
        ])?;
        refuse_present(&[
            (
                "params.read_fan_out_factor",
                self.read_fan_out_factor.is_some_and(|n| n != 0),
            ),
            (
                "params.read_fan_out_delay_ms",
                self.read_fan_out_delay_ms.is_some(),
            ),
            ("params.payload", self.payload.is_some()),
            ("params.id_tracker", self.id_tracker.is_some()),
        ])?;
        Ok(self.on_disk_payload)
    }
}
