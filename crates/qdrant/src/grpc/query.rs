//! Searches.

use qdrant_client::qdrant as pb;
use qdrant_edge::{
    AcornSearchParams, Direction, Fusion, OrderBy, QuantizationSearchParams, SearchParams, SparseVector,
    StartFrom, Vector, VectorInternal, external::ordered_float::OrderedFloat,
};

use super::{
    filter::{filter, timestamp},
    formula,
    pb::{feedback_strategy, query::Variant, start_from, vector_input},
    values::{path, point_id, required, rows, size, with_payload, with_vectors},
};
use crate::service::{
    Failure, Feedback, Input, Lookup, Mmr, Query, Search, Stage, Strategy, check::refuse_present,
};

const DEFAULT_LIMIT: u64 = 10;

pub(super) fn query(request: pb::QueryPoints) -> Result<Search, Failure> {
    refuse_present(&[("shard_key_selector", request.shard_key_selector.is_some())])?;
    Ok(Search {
        stage: stage(pb::PrefetchQuery {
            prefetch: request.prefetch,
            query: request.query,
            using: request.using,
            filter: request.filter,
            params: request.params,
            score_threshold: request.score_threshold,
            limit: request.limit,
            lookup_from: request.lookup_from,
        })?,
        offset: size("offset", request.offset.unwrap_or(0))?,
        with_payload: with_payload(request.with_payload, false)?,
        with_vector: with_vectors(request.with_vectors),
    })
}

fn stage(request: pb::PrefetchQuery) -> Result<Stage, Failure> {
    Ok(Stage {
        prefetch: request
            .prefetch
            .into_iter()
            .map(stage)
            .collect::<Result<_, _>>()?,
        query: request.query.map(scoring).transpose()?,
        using: request.using.unwrap_or_default(),
        lookup_from: request.lookup_from.map(lookup_from).transpose()?,
        filter: filter(request.filter)?,
        score_threshold: request.score_threshold,
        limit: size("limit", request.limit.unwrap_or(DEFAULT_LIMIT))?,
        params: request.params.map(params).transpose()?,
    })
}

pub(super) fn search(request: pb::SearchPoints) -> Result<Search, Failure> {
    refuse_present(&[("shard_key_selector", request.shard_key_selector.is_some())])?;
    let vector = match request.sparse_indices {
        Some(indices) => VectorInternal::Sparse(SparseVector {
            indices: indices.data,
            values: request.vector,
        }),
        None => VectorInternal::Dense(request.vector),
    };
    Ok(Search {
        stage: Stage {
            prefetch: Vec::new(),
            query: Some(Query::Nearest {
                input: Input::Vector(vector),
                mmr: None,
            }),
            using: request.vector_name.unwrap_or_default(),
            lookup_from: None,
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

fn scoring(query: pb::Query) -> Result<Query, Failure> {
    Ok(match required("query", query.variant)? {
        Variant::Nearest(nearest) => Query::Nearest {
            input: input("query.nearest", Some(nearest))?,
            mmr: None,
        },
        Variant::NearestWithMmr(nearest) => {
            let mmr = required("query.nearest_with_mmr.mmr", nearest.mmr)?;
            Query::Nearest {
                input: input("query.nearest_with_mmr.nearest", nearest.nearest)?,
                mmr: Some(Mmr {
                    diversity: mmr.diversity,
                    candidates_limit: mmr.candidates_limit.map(|limit| limit as usize),
                }),
            }
        }
        Variant::Recommend(recommend) => Query::Recommend {
            positive: inputs("query.recommend.positive", recommend.positive)?,
            negative: inputs("query.recommend.negative", recommend.negative)?,
            strategy: strategy("query.recommend.strategy", recommend.strategy)?,
        },
        Variant::Discover(discover) => Query::Discover {
            target: input("query.discover.target", discover.target)?,
            context: pairs(
                "query.discover.context",
                discover.context.map(|context| context.pairs),
            )?,
        },
        Variant::Context(context) => Query::Context(pairs("query.context", Some(context.pairs))?),
        Variant::OrderBy(by) => Query::OrderBy(order_by(by)?),
        Variant::Fusion(fusion) => match pb::Fusion::try_from(fusion) {
            Ok(pb::Fusion::Rrf) => Query::rrf(None, None)?,
            Ok(pb::Fusion::Dbsf) => Query::Fusion(Fusion::Dbsf),
            Err(_) => return Err(Failure::invalid("query.fusion: is not a fusion")),
        },
        Variant::Rrf(rrf) => {
            let weights = (!rrf.weights.is_empty()).then_some(rrf.weights);
            Query::rrf(rrf.k.map(|k| k as usize), weights)?
        }
        Variant::Sample(_) => Query::Sample,
        Variant::Formula(formula) => Query::Formula(formula::formula(formula)?),
        Variant::RelevanceFeedback(input) => Query::Feedback(feedback(input)?),
        Variant::Text(_) => return Err(Failure::unsupported("a query of kind `text`")),
    })
}

pub(super) fn strategy(field: &str, strategy: Option<i32>) -> Result<Strategy, Failure> {
    match strategy.map(pb::RecommendStrategy::try_from) {
        None | Some(Ok(pb::RecommendStrategy::AverageVector)) => Ok(Strategy::AverageVector),
        Some(Ok(pb::RecommendStrategy::BestScore)) => Ok(Strategy::BestScore),
        Some(Ok(pb::RecommendStrategy::SumScores)) => Ok(Strategy::SumScores),
        Some(Err(_)) => Err(Failure::Invalid(format!("{field}: is not a strategy"))),
    }
}

pub(super) fn lookup_from(location: pb::LookupLocation) -> Result<Lookup, Failure> {
    refuse_present(&[(
        "lookup_from.shard_key_selector",
        location.shard_key_selector.is_some(),
    )])?;
    Ok(Lookup {
        collection: location.collection_name,
        vector: location.vector_name,
    })
}

fn feedback(request: pb::RelevanceFeedbackInput) -> Result<Feedback, Failure> {
    let field = "query.relevance_feedback";
    let strategy = request.strategy.and_then(|strategy| strategy.variant);
    let feedback_strategy::Variant::Naive(naive) = required(&format!("{field}.strategy"), strategy)?;
    let item = |(i, item): (usize, pb::FeedbackItem)| {
        let example = input(&format!("{field}.feedback[{i}].example"), item.example)?;
        Ok((example, item.score))
    };
    Ok(Feedback {
        target: input(&format!("{field}.target"), request.target)?,
        feedback: request
            .feedback
            .into_iter()
            .enumerate()
            .map(item)
            .collect::<Result<_, Failure>>()?,
        coefficients: [naive.a, naive.b, naive.c],
    })
}

pub(super) fn order_by(by: pb::OrderBy) -> Result<OrderBy, Failure> {
    let direction = match by.direction.map(pb::Direction::try_from) {
        None => None,
        Some(Ok(pb::Direction::Asc)) => Some(Direction::Asc),
        Some(Ok(pb::Direction::Desc)) => Some(Direction::Desc),
        Some(Err(_)) => return Err(Failure::invalid("order_by.direction: is not a direction")),
    };
    let start_from = match by.start_from.and_then(|start| start.value) {
        None => None,
        Some(start_from::Value::Float(number)) => Some(StartFrom::Float(number)),
        Some(start_from::Value::Integer(number)) => Some(StartFrom::Integer(number)),
        Some(start_from::Value::Timestamp(time)) => Some(StartFrom::Datetime(timestamp(time)?)),
        Some(start_from::Value::Datetime(text)) => Some(StartFrom::Datetime(text.parse().map_err(|_| {
            Failure::Invalid(format!("order_by.start_from: {text:?} is not a time in RFC 3339"))
        })?)),
    };
    Ok(OrderBy {
        key: path("order_by.key", &by.key)?,
        direction,
        start_from,
    })
}

fn pairs(field: &str, pairs: Option<Vec<pb::ContextInputPair>>) -> Result<Vec<(Input, Input)>, Failure> {
    let pair = |(i, pair): (usize, pb::ContextInputPair)| {
        let positive = input(&format!("{field}[{i}].positive"), pair.positive)?;
        Ok((positive, input(&format!("{field}[{i}].negative"), pair.negative)?))
    };
    pairs
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(pair)
        .collect()
}

fn inputs(field: &str, inputs: Vec<pb::VectorInput>) -> Result<Vec<Input>, Failure> {
    inputs
        .into_iter()
        .enumerate()
        .map(|(i, one)| input(&format!("{field}[{i}]"), Some(one)))
        .collect()
}

fn input(field: &str, input: Option<pb::VectorInput>) -> Result<Input, Failure> {
    use vector_input::Variant;
    let vector = match required(field, input.and_then(|input| input.variant))? {
        Variant::Id(id) => return point_id(field, Some(id)).map(Input::Id),
        Variant::Dense(dense) => VectorInternal::Dense(dense.data),
        Variant::Sparse(sparse) => VectorInternal::Sparse(SparseVector {
            indices: sparse.indices,
            values: sparse.values,
        }),
        Variant::MultiDense(multi) => {
            Vector::new_multi(rows(multi))
                .map_err(|e| Failure::Invalid(format!("{field}: {e}")))?
                .0
        }
        Variant::Document(_) | Variant::Image(_) | Variant::Object(_) => {
            let text = "inference: there are no models here, compute the vector in the client";
            return Err(Failure::unsupported(text));
        }
    };
    Ok(Input::Vector(vector))
}

pub(super) fn params(params: pb::SearchParams) -> Result<SearchParams, Failure> {
    refuse_present(&[("params.idf", params.idf.is_some())])?;
    Ok(SearchParams {
        hnsw_ef: params.hnsw_ef.map(|ef| size("params.hnsw_ef", ef)).transpose()?,
        exact: params.exact.unwrap_or(false),
        quantization: params.quantization.map(|quantization| QuantizationSearchParams {
            ignore: quantization.ignore.unwrap_or(false),
            rescore: quantization.rescore,
            oversampling: quantization.oversampling,
        }),
        indexed_only: params.indexed_only.unwrap_or(false),
        acorn: params.acorn.map(|acorn| AcornSearchParams {
            enable: acorn.enable.unwrap_or(false),
            max_selectivity: acorn.max_selectivity.map(OrderedFloat),
        }),
    })
}
