//! What clients ask of the points of a collection, independent of the protocol.

use qdrant_edge::{
    Filter, Formula, Fusion, JsonPath, OrderBy, OrderByInterface, Payload, PayloadFieldSchema, PointId,
    PointStructPersisted, PointVectorsPersisted, SearchParams, VectorInternal, WithPayloadInterface,
    WithVector,
};

use super::Failure;

/// Which points an operation is for.
#[derive(Debug)]
pub(crate) enum Selector {
    Ids(Vec<PointId>),
    Filter(Filter),
}

/// A write. All are applied before they are acknowledged, whether or not the client waits.
#[derive(Debug)]
pub(crate) enum Update {
    Upsert(Vec<PointStructPersisted>),
    Delete(Selector),
    SetVectors(Vec<PointVectorsPersisted>),
    DeleteVectors {
        points: Selector,
        names: Vec<String>,
    },
    /// Merges into what is there.
    SetPayload(NewPayload),
    OverwritePayload(NewPayload),
    DeletePayload {
        points: Selector,
        keys: Vec<JsonPath>,
    },
    ClearPayload(Selector),
    CreateIndex {
        field: JsonPath,
        schema: PayloadFieldSchema,
    },
    DeleteIndex(JsonPath),
}

#[derive(Debug)]
pub(crate) struct NewPayload {
    pub(crate) points: Selector,
    pub(crate) payload: Payload,
    /// Where in the payload of a point; the whole without one.
    pub(crate) key: Option<JsonPath>,
}

#[derive(Debug)]
pub(crate) struct Retrieve {
    pub(crate) ids: Vec<PointId>,
    pub(crate) with_payload: WithPayloadInterface,
    pub(crate) with_vector: WithVector,
}

#[derive(Debug)]
pub(crate) struct Scroll {
    pub(crate) offset: Option<PointId>,
    pub(crate) limit: usize,
    pub(crate) filter: Option<Filter>,
    pub(crate) with_payload: WithPayloadInterface,
    pub(crate) with_vector: WithVector,
    pub(crate) order_by: Option<OrderByInterface>,
}

#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) filter: Option<Filter>,
    pub(crate) exact: bool,
}

#[derive(Debug)]
pub(crate) struct Facet {
    pub(crate) key: JsonPath,
    pub(crate) limit: usize,
    pub(crate) filter: Option<Filter>,
    pub(crate) exact: bool,
}

/// A search of any kind.
#[derive(Debug)]
pub(crate) struct Search {
    pub(crate) stage: Stage,
    pub(crate) offset: usize,
    pub(crate) with_payload: WithPayloadInterface,
    pub(crate) with_vector: WithVector,
}

/// One stage of a search: the outer one, or a prefetch whose results the one around it works on.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) prefetch: Vec<Stage>,
    /// Without one the points come in the order of their ids.
    pub(crate) query: Option<Query>,
    /// Name of the vector; empty for the one without a name.
    pub(crate) using: String,
    pub(crate) lookup_from: Option<Lookup>,
    pub(crate) filter: Option<Filter>,
    pub(crate) score_threshold: Option<f32>,
    pub(crate) limit: usize,
    pub(crate) params: Option<SearchParams>,
}

/// Where the points are whose ids a query has. Points of another collection are not kept out of the results.
#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) collection: String,
    /// Name of their vector; that of the searched one without one.
    pub(crate) vector: Option<String>,
}

/// A vector, or the id of a point whose vector is meant. Such a point is not among the results.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    Id(PointId),
    Vector(VectorInternal),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    #[default]
    AverageVector,
    BestScore,
    SumScores,
}

#[derive(Debug)]
pub(crate) struct Mmr {
    /// 0 is relevance only, 1 is diversity only.
    pub(crate) diversity: Option<f32>,
    pub(crate) candidates_limit: Option<usize>,
}

/// A vector, and what a better judge thought of some results.
#[derive(Debug)]
pub(crate) struct Feedback {
    pub(crate) target: Input,
    /// Examples with their scores.
    pub(crate) feedback: Vec<(Input, f32)>,
    /// `a`, `b` and `c` of the strategy `naive`.
    pub(crate) coefficients: [f32; 3],
}

#[derive(Debug)]
pub(crate) enum Query {
    Nearest {
        input: Input,
        mmr: Option<Mmr>,
    },
    Recommend {
        positive: Vec<Input>,
        negative: Vec<Input>,
        strategy: Strategy,
    },
    /// Pairs of positive and negative.
    Discover {
        target: Input,
        context: Vec<(Input, Input)>,
    },
    Context(Vec<(Input, Input)>),
    Feedback(Feedback),
    OrderBy(OrderBy),
    Fusion(Fusion),
    /// Of the scores of the prefetches and of payload.
    Formula(Formula),
    /// In random order.
    Sample,
}

const DEFAULT_RRF_K: usize = 2;

impl Query {
    /// Reciprocal rank fusion.
    pub(crate) fn rrf(k: Option<usize>, weights: Option<Vec<f32>>) -> Result<Self, Failure> {
        if k == Some(0) {
            return Err(Failure::invalid("query.rrf.k: 0 is less than 1"));
        }
        if weights
            .iter()
            .flatten()
            .any(|weight| !weight.is_finite() || *weight < 0.0)
        {
            return Err(Failure::invalid(
                "query.rrf.weights: must be finite and not negative",
            ));
        }
        let weights = weights.map(|weights| weights.into_iter().map(Into::into).collect());
        Ok(Self::Fusion(Fusion::Rrf {
            k: k.unwrap_or(DEFAULT_RRF_K),
            weights,
        }))
    }
}
