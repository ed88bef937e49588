//! Points, their ids and vectors.

use isa_proto::qdrant as pb;
use qdrant_client::qdrant::{
    DenseVector, NamedVectors, PointId, PointStruct, PointsIdsList, PointsSelector, RetrievedPoint,
    ScrollPoints, SparseVector, Vector, VectorOutput, Vectors, VectorsOutput, WithPayloadSelector,
    WithVectorsSelector, WriteOrdering, WriteOrderingType, point_id::PointIdOptions,
    points_selector::PointsSelectorOneOf, vector, vector_output, vectors, vectors_output,
    with_payload_selector, with_vectors_selector,
};
use uuid::Uuid;

use super::{
    MAX_BATCH, bounded, filter,
    payload::{payload, read_payload},
};
use crate::qdrant::{names, service::Error};

/// Points of a page where a request does not say how many.
const DEFAULT_PAGE: u32 = 10;

fn number(num: u64) -> PointId {
    PointId {
        point_id_options: Some(PointIdOptions::Num(num)),
    }
}

fn text(field: impl Fn() -> String, text: &str) -> Result<PointId, Error> {
    let uuid: Uuid = text
        .parse()
        .map_err(|_| Error::invalid(field(), "is neither a number nor a UUID"))?;
    Ok(PointId {
        // In small letters with dashes.
        point_id_options: Some(PointIdOptions::Uuid(uuid.to_string())),
    })
}

/// The id of a point.
pub(super) fn id(field: &str, given: &pb::PointId) -> Result<PointId, Error> {
    match &given.id {
        Some(pb::point_id::Id::Num(num)) => Ok(number(*num)),
        Some(pb::point_id::Id::Str(uuid)) => text(|| field.to_owned(), uuid),
        None => Err(Error::invalid(field.to_owned(), "is empty")),
    }
}

/// Ids, as many as a request may have.
pub(super) fn ids(field: &str, given: &[pb::PointId]) -> Result<Vec<PointId>, Error> {
    bounded(field, given.len())?;
    let one = |(i, given): (usize, &pb::PointId)| match &given.id {
        Some(pb::point_id::Id::Str(uuid)) => text(|| format!("{field}.{i}"), uuid),
        Some(pb::point_id::Id::Num(num)) => Ok(number(*num)),
        None => Err(Error::invalid(format!("{field}.{i}"), "is empty")),
    };
    given.iter().enumerate().map(one).collect()
}

/// Ids, at least one.
pub(in crate::qdrant) fn ids_given(
    field: &'static str,
    given: &[pb::PointId],
) -> Result<Vec<PointId>, Error> {
    if given.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    ids(field, given)
}

pub(in crate::qdrant) fn read_id(id: PointId) -> Option<pb::PointId> {
    let id = match id.point_id_options? {
        PointIdOptions::Num(num) => pb::point_id::Id::Num(num),
        PointIdOptions::Uuid(uuid) => pb::point_id::Id::Str(uuid),
    };
    Some(pb::PointId { id: Some(id) })
}

/// Points by ids or by a filter.
pub(in crate::qdrant) fn selector(
    by_ids: Option<pb::PointIdList>,
    by_filter: Option<pb::Filter>,
) -> Result<PointsSelector, Error> {
    let one_of = match (by_ids, by_filter) {
        (Some(list), _) => PointsSelectorOneOf::Points(PointsIdsList {
            ids: ids_given("ids", &list.ids)?,
        }),
        (None, Some(given)) => PointsSelectorOneOf::Filter(filter::required_filter(given)?),
        (None, None) => return Err(Error::invalid("selector", "is missing: give ids or a filter")),
    };
    Ok(PointsSelector {
        points_selector_one_of: Some(one_of),
    })
}

/// A page in the order of ids.
pub(in crate::qdrant) fn page(given: pb::ScrollRequest) -> Result<ScrollPoints, Error> {
    let limit = match given.limit {
        None | Some(0) => DEFAULT_PAGE,
        Some(limit) => limit,
    };
    if limit as usize > MAX_BATCH {
        return Err(Error::invalid(
            "limit",
            format!("is {limit}, and may be {MAX_BATCH}"),
        ));
    }
    Ok(ScrollPoints {
        filter: filter::filter(given.filter)?,
        offset: given.offset.map(|given| id("offset", &given)).transpose()?,
        limit: Some(limit),
        with_payload: Some(with_payload(given.with_payload.unwrap_or(true))),
        with_vectors: Some(with_vectors(given.with_vectors.unwrap_or(false))),
        ..Default::default()
    })
}

/// Points to be written. Their vectors are not looked at, but moved.
pub(in crate::qdrant) fn points(given: Vec<pb::Point>) -> Result<Vec<PointStruct>, Error> {
    if given.is_empty() {
        return Err(Error::invalid("points", "is empty"));
    }
    bounded("points", given.len())?;
    given
        .into_iter()
        .enumerate()
        .map(|(i, given)| point(i, given))
        .collect()
}

fn point(i: usize, given: pb::Point) -> Result<PointStruct, Error> {
    let id = match given.id {
        Some(pb::point::Id::NumId(num)) => number(num),
        Some(pb::point::Id::StrId(uuid)) => text(|| format!("points.{i}.str_id"), &uuid)?,
        None => return Err(Error::invalid(format!("points.{i}.id"), "is missing")),
    };
    let vectors = match given.vectors {
        Some(pb::point::Vectors::Vector(given)) => Some(vectors::VectorsOptions::Vector(vector(given))),
        Some(pb::point::Vectors::NamedVectors(named)) => {
            let named = named.vectors.into_iter();
            Some(vectors::VectorsOptions::Vectors(NamedVectors {
                vectors: named.map(|(name, given)| (name, vector(given))).collect(),
            }))
        }
        None => None,
    };
    let payload = match given.payload {
        Some(given) => payload(&format!("points.{i}.payload"), given)?,
        None => Default::default(),
    };
    Ok(PointStruct {
        id: Some(id),
        payload,
        vectors: vectors.map(|options| Vectors {
            vectors_options: Some(options),
        }),
    })
}

fn vector(given: pb::Vector) -> Vector {
    let vector = if given.indices.is_empty() {
        vector::Vector::Dense(DenseVector { data: given.data })
    } else {
        vector::Vector::Sparse(SparseVector {
            values: given.data,
            indices: given.indices,
        })
    };
    Vector {
        vector: Some(vector),
        ..Default::default()
    }
}

/// A vector that the contract has no form for is `None`: one of several rows, which only Qdrant's own clients write.
fn read_vector(stored: VectorOutput) -> Option<pb::Vector> {
    match stored.into_vector() {
        vector_output::Vector::Dense(dense) => Some(pb::Vector {
            data: dense.data,
            indices: Vec::new(),
        }),
        vector_output::Vector::Sparse(sparse) => Some(pb::Vector {
            data: sparse.values,
            indices: sparse.indices,
        }),
        vector_output::Vector::MultiDense(_) => None,
    }
}

fn read_vectors(stored: VectorsOutput) -> Option<pb::point::Vectors> {
    match stored.vectors_options? {
        vectors_output::VectorsOptions::Vector(stored) => read_vector(stored).map(pb::point::Vectors::Vector),
        vectors_output::VectorsOptions::Vectors(named) => {
            let named = named.vectors.into_iter();
            Some(pb::point::Vectors::NamedVectors(pb::NamedVectors {
                vectors: named
                    .filter_map(|(name, stored)| Some((name, read_vector(stored)?)))
                    .collect(),
            }))
        }
    }
}

/// A point that is stored; with its payload if that was asked for.
pub(in crate::qdrant) fn read_point(stored: RetrievedPoint, with_payload: bool) -> pb::Point {
    let id = stored.id.and_then(|id| id.point_id_options).map(|id| match id {
        PointIdOptions::Num(num) => pb::point::Id::NumId(num),
        PointIdOptions::Uuid(uuid) => pb::point::Id::StrId(uuid),
    });
    pb::Point {
        id,
        payload: with_payload.then(|| read_payload(stored.payload)),
        vectors: stored.vectors.and_then(read_vectors),
    }
}

pub(in crate::qdrant) fn with_payload(enable: bool) -> WithPayloadSelector {
    WithPayloadSelector {
        selector_options: Some(with_payload_selector::SelectorOptions::Enable(enable)),
    }
}

pub(in crate::qdrant) fn with_vectors(enable: bool) -> WithVectorsSelector {
    WithVectorsSelector {
        selector_options: Some(with_vectors_selector::SelectorOptions::Enable(enable)),
    }
}

pub(in crate::qdrant) fn ordering(given: Option<&str>) -> Result<Option<WriteOrdering>, Error> {
    let kind = match given {
        None | Some("") => return Ok(None),
        Some("weak") => WriteOrderingType::Weak,
        Some("medium") => WriteOrderingType::Medium,
        Some("strong") => WriteOrderingType::Strong,
        Some(_) => return Err(Error::invalid("ordering", "is none of weak, medium and strong")),
    };
    Ok(Some(WriteOrdering { r#type: kind.into() }))
}

/// The names of vectors that points may come with.
pub(super) fn vector_name(field: &'static str, given: Option<String>) -> Result<Option<String>, Error> {
    match given {
        Some(name) if !name.is_empty() => names::check_vector(field, &name).map(|()| Some(name)),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_or_uuids() {
        let of = |id| pb::PointId { id: Some(id) };
        let uuid = of(pb::point_id::Id::Str("550E8400E29B41D4A716446655440000".into()));
        let id = id("id", &uuid).unwrap();
        assert_eq!(
            read_id(id).unwrap().id,
            Some(pb::point_id::Id::Str(
                "550e8400-e29b-41d4-a716-446655440000".into()
            ))
        );
        for bad in ["", "1", "x", "550e8400"] {
            let given = [
                of(pb::point_id::Id::Num(1)),
                of(pb::point_id::Id::Str(bad.into())),
            ];
            let error = ids("ids", &given).unwrap_err().to_string();
            assert!(error.starts_with("ids.1: "), "{error}");
        }
        assert!(ids("ids", &[pb::PointId { id: None }]).is_err());
        assert!(ids("ids", &vec![of(pb::point_id::Id::Num(1)); 10_001]).is_err());
    }

    #[test]
    fn selectors_never_mean_everything() {
        let empty = pb::Filter {
            must: vec![pb::FilterCondition {
                field: String::new(),
                condition: Some(pb::filter_condition::Condition::Filter(pb::Filter::default())),
            }],
            ..Default::default()
        };
        assert!(selector(None, None).is_err());
        assert!(selector(Some(pb::PointIdList::default()), None).is_err());
        assert!(selector(None, Some(pb::Filter::default())).is_err());
        assert!(selector(None, Some(empty)).is_err());
    }
}
