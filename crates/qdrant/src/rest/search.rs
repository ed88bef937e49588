use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Filter, SearchParams, WithPayloadInterface, WithVector};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    output, query,
    reply::{Body, reply},
};
use crate::{
    engine::Engine,
    service::{Failure, Query, Search, Stage, check::refuse_present},
};

const DEFAULT_LIMIT: usize = 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryRequest {
    prefetch: Option<OneOrMany>,
    query: Option<Value>,
    using: Option<String>,
    filter: Option<Filter>,
    params: Option<SearchParams>,
    score_threshold: Option<f32>,
    limit: Option<usize>,
    offset: Option<usize>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    with_payload: Option<WithPayloadInterface>,
    lookup_from: Option<Value>,
    shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<PrefetchRequest>),
    Many(Vec<PrefetchRequest>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PrefetchRequest {
    prefetch: Option<OneOrMany>,
    query: Option<Value>,
    using: Option<String>,
    filter: Option<Filter>,
    params: Option<SearchParams>,
    score_threshold: Option<f32>,
    limit: Option<usize>,
    lookup_from: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchRequest {
    vector: Value,
    filter: Option<Filter>,
    params: Option<SearchParams>,
    score_threshold: Option<f32>,
    limit: usize,
    offset: Option<usize>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    with_payload: Option<WithPayloadInterface>,
    shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<T> {
    searches: Vec<T>,
}

/// The searches of a batch.
fn searches<T: DeserializeOwned>(
    body: &Body,
    into_search: fn(T) -> Result<Search, Failure>,
) -> Result<Vec<Search>, Failure> {
    let batch: Batch<T> = body.parse()?;
    batch.searches.into_iter().map(into_search).collect()
}

impl QueryRequest {
    fn into_search(self) -> Result<Search, Failure> {
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
        refuse_present(&[("lookup_from", self.lookup_from.is_some())])?;
        Ok(Stage {
            prefetch: prefetches(self.prefetch)?,
            query: self.query.map(query::query).transpose()?,
            using: self.using.unwrap_or_default(),
            filter: self.filter,
            score_threshold: self.score_threshold,
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            params: self.params,
        })
    }
}

impl SearchRequest {
    fn into_search(self) -> Result<Search, Failure> {
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
                filter: self.filter,
                score_threshold: self.score_threshold,
                limit: self.limit,
                params: self.params,
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
