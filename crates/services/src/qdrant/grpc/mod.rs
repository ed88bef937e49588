//! The contract's service: converts, calls, converts.

mod collections;
mod error;
mod monitoring;
mod points;
mod search;

use std::{sync::Arc, time::Duration};

use isa_proto::qdrant as pb;
use isa_server::{Call, Error, Upstream, api::qdrant::QdrantService};

use super::{
    names::{Collection, Names},
    service::{self, Qdrant},
};

/// Longest that Qdrant may take for a call that has no deadline of its own.
const BOUND: Duration = Duration::from_secs(30);

/// Likewise to copy a collection: it may have gigabytes.
const SNAPSHOT_BOUND: Duration = Duration::from_secs(600);

/// How long Qdrant may take to say that it is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// `isa.qdrant.QdrantService`.
pub(super) struct Service {
    qdrant: Arc<Qdrant>,
    upstream: Upstream,
}

/// The names of whoever calls.
fn names(call: &Call) -> Names<'_> {
    Names::of(call.tenant().slug())
}

/// The collection that a call is about.
fn collection(call: &Call, given: &str) -> Result<Collection, service::Error> {
    names(call).collection("collection_name", given)
}

/// Likewise of a call that changes it, which the audit record says.
fn changed(call: &Call, given: &str) -> Result<Collection, service::Error> {
    let collection = collection(call, given)?;
    call.note(format!("collection/{given}"));
    Ok(collection)
}

fn bound(call: &Call) -> Duration {
    call.time_left(BOUND)
}

impl Service {
    pub(super) fn new(qdrant: Arc<Qdrant>, upstream: Upstream) -> Self {
        Self { qdrant, upstream }
    }

    fn tell<T>(&self, result: Result<T, service::Error>) -> Result<T, Error> {
        result.map_err(|error| error::told(&self.upstream, error))
    }
}

/// Methods that are each a function of the same name: of the engine, the call and the request.
macro_rules! methods {
    ($($module:ident::$method:ident($request:ident) -> $response:ident;)*) => {
        impl QdrantService for Service {
            $(async fn $method(&self, call: Call, request: pb::$request) -> Result<pb::$response, Error> {
                self.tell($module::$method(&self.qdrant, &call, request).await)
            })*

            async fn health_check(
                &self,
                _: Call,
                _: pb::QdrantHealthCheckRequest,
            ) -> Result<pb::QdrantHealthCheckResponse, Error> {
                Ok(monitoring::health(&self.qdrant, &self.upstream).await)
            }
        }
    };
}

methods! {
    collections::create_collection(CreateCollectionRequest) -> CreateCollectionResponse;
    collections::list_collections(ListCollectionsRequest) -> ListCollectionsResponse;
    collections::get_collection_info(GetCollectionInfoRequest) -> GetCollectionInfoResponse;
    collections::update_collection(UpdateCollectionRequest) -> UpdateCollectionResponse;
    collections::delete_collection(DeleteCollectionRequest) -> DeleteCollectionResponse;
    collections::create_collection_alias(CreateCollectionAliasRequest) -> CreateCollectionAliasResponse;
    points::upsert_points(UpsertPointsRequest) -> UpsertPointsResponse;
    points::get_points(GetPointsRequest) -> GetPointsResponse;
    points::delete_points(DeletePointsRequest) -> DeletePointsResponse;
    points::update_payload(UpdatePayloadRequest) -> UpdatePayloadResponse;
    points::delete_payload(DeletePayloadRequest) -> DeletePayloadResponse;
    points::clear_payload(ClearPayloadRequest) -> ClearPayloadResponse;
    search::search(SearchRequest) -> SearchResponse;
    search::search_batch(SearchBatchRequest) -> SearchBatchResponse;
    search::recommend(RecommendRequest) -> RecommendResponse;
    search::discover(DiscoverRequest) -> DiscoverResponse;
    search::scroll(ScrollRequest) -> ScrollResponse;
    search::count(CountRequest) -> CountResponse;
    points::create_field_index(CreateFieldIndexRequest) -> CreateFieldIndexResponse;
    points::delete_field_index(DeleteFieldIndexRequest) -> DeleteFieldIndexResponse;
    collections::create_snapshot(CreateSnapshotRequest) -> CreateSnapshotResponse;
    collections::list_snapshots(ListSnapshotsRequest) -> ListSnapshotsResponse;
    collections::delete_snapshot(DeleteSnapshotRequest) -> DeleteSnapshotResponse;
    monitoring::get_cluster_info(GetClusterInfoRequest) -> GetClusterInfoResponse;
}
