//! Bodies of the requests that write, in the shape of Qdrant's REST API.

use std::collections::HashMap;

use qdrant_edge::{
    Filter, JsonPath, Payload, PointId, PointStructPersisted, PointVectorsPersisted, VectorPersisted,
    VectorStructPersisted,
};
use serde::Deserialize;
use serde_json::Value;

use crate::service::{Failure, NewPayload, Selector, Update, check::refuse_present};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Upsert {
    points: Option<Vec<PointStructPersisted>>,
    batch: Option<Batch>,
    shard_key: Option<Value>,
    update_filter: Option<Value>,
    update_mode: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    ids: Vec<PointId>,
    vectors: BatchVectors,
    payloads: Option<Vec<Option<Payload>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum BatchVectors {
    Dense(Vec<Vec<f32>>),
    Multi(Vec<Vec<Vec<f32>>>),
    Named(HashMap<String, Vec<VectorPersisted>>),
}

impl Upsert {
    pub(super) fn into_update(self) -> Result<Update, Failure> {
        refuse_present(&[
            ("shard_key", self.shard_key.is_some()),
            ("update_filter", self.update_filter.is_some()),
            (
                "update_mode",
                self.update_mode.is_some_and(|mode| mode != "upsert"),
            ),
        ])?;
        match (self.points, self.batch) {
            (Some(points), None) => Ok(Update::Upsert(points)),
            (None, Some(batch)) => batch.into_points().map(Update::Upsert),
            _ => Err(Failure::invalid(
                "exactly one of `points` and `batch` is required",
            )),
        }
    }
}

impl Batch {
    fn into_points(self) -> Result<Vec<PointStructPersisted>, Failure> {
        let count = self.ids.len();
        let same = |field: &str, len: usize| {
            if len == count {
                return Ok(());
            }
            Err(Failure::Invalid(format!(
                "batch.{field}: there are {count} ids but {len} of these"
            )))
        };
        let vectors: Vec<_> = match self.vectors {
            BatchVectors::Dense(vectors) => vectors.into_iter().map(VectorStructPersisted::Single).collect(),
            BatchVectors::Multi(vectors) => vectors
                .into_iter()
                .map(VectorStructPersisted::MultiDense)
                .collect(),
            BatchVectors::Named(named) => {
                let mut points = vec![HashMap::new(); count];
                for (name, vectors) in named {
                    same(&format!("vectors.{name}"), vectors.len())?;
                    for (point, vector) in points.iter_mut().zip(vectors) {
                        point.insert(name.clone(), vector);
                    }
                }
                points.into_iter().map(VectorStructPersisted::Named).collect()
            }
        };
        same("vectors", vectors.len())?;
        let payloads = self.payloads.unwrap_or_else(|| vec![None; count]);
        same("payloads", payloads.len())?;
        let points = self.ids.into_iter().zip(vectors).zip(payloads);
        Ok(points
            .map(|((id, vector), payload)| PointStructPersisted { id, vector, payload })
            .collect())
    }
}

/// For `delete` and `clear payload`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Points {
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<Value>,
}

impl Points {
    pub(super) fn into_selector(self) -> Result<Selector, Failure> {
        selector(self.points, self.filter, self.shard_key)
    }
}

fn selector(
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<Value>,
) -> Result<Selector, Failure> {
    refuse_present(&[("shard_key", shard_key.is_some())])?;
    match (points, filter) {
        // As in Qdrant, ids win.
        (Some(ids), _) => Ok(Selector::Ids(ids)),
        (None, Some(filter)) => Ok(Selector::Filter(filter)),
        (None, None) => Err(Failure::invalid("either `points` or `filter` is required")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPayload {
    payload: Payload,
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<Value>,
    key: Option<JsonPath>,
}

impl SetPayload {
    pub(super) fn into_set(self) -> Result<Update, Failure> {
        self.into_new().map(Update::SetPayload)
    }

    pub(super) fn into_overwrite(self) -> Result<Update, Failure> {
        self.into_new().map(Update::OverwritePayload)
    }

    fn into_new(self) -> Result<NewPayload, Failure> {
        Ok(NewPayload {
            points: selector(self.points, self.filter, self.shard_key)?,
            payload: self.payload,
            key: self.key,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeletePayload {
    keys: Vec<JsonPath>,
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<Value>,
}

impl DeletePayload {
    pub(super) fn into_update(self) -> Result<Update, Failure> {
        let points = selector(self.points, self.filter, self.shard_key)?;
        Ok(Update::DeletePayload {
            points,
            keys: self.keys,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateVectors {
    points: Vec<PointVectorsPersisted>,
    shard_key: Option<Value>,
    update_filter: Option<Value>,
}

impl UpdateVectors {
    pub(super) fn into_update(self) -> Result<Update, Failure> {
        refuse_present(&[
            ("shard_key", self.shard_key.is_some()),
            ("update_filter", self.update_filter.is_some()),
        ])?;
        Ok(Update::SetVectors(self.points))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteVectors {
    vector: Vec<String>,
    points: Option<Vec<PointId>>,
    filter: Option<Filter>,
    shard_key: Option<Value>,
}

impl DeleteVectors {
    pub(super) fn into_update(self) -> Result<Update, Failure> {
        let points = selector(self.points, self.filter, self.shard_key)?;
        Ok(Update::DeleteVectors {
            points,
            names: self.vector,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operations {
    pub(super) operations: Vec<Operation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Operation {
    Upsert(Upsert),
    Delete(Points),
    SetPayload(SetPayload),
    OverwritePayload(SetPayload),
    DeletePayload(DeletePayload),
    ClearPayload(Points),
    UpdateVectors(UpdateVectors),
    DeleteVectors(DeleteVectors),
}

impl Operation {
    pub(super) fn into_update(self) -> Result<Update, Failure> {
        match self {
            Self::Upsert(upsert) => upsert.into_update(),
            Self::Delete(points) => points.into_selector().map(Update::Delete),
            Self::SetPayload(payload) => payload.into_set(),
            Self::OverwritePayload(payload) => payload.into_overwrite(),
            Self::DeletePayload(keys) => keys.into_update(),
            Self::ClearPayload(points) => points.into_selector().map(Update::ClearPayload),
            Self::UpdateVectors(vectors) => vectors.into_update(),
            Self::DeleteVectors(vectors) => vectors.into_update(),
        }
    }
}
