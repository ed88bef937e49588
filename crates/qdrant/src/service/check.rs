//! What a request must satisfy before the engine sees it. The engine checks less, later, or by panicking.

use std::collections::HashSet;

use qdrant_edge::{
    Condition, DEFAULT_VECTOR_NAME, Filter, GeoRadius, PointStructPersisted, SparseVector, VectorInternal,
    VectorPersisted, VectorStructPersisted,
};

use super::{CollectionConfig, Failure, Search, config::VectorKind, search::MAX_CANDIDATES};

/// Most results of one request, its offset included: the engine allocates for them up front.
pub(crate) const MAX_RESULTS: usize = 100_000;
/// Most points, ids, searches or updates in one request.
pub(crate) const MAX_BATCH: usize = 100_000;
/// Numbers in one multivector; the engine's own limit.
const MAX_MULTIVECTOR: usize = 1_048_576;
/// Deeper filters would exhaust the stack.
const MAX_FILTER_DEPTH: usize = 32;

/// Refuses fields that are known but have no meaning here. A field that is ignored would be a promise not kept.
pub(crate) fn refuse_present(fields: &[(&str, bool)]) -> Result<(), Failure> {
    match fields.iter().find(|(_, present)| *present) {
        Some((field, _)) => Err(Failure::Unsupported(format!("`{field}`"))),
        None => Ok(()),
    }
}

/// Refuses to keep more than one of what a cluster has several of.
pub(crate) fn only_one(counts: &[(&str, Option<u64>)]) -> Result<(), Failure> {
    match counts.iter().find(|(_, count)| count.is_some_and(|n| n != 1)) {
        Some((field, _)) => Err(Failure::Unsupported(format!("`{field}` other than 1"))),
        None => Ok(()),
    }
}

pub(crate) fn results(field: &str, count: usize) -> Result<(), Failure> {
    at_most(field, count, MAX_RESULTS)
}

pub(crate) fn batch(field: &str, count: usize) -> Result<(), Failure> {
    at_most(field, count, MAX_BATCH)
}

fn at_most(field: &str, count: usize, most: usize) -> Result<(), Failure> {
    if count <= most {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "{field}: {count} is more than {most}, ask for it in several requests"
    )))
}

/// The results of all searches of a request are held until the last is done.
pub(crate) fn searches(searches: &[Search]) -> Result<(), Failure> {
    batch("searches", searches.len())?;
    let results = searches.iter().fold(0_usize, |total, search| {
        total.saturating_add(search.stage.limit.saturating_add(search.offset))
    });
    // One alone is checked against its own bound.
    if searches.len() > 1 {
        at_most("limit + offset of all searches", results, MAX_CANDIDATES)?;
    }
    Ok(())
}

/// At least 1 and within the limit.
pub(crate) fn limit(limit: usize, offset: usize) -> Result<(), Failure> {
    if limit == 0 {
        return Err(Failure::invalid("limit: 0 is less than 1"));
    }
    results("limit + offset", limit.saturating_add(offset))
}

/// Checks the vectors of points that are to be stored, and brings sparse ones into order.
pub(crate) fn points(config: &CollectionConfig, points: &mut [PointStructPersisted]) -> Result<(), Failure> {
    batch("points", points.len())?;
    for (i, point) in points.iter_mut().enumerate() {
        stored_vectors(config, &format!("points[{i}].vector"), &mut point.vector)?;
    }
    Ok(())
}

pub(crate) fn stored_vectors(
    config: &CollectionConfig,
    field: &str,
    vectors: &mut VectorStructPersisted,
) -> Result<(), Failure> {
    match vectors {
        VectorStructPersisted::Single(values) => {
            stored_vector(config, field, DEFAULT_VECTOR_NAME, Shape::Dense(values))
        }
        VectorStructPersisted::MultiDense(rows) => {
            stored_vector(config, field, DEFAULT_VECTOR_NAME, Shape::Multi(rows))
        }
        VectorStructPersisted::Named(named) => named.iter_mut().try_for_each(|(name, vector)| {
            let field = format!("{field}.{name}");
            let shape = match vector {
                VectorPersisted::Dense(values) => Shape::Dense(values),
                VectorPersisted::MultiDense(rows) => Shape::Multi(rows),
                VectorPersisted::Sparse(sparse) => Shape::Sparse(sparse),
            };
            stored_vector(config, &field, name, shape)
        }),
    }
}

enum Shape<'a> {
    Dense(&'a [f32]),
    Multi(&'a [Vec<f32>]),
    Sparse(&'a mut SparseVector),
}

fn stored_vector(config: &CollectionConfig, field: &str, name: &str, shape: Shape) -> Result<(), Failure> {
    match (kind(config, field, name)?, shape) {
        // A multivector of one row.
        (VectorKind::Dense { size } | VectorKind::Multi { size }, Shape::Dense(values)) => {
            dense(field, size, values)
        }
        (VectorKind::Multi { size }, Shape::Multi(rows)) => {
            multi(field, size, rows.iter().map(Vec::as_slice))
        }
        (VectorKind::Sparse, Shape::Sparse(vector)) => sparse(field, vector),
        (expected, _) => Err(mismatch(field, &expected)),
    }
}

/// Checks the vector of a query, and brings a sparse one into order.
pub(crate) fn query_vector(
    config: &CollectionConfig,
    using: &str,
    vector: &mut VectorInternal,
) -> Result<(), Failure> {
    let field = "query";
    match (kind(config, "using", using)?, vector) {
        (VectorKind::Dense { size } | VectorKind::Multi { size }, VectorInternal::Dense(values)) => {
            dense(field, size, values)
        }
        (VectorKind::Multi { size }, VectorInternal::MultiDense(rows)) => {
            multi(field, size, rows.multi_vectors())
        }
        (VectorKind::Sparse, VectorInternal::Sparse(vector)) => sparse(field, vector),
        (expected, _) => Err(mismatch(field, &expected)),
    }
}

/// A vector's kind by its name; an error if the collection has none of that name.
pub(crate) fn kind(config: &CollectionConfig, field: &str, name: &str) -> Result<VectorKind, Failure> {
    config.vector(name).ok_or_else(|| {
        let known: Vec<_> = config
            .dense()
            .map(|(name, _)| name)
            .chain(config.sparse_vectors.keys().map(String::as_str))
            .collect();
        Failure::Invalid(format!(
            "{field}: Not existing vector name error: {name:?}; the collection has {known:?}"
        ))
    })
}

fn mismatch(field: &str, expected: &VectorKind) -> Failure {
    let expected = match expected {
        VectorKind::Dense { .. } => "a list of numbers",
        VectorKind::Multi { .. } => "a list of lists of numbers",
        VectorKind::Sparse => "a sparse vector of indices and values",
    };
    Failure::Invalid(format!("{field}: expected {expected}"))
}

fn dense(field: &str, size: usize, values: &[f32]) -> Result<(), Failure> {
    if values.len() != size {
        let got = values.len();
        let text = format!("{field}: Vector dimension error: expected dim: {size}, got {got}");
        return Err(Failure::Invalid(text));
    }
    finite(field, values)
}

fn multi<'a>(field: &str, size: usize, rows: impl Iterator<Item = &'a [f32]>) -> Result<(), Failure> {
    let mut total = 0;
    for (i, row) in rows.enumerate() {
        dense(&format!("{field}[{i}]"), size, row)?;
        total += row.len();
    }
    if total == 0 {
        return Err(Failure::Invalid(format!(
            "{field}: a multivector must have at least one row"
        )));
    }
    at_most(field, total, MAX_MULTIVECTOR)
}

fn sparse(field: &str, vector: &mut SparseVector) -> Result<(), Failure> {
    let (indices, values) = (vector.indices.len(), vector.values.len());
    if indices != values {
        return Err(Failure::Invalid(format!(
            "{field}: {indices} indices but {values} values"
        )));
    }
    let mut seen = HashSet::with_capacity(indices);
    if let Some(twice) = vector.indices.iter().find(|index| !seen.insert(**index)) {
        return Err(Failure::Invalid(format!(
            "{field}.indices: {twice} is there twice"
        )));
    }
    finite(&format!("{field}.values"), &vector.values)?;
    let mut pairs: Vec<_> = vector.indices.drain(..).zip(vector.values.drain(..)).collect();
    pairs.sort_unstable_by_key(|(index, _)| *index);
    (vector.indices, vector.values) = pairs.into_iter().unzip();
    Ok(())
}

fn finite(field: &str, values: &[f32]) -> Result<(), Failure> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(i) => Err(Failure::Invalid(format!(
            "{field}[{i}]: {} is not a finite number",
            values[i]
        ))),
        None => Ok(()),
    }
}

pub(crate) fn score_threshold(threshold: Option<f32>) -> Result<(), Failure> {
    match threshold {
        Some(value) if !value.is_finite() => Err(Failure::Invalid(format!(
            "score_threshold: {value} is not a finite number"
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn filter(filter: Option<&Filter>) -> Result<(), Failure> {
    filter.map_or(Ok(()), |filter| filter_at(filter, 0))
}

fn radius(area: &GeoRadius) -> Result<(), Failure> {
    let metres = area.radius.into_inner();
    if metres.is_finite() && metres >= 0.0 {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "filter.geo_radius.radius: {metres} is not a distance"
    )))
}

fn filter_at(filter: &Filter, depth: usize) -> Result<(), Failure> {
    if depth > MAX_FILTER_DEPTH {
        return Err(Failure::Invalid(format!(
            "filter: nested more than {MAX_FILTER_DEPTH} deep"
        )));
    }
    filter
        .iter_conditions()
        .try_for_each(|condition| match condition {
            Condition::Field(field) if field.all_fields_none() => Err(Failure::Invalid(format!(
                "filter: the condition on {:?} says nothing about it",
                field.key.to_string()
            ))),
            Condition::Field(field) => field.geo_radius.as_ref().map_or(Ok(()), radius),
            Condition::Nested(nested) => filter_at(nested.filter(), depth + 1),
            Condition::Filter(inner) => filter_at(inner, depth + 1),
            _ => Ok(()),
        })
}
