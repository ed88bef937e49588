//! From what a client asks to find to the engine's query: ids become the vectors of their points.

use std::collections::HashSet;

use qdrant_edge::{
    Condition, ContextPair, ContextQuery, DiscoverQuery, EdgeShard, FeedbackItem, FeedbackNaiveQuery, Filter,
    Fusion, HasIdCondition, Mmr as EngineMmr, NaiveFeedbackStrategy, NamedQuery, PointId,
    Prefetch as EnginePrefetch, QueryEnum, QueryRequest, RecommendQuery, Sample, ScoredPoint, ScoringQuery,
    SearchParams, TypedMultiDenseVector, VectorInternal, VectorStructInternal, WithPayloadInterface,
    WithVector, external::ordered_float::OrderedFloat,
};

use super::{
    CollectionConfig, Failure, Feedback, Input, Mmr, Query, Search, Stage, Strategy, check,
    config::VectorKind, formula, recommend,
};
use crate::storage::InUse;

const MAX_PREFETCHES: usize = 64;
const MAX_DEPTH: usize = 8;
/// Stages of one search. Each costs a pass over the segments.
const MAX_STAGES: usize = 256;
/// Candidates of all stages of one search together, and results of all searches of one request together. Each takes
/// about 150 bytes, without payload and vectors.
pub(super) const MAX_CANDIDATES: usize = 1_000_000;
/// Each selected point is compared with each candidate.
const MAX_MMR_CANDIDATES: usize = 4_096;
/// Vectors that one query compares each point with.
const MAX_EXAMPLES: usize = 1_000;
/// Numbers of all vectors of one query together, which the ids of points can make many of.
const MAX_NUMBERS: usize = 16 << 20;
/// Each two of them are compared with each point.
const MAX_FEEDBACK: usize = 64;
const DEFAULT_DIVERSITY: f32 = 0.5;

/// A search as the engine takes it.
#[derive(Clone)]
pub(super) struct Resolved {
    pub(super) request: QueryRequest,
    /// A threshold that the engine would take for one of distances.
    least_score: Option<f32>,
}

pub(super) fn resolve(
    engine: &EdgeShard,
    config: &CollectionConfig,
    search: Search,
) -> Result<Resolved, Failure> {
    let Search {
        stage,
        offset,
        with_payload,
        with_vector,
    } = search;
    check::limit(stage.limit, offset)?;
    let mut resolver = Resolver {
        engine,
        config,
        mentioned: HashSet::new(),
        stages: 0,
        candidates: offset,
        numbers: 0,
    };
    let EnginePrefetch {
        prefetches,
        query,
        limit,
        params,
        filter,
        score_threshold,
    } = resolver.stage(stage, 0)?;
    // The filter reaches every stage: the points that are named anywhere in the request are nowhere found.
    let filter = if resolver.mentioned.is_empty() {
        filter
    } else {
        Some(excluding(filter, resolver.mentioned))
    };
    let (score_threshold, least_score) = match &query {
        Some(query) if scored_against_distance(config, query) => (None, score_threshold),
        _ => (score_threshold, None),
    };
    Ok(Resolved {
        request: QueryRequest {
            prefetches,
            query,
            filter,
            score_threshold,
            limit,
            offset,
            params,
            with_vector,
            with_payload,
        },
        least_score: least_score.map(OrderedFloat::into_inner),
    })
}

impl Resolved {
    /// The results after the offset.
    pub(super) fn run(self, shard: &InUse<'_>) -> Result<Vec<ScoredPoint>, Failure> {
        let (offset, limit) = (self.request.offset, self.request.limit);
        // The engine answers with the vectors that it compared the candidates by as well.
        let asked = match &self.request.query {
            Some(ScoringQuery::Mmr(_)) => Some(self.request.with_vector.clone()),
            _ => None,
        };
        let mut found = shard.read(|engine| engine.query(self.request))?;
        if let Some(least) = self.least_score {
            found.retain(|point| point.score >= least);
        }
        if let Some(asked) = asked {
            for point in &mut found {
                leave_only(&asked, &mut point.vector);
            }
        }
        // The engine finds enough for the offset, but leaves it to its caller to skip that much.
        Ok(found.into_iter().skip(offset).take(limit).collect())
    }
}

/// Removes the vectors that were not asked for.
fn leave_only(asked: &WithVector, vector: &mut Option<VectorStructInternal>) {
    match (asked, &mut *vector) {
        (WithVector::Bool(true), _) => {}
        (WithVector::Selector(names), Some(VectorStructInternal::Named(vectors))) => {
            vectors.retain(|name, _| names.contains(name));
        }
        // The only one, which has the empty name.
        (WithVector::Selector(names), _) if names.iter().any(String::is_empty) => {}
        (WithVector::Bool(false) | WithVector::Selector(_), _) => *vector = None,
    }
}

struct Resolver<'a> {
    engine: &'a EdgeShard,
    config: &'a CollectionConfig,
    /// Points of this collection whose vectors the request asks with.
    mentioned: HashSet<PointId>,
    stages: usize,
    candidates: usize,
    numbers: usize,
}

/// Whose vectors a query is about: `using` in this collection; those of ids have the name `stored`.
#[derive(Clone, Copy)]
struct Names<'a> {
    using: &'a str,
    stored: &'a str,
}

impl Resolver<'_> {
    fn stage(&mut self, stage: Stage, depth: usize) -> Result<EnginePrefetch, Failure> {
        let Stage {
            prefetch,
            query,
            using,
            lookup_from,
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
        combination(&prefetch, query.as_ref(), &using, score_threshold)?;
        check::limit(limit, 0)?;
        check::filter(filter.as_ref())?;
        check::score_threshold(score_threshold)?;
        check_params(params.as_ref(), limit)?;
        self.count(limit)?;
        let prefetches = prefetch
            .into_iter()
            .map(|inner| self.stage(inner, depth + 1))
            .collect::<Result<_, _>>()?;
        let stored = lookup_from.and_then(|lookup| lookup.vector);
        let names = Names {
            using: &using,
            stored: stored.as_deref().unwrap_or(&using),
        };
        let query = query.map(|query| self.query(query, names, limit)).transpose()?;
        let stage = EnginePrefetch {
            prefetches,
            query,
            limit,
            params,
            filter,
            score_threshold: score_threshold.map(OrderedFloat),
        };
        if depth > 0 { self.inner(stage) } else { Ok(stage) }
    }

    /// What the engine does differently in a prefetch.
    fn inner(&mut self, mut stage: EnginePrefetch) -> Result<EnginePrefetch, Failure> {
        let Some(query) = &stage.query else {
            return Ok(stage);
        };
        if stage.score_threshold.is_some() && scored_against_distance(self.config, query) {
            return Err(Failure::unsupported(
                "`score_threshold` in a prefetch whose query is not a nearest one, over a vector whose distance is \
                 the better the smaller it is",
            ));
        }
        // It would leave out the diversity where there is nothing to rescore, so let it rescore the nearest ones.
        if let ScoringQuery::Mmr(mmr) = query {
            let candidates = EnginePrefetch {
                prefetches: std::mem::take(&mut stage.prefetches),
                query: Some(ScoringQuery::Vector(nearest(mmr.vector.clone(), &mmr.using))),
                limit: mmr.candidates_limit,
                params: stage.params,
                filter: stage.filter.take(),
                score_threshold: stage.score_threshold.take(),
            };
            self.count(candidates.limit)?;
            stage.prefetches = vec![candidates];
        }
        Ok(stage)
    }

    fn count(&mut self, limit: usize) -> Result<(), Failure> {
        self.stages += 1;
        self.candidates = self.candidates.saturating_add(limit);
        if self.stages > MAX_STAGES {
            return Err(Failure::Invalid(format!(
                "prefetch: more than {MAX_STAGES} in all"
            )));
        }
        if self.candidates > MAX_CANDIDATES {
            return Err(Failure::Invalid(format!(
                "prefetch: the limits are together more than {MAX_CANDIDATES}"
            )));
        }
        Ok(())
    }

    fn query(&mut self, query: Query, names: Names, limit: usize) -> Result<ScoringQuery, Failure> {
        let using = names.using;
        let query = match query {
            Query::Nearest { input, mmr: None } => nearest(self.vector(input, names)?, using),
            Query::Nearest {
                input,
                mmr: Some(mmr),
            } => return self.mmr(input, mmr, names, limit),
            Query::Recommend {
                positive,
                negative,
                strategy,
            } => {
                examples("recommend", positive.len() + negative.len(), MAX_EXAMPLES)?;
                recommend::check(&positive, &negative, strategy)?;
                let positives = self.vectors(positive, names)?;
                let negatives = self.vectors(negative, names)?;
                let query =
                    |positives, negatives| NamedQuery::new(RecommendQuery::new(positives, negatives), using);
                match strategy {
                    Strategy::AverageVector => nearest(recommend::average(positives, negatives)?, using),
                    Strategy::BestScore => QueryEnum::RecommendBestScore(query(positives, negatives)),
                    Strategy::SumScores => QueryEnum::RecommendSumScores(query(positives, negatives)),
                }
            }
            Query::Discover { target, context } => {
                let target = self.vector(target, names)?;
                let query = DiscoverQuery::new(target, self.pairs(context, names)?);
                QueryEnum::Discover(NamedQuery::new(query, using))
            }
            Query::Context(context) => {
                let query = ContextQuery::new(self.pairs(context, names)?);
                QueryEnum::Context(NamedQuery::new(query, using))
            }
            Query::Feedback(feedback) => self.feedback(feedback, names)?,
            Query::OrderBy(order_by) => return Ok(ScoringQuery::OrderBy(order_by)),
            Query::Fusion(fusion) => return Ok(ScoringQuery::Fusion(fusion)),
            Query::Formula(formula) => {
                formula::check(&formula)?;
                return Ok(ScoringQuery::Formula(formula.try_into()?));
            }
            Query::Sample => return Ok(ScoringQuery::Sample(Sample::Random)),
        };
        Ok(ScoringQuery::Vector(query))
    }

    fn mmr(&mut self, input: Input, mmr: Mmr, names: Names, limit: usize) -> Result<ScoringQuery, Failure> {
        let diversity = mmr.diversity.unwrap_or(DEFAULT_DIVERSITY);
        if !(0.0..=1.0).contains(&diversity) {
            return Err(Failure::Invalid(format!(
                "mmr.diversity: {diversity} is not between 0 and 1"
            )));
        }
        let candidates_limit = mmr.candidates_limit.unwrap_or(limit);
        if !(1..=MAX_MMR_CANDIDATES).contains(&candidates_limit) {
            return Err(Failure::Invalid(format!(
                "mmr.candidates_limit: {candidates_limit} is not between 1 and {MAX_MMR_CANDIDATES}"
            )));
        }
        let vector = self.vector(input, names)?;
        if matches!(vector, VectorInternal::Sparse(_)) {
            return Err(Failure::unsupported("`mmr` over a sparse vector"));
        }
        Ok(ScoringQuery::Mmr(EngineMmr {
            vector,
            using: names.using.to_owned(),
            lambda: OrderedFloat(1.0 - diversity),
            candidates_limit,
        }))
    }

    fn feedback(&mut self, feedback: Feedback, names: Names) -> Result<QueryEnum, Failure> {
        let Feedback {
            target,
            feedback,
            coefficients,
        } = feedback;
        examples("relevance_feedback", feedback.len(), MAX_FEEDBACK)?;
        let finite = coefficients
            .iter()
            .chain(feedback.iter().map(|(_, score)| score))
            .all(|value| value.is_finite());
        if !finite {
            return Err(Failure::invalid(
                "relevance_feedback: the scores and the strategy must be finite numbers",
            ));
        }
        let target = self.vector(target, names)?;
        let feedback = feedback
            .into_iter()
            .map(|(example, score)| {
                Ok(FeedbackItem {
                    vector: self.vector(example, names)?,
                    score: OrderedFloat(score),
                })
            })
            .collect::<Result<_, Failure>>()?;
        let [a, b, c] = coefficients.map(OrderedFloat);
        let query = FeedbackNaiveQuery {
            target,
            feedback,
            coefficients: NaiveFeedbackStrategy { a, b, c },
        };
        Ok(QueryEnum::FeedbackNaive(NamedQuery::new(query, names.using)))
    }

    fn pairs(
        &mut self,
        context: Vec<(Input, Input)>,
        names: Names,
    ) -> Result<Vec<ContextPair<VectorInternal>>, Failure> {
        examples("context", 2 * context.len(), MAX_EXAMPLES)?;
        let pair = |(positive, negative)| {
            Ok(ContextPair {
                positive: self.vector(positive, names)?,
                negative: self.vector(negative, names)?,
            })
        };
        context.into_iter().map(pair).collect()
    }

    fn vectors(&mut self, inputs: Vec<Input>, names: Names) -> Result<Vec<VectorInternal>, Failure> {
        inputs
            .into_iter()
            .map(|input| self.vector(input, names))
            .collect()
    }

    /// A vector to compare the points' with.
    fn vector(&mut self, input: Input, names: Names) -> Result<VectorInternal, Failure> {
        let kind = check::kind(self.config, "using", names.using)?;
        let mut vector = match input {
            Input::Vector(vector) => vector,
            Input::Id(id) => {
                let vector = self.stored(id, names.stored)?;
                self.mentioned.insert(id);
                vector
            }
        };
        check::query_vector(self.config, names.using, &mut vector)?;
        self.numbers += numbers(&vector);
        if self.numbers > MAX_NUMBERS {
            return Err(Failure::Invalid(format!(
                "query: its vectors have together more than {MAX_NUMBERS} numbers"
            )));
        }
        Ok(match (kind, vector) {
            (VectorKind::Multi { size }, VectorInternal::Dense(row)) => {
                VectorInternal::MultiDense(TypedMultiDenseVector::new(row, size))
            }
            (_, vector) => vector,
        })
    }

    fn stored(&self, id: PointId, name: &str) -> Result<VectorInternal, Failure> {
        check::kind(self.config, "lookup_from.vector", name)?;
        let with_vector = WithVector::Selector(vec![name.to_owned()]);
        let found =
            self.engine
                .retrieve(&[id], Some(WithPayloadInterface::Bool(false)), Some(with_vector))?;
        let record = found
            .first()
            .ok_or_else(|| Failure::NotFound(format!("No point with id {id} found")))?;
        let vector = record.get_vector_by_name(name).ok_or_else(|| {
            Failure::Invalid(format!("query: the point with id {id} has no vector {name:?}"))
        })?;
        Ok(vector.to_owned())
    }
}

/// What cannot be asked together; the texts are Qdrant's.
fn combination(
    prefetch: &[Stage],
    query: Option<&Query>,
    using: &str,
    score_threshold: Option<f32>,
) -> Result<(), Failure> {
    let wrong = |text: &str| Err(Failure::invalid(text));
    if !prefetch.is_empty() && query.is_none() {
        return wrong(
            "query: A query is needed to merge the prefetches. Can't have prefetches without defining a query.",
        );
    }
    match (score_threshold, query) {
        (Some(_), None) => {
            return wrong(
                "score_threshold: A query is needed to use the score_threshold. Can't have score_threshold \
                 without defining a query.",
            );
        }
        (Some(_), Some(Query::OrderBy(_))) => {
            return wrong("score_threshold: Can't use score_threshold with an order_by query.");
        }
        _ => {}
    }
    match query {
        Some(Query::Fusion(_)) if prefetch.is_empty() => {
            wrong("query: cannot apply Fusion without prefetches, a fusion needs at least one")
        }
        Some(Query::Formula(_)) if prefetch.is_empty() => {
            wrong("query: cannot apply Formula without prefetches, a formula needs at least one")
        }
        Some(Query::Fusion(_)) if !using.is_empty() => {
            wrong("using: Fusion queries cannot be combined with the 'using' field.")
        }
        Some(Query::Fusion(Fusion::Rrf {
            weights: Some(weights),
            ..
        })) if weights.len() != prefetch.len() => Err(Failure::Invalid(format!(
            "query.rrf.weights: Number of weights in RRF should match number of pre-fetches: got {}, expected {}",
            weights.len(),
            prefetch.len()
        ))),
        _ => Ok(()),
    }
}

fn examples(field: &str, count: usize, most: usize) -> Result<(), Failure> {
    if count <= most {
        return Ok(());
    }
    Err(Failure::Invalid(format!(
        "query.{field}: {count} examples are more than {most}"
    )))
}

pub(super) fn numbers(vector: &VectorInternal) -> usize {
    match vector {
        VectorInternal::Dense(values) => values.len(),
        VectorInternal::Sparse(sparse) => 2 * sparse.values.len(),
        VectorInternal::MultiDense(rows) => rows.flattened_vectors.len(),
    }
}

/// The engine allocates for the beam and for the oversampled candidates up front.
fn check_params(params: Option<&SearchParams>, limit: usize) -> Result<(), Failure> {
    let Some(params) = params else { return Ok(()) };
    if let Some(ef) = params.hnsw_ef
        && ef > check::MAX_RESULTS
    {
        let most = check::MAX_RESULTS;
        return Err(Failure::Invalid(format!(
            "params.hnsw_ef: {ef} is more than {most}"
        )));
    }
    if let Some(factor) = params
        .quantization
        .and_then(|quantization| quantization.oversampling)
    {
        let candidates = factor * limit as f64;
        if !(factor >= 1.0 && candidates <= MAX_CANDIDATES as f64) {
            return Err(Failure::Invalid(format!(
                "params.quantization.oversampling: {factor} is less than 1, or with the limit more than \
                 {MAX_CANDIDATES} candidates"
            )));
        }
    }
    if let Some(selectivity) = params.acorn.and_then(|acorn| acorn.max_selectivity)
        && !(0.0..=1.0).contains(&selectivity.into_inner())
    {
        return Err(Failure::Invalid(format!(
            "params.acorn.max_selectivity: {selectivity} is not between 0 and 1"
        )));
    }
    Ok(())
}

/// Whether the scores are the better the larger they are although the distances are so the smaller they are.
fn scored_against_distance(config: &CollectionConfig, query: &ScoringQuery) -> bool {
    use qdrant_edge::Distance;
    let ScoringQuery::Vector(query) = query else {
        return false;
    };
    let name = query.get_vector_name();
    !query.is_distance_scored()
        && config.dense().any(|(other, params)| {
            other == name && matches!(params.distance, Distance::Euclid | Distance::Manhattan)
        })
}

fn nearest(vector: VectorInternal, using: &str) -> QueryEnum {
    QueryEnum::Nearest(NamedQuery::new(vector, using))
}

/// `filter`, and none of these points.
pub(super) fn excluding(filter: Option<Filter>, ids: HashSet<PointId>) -> Filter {
    let mut filter = filter.unwrap_or_default();
    let ids: HasIdCondition = ids.into_iter().collect();
    filter
        .must_not
        .get_or_insert_default()
        .push(Condition::HasId(ids));
    filter
}
