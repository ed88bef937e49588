//! Recommendations and discoveries in the form that they had before the universal query.

use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Filter, WithPayloadInterface, WithVector};
use serde::Deserialize;
use serde_json::Value;

use super::{
    output,
    params::{LookupRequest, Params},
    query,
    reply::{Body, reply},
    search::searches,
};
use crate::{
    engine::Engine,
    service::{Failure, Query, Search, Stage, check::refuse_present},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecommendRequest {
    #[serde(default)]
    pub(super) positive: Value,
    #[serde(default)]
    pub(super) negative: Value,
    #[serde(default)]
    pub(super) strategy: Value,
    pub(super) filter: Option<Filter>,
    pub(super) params: Option<Params>,
    pub(super) limit: usize,
    pub(super) offset: Option<usize>,
    pub(super) with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vectors")]
    pub(super) with_vector: Option<WithVector>,
    pub(super) score_threshold: Option<f32>,
    pub(super) using: Option<String>,
    pub(super) lookup_from: Option<LookupRequest>,
    pub(super) shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscoverRequest {
    #[serde(default)]
    target: Value,
    #[serde(default)]
    context: Value,
    filter: Option<Filter>,
    params: Option<Params>,
    limit: usize,
    offset: Option<usize>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    using: Option<String>,
    lookup_from: Option<LookupRequest>,
    shard_key: Option<Value>,
}

impl RecommendRequest {
    pub(super) fn into_search(self) -> Result<Search, Failure> {
        refuse_present(&[("shard_key", self.shard_key.is_some())])?;
        Ok(Search {
            stage: Stage {
                prefetch: Vec::new(),
                query: Some(Query::Recommend {
                    positive: query::inputs("positive", self.positive)?,
                    negative: query::inputs("negative", self.negative)?,
                    strategy: query::strategy("strategy", &self.strategy)?,
                }),
                using: self.using.unwrap_or_default(),
                lookup_from: self.lookup_from.map(LookupRequest::into_domain).transpose()?,
                filter: self.filter,
                score_threshold: self.score_threshold,
                limit: self.limit,
                params: self.params.map(Params::into_domain).transpose()?,
            },
            offset: self.offset.unwrap_or(0),
            with_payload: self.with_payload.unwrap_or_default(),
            with_vector: self.with_vector.unwrap_or_default(),
        })
    }
}

impl DiscoverRequest {
    fn into_search(self) -> Result<Search, Failure> {
        refuse_present(&[("shard_key", self.shard_key.is_some())])?;
        let context = query::pairs("context", self.context)?;
        let query = match self.target {
            Value::Null if context.is_empty() => {
                return Err(Failure::invalid(
                    "target: target and/or context must be specified",
                ));
            }
            Value::Null => Query::Context(context),
            target => Query::Discover {
                target: query::input("target", target)?,
                context,
            },
        };
        Ok(Search {
            stage: Stage {
                prefetch: Vec::new(),
                query: Some(query),
                using: self.using.unwrap_or_default(),
                lookup_from: self.lookup_from.map(LookupRequest::into_domain).transpose()?,
                filter: self.filter,
                score_threshold: None,
                limit: self.limit,
                params: self.params.map(Params::into_domain).transpose()?,
            },
            offset: self.offset.unwrap_or(0),
            with_payload: self.with_payload.unwrap_or_default(),
            with_vector: self.with_vector.unwrap_or_default(),
        })
    }
}

/// Answers with the results of one search.
async fn one(
    engine: Engine,
    name: String,
    search: impl FnOnce() -> Result<Search, Failure> + Send + 'static,
) -> Response {
    reply(&engine, move |service| {
        let found = service.search(&name, vec![search()?])?.pop();
        Ok(output::points(found.unwrap_or_default()))
    })
    .await
}

/// Answers with the results of each search.
async fn each(
    engine: Engine,
    name: String,
    searches: impl FnOnce() -> Result<Vec<Search>, Failure> + Send + 'static,
) -> Response {
    reply(&engine, move |service| {
        let results = service.search(&name, searches()?)?;
        Ok(results.into_iter().map(output::points).collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn recommend(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    one(engine, name, move || {
        body.parse::<RecommendRequest>()?.into_search()
    })
    .await
}

pub(super) async fn recommend_batch(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    each(engine, name, move || {
        searches(&body, RecommendRequest::into_search)
    })
    .await
}

pub(super) async fn discover(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    one(engine, name, move || {
        body.parse::<DiscoverRequest>()?.into_search()
    })
    .await
}

pub(super) async fn discover_batch(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    each(engine, name, move || {
        searches(&body, DiscoverRequest::into_search)
    })
    .await
}
