//! Collections, aliases and snapshots.

use isa_proto::qdrant as pb;
use isa_server::Call;

use super::{SNAPSHOT_BOUND, bound, changed, collection, names};
use crate::qdrant::{
    convert,
    names::check_snapshot,
    service::{Error, Qdrant},
};

pub(super) async fn create_collection(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::CreateCollectionRequest,
) -> Result<pb::CreateCollectionResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let settings = convert::settings(request)?;
    qdrant
        .create(names(call), &collection, settings, bound(call))
        .await?;
    Ok(pb::CreateCollectionResponse {
        metadata: None,
        success: true,
    })
}

pub(super) async fn list_collections(
    qdrant: &Qdrant,
    call: &Call,
    _: pb::ListCollectionsRequest,
) -> Result<pb::ListCollectionsResponse, Error> {
    let found = qdrant.list(names(call), bound(call)).await?;
    Ok(pb::ListCollectionsResponse {
        metadata: None,
        collections: found
            .into_iter()
            .map(|name| pb::CollectionDescription { name })
            .collect(),
    })
}

pub(super) async fn get_collection_info(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::GetCollectionInfoRequest,
) -> Result<pb::GetCollectionInfoResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let info = qdrant.info(&collection, bound(call)).await?;
    Ok(pb::GetCollectionInfoResponse {
        metadata: None,
        info: Some(convert::info(info, &collection)),
    })
}

pub(super) async fn update_collection(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::UpdateCollectionRequest,
) -> Result<pb::UpdateCollectionResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let changes = convert::changes(request.optimizers_config, request.params)?;
    qdrant.update(&collection, changes, bound(call)).await?;
    Ok(pb::UpdateCollectionResponse {
        metadata: None,
        success: true,
    })
}

pub(super) async fn delete_collection(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DeleteCollectionRequest,
) -> Result<pb::DeleteCollectionResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    qdrant.delete(&collection, bound(call)).await?;
    Ok(pb::DeleteCollectionResponse {
        metadata: None,
        success: true,
    })
}

pub(super) async fn create_collection_alias(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::CreateCollectionAliasRequest,
) -> Result<pb::CreateCollectionAliasResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let alias = names(call).collection("alias_name", &request.alias_name)?;
    qdrant.alias(&collection, &alias, bound(call)).await?;
    Ok(pb::CreateCollectionAliasResponse {
        metadata: None,
        success: true,
    })
}

pub(super) async fn create_snapshot(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::CreateSnapshotRequest,
) -> Result<pb::CreateSnapshotResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    let made = qdrant
        .create_snapshot(&collection, call.time_left(SNAPSHOT_BOUND))
        .await?;
    Ok(pb::CreateSnapshotResponse {
        metadata: None,
        snapshot_name: made.name,
        created_at: Some(made.created),
    })
}

pub(super) async fn list_snapshots(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::ListSnapshotsRequest,
) -> Result<pb::ListSnapshotsResponse, Error> {
    let collection = collection(call, &request.collection_name)?;
    let found = qdrant.list_snapshots(&collection, bound(call)).await?;
    let description = |snapshot: crate::qdrant::service::Snapshot| pb::SnapshotDescription {
        name: snapshot.name,
        created_at: Some(snapshot.created),
        size_bytes: snapshot.size,
    };
    Ok(pb::ListSnapshotsResponse {
        metadata: None,
        snapshots: found.into_iter().map(description).collect(),
    })
}

pub(super) async fn delete_snapshot(
    qdrant: &Qdrant,
    call: &Call,
    request: pb::DeleteSnapshotRequest,
) -> Result<pb::DeleteSnapshotResponse, Error> {
    let collection = changed(call, &request.collection_name)?;
    check_snapshot("snapshot_name", &request.snapshot_name)?;
    qdrant
        .delete_snapshot(&collection, &request.snapshot_name, bound(call))
        .await?;
    Ok(pb::DeleteSnapshotResponse {
        metadata: None,
        success: true,
    })
}
