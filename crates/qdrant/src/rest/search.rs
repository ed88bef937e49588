use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Filter, WithPayloadInterface, WithVector};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    output,
    params::{LookupRequest, Params},
    query,
    reply::{Body, reply},
};
use crate::{
    engine::Engine,
    service::{Failure, Query, Search, Stage, check::refuse_present},
};

const DEFAULT_LIMIT: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QueryRequest {
    pub(super) prefetch: Option<OneOrMany>,
    pub(super) query: Option<Value>,
    pub(super) using: Option<String>,
    pub(super) filter: Option<Filter>,
    pub(super) params: Option<Params>,
    pub(super) score_threshold: Option<f32>,
    pub(super) limit: Option<usize>,
    pub(super) offset: Option<usize>,
    #[serde(default, alias = "with_vectors")]
    pub(super) with_vector: Option<WithVector>,
    pub(super) with_payload: Option<WithPayloadInterface>,
    pub(super) lookup_from: Option<LookupRequest>,
    pub(super) shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(Box<PrefetchRequest>),
    Many(Vec<PrefetchRequest>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrefetchRequest {
    prefetch: Option<OneOrMany>,
    query: Option<Value>,
    using: Option<String>,
    filter: Option<Filter>,
    params: Option<Params>,
    score_threshold: Option<f32>,
    limit: Option<usize>,
    lookup_from: Option<LookupRequest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRequest {
    pub(super) vector: Value,
    pub(super) filter: Option<Filter>,
    pub(super) params: Option<Params>,
    pub(super) score_threshold: Option<f32>,
    pub(super) limit: usize,
    pub(super) offset: Option<usize>,
    #[serde(default, alias = "with_vectors")]
    pub(super) with_vector: Option<WithVector>,
    pub(super) with_payload: Option<WithPayloadInterface>,
    pub(super) shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<T> {
    searches: Vec<T>,
}

/// The searches of a batch.
pub(super) fn searches<T: DeserializeOwned>(
    body: &Body,
    into_search: fn(T) -> Result<Search, Failure>,
) -> Result<Vec<Search>, Failure> {
    let batch: Batch<T> = body.parse()?;
    batch.searches.into_iter().map(into_search).collect()
}

impl QueryRequest {
    pub(super) fn into_search(self) -> Result<Search, Failure> {
        refuse_present(&[("shard_key", self.shard_key.is_some())])?;
        let stage = PrefetchRequest {
            prefetch: self.prefetch,
            query: self.query,
            using: self.using,
            filter: self.filter,
            params: self.params,
            score_threshold: self.score_threshold,
            limit: self.limit,
            lookup_from: self.lookup_from,
        };
        Ok(Search {
            stage: stage.into_stage()?,
            offset: self.offset.unwrap_or(0),
            with_payload: self.with_payload.unwrap_or_default(),
            with_vector: self.with_vector.unwrap_or_default(),
        })
    }
}

fn prefetches(prefetch: Option<OneOrMany>) -> Result<Vec<Stage>, Failure> {
    let prefetches = match prefetch {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![*one],
        Some(OneOrMany::Many(many)) => many,
    };
    prefetches.into_iter().map(PrefetchRequest::into_stage).collect()
}

impl PrefetchRequest {
    fn into_stage(self) -> Result<Stage, Failure> {
        Ok(Stage {
            prefetch: prefetches(self.prefetch)?,
            query: self.query.map(query::query).transpose()?,
            using: self.using.unwrap_or_default(),
            lookup_from: self.lookup_from.map(LookupRequest::into_domain).transpose()?,
            filter: self.filter,
            score_threshold: self.score_threshold,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            params: self.params.map(Params::into_domain).transpose()?,
        })
    }
}

impl SearchRequest {
    pub(super) fn into_search(self) -> Result<Search, Failure> {
        refuse_present(&[("shard_key", self.shard_key.is_some())])?;
        let (using, vector) = match self.vector {
            Value::Object(mut named) if named.contains_key("name") => {
                let name = query::parse("vector.name", named.remove("name").unwrap_or_default())?;
                (name, named.remove("vector").unwrap_or_default())
            }
            vector => (String::new(), vector),
        };
        let input = query::input("vector", vector)?;
        Ok(Search {
            stage: Stage {
                prefetch: Vec::new(),
                query: Some(Query::Nearest { input, mmr: None }),
                using,
                lookup_from: None,
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

pub(super) async fn query(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let search = body.parse::<QueryRequest>()?.into_search()?;
        let points = service.search(&name, vec![search])?.pop().unwrap_or_default();
        Ok(json!({ "points": output::points(points) }))
    })
    .await
}

pub(super) async fn query_batch(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    reply(&engine, move |service| {
        let results = service.search(&name, searches(&body, QueryRequest::into_search)?)?;
        Ok(results
            .into_iter()
            .map(|points| json!({ "points": output::points(points) }))
            .collect::<Vec<_>>())
    })
    .await
}

pub(super) async fn search(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let search = body.parse::<SearchRequest>()?.into_search()?;
        Ok(output::points(
            service.search(&name, vec![search])?.pop().unwrap_or_default(),
        ))
    })
    .await
}

pub(super) async fn search_batch(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    reply(&engine, move |service| {
        let results = service.search(&name, searches(&body, SearchRequest::into_search)?)?;
        Ok(results.into_iter().map(output::points).collect::<Vec<_>>())
    })
    .await
}
