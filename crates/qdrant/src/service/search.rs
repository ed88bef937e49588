//! From what a client asks to find to the engine's query: ids become the vectors of their points.

use std::collections::HashSet;

use qdrant_edge::{
    Condition, ContextPair, ContextQuery, DiscoverQuery, EdgeShard, Filter, HasIdCondition, Mmr as EngineMmr,
    NamedQuery, PointId, Prefetch as EnginePrefetch, QueryEnum, QueryRequest, RecommendQuery, Sample,
    ScoringQuery, VectorInternal, WithPayloadInterface, WithVector, external::ordered_float::OrderedFloat,
};

use super::{CollectionConfig, Failure, Input, Mmr, Query, Search, Stage, Strategy, check};

const MAX_PREFETCHES: usize = 64;
const MAX_DEPTH: usize = 8;
const DEFAULT_DIVERSITY: f32 = 0.5;

pub(super) fn resolve(
    engine: &EdgeShard,
    config: &CollectionConfig,
    search: Search,
) -> Result<QueryRequest, Failure> {
    let Search {
        stage,
        offset,
        with_payload,
        with_vector,
    } = search;
    check::limit(stage.limit, offset)?;
    let EnginePrefetch {
        prefetches,
        query,
        limit,
        params,
        filter,
        score_threshold,
    } = Resolver { engine, config }.stage(stage, 0)?;
    Ok(QueryRequest {
        prefetches,
        query,
        filter,
        score_threshold,
        limit,
        offset,
        params,
        with_vector,
        with_payload,
    })
}

struct Resolver<'a> {
    engine: &'a EdgeShard,
    config: &'a CollectionConfig,
}

impl Resolver<'_> {
    fn stage(&self, stage: Stage, depth: usize) -> Result<EnginePrefetch, Failure> {
        let Stage {
            prefetch,
            query,
            using,
            filter,
            score_threshold,
            limit,
            params,
        } = stage;
        if depth > MAX_DEPTH || prefetch.len() > MAX_PREFETCHES {
            let text = format!(
                "prefetch: more than {MAX_PREFETCHES} beside each other or {MAX_DEPTH} in each other"
            );
            return Err(Failure::Invalid(text));
        }
        if !prefetch.is_empty() && query.is_none() {
            return Err(Failure::invalid("query: is required with prefetch"));
        }
        if prefetch.is_empty() && matches!(query, Some(Query::Fusion(_))) {
            return Err(Failure::invalid("query: a fusion needs at least one prefetch"));
        }
        check::limit(limit, 0)?;
        check::filter(filter.as_ref())?;
        check::score_threshold(score_threshold)?;
        let prefetches = prefetch
            .into_iter()
            .map(|inner| self.stage(inner, depth + 1))
            .collect::<Result<_, _>>()?;
        let mut mentioned = HashSet::new();
        let query = query
            .map(|query| self.query(query, &using, limit, &mut mentioned))
            .transpose()?;
        let filter = if mentioned.is_empty() {
            filter
        } else {
            Some(excluding(filter, mentioned))
        };
        Ok(EnginePrefetch {
            prefetches,
            query,
            limit,
            params,
            filter,
            score_threshold: score_threshold.map(OrderedFloat),
        })
    }

    fn query(
        &self,
        query: Query,
        using: &str,
        limit: usize,
        mentioned: &mut HashSet<PointId>,
    ) -> Result<ScoringQuery, Failure> {
        let mut vector = |input| self.vector(input, using, mentioned);
        let query = match query {
            Query::Nearest { input, mmr: None } => nearest(vector(input)?, using),
            Query::Nearest {
                input,
                mmr:
                    Some(Mmr {
                        diversity,
                        candidates_limit,
                    }),
            } => {
                let diversity = diversity.unwrap_or(DEFAULT_DIVERSITY);
                if !(0.0..=1.0).contains(&diversity) {
                    return Err(Failure::Invalid(format!(
                        "mmr.diversity: {diversity} is not between 0 and 1"
                    )));
                }
                let candidates_limit = candidates_limit.unwrap_or(limit);
                check::limit(candidates_limit, 0)?;
                return Ok(ScoringQuery::Mmr(EngineMmr {
                    vector: vector(input)?,
                    using: using.to_owned(),
                    lambda: OrderedFloat(1.0 - diversity),
                    candidates_limit,
                }));
            }
            Query::Recommend {
                positive,
                negative,
                strategy,
            } => {
                let positives = positive
                    .into_iter()
                    .map(&mut vector)
                    .collect::<Result<Vec<_>, _>>()?;
                let negatives = negative
                    .into_iter()
                    .map(&mut vector)
                    .collect::<Result<Vec<_>, _>>()?;
                recommend(positives, negatives, strategy, using)?
            }
            Query::Discover { target, context } => {
                let target = vector(target)?;
                let query = DiscoverQuery::new(target, pairs(context, vector)?);
                QueryEnum::Discover(NamedQuery::new(query, using))
            }
            Query::Context(context) => {
                QueryEnum::Context(NamedQuery::new(ContextQuery::new(pairs(context, vector)?), using))
            }
            Query::OrderBy(order_by) => return Ok(ScoringQuery::OrderBy(order_by)),
            Query::Fusion(fusion) => return Ok(ScoringQuery::Fusion(fusion)),
            Query::Sample => return Ok(ScoringQuery::Sample(Sample::Random)),
        };
        Ok(ScoringQuery::Vector(query))
    }

    fn vector(
        &self,
        input: Input,
        using: &str,
        mentioned: &mut HashSet<PointId>,
    ) -> Result<VectorInternal, Failure> {
        match input {
            Input::Vector(mut vector) => {
                check::query_vector(self.config, using, &mut vector)?;
                Ok(vector)
            }
            Input::Id(id) => {
                check::kind(self.config, "using", using)?;
                let with_vector = WithVector::Selector(vec![using.to_owned()]);
                let found = self.engine.retrieve(
                    &[id],
                    Some(WithPayloadInterface::Bool(false)),
                    Some(with_vector),
                )?;
                let record = found
                    .first()
                    .ok_or_else(|| Failure::NotFound(format!("No point with id {id} found")))?;
                let vector = record.get_vector_by_name(using).ok_or_else(|| {
                    Failure::Invalid(format!("query: the point with id {id} has no vector {using:?}"))
                })?;
                mentioned.insert(id);
                Ok(vector.to_owned())
            }
        }
    }
}

fn nearest(vector: VectorInternal, using: &str) -> QueryEnum {
    QueryEnum::Nearest(NamedQuery::new(vector, using))
}

fn pairs(
    context: Vec<(Input, Input)>,
    mut vector: impl FnMut(Input) -> Result<VectorInternal, Failure>,
) -> Result<Vec<ContextPair<VectorInternal>>, Failure> {
    let pair = |(positive, negative)| {
        Ok(ContextPair {
            positive: vector(positive)?,
            negative: vector(negative)?,
        })
    };
    context.into_iter().map(pair).collect()
}

fn recommend(
    positives: Vec<VectorInternal>,
    negatives: Vec<VectorInternal>,
    strategy: Strategy,
    using: &str,
) -> Result<QueryEnum, Failure> {
    if positives.is_empty() && (negatives.is_empty() || strategy == Strategy::AverageVector) {
        return Err(Failure::invalid(
            "recommend.positive: at least one positive example is required",
        ));
    }
    let examples = |positives, negatives| NamedQuery::new(RecommendQuery::new(positives, negatives), using);
    match strategy {
        Strategy::BestScore => Ok(QueryEnum::RecommendBestScore(examples(positives, negatives))),
        Strategy::SumScores => Ok(QueryEnum::RecommendSumScores(examples(positives, negatives))),
        Strategy::AverageVector => {
            let mut target = average(positives)?;
            if !negatives.is_empty() {
                // As far beyond the positives as the negatives lie on the other side.
                for (value, away) in target.iter_mut().zip(average(negatives)?) {
                    *value += *value - away;
                }
            }
            Ok(nearest(VectorInternal::Dense(target), using))
        }
    }
}

fn average(vectors: Vec<VectorInternal>) -> Result<Vec<f32>, Failure> {
    let count = vectors.len() as f32;
    let mut sum: Vec<f32> = Vec::new();
    for vector in vectors {
        let VectorInternal::Dense(values) = vector else {
            let text = "the strategy `average_vector` for sparse vectors and multivectors; use `best_score`";
            return Err(Failure::unsupported(text));
        };
        sum.resize(values.len(), 0.0);
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }
    sum.iter_mut().for_each(|value| *value /= count);
    Ok(sum)
}

/// `filter`, and none of these points.
fn excluding(filter: Option<Filter>, ids: HashSet<PointId>) -> Filter {
    let mut filter = filter.unwrap_or_default();
    let ids: HasIdCondition = ids.into_iter().collect();
    filter
        .must_not
        .get_or_insert_default()
        .push(Condition::HasId(ids));
    filter
}
