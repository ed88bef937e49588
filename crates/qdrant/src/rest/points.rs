use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::{Filter, JsonPath, OrderByInterface, PointId, WithPayloadInterface, WithVector};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    input, output,
    reply::{Body, reply, reply_to_write},
};
use crate::{
    engine::Engine,
    service::{Count, Facet, Failure, Retrieve, Scroll, Update, check::refuse_present},
};

/// Answers a request that is one update.
async fn write<T: serde::de::DeserializeOwned>(
    engine: Engine,
    name: String,
    body: Body,
    into_update: impl FnOnce(T) -> Result<Update, Failure> + Send + 'static,
) -> Response {
    reply_to_write(&engine, move |service| {
        let update = into_update(body.parse()?)?;
        Ok(output::updated(service.update(&name, vec![update])?).pop())
    })
    .await
}

pub(super) async fn upsert(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    write(engine, name, body, input::Upsert::into_update).await
}

pub(super) async fn delete(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    write(engine, name, body, |points: input::Points| {
        points.into_selector().map(Update::Delete)
    })
    .await
}

pub(super) async fn update_vectors(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, input::UpdateVectors::into_update).await
}

pub(super) async fn delete_vectors(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, input::DeleteVectors::into_update).await
}

pub(super) async fn set_payload(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, input::SetPayload::into_set).await
}

pub(super) async fn overwrite_payload(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, input::SetPayload::into_overwrite).await
}

pub(super) async fn delete_payload(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, input::DeletePayload::into_update).await
}

pub(super) async fn clear_payload(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    body: Body,
) -> Response {
    write(engine, name, body, |points: input::Points| {
        points.into_selector().map(Update::ClearPayload)
    })
    .await
}

pub(super) async fn batch(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply_to_write(&engine, move |service| {
        let request: input::Operations = body.parse()?;
        let updates = request
            .operations
            .into_iter()
            .map(input::Operation::into_update)
            .collect::<Result<_, _>>()?;
        service.update(&name, updates).map(output::updated)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RetrieveRequest {
    ids: Vec<PointId>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    shard_key: Option<Value>,
}

pub(super) async fn retrieve(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let request: RetrieveRequest = body.parse()?;
        refuse_present(&[("shard_key", request.shard_key.is_some())])?;
        let request = Retrieve {
            ids: request.ids,
            with_payload: request.with_payload.unwrap_or(WithPayloadInterface::Bool(true)),
            with_vector: request.with_vector.unwrap_or_default(),
        };
        service.retrieve(&name, request).map(output::points)
    })
    .await
}

pub(super) async fn get(State(engine): State<Engine>, Path((name, id)): Path<(String, String)>) -> Response {
    reply(&engine, move |service| {
        let id = id.parse::<PointId>().map_err(|()| {
            Failure::Invalid(format!("id: {id:?} is neither an unsigned integer nor a UUID"))
        })?;
        let request = Retrieve {
            ids: vec![id],
            with_payload: true.into(),
            with_vector: true.into(),
        };
        let point = output::points(service.retrieve(&name, request)?).pop();
        point.ok_or_else(|| Failure::NotFound(format!("Point with id {id} does not exists!")))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrollRequest {
    offset: Option<PointId>,
    limit: Option<usize>,
    filter: Option<Filter>,
    with_payload: Option<WithPayloadInterface>,
    #[serde(default, alias = "with_vectors")]
    with_vector: Option<WithVector>,
    order_by: Option<OrderByInterface>,
    shard_key: Option<Value>,
}

pub(super) async fn scroll(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let request: ScrollRequest = body.parse()?;
        refuse_present(&[("shard_key", request.shard_key.is_some())])?;
        let request = Scroll {
            offset: request.offset,
            limit: request.limit.unwrap_or(10),
            filter: request.filter,
            with_payload: request.with_payload.unwrap_or(WithPayloadInterface::Bool(true)),
            with_vector: request.with_vector.unwrap_or_default(),
            order_by: request.order_by,
        };
        let (points, next) = service.scroll(&name, request)?;
        Ok(json!({ "points": output::points(points), "next_page_offset": next }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountRequest {
    filter: Option<Filter>,
    exact: Option<bool>,
    shard_key: Option<Value>,
}

pub(super) async fn count(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let request: CountRequest = body.parse()?;
        refuse_present(&[("shard_key", request.shard_key.is_some())])?;
        let request = Count {
            filter: request.filter,
            exact: request.exact.unwrap_or(true),
        };
        Ok(json!({ "count": service.count(&name, request)? }))
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FacetRequest {
    key: JsonPath,
    limit: Option<usize>,
    filter: Option<Filter>,
    exact: Option<bool>,
    shard_key: Option<Value>,
}

pub(super) async fn facet(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    reply(&engine, move |service| {
        let request: FacetRequest = body.parse()?;
        refuse_present(&[("shard_key", request.shard_key.is_some())])?;
        let request = Facet {
            key: request.key,
            limit: request.limit.unwrap_or(10),
            filter: request.filter,
            exact: request.exact.unwrap_or(false),
        };
        service.facet(&name, request).map(output::facet)
    })
    .await
}
