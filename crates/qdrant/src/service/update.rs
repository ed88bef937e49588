//! From what a client asks to write to the engine's operations.
//!
//! Operations that go to the journal name every point by its id: a filter, applied again on a later state after a
//! crash, could hit other points.

use qdrant_edge::{
    CreateIndex, DeletePayloadOp, EdgeShard, FieldIndexOperations, Filter, PayloadOps, PointId, PointIdsList,
    PointInsertOperations, PointOperations, ScrollRequest, SetPayloadOp, UpdateOperation, UpdateVectorsOp,
    VectorOperations, WithPayloadInterface, WithVector,
};

use super::{CollectionConfig, Failure, NewPayload, Selector, Update, check};
use crate::storage::existing_points;

/// Points in one operation made of a filter; bounds the size of a journal record.
const CHUNK: usize = 10_000;

/// Checks an update as far as that needs no look at the points.
pub(super) fn validate(config: &CollectionConfig, update: &mut Update) -> Result<(), Failure> {
    match update {
        Update::Upsert(points) => check::points(config, points),
        Update::SetVectors(points) => {
            check::batch("points", points.len())?;
            points.iter_mut().enumerate().try_for_each(|(i, point)| {
                check::stored_vectors(config, &format!("points[{i}].vector"), &mut point.vector)
            })
        }
        Update::DeleteVectors { points, names } => {
            selector(points)?;
            names
                .iter()
                .try_for_each(|name| check::kind(config, "vector", name).map(drop))
        }
        Update::OverwritePayload(NewPayload { key: Some(_), .. }) => Err(Failure::unsupported(
            "`key` when the payload is overwritten; set the payload instead",
        )),
        Update::Delete(points)
        | Update::ClearPayload(points)
        | Update::SetPayload(NewPayload { points, .. })
        | Update::OverwritePayload(NewPayload { points, .. })
        | Update::DeletePayload { points, .. } => selector(points),
        Update::CreateIndex { .. } | Update::DeleteIndex(_) => Ok(()),
    }
}

fn selector(selector: &Selector) -> Result<(), Failure> {
    match selector {
        Selector::Ids(ids) => check::batch("points", ids.len()),
        Selector::Filter(filter) => check::filter(Some(filter)),
    }
}

/// The operations that carry out an update, made while no other write runs.
pub(super) fn plan(engine: &EdgeShard, update: Update) -> Result<Vec<UpdateOperation>, Failure> {
    let operations = match update {
        Update::Upsert(points) => {
            let points = PointInsertOperations::PointsList(points);
            vec![UpdateOperation::PointOperation(PointOperations::UpsertPoints(
                points,
            ))]
        }
        // Points that do not exist are deleted already.
        Update::Delete(Selector::Ids(ids)) => vec![delete(ids)],
        Update::Delete(Selector::Filter(filter)) => {
            matching(engine, &filter)?.into_iter().map(delete).collect()
        }
        Update::SetVectors(points) => {
            all_exist(engine, &points.iter().map(|point| point.id).collect::<Vec<_>>())?;
            let update = UpdateVectorsOp {
                points,
                update_filter: None,
            };
            vec![UpdateOperation::VectorOperation(VectorOperations::UpdateVectors(
                update,
            ))]
        }
        Update::DeleteVectors { points, names } => each(engine, points, |points| {
            let points = PointIdsList { points };
            UpdateOperation::VectorOperation(VectorOperations::DeleteVectors(points, names.clone()))
        })?,
        Update::SetPayload(new) => new_payload(engine, new, PayloadOps::SetPayload)?,
        Update::OverwritePayload(new) => new_payload(engine, new, PayloadOps::OverwritePayload)?,
        Update::DeletePayload { points, keys } => payload_ops(engine, points, |points| {
            PayloadOps::DeletePayload(DeletePayloadOp {
                keys: keys.clone(),
                points: Some(points),
                filter: None,
            })
        })?,
        Update::ClearPayload(points) => {
            payload_ops(engine, points, |points| PayloadOps::ClearPayload { points })?
        }
        Update::CreateIndex { field, schema } => {
            let index = CreateIndex {
                field_name: field,
                field_schema: Some(schema),
            };
            vec![UpdateOperation::FieldIndexOperation(
                FieldIndexOperations::CreateIndex(index),
            )]
        }
        Update::DeleteIndex(field) => {
            vec![UpdateOperation::FieldIndexOperation(
                FieldIndexOperations::DeleteIndex(field),
            )]
        }
    };
    Ok(operations)
}

fn delete(ids: Vec<PointId>) -> UpdateOperation {
    UpdateOperation::PointOperation(PointOperations::DeletePoints { ids })
}

fn new_payload(
    engine: &EdgeShard,
    new: NewPayload,
    make: fn(SetPayloadOp) -> PayloadOps,
) -> Result<Vec<UpdateOperation>, Failure> {
    let NewPayload { points, payload, key } = new;
    payload_ops(engine, points, |points| {
        make(SetPayloadOp {
            payload: payload.clone(),
            points: Some(points),
            filter: None,
            key: key.clone(),
        })
    })
}

fn payload_ops(
    engine: &EdgeShard,
    points: Selector,
    make: impl Fn(Vec<PointId>) -> PayloadOps,
) -> Result<Vec<UpdateOperation>, Failure> {
    each(engine, points, |ids| UpdateOperation::PayloadOperation(make(ids)))
}

/// One operation for points given by id, which must exist, or one for each chunk of those that match a filter.
fn each(
    engine: &EdgeShard,
    points: Selector,
    make: impl Fn(Vec<PointId>) -> UpdateOperation,
) -> Result<Vec<UpdateOperation>, Failure> {
    match points {
        Selector::Ids(ids) => {
            all_exist(engine, &ids)?;
            Ok(vec![make(ids)])
        }
        Selector::Filter(filter) => Ok(matching(engine, &filter)?.into_iter().map(make).collect()),
    }
}

fn all_exist(engine: &EdgeShard, ids: &[PointId]) -> Result<(), Failure> {
    let existing = existing_points(engine, ids)?;
    match ids.iter().find(|id| !existing.contains(id)) {
        Some(missing) => Err(Failure::NotFound(format!("No point with id {missing}"))),
        None => Ok(()),
    }
}

/// The ids of all points that match, in chunks.
fn matching(engine: &EdgeShard, filter: &Filter) -> Result<Vec<Vec<PointId>>, Failure> {
    let mut chunks = Vec::new();
    let mut offset = None;
    loop {
        let page = ScrollRequest {
            offset,
            limit: Some(CHUNK),
            filter: Some(filter.clone()),
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: WithVector::Bool(false),
            order_by: None,
        };
        let (records, next) = engine.scroll(page)?;
        if !records.is_empty() {
            chunks.push(records.into_iter().map(|record| record.id).collect());
        }
        match next {
            Some(next) => offset = Some(next),
            None => return Ok(chunks),
        }
    }
}
