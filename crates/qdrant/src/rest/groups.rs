//! Searches whose results come in groups.

use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Filter, JsonPath, WithPayloadInterface, WithVector};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    output,
    params::{LookupRequest, Params},
    query,
    recommend::RecommendRequest,
    reply::{Body, reply},
    search::{OneOrMany, QueryRequest, SearchRequest},
};
use crate::{
    engine::Engine,
    service::{Failure, Groups, WithLookup},
};

const DEFAULT_LIMIT: usize = 10;
const DEFAULT_GROUP_SIZE: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryGroups {
    prefetch: Option<OneOrMany>,
    query: Option<Value>,
    using: Option<String>,
    filter: Option<Filter>,
    params: Option<Params>,
    score_threshold: Option<f32>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    with_payload: Option<WithPayloadInterface>,
    lookup_from: Option<LookupRequest>,
    group_by: JsonPath,
    group_size: Option<usize>,
    limit: Option<usize>,
    with_lookup: Option<Value>,
    shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchGroups {
    vector: Value,
    filter: Option<Filter>,
    params: Option<Params>,
    score_threshold: Option<f32>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    with_payload: Option<WithPayloadInterface>,
    group_by: JsonPath,
    group_size: usize,
    limit: usize,
    with_lookup: Option<Value>,
    shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecommendGroups {
    #[serde(default)]
    positive: Value,
    #[serde(default)]
    negative: Value,
    #[serde(default)]
    strategy: Value,
    filter: Option<Filter>,
    params: Option<Params>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    score_threshold: Option<f32>,
    using: Option<String>,
    lookup_from: Option<LookupRequest>,
    group_by: JsonPath,
    group_size: usize,
    limit: usize,
    with_lookup: Option<Value>,
    shard_key: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupIn {
    collection: String,
    with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vector")]
    with_vectors: Option<WithVector>,
}

/// The name of a collection, or more.
fn with_lookup(value: Option<Value>) -> Result<Option<WithLookup>, Failure> {
    let lookup = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(collection)) => LookupIn {
            collection,
            with_payload: None,
            with_vectors: None,
        },
        Some(value) => query::parse("with_lookup", value)?,
    };
    Ok(Some(WithLookup {
        collection: lookup.collection,
        with_payload: lookup.with_payload.unwrap_or(WithPayloadInterface::Bool(true)),
        with_vector: lookup.with_vectors.unwrap_or_default(),
    }))
}

impl QueryGroups {
    fn into_groups(self) -> Result<Groups, Failure> {
        let search = QueryRequest {
            prefetch: self.prefetch,
            query: self.query,
            using: self.using,
            filter: self.filter,
            params: self.params,
            score_threshold: self.score_threshold,
            limit: Some(self.limit.unwrap_or(DEFAULT_LIMIT)),
            offset: None,
            with_vector: self.with_vector,
            with_payload: self.with_payload,
            lookup_from: self.lookup_from,
            shard_key: self.shard_key,
        };
        Ok(Groups {
            search: search.into_search()?,
            by: self.group_by,
            size: self.group_size.unwrap_or(DEFAULT_GROUP_SIZE),
            lookup: with_lookup(self.with_lookup)?,
        })
    }
}

impl SearchGroups {
    fn into_groups(self) -> Result<Groups, Failure> {
        let search = SearchRequest {
            vector: self.vector,
            filter: self.filter,
            params: self.params,
            score_threshold: self.score_threshold,
            limit: self.limit,
            offset: None,
            with_vector: self.with_vector,
            with_payload: self.with_payload,
            shard_key: self.shard_key,
        };
        Ok(Groups {
            search: search.into_search()?,
            by: self.group_by,
            size: self.group_size,
            lookup: with_lookup(self.with_lookup)?,
        })
    }
}

impl RecommendGroups {
    fn into_groups(self) -> Result<Groups, Failure> {
        let search = RecommendRequest {
            positive: self.positive,
            negative: self.negative,
            strategy: self.strategy,
            filter: self.filter,
            params: self.params,
            limit: self.limit,
            offset: None,
            with_payload: self.with_payload,
            with_vector: self.with_vector,
            score_threshold: self.score_threshold,
            using: self.using,
            lookup_from: self.lookup_from,
            shard_key: self.shard_key,
        };
        Ok(Groups {
            search: search.into_search()?,
            by: self.group_by,
            size: self.group_size,
            lookup: with_lookup(self.with_lookup)?,
        })
    }
}

async fn answer<T: DeserializeOwned + 'static>(
    engine: Engine,
    name: String,
    body: Body,
    into_groups: fn(T) -> Result<Groups, Failure>,
) -> Response {
    reply(&engine, move |service| {
        let groups = into_groups(body.parse()?)?;
        service.groups(&name, groups).map(output::groups)
    })
    .await
}

pub(super) async fn query(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    answer(engine, name, body, QueryGroups::into_groups).await
}

pub(super) async fn search(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    answer(engine, name, body, SearchGroups::into_groups).await
}

pub(super) async fn recommend(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    answer(engine, name, body, RecommendGroups::into_groups).await
}
