//! Recommendations and discoveries in the form that they had before the universal query.

use qdrant_client::qdrant as pb;
use qdrant_edge::{Vector, VectorInternal, VectorPersisted};

use super::{
    filter::filter,
    pb::{target_vector::Target, vector_example::Example},
    query::{lookup_from, params, strategy},
    values::{point_id, required, size, stored_vector, with_payload, with_vectors},
};
use crate::service::{Failure, Input, Query, Search, Stage, check::refuse_present};

pub(super) fn recommend(request: pb::RecommendPoints) -> Result<Search, Failure> {
    refuse_present(&[("shard_key_selector", request.shard_key_selector.is_some())])?;
    Ok(Search {
        stage: Stage {
            prefetch: Vec::new(),
            query: Some(Query::Recommend {
                positive: examples("positive", request.positive, request.positive_vectors)?,
                negative: examples("negative", request.negative, request.negative_vectors)?,
                strategy: strategy("strategy", request.strategy)?,
            }),
            using: request.using.unwrap_or_default(),
            lookup_from: request.lookup_from.map(lookup_from).transpose()?,
            filter: filter(request.filter)?,
            score_threshold: request.score_threshold,
            limit: size("limit", request.limit)?,
            params: request.params.map(params).transpose()?,
        },
        offset: size("offset", request.offset.unwrap_or(0))?,
        with_payload: with_payload(request.with_payload, false)?,
        with_vector: with_vectors(request.with_vectors),
    })
}

pub(super) fn discover(request: pb::DiscoverPoints) -> Result<Search, Failure> {
    refuse_present(&[("shard_key_selector", request.shard_key_selector.is_some())])?;
    let target = request.target.and_then(|target| target.target);
    let pair = |(i, pair): (usize, pb::ContextExamplePair)| {
        let positive = example(&format!("context[{i}].positive"), pair.positive)?;
        Ok((
            positive,
            example(&format!("context[{i}].negative"), pair.negative)?,
        ))
    };
    let context = request.context.into_iter().enumerate().map(pair);
    let context = context.collect::<Result<Vec<_>, Failure>>()?;
    let query = match target {
        Some(Target::Single(target)) => Query::Discover {
            target: example("target", Some(target))?,
            context,
        },
        None if context.is_empty() => {
            return Err(Failure::invalid(
                "target: target and/or context must be specified",
            ));
        }
        None => Query::Context(context),
    };
    Ok(Search {
        stage: Stage {
            prefetch: Vec::new(),
            query: Some(query),
            using: request.using.unwrap_or_default(),
            lookup_from: request.lookup_from.map(lookup_from).transpose()?,
            filter: filter(request.filter)?,
            score_threshold: None,
            limit: size("limit", request.limit)?,
            params: request.params.map(params).transpose()?,
        },
        offset: size("offset", request.offset.unwrap_or(0))?,
        with_payload: with_payload(request.with_payload, false)?,
        with_vector: with_vectors(request.with_vectors),
    })
}

fn examples(field: &str, ids: Vec<pb::PointId>, vectors: Vec<pb::Vector>) -> Result<Vec<Input>, Failure> {
    let ids = ids
        .into_iter()
        .enumerate()
        .map(|(i, id)| point_id(&format!("{field}[{i}]"), Some(id)).map(Input::Id));
    let vectors = vectors
        .into_iter()
        .enumerate()
        .map(|(i, one)| vector(&format!("{field}_vectors[{i}]"), one));
    ids.chain(vectors).collect()
}

fn example(field: &str, example: Option<pb::VectorExample>) -> Result<Input, Failure> {
    match required(field, example.and_then(|example| example.example))? {
        Example::Id(id) => point_id(field, Some(id)).map(Input::Id),
        Example::Vector(one) => vector(field, one),
    }
}

fn vector(field: &str, vector: pb::Vector) -> Result<Input, Failure> {
    let vector = match stored_vector(field, vector)? {
        VectorPersisted::Dense(values) => VectorInternal::Dense(values),
        VectorPersisted::Sparse(sparse) => VectorInternal::Sparse(sparse),
        VectorPersisted::MultiDense(rows) => {
            Vector::new_multi(rows)
                .map_err(|e| Failure::Invalid(format!("{field}: {e}")))?
                .0
        }
    };
    Ok(Input::Vector(vector))
}
