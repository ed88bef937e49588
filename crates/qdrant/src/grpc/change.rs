//! Changes of a collection's configuration, and of aliases.
#![allow(deprecated)] // `on_disk` is what clients before 1.20 send

use qdrant_client::qdrant as pb;

use super::{
    config,
    pb::{
        alias_operations::Action, quantization_config::Quantization, quantization_config_diff as diff,
        vectors_config_diff,
    },
    values::{payload, required},
};
use crate::service::{
    AliasAction, Failure, QuantizationChange, UpdateCollection, VectorChange,
    check::{only_one, refuse_present},
};

pub(super) fn update(request: pb::UpdateCollection) -> Result<UpdateCollection, Failure> {
    refuse_present(&[("strict_mode_config", request.strict_mode_config.is_some())])?;
    let vectors = match request.vectors_config.and_then(|config| config.config) {
        None => Vec::new(),
        Some(vectors_config_diff::Config::Params(params)) => vec![(String::new(), params)],
        Some(vectors_config_diff::Config::ParamsMap(map)) => map.map.into_iter().collect(),
    };
    let sparse = request.sparse_vectors_config.map(|config| config.map);
    Ok(UpdateCollection {
        vectors: vectors
            .into_iter()
            .map(|(name, params)| {
                let change = vector(&format!("vectors_config.{name}"), params)?;
                Ok((name, change))
            })
            .collect::<Result<_, Failure>>()?,
        sparse_vectors: sparse
            .unwrap_or_default()
            .into_iter()
            .map(|(name, params)| {
                let params = config::sparse(&format!("sparse_vectors_config.{name}"), params)?;
                Ok((name, params))
            })
            .collect::<Result<_, Failure>>()?,
        on_disk_payload: request.params.map(params).transpose()?.flatten(),
        hnsw: request
            .hnsw_config
            .map(|hnsw| config::hnsw("hnsw_config", hnsw))
            .transpose()?
            .unwrap_or_default(),
        optimizers: request
            .optimizers_config
            .map(config::optimizers)
            .transpose()?
            .unwrap_or_default(),
        quantization: request
            .quantization_config
            .map(|diff| quantization("quantization_config", diff))
            .transpose()?,
        metadata: if request.metadata.is_empty() {
            None
        } else {
            Some(payload(request.metadata)?)
        },
    })
}

/// Whether the payload is on the disk: all that a single node can change.
fn params(params: pb::CollectionParamsDiff) -> Result<Option<bool>, Failure> {
    only_one(&[
        (
            "params.replication_factor",
            params.replication_factor.map(u64::from),
        ),
        (
            "params.write_consistency_factor",
            params.write_consistency_factor.map(u64::from),
        ),
    ])?;
    refuse_present(&[
        (
            "params.read_fan_out_factor",
            params.read_fan_out_factor.is_some_and(|n| n != 0),
        ),
        (
            "params.read_fan_out_delay_ms",
            params.read_fan_out_delay_ms.is_some(),
        ),
        ("params.payload", params.payload.is_some()),
        ("params.id_tracker", params.id_tracker.is_some()),
    ])?;
    Ok(params.on_disk_payload)
}

fn vector(field: &str, params: pb::VectorParamsDiff) -> Result<VectorChange, Failure> {
    refuse_present(&[("vectors_config.memory", params.memory.is_some())])?;
    Ok(VectorChange {
        hnsw: params
            .hnsw_config
            .map(|hnsw| config::hnsw(&format!("{field}.hnsw_config"), hnsw))
            .transpose()?,
        quantization: params
            .quantization_config
            .map(|diff| quantization(&format!("{field}.quantization_config"), diff))
            .transpose()?,
        on_disk: params.on_disk,
    })
}

fn quantization(field: &str, diff: pb::QuantizationConfigDiff) -> Result<QuantizationChange, Failure> {
    let quantization = match required(field, diff.quantization)? {
        diff::Quantization::Disabled(_) => return Ok(QuantizationChange::Disable),
        diff::Quantization::Scalar(q) => Quantization::Scalar(q),
        diff::Quantization::Product(q) => Quantization::Product(q),
        diff::Quantization::Binary(q) => Quantization::Binary(q),
        diff::Quantization::Turboquant(q) => Quantization::Turboquant(q),
    };
    let config = pb::QuantizationConfig {
        quantization: Some(quantization),
    };
    config::quantization(field, config).map(QuantizationChange::Set)
}

pub(super) fn aliases(actions: Vec<pb::AliasOperations>) -> Result<Vec<AliasAction>, Failure> {
    actions
        .into_iter()
        .enumerate()
        .map(|(i, operation)| {
            Ok(
                match required(&format!("actions[{i}].action"), operation.action)? {
                    Action::CreateAlias(create) => AliasAction::Create {
                        alias: create.alias_name,
                        collection: create.collection_name,
                    },
                    Action::RenameAlias(rename) => AliasAction::Rename {
                        old: rename.old_alias_name,
                        new: rename.new_alias_name,
                    },
                    Action::DeleteAlias(delete) => AliasAction::Delete(delete.alias_name),
                },
            )
        })
        .collect()
}
