//! Ids, payloads and vectors.

use std::collections::HashMap;

use qdrant_client::qdrant as pb;
use qdrant_edge::{
    JsonPath, OrderValue, Payload, PointId, PointStructPersisted, Record, ScoredPoint, SparseVector,
    VectorInternal, VectorPersisted, VectorStructInternal, VectorStructPersisted, WithPayloadInterface,
    WithVector,
};
use serde_json::{Map, Value};

use super::pb::{
    order_value, point_id::PointIdOptions, value::Kind, vector, vector_output, vectors::VectorsOptions,
    vectors_output, with_payload_selector::SelectorOptions as PayloadOptions,
    with_vectors_selector::SelectorOptions as VectorOptions,
};
use crate::service::Failure;

pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Invalid(format!("{field}: is required")))
}

/// A number for which this machine has room.
pub(super) fn size(field: &str, value: u64) -> Result<usize, Failure> {
    usize::try_from(value).map_err(|_| Failure::Invalid(format!("{field}: {value} is too large")))
}

pub(super) fn path(field: &str, text: &str) -> Result<JsonPath, Failure> {
    text.parse()
        .map_err(|()| Failure::Invalid(format!("{field}: {text:?} is not a path in a payload")))
}

pub(super) fn point_id(field: &str, id: Option<pb::PointId>) -> Result<PointId, Failure> {
    match required(field, id.and_then(|id| id.point_id_options))? {
        PointIdOptions::Num(number) => Ok(PointId::NumId(number)),
        PointIdOptions::Uuid(text) => text
            .parse()
            .map(PointId::Uuid)
            .map_err(|_| Failure::Invalid(format!("{field}: {text:?} is not a UUID"))),
    }
}

pub(super) fn point_ids(field: &str, ids: Vec<pb::PointId>) -> Result<Vec<PointId>, Failure> {
    ids.into_iter()
        .enumerate()
        .map(|(i, id)| point_id(&format!("{field}[{i}]"), Some(id)))
        .collect()
}

pub(super) fn point_id_out(id: PointId) -> pb::PointId {
    let options = match id {
        PointId::NumId(number) => PointIdOptions::Num(number),
        PointId::Uuid(uuid) => PointIdOptions::Uuid(uuid.to_string()),
    };
    pb::PointId {
        point_id_options: Some(options),
    }
}

pub(super) fn payload(fields: HashMap<String, pb::Value>) -> Result<Payload, Failure> {
    let fields = fields.into_iter().map(|(key, value)| {
        let value = json(&key, value)?;
        Ok((key, value))
    });
    Ok(Payload(fields.collect::<Result<Map<_, _>, Failure>>()?))
}

pub(super) fn json(field: &str, value: pb::Value) -> Result<Value, Failure> {
    Ok(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => flag.into(),
        Some(Kind::IntegerValue(number)) => number.into(),
        Some(Kind::DoubleValue(number)) => serde_json::Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| Failure::Invalid(format!("payload.{field}: {number} is not a finite number")))?,
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => Value::Array(
            list.values
                .into_iter()
                .map(|value| json(field, value))
                .collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(object)) => {
            let fields = object.fields.into_iter().map(|(key, value)| {
                let value = json(field, value)?;
                Ok((key, value))
            });
            Value::Object(fields.collect::<Result<_, Failure>>()?)
        }
    })
}

pub(super) fn payload_out(payload: Option<Payload>) -> HashMap<String, pb::Value> {
    payload
        .into_iter()
        .flat_map(|payload| payload.0)
        .map(|(key, value)| (key, value.into()))
        .collect()
}

fn inference() -> Failure {
    Failure::unsupported("inference: there are no models here, compute the vector in the client")
}

/// A vector in the old form of flat numbers, or in the new one.
pub(super) fn stored_vector(field: &str, vector: pb::Vector) -> Result<VectorPersisted, Failure> {
    match vector.vector {
        Some(vector::Vector::Dense(dense)) => Ok(VectorPersisted::Dense(dense.data)),
        Some(vector::Vector::Sparse(sparse)) => Ok(VectorPersisted::Sparse(SparseVector {
            indices: sparse.indices,
            values: sparse.values,
        })),
        Some(vector::Vector::MultiDense(multi)) => Ok(VectorPersisted::MultiDense(rows(multi))),
        Some(vector::Vector::Document(_) | vector::Vector::Image(_) | vector::Vector::Object(_)) => {
            Err(inference())
        }
        None => {
            #[allow(deprecated)] // what clients before 1.16 send
            let (data, indices, count) = (vector.data, vector.indices, vector.vectors_count);
            match (indices, count) {
                (Some(indices), _) => Ok(VectorPersisted::Sparse(SparseVector {
                    indices: indices.data,
                    values: data,
                })),
                (None, Some(count)) if count > 0 => {
                    let dim = data.len() / count as usize;
                    if dim == 0 || !data.len().is_multiple_of(count as usize) {
                        let text = format!("{field}: {} numbers do not make {count} vectors", data.len());
                        return Err(Failure::Invalid(text));
                    }
                    Ok(VectorPersisted::MultiDense(
                        data.chunks(dim).map(<[f32]>::to_vec).collect(),
                    ))
                }
                _ => Ok(VectorPersisted::Dense(data)),
            }
        }
    }
}

pub(super) fn rows(multi: pb::MultiDenseVector) -> Vec<Vec<f32>> {
    multi.vectors.into_iter().map(|row| row.data).collect()
}

pub(super) fn stored_vectors(
    field: &str,
    vectors: Option<pb::Vectors>,
) -> Result<VectorStructPersisted, Failure> {
    match vectors.and_then(|vectors| vectors.vectors_options) {
        // Points may come without vectors.
        None => Ok(VectorStructPersisted::Named(HashMap::new())),
        Some(VectorsOptions::Vector(vector)) => Ok(match stored_vector(field, vector)? {
            VectorPersisted::Dense(values) => VectorStructPersisted::Single(values),
            VectorPersisted::MultiDense(rows) => VectorStructPersisted::MultiDense(rows),
            sparse @ VectorPersisted::Sparse(_) => {
                VectorStructPersisted::Named(HashMap::from([(String::new(), sparse)]))
            }
        }),
        Some(VectorsOptions::Vectors(named)) => {
            let vectors = named.vectors.into_iter().map(|(name, vector)| {
                let vector = stored_vector(&format!("{field}.{name}"), vector)?;
                Ok((name, vector))
            });
            Ok(VectorStructPersisted::Named(
                vectors.collect::<Result<_, Failure>>()?,
            ))
        }
    }
}

pub(super) fn points(points: Vec<pb::PointStruct>) -> Result<Vec<PointStructPersisted>, Failure> {
    let point = |(i, point): (usize, pb::PointStruct)| {
        Ok(PointStructPersisted {
            id: point_id(&format!("points[{i}].id"), point.id)?,
            vector: stored_vectors(&format!("points[{i}].vectors"), point.vectors)?,
            payload: Some(payload(point.payload)?),
        })
    };
    points.into_iter().enumerate().map(point).collect()
}

fn vector_out(vector: VectorInternal) -> pb::VectorOutput {
    let vector = match vector {
        VectorInternal::Dense(data) => vector_output::Vector::Dense(pb::DenseVector { data }),
        VectorInternal::Sparse(SparseVector { indices, values }) => {
            vector_output::Vector::Sparse(pb::SparseVector { values, indices })
        }
        VectorInternal::MultiDense(multi) => vector_output::Vector::MultiDense(pb::MultiDenseVector {
            vectors: multi
                .into_multi_vectors()
                .into_iter()
                .map(|data| pb::DenseVector { data })
                .collect(),
        }),
    };
    pb::VectorOutput {
        vector: Some(vector),
        ..Default::default()
    }
}

fn vectors_out(vectors: VectorStructInternal) -> pb::VectorsOutput {
    let options = match vectors {
        VectorStructInternal::Single(values) => {
            vectors_output::VectorsOptions::Vector(vector_out(VectorInternal::Dense(values)))
        }
        VectorStructInternal::MultiDense(multi) => {
            vectors_output::VectorsOptions::Vector(vector_out(VectorInternal::MultiDense(multi)))
        }
        VectorStructInternal::Named(named) => {
            let vectors = named
                .into_iter()
                .map(|(name, vector)| (name, vector_out(vector)))
                .collect();
            vectors_output::VectorsOptions::Vectors(pb::NamedVectorsOutput { vectors })
        }
    };
    pb::VectorsOutput {
        vectors_options: Some(options),
    }
}

fn order_value_out(value: OrderValue) -> pb::OrderValue {
    let variant = match value {
        OrderValue::Int(number) => order_value::Variant::Int(number),
        OrderValue::Float(number) => order_value::Variant::Float(number),
    };
    pb::OrderValue {
        variant: Some(variant),
    }
}

pub(super) fn record_out(record: Record) -> pb::RetrievedPoint {
    pb::RetrievedPoint {
        id: Some(point_id_out(record.id)),
        payload: payload_out(record.payload),
        vectors: record.vector.map(vectors_out),
        shard_key: None,
        order_value: record.order_value.map(order_value_out),
    }
}

pub(super) fn scored_out(points: Vec<ScoredPoint>) -> Vec<pb::ScoredPoint> {
    let out = |point: ScoredPoint| pb::ScoredPoint {
        id: Some(point_id_out(point.id)),
        payload: payload_out(point.payload),
        score: point.score,
        version: point.version,
        vectors: point.vector.map(vectors_out),
        shard_key: None,
        order_value: point.order_value.map(order_value_out),
    };
    points.into_iter().map(out).collect()
}

pub(super) fn with_payload(
    selector: Option<pb::WithPayloadSelector>,
    default: bool,
) -> Result<WithPayloadInterface, Failure> {
    let paths = |fields: Vec<String>| {
        fields
            .iter()
            .map(|field| path("with_payload", field))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match selector.and_then(|selector| selector.selector_options) {
        None => WithPayloadInterface::Bool(default),
        Some(PayloadOptions::Enable(enable)) => WithPayloadInterface::Bool(enable),
        Some(PayloadOptions::Include(include)) => WithPayloadInterface::Fields(paths(include.fields)?),
        Some(PayloadOptions::Exclude(exclude)) => {
            let selector = qdrant_edge::PayloadSelector::new_exclude(paths(exclude.fields)?);
            WithPayloadInterface::Selector(selector)
        }
    })
}

pub(super) fn with_vectors(selector: Option<pb::WithVectorsSelector>) -> WithVector {
    match selector.and_then(|selector| selector.selector_options) {
        None => WithVector::Bool(false),
        Some(VectorOptions::Enable(enable)) => WithVector::Bool(enable),
        Some(VectorOptions::Include(include)) => WithVector::Selector(include.names),
    }
}
