//! Searches and what they find.

use isa_proto::{prost_types, qdrant as pb};
use qdrant_client::qdrant::{
    ContextInput, ContextInputPair, DenseVector, DiscoverInput, PointId, QuantizationSearchParams, Query,
    QueryPoints, RecommendInput, RecommendStrategy, RetrievedPoint, ScoredPoint, SearchParams, SparseVector,
    VectorInput, query::Variant, vector_input,
};
use serde::Deserialize;

use super::{
    MAX_BATCH, bounded, filter, json,
    points::{self, vector_name, with_payload, with_vectors},
};
use crate::qdrant::service::Error;

/// Results where a request does not say how many.
const DEFAULT_LIMIT: u64 = 10;

/// Results that are skipped: the engine finds them all the same.
const MAX_OFFSET: u64 = 100_000;

/// Searches of a batch.
const MAX_SEARCHES: usize = 100;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    hnsw_ef: Option<u64>,
    exact: Option<bool>,
    indexed_only: Option<bool>,
    quantization: Option<Quantization>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Quantization {
    ignore: Option<bool>,
    rescore: Option<bool>,
    oversampling: Option<f64>,
}

/// Fields that all searches have.
struct Frame {
    vector_name: Option<String>,
    filter: Option<pb::Filter>,
    limit: u64,
    offset: Option<u64>,
    with_payload: Option<bool>,
    with_vectors: Option<bool>,
    score_threshold: Option<f32>,
}

fn query(variant: Variant, frame: Frame) -> Result<QueryPoints, Error> {
    let limit = match frame.limit {
        0 => DEFAULT_LIMIT,
        limit if limit <= MAX_BATCH as u64 => limit,
        limit => {
            return Err(Error::invalid(
                "limit",
                format!("is {limit}, and may be {MAX_BATCH}"),
            ));
        }
    };
    if frame.offset.is_some_and(|offset| offset > MAX_OFFSET) {
        return Err(Error::invalid("offset", format!("is more than {MAX_OFFSET}")));
    }
    if frame
        .score_threshold
        .is_some_and(|threshold| !threshold.is_finite())
    {
        return Err(Error::invalid("score_threshold", "is not finite"));
    }
    Ok(QueryPoints {
        query: Some(Query {
            variant: Some(variant),
        }),
        using: vector_name("vector_name", frame.vector_name)?,
        filter: filter(frame.filter)?,
        score_threshold: frame.score_threshold,
        limit: Some(limit),
        offset: frame.offset,
        with_vectors: Some(with_vectors(frame.with_vectors.unwrap_or(false))),
        with_payload: Some(with_payload(frame.with_payload.unwrap_or(true))),
        ..Default::default()
    })
}

fn by(variant: vector_input::Variant) -> VectorInput {
    VectorInput {
        variant: Some(variant),
    }
}

fn by_id(id: PointId) -> VectorInput {
    by(vector_input::Variant::Id(id))
}

pub(in crate::qdrant) fn search(given: pb::SearchRequest) -> Result<QueryPoints, Error> {
    let vector = given
        .vector
        .filter(|vector| !vector.data.is_empty())
        .ok_or_else(|| Error::invalid("vector", "is empty"))?;
    let vector = if vector.indices.is_empty() {
        vector_input::Variant::Dense(DenseVector { data: vector.data })
    } else {
        vector_input::Variant::Sparse(SparseVector {
            values: vector.data,
            indices: vector.indices,
        })
    };
    let params = match given.params {
        None => None,
        params => Some(self::params(json::read("params", params)?)?),
    };
    let frame = Frame {
        vector_name: given.vector_name,
        filter: given.filter,
        limit: given.limit,
        offset: given.offset,
        with_payload: given.with_payload,
        with_vectors: given.with_vectors,
        score_threshold: given.score_threshold,
    };
    Ok(QueryPoints {
        params,
        ..query(Variant::Nearest(by(vector)), frame)?
    })
}

fn params(given: Params) -> Result<SearchParams, Error> {
    let oversampling = given
        .quantization
        .as_ref()
        .and_then(|quantization| quantization.oversampling);
    if oversampling.is_some_and(|times| !(1.0..=100.0).contains(&times)) {
        return Err(Error::invalid(
            "params.quantization.oversampling",
            "is not 1 to 100",
        ));
    }
    Ok(SearchParams {
        hnsw_ef: given.hnsw_ef,
        exact: given.exact,
        quantization: given.quantization.map(|quantization| QuantizationSearchParams {
            ignore: quantization.ignore,
            rescore: quantization.rescore,
            oversampling: quantization.oversampling,
        }),
        indexed_only: given.indexed_only,
        ..Default::default()
    })
}

/// The searches of a batch, and which of them want payloads.
pub(in crate::qdrant) fn searches(
    collection: &str,
    given: Vec<pb::SearchRequest>,
) -> Result<(Vec<QueryPoints>, Vec<bool>), Error> {
    if given.is_empty() {
        return Err(Error::invalid("searches", "is empty"));
    }
    if given.len() > MAX_SEARCHES {
        let why = format!("has {}, and may have {MAX_SEARCHES}", given.len());
        return Err(Error::invalid("searches", why));
    }
    let mut searches = Vec::with_capacity(given.len());
    let mut payloads = Vec::with_capacity(given.len());
    let mut results = 0;
    for (i, given) in given.into_iter().enumerate() {
        if !given.collection_name.is_empty() && given.collection_name != collection {
            return Err(Error::invalid(
                format!("searches.{i}.collection_name"),
                "is another than that of the batch",
            ));
        }
        payloads.push(given.with_payload.unwrap_or(true));
        let search = search(given).map_err(|error| match error {
            Error::Invalid { field, why } => Error::invalid(format!("searches.{i}.{field}"), why),
            other => other,
        })?;
        results += search.limit.unwrap_or_default();
        searches.push(search);
    }
    bounded("searches", usize::try_from(results).unwrap_or(usize::MAX))?;
    Ok((searches, payloads))
}

pub(in crate::qdrant) fn recommend(given: pb::RecommendRequest) -> Result<QueryPoints, Error> {
    let strategy = match given.strategy.as_deref() {
        None | Some("" | "average_vector") => RecommendStrategy::AverageVector,
        Some("best_score") => RecommendStrategy::BestScore,
        Some("sum_scores") => RecommendStrategy::SumScores,
        Some(_) => {
            return Err(Error::invalid(
                "strategy",
                "is none of average_vector, best_score and sum_scores",
            ));
        }
    };
    let positive = points::ids("positive", &given.positive)?;
    let negative = points::ids("negative", &given.negative)?;
    if positive.is_empty() && (negative.is_empty() || strategy == RecommendStrategy::AverageVector) {
        return Err(Error::invalid("positive", "is empty"));
    }
    let recommend = RecommendInput {
        positive: positive.into_iter().map(by_id).collect(),
        negative: negative.into_iter().map(by_id).collect(),
        strategy: Some(strategy.into()),
    };
    let frame = Frame {
        vector_name: given.vector_name,
        filter: given.filter,
        limit: given.limit,
        offset: given.offset,
        with_payload: given.with_payload,
        with_vectors: given.with_vectors,
        score_threshold: given.score_threshold,
    };
    query(Variant::Recommend(recommend), frame)
}

pub(in crate::qdrant) fn discover(given: pb::DiscoverRequest) -> Result<QueryPoints, Error> {
    if !given.context.len().is_multiple_of(2) {
        return Err(Error::invalid(
            "context",
            "has an odd number of ids: they are pairs",
        ));
    }
    let target = given
        .target
        .map(|target| points::id("target", &target))
        .transpose()?;
    let mut ids = points::ids("context", &given.context)?.into_iter().map(by_id);
    let mut pairs = Vec::with_capacity(given.context.len() / 2);
    while let (Some(positive), Some(negative)) = (ids.next(), ids.next()) {
        pairs.push(ContextInputPair {
            positive: Some(positive),
            negative: Some(negative),
        });
    }
    let variant = match (target, pairs.is_empty()) {
        (None, true) => {
            return Err(Error::invalid(
                "target",
                "is missing, as is context: give one of them",
            ));
        }
        (None, false) => Variant::Context(ContextInput { pairs }),
        // All of space is left.
        (Some(target), true) => Variant::Nearest(by_id(target)),
        (Some(target), false) => Variant::Discover(DiscoverInput {
            target: Some(by_id(target)),
            context: Some(ContextInput { pairs }),
        }),
    };
    let frame = Frame {
        vector_name: given.vector_name,
        filter: given.filter,
        limit: given.limit,
        offset: given.offset,
        with_payload: given.with_payload,
        with_vectors: given.with_vectors,
        score_threshold: None,
    };
    query(variant, frame)
}

/// What was found, with payloads if they were asked for.
pub(in crate::qdrant) fn scored(found: Vec<ScoredPoint>, with_payload: bool) -> Vec<pb::ScoredPoint> {
    let one = |found: ScoredPoint| {
        let version = prost_types::Value {
            kind: Some(prost_types::value::Kind::NumberValue(found.version as f64)),
        };
        let point = RetrievedPoint {
            id: found.id,
            payload: found.payload,
            vectors: found.vectors,
            ..Default::default()
        };
        pb::ScoredPoint {
            point: Some(points::read_point(point, with_payload)),
            score: found.score,
            version: Some(version),
        }
    };
    found.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looking(data: &[f32]) -> pb::SearchRequest {
        pb::SearchRequest {
            vector: Some(pb::Vector {
                data: data.to_vec(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn ids(numbers: &[u64]) -> Vec<pb::PointId> {
        let id = |number| pb::PointId {
            id: Some(pb::point_id::Id::Num(number)),
        };
        numbers.iter().copied().map(id).collect()
    }

    #[test]
    fn searches_are_bounded() {
        assert_eq!(search(looking(&[1.0])).unwrap().limit, Some(DEFAULT_LIMIT));
        let of = |limit, offset| pb::SearchRequest {
            limit,
            offset: Some(offset),
            ..looking(&[1.0])
        };
        assert!(search(of(10_000, 100_000)).is_ok());
        assert!(search(of(10_001, 0)).is_err());
        assert!(search(of(1, 100_001)).is_err());
        assert!(search(looking(&[])).is_err());
        assert!(searches("c", vec![]).is_err());
        assert!(searches("c", vec![looking(&[1.0]); 101]).is_err());
        assert!(searches("c", vec![of(5001, 0), of(5000, 0)]).is_err());
        let other = pb::SearchRequest {
            collection_name: "d".into(),
            ..looking(&[1.0])
        };
        assert!(searches("c", vec![other]).is_err());
        let error = searches("c", vec![looking(&[1.0]), looking(&[])])
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("searches.1.vector: "), "{error}");
    }

    #[test]
    fn recommendations_need_an_example() {
        let of = |positive: &[u64], negative: &[u64], strategy: &str| {
            recommend(pb::RecommendRequest {
                positive: ids(positive),
                negative: ids(negative),
                strategy: Some(strategy.into()),
                ..Default::default()
            })
        };
        assert!(of(&[1], &[], "").is_ok());
        assert!(of(&[], &[1], "best_score").is_ok());
        assert!(of(&[], &[1], "average_vector").is_err());
        assert!(of(&[], &[], "sum_scores").is_err());
        assert!(of(&[1], &[], "worst").is_err());
    }

    #[test]
    fn discovery_takes_pairs() {
        let of = |target: Option<u64>, context: &[u64]| {
            discover(pb::DiscoverRequest {
                target: target.and_then(|target| ids(&[target]).pop()),
                context: ids(context),
                ..Default::default()
            })
        };
        let variant = |query: QueryPoints| query.query.unwrap().variant.unwrap();
        assert!(matches!(
            variant(of(Some(1), &[2, 3]).unwrap()),
            Variant::Discover(_)
        ));
        assert!(matches!(variant(of(None, &[2, 3]).unwrap()), Variant::Context(_)));
        assert!(matches!(variant(of(Some(1), &[]).unwrap()), Variant::Nearest(_)));
        assert!(of(Some(1), &[2]).is_err());
        assert!(of(None, &[]).is_err());
    }
}
