//! Writes.

use std::collections::HashMap;

use qdrant_client::qdrant as pb;
use qdrant_edge::PointVectorsPersisted;

use super::{
    filter::filter,
    pb::{points_selector::PointsSelectorOneOf, points_update_operation::Operation},
    values::{path, payload, point_id, point_ids, points, required, stored_vectors},
};
use crate::service::{Failure, NewPayload, Selector, Update, check::refuse_present};

pub(super) fn selector(field: &str, selector: Option<pb::PointsSelector>) -> Result<Selector, Failure> {
    match required(
        field,
        selector.and_then(|selector| selector.points_selector_one_of),
    )? {
        PointsSelectorOneOf::Points(list) => point_ids(field, list.ids).map(Selector::Ids),
        PointsSelectorOneOf::Filter(one) => Ok(Selector::Filter(filter(Some(one))?.unwrap_or_default())),
    }
}

pub(super) fn upsert(
    list: Vec<pb::PointStruct>,
    shard_key: bool,
    update_filter: bool,
    update_mode: Option<i32>,
) -> Result<Update, Failure> {
    refuse_present(&[
        ("shard_key_selector", shard_key),
        ("update_filter", update_filter),
        (
            "update_mode",
            update_mode.is_some_and(|mode| mode != pb::UpdateMode::Upsert as i32),
        ),
    ])?;
    points(list).map(Update::Upsert)
}

pub(super) fn update_vectors(
    points: Vec<pb::PointVectors>,
    shard_key: bool,
    update_filter: bool,
) -> Result<Update, Failure> {
    refuse_present(&[
        ("shard_key_selector", shard_key),
        ("update_filter", update_filter),
    ])?;
    let point = |(i, point): (usize, pb::PointVectors)| {
        Ok(PointVectorsPersisted {
            id: point_id(&format!("points[{i}].id"), point.id)?,
            vector: stored_vectors(&format!("points[{i}].vectors"), point.vectors)?,
        })
    };
    points
        .into_iter()
        .enumerate()
        .map(point)
        .collect::<Result<_, _>>()
        .map(Update::SetVectors)
}

pub(super) fn delete_vectors(
    points: Option<pb::PointsSelector>,
    vectors: Option<pb::VectorsSelector>,
    shard_key: bool,
) -> Result<Update, Failure> {
    refuse_present(&[("shard_key_selector", shard_key)])?;
    let names = required("vectors", vectors)?.names;
    Ok(Update::DeleteVectors {
        points: selector("points_selector", points)?,
        names,
    })
}

/// What a call sets or overwrites.
pub(super) fn new_payload_of(request: pb::SetPayloadPoints) -> Result<NewPayload, Failure> {
    new_payload(
        request.payload,
        request.points_selector,
        request.key,
        request.shard_key_selector.is_some(),
    )
}

fn new_payload(
    fields: HashMap<String, pb::Value>,
    points: Option<pb::PointsSelector>,
    key: Option<String>,
    shard_key: bool,
) -> Result<NewPayload, Failure> {
    refuse_present(&[("shard_key_selector", shard_key)])?;
    Ok(NewPayload {
        points: selector("points_selector", points)?,
        payload: payload(fields)?,
        key: key.map(|key| path("key", &key)).transpose()?,
    })
}

pub(super) fn delete_payload(
    keys: Vec<String>,
    points: Option<pb::PointsSelector>,
    shard_key: bool,
) -> Result<Update, Failure> {
    refuse_present(&[("shard_key_selector", shard_key)])?;
    let keys = keys
        .iter()
        .map(|key| path("keys", key))
        .collect::<Result<_, _>>()?;
    Ok(Update::DeletePayload {
        points: selector("points_selector", points)?,
        keys,
    })
}

pub(super) fn clear_payload(points: Option<pb::PointsSelector>, shard_key: bool) -> Result<Update, Failure> {
    refuse_present(&[("shard_key_selector", shard_key)])?;
    selector("points", points).map(Update::ClearPayload)
}

pub(super) fn delete(points: Option<pb::PointsSelector>, shard_key: bool) -> Result<Update, Failure> {
    refuse_present(&[("shard_key_selector", shard_key)])?;
    selector("points", points).map(Update::Delete)
}

/// One operation of a batch.
pub(super) fn operation(operation: pb::PointsUpdateOperation) -> Result<Update, Failure> {
    match required("operations: operation", operation.operation)? {
        Operation::Upsert(op) => upsert(
            op.points,
            op.shard_key_selector.is_some(),
            op.update_filter.is_some(),
            op.update_mode,
        ),
        Operation::SetPayload(op) => new_payload(
            op.payload,
            op.points_selector,
            op.key,
            op.shard_key_selector.is_some(),
        )
        .map(Update::SetPayload),
        Operation::OverwritePayload(op) => new_payload(
            op.payload,
            op.points_selector,
            op.key,
            op.shard_key_selector.is_some(),
        )
        .map(Update::OverwritePayload),
        Operation::DeletePayload(op) => {
            delete_payload(op.keys, op.points_selector, op.shard_key_selector.is_some())
        }
        Operation::UpdateVectors(op) => update_vectors(
            op.points,
            op.shard_key_selector.is_some(),
            op.update_filter.is_some(),
        ),
        Operation::DeleteVectors(op) => {
            delete_vectors(op.points_selector, op.vectors, op.shard_key_selector.is_some())
        }
        Operation::DeletePoints(op) => delete(op.points, op.shard_key_selector.is_some()),
        Operation::ClearPayload(op) => clear_payload(op.points, op.shard_key_selector.is_some()),
        #[allow(deprecated)] // what old clients send
        Operation::DeleteDeprecated(points) => delete(Some(points), false),
        #[allow(deprecated)]
        Operation::ClearPayloadDeprecated(points) => clear_payload(Some(points), false),
    }
}
