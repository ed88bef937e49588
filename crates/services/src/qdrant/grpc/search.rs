//! Searches, pages and counts.

use isa_proto::qdrant as pb;
use isa_server::Call;

use super::{bound, collection};
use crate::qdrant::{
    convert,
    service::{Error, Qdrant},
};

pub(super) async fn search(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::SearchRequest,
) -> Result<pb::SearchResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let with_payload = request.with_payload.unwrap_or(true);
    let search = convert::search(request)?;
    let found = qdrant.search(&collection, search, bound(call)).await?;
    Ok(pb::SearchResponse {
        metadata: None,
        result: convert::scored(found, with_payload),
    })
}

pub(super) async fn search_batch(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::SearchBatchRequest,
) -> Result<pb::SearchBatchResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let (searches, payloads) = convert::searches(&collection.given, request.searches)?;
    let found = qdrant.search_batch(&collection, searches, bound(call)).await?;
    let response = |(found, with_payload)| pb::SearchResponse {
        metadata: None,
        result: convert::scored(found, with_payload),
    };
    Ok(pb::SearchBatchResponse {
        metadata: None,
        results: found.into_iter().zip(payloads).map(response).collect(),
    })
}

pub(super) async fn recommend(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::RecommendRequest,
) -> Result<pb::RecommendResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let with_payload = request.with_payload.unwrap_or(true);
    let search = convert::recommend(request)?;
    let found = qdrant.search(&collection, search, bound(call)).await?;
    Ok(pb::RecommendResponse {
        metadata: None,
        result: convert::scored(found, with_payload),
    })
}

pub(super) async fn discover(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DiscoverRequest,
) -> Result<pb::DiscoverResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let with_payload = request.with_payload.unwrap_or(true);
    let search = convert::discover(request)?;
    let found = qdrant.search(&collection, search, bound(call)).await?;
    Ok(pb::DiscoverResponse {
        metadata: None,
        result: convert::scored(found, with_payload),
    })
}

pub(super) async fn scroll(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::ScrollRequest,
) -> Result<pb::ScrollResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let with_payload = request.with_payload.unwrap_or(true);
    let page = convert::page(request)?;
    let (found, next) = qdrant.scroll(&collection, page, bound(call)).await?;
    Ok(pb::ScrollResponse {
        metadata: None,
        points: found
            .into_iter()
            .map(|point| convert::read_point(point, with_payload))
            .collect(),
        next_page_offset: next.and_then(convert::read_id),
    })
}

pub(super) async fn count(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::CountRequest,
) -> Result<pb::CountResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let filter = convert::filter(request.filter)?;
    let exact = request.exact.unwrap_or(true);
    Ok(pb::CountResponse {
        metadata: None,
        count: qdrant.count(&collection, filter, exact, bound(call)).await?,
    })
}
