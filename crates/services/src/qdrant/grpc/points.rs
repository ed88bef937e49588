//! Points, their payloads, and indexes over these.

use isa_proto::qdrant as pb;
use isa_server::Call;

use super::{bound, changed, collection};
use crate::qdrant::{
    convert,
    names::check_key,
    service::{Error, Qdrant, Written},
};

/// Keys of payloads to remove in one call.
const MAX_KEYS: usize = 1000;

/// As the contract says how a write stands.
fn stands(written: Written) -> (String, String) {
    let status = if written.is_applied {
        "completed"
    } else {
        "acknowledged"
    };
    (written.operation.to_string(), status.to_owned())
}

pub(super) async fn upsert_points(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::UpsertPointsRequest,
) -> Result<pb::UpsertPointsResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let ordering = convert::ordering(request.ordering.as_deref())?;
    let points = convert::points(request.points)?;
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .upsert(&collection, points, wait, ordering, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::UpsertPointsResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn get_points(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::GetPointsRequest,
) -> Result<pb::GetPointsResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let ids = convert::ids_given("ids", &request.ids)?;
    let with_payload = request.with_payload.unwrap_or(true);
    let found = qdrant
        .get(
            &collection,
            ids,
            convert::with_payload(with_payload),
            convert::with_vectors(request.with_vectors.unwrap_or(false)),
            bound(call),
        )
        .await?;
    Ok(pb::GetPointsResponse {
        metadata: None,
        points: found
            .into_iter()
            .map(|point| convert::read_point(point, with_payload))
            .collect(),
    })
}

pub(super) async fn delete_points(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DeletePointsRequest,
) -> Result<pb::DeletePointsResponse, Error> {
    use pb::delete_points_request::Selector;
    let collection = changed(call, &request.collection_name)?;
    let which = match request.selector {
        Some(Selector::Ids(ids)) => convert::selector(Some(ids), None)?,
        Some(Selector::Filter(filter)) => convert::selector(None, Some(filter))?,
        None => convert::selector(None, None)?,
    };
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .delete_points(&collection, which, wait, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::DeletePointsResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn update_payload(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::UpdatePayloadRequest,
) -> Result<pb::UpdatePayloadResponse, Error> {
    use pb::update_payload_request::Selector;
    let collection = changed(call, &request.collection_name)?;
    let which = match request.selector {
        Some(Selector::Ids(ids)) => convert::selector(Some(ids), None)?,
        Some(Selector::Filter(filter)) => convert::selector(None, Some(filter))?,
        None => convert::selector(None, None)?,
    };
    let payload = request.payload.unwrap_or_default();
    let payload = convert::payload("payload", payload)?;
    if payload.is_empty() {
        return Err(Error::invalid("payload", "is empty"));
    }
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .set_payload(&collection, payload, which, wait, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::UpdatePayloadResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn delete_payload(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DeletePayloadRequest,
) -> Result<pb::DeletePayloadResponse, Error> {
    use pb::delete_payload_request::Selector;
    let collection = changed(call, &request.collection_name)?;
    if request.keys.is_empty() || request.keys.len() > MAX_KEYS {
        let why = format!("has {} keys, and may have 1 to {MAX_KEYS}", request.keys.len());
        return Err(Error::invalid("keys", why));
    }
    for key in &request.keys {
        check_key("keys", key)?;
    }
    let which = match request.selector {
        Some(Selector::Ids(ids)) => convert::selector(Some(ids), None)?,
        Some(Selector::Filter(filter)) => convert::selector(None, Some(filter))?,
        None => convert::selector(None, None)?,
    };
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .delete_payload(&collection, request.keys, which, wait, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::DeletePayloadResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn clear_payload(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::ClearPayloadRequest,
) -> Result<pb::ClearPayloadResponse, Error> {
    use pb::clear_payload_request::Selector;
    let collection = changed(call, &request.collection_name)?;
    let which = match request.selector {
        Some(Selector::Ids(ids)) => convert::selector(Some(ids), None)?,
        Some(Selector::Filter(filter)) => convert::selector(None, Some(filter))?,
        None => convert::selector(None, None)?,
    };
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .clear_payload(&collection, which, wait, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::ClearPayloadResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn create_field_index(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::CreateFieldIndexRequest,
) -> Result<pb::CreateFieldIndexResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let wait = request.wait.unwrap_or(false);
    let index = convert::index(request)?;
    let written = qdrant.create_index(&collection, index, wait, bound(call)).await?;
    let (operation_id, status) = stands(written);
    Ok(pb::CreateFieldIndexResponse {
        metadata: None,
        operation_id,
        status,
    })
}

pub(super) async fn delete_field_index(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DeleteFieldIndexRequest,
) -> Result<pb::DeleteFieldIndexResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    check_key("field_name", &request.field_name)?;
    let wait = request.wait.unwrap_or(false);
    let written = qdrant
        .delete_index(&collection, request.field_name, wait, bound(call))
        .await?;
    let (operation_id, status) = stands(written);
    Ok(pb::DeleteFieldIndexResponse {
        metadata: None,
        operation_id,
        status,
    })
}
