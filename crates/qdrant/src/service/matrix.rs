//! The distances between points of a random sample.

use std::collections::HashMap;

use qdrant_edge::{
    Condition, Filter, HasIdCondition, HasVectorCondition, NamedQuery, PointId, QueryEnum, QueryRequest,
    Sample, ScoringQuery, VectorInternal, VectorStructInternal, WithPayloadInterface, WithVector,
};

use super::{Failure, Service, check, config::VectorKind, search::MAX_CANDIDATES};
use crate::storage::InUse;

/// Each point of the sample is compared with each other.
const MAX_SAMPLE: usize = 2_000;

#[derive(Debug)]
pub(crate) struct Matrix {
    pub(crate) filter: Option<Filter>,
    /// Name of the vector; empty for the one without a name.
    pub(crate) using: String,
    /// Number of points.
    pub(crate) sample: usize,
    /// Nearest neighbours of each of them.
    pub(crate) limit: usize,
}

/// Of each point of a sample, the nearest others.
#[derive(Debug, Default)]
pub(crate) struct Distances {
    pub(crate) ids: Vec<PointId>,
    /// For each of `ids`: positions in `ids`, with their scores, the nearest first.
    pub(crate) nearest: Vec<Vec<(usize, f32)>>,
}

impl Service {
    /// Empty if there are fewer than two points to compare.
    pub(crate) fn matrix(&self, name: &str, matrix: Matrix) -> Result<Distances, Failure> {
        let Matrix {
            filter,
            using,
            sample,
            limit,
        } = matrix;
        for (field, value) in [("sample", sample), ("limit", limit)] {
            if !(1..=MAX_SAMPLE).contains(&value) {
                return Err(Failure::Invalid(format!(
                    "{field}: {value} is not between 1 and {MAX_SAMPLE}"
                )));
            }
        }
        if sample * limit > MAX_CANDIDATES {
            return Err(Failure::Invalid(format!(
                "sample * limit: more than {MAX_CANDIDATES}"
            )));
        }
        check::filter(filter.as_ref())?;
        self.with(name, |shard, config| {
            let kind = check::kind(config, "using", &using)?;
            let has_vector = Condition::HasVector(HasVectorCondition::from(using.clone()));
            let filter = filter
                .unwrap_or_default()
                .merge_owned(Filter::new_must(has_vector));
            let mut points = sampled(shard, filter, &using, sample)?;
            if points.len() < 2 {
                return Ok(Distances::default());
            }
            points.sort_unstable_by_key(|(id, _)| *id);
            distances(shard, &using, &kind, points, limit)
        })
    }
}

fn request(query: ScoringQuery, filter: Filter, limit: usize) -> QueryRequest {
    QueryRequest {
        prefetches: Vec::new(),
        query: Some(query),
        filter: Some(filter),
        score_threshold: None,
        limit,
        offset: 0,
        params: None,
        with_vector: WithVector::Bool(false),
        with_payload: WithPayloadInterface::Bool(false),
    }
}

fn sampled(
    shard: &InUse<'_>,
    filter: Filter,
    using: &str,
    sample: usize,
) -> Result<Vec<(PointId, VectorInternal)>, Failure> {
    let request = QueryRequest {
        with_vector: WithVector::Selector(vec![using.to_owned()]),
        ..request(ScoringQuery::Sample(Sample::Random), filter, sample)
    };
    let found = shard.read(|engine| engine.query(request))?;
    let vector = |vector| match vector {
        VectorStructInternal::Single(values) => Some(VectorInternal::Dense(values)),
        VectorStructInternal::MultiDense(rows) => Some(VectorInternal::MultiDense(rows)),
        VectorStructInternal::Named(mut named) => named.remove(using),
    };
    Ok(found
        .into_iter()
        .take(sample)
        .filter_map(|point| Some((point.id, point.vector.and_then(vector)?)))
        .collect())
}

fn distances(
    shard: &InUse<'_>,
    using: &str,
    kind: &VectorKind,
    points: Vec<(PointId, VectorInternal)>,
    limit: usize,
) -> Result<Distances, Failure> {
    let positions: HashMap<_, _> = points.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
    let ids: HasIdCondition = positions.keys().copied().collect();
    let among = Filter::new_must(Condition::HasId(ids));
    let mut result = Distances::default();
    for (id, vector) in points {
        result.ids.push(id);
        // An empty sparse vector has nothing in common with any other.
        if matches!((kind, &vector), (VectorKind::Sparse, VectorInternal::Sparse(v)) if v.indices.is_empty())
        {
            result.nearest.push(Vec::new());
            continue;
        }
        let query = ScoringQuery::Vector(QueryEnum::Nearest(NamedQuery::new(vector, using)));
        // One more, because a point is among its own neighbours.
        let request = request(query, among.clone(), limit + 1);
        let found = shard.read(|engine| engine.query(request))?;
        let others = found.into_iter().filter(|other| other.id != id);
        let others = others.filter_map(|other| Some((*positions.get(&other.id)?, other.score)));
        result.nearest.push(others.take(limit).collect());
    }
    Ok(result)
}

impl Distances {
    /// Positions in `ids` and the score between them.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = (usize, usize, f32)> {
        self.nearest
            .iter()
            .enumerate()
            .flat_map(|(row, nearest)| nearest.iter().map(move |(column, score)| (row, *column, *score)))
    }

    pub(crate) fn pairs(&self) -> impl Iterator<Item = (PointId, PointId, f32)> {
        self.offsets()
            .filter_map(|(row, column, score)| Some((*self.ids.get(row)?, *self.ids.get(column)?, score)))
    }
}
