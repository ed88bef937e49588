//! Key-value and object buckets.

use std::time::Duration;

use isa_proto::nats as pb;
use isa_server::Call;

use super::{bound, names, note};
use crate::nats::{
    convert,
    service::{BucketSettings, Error, Nats},
};

/// Longest that NATS may take for an object, which may have many megabytes.
const OBJECT_BOUND: Duration = Duration::from_secs(120);

pub(super) async fn kv_create_bucket(
    nats: &Nats,
    call: &Call,
    request: pb::KvCreateBucketRequest,
) -> Result<pb::KvCreateBucketResponse, Error> {
    note(call, "bucket", &request.bucket);
    let settings = BucketSettings {
        history: request.history,
        ttl: convert::lifetime("ttl", request.ttl)?,
        max_bytes: request.max_bytes,
        in_memory: convert::in_memory("storage", request.storage)?,
        name: request.bucket,
    };
    nats.create_bucket(names(call), &settings, bound(call)).await?;
    Ok(pb::KvCreateBucketResponse { success: true })
}

pub(super) async fn kv_put(
    nats: &Nats,
    call: &Call,
    request: pb::KvPutRequest,
) -> Result<pb::KvPutResponse, Error> {
    note(call, "bucket", &request.bucket);
    let expected = request
        .expected_revision
        .map(|revision| convert::unsigned("expected_revision", revision))
        .transpose()?;
    let revision = nats
        .kv_put(
            names(call),
            &request.bucket,
            &request.key,
            request.value,
            expected,
            bound(call),
        )
        .await?;
    Ok(pb::KvPutResponse {
        success: true,
        revision: convert::signed(revision),
    })
}

pub(super) async fn kv_get(
    nats: &Nats,
    call: &Call,
    request: pb::KvGetRequest,
) -> Result<pb::KvGetResponse, Error> {
    let entry = nats
        .kv_get(names(call), &request.bucket, &request.key, bound(call))
        .await?;
    Ok(
        entry.map_or_else(pb::KvGetResponse::default, |entry| pb::KvGetResponse {
            found: true,
            value: entry.value,
            revision: convert::signed(entry.revision),
            created: Some(convert::timestamp(entry.created)),
        }),
    )
}

pub(super) async fn kv_delete(
    nats: &Nats,
    call: &Call,
    request: pb::KvDeleteRequest,
) -> Result<pb::KvDeleteResponse, Error> {
    note(call, "bucket", &request.bucket);
    nats.kv_delete(names(call), &request.bucket, &request.key, bound(call))
        .await?;
    Ok(pb::KvDeleteResponse { success: true })
}

pub(super) async fn kv_keys(
    nats: &Nats,
    call: &Call,
    request: pb::KvKeysRequest,
) -> Result<pb::KvKeysResponse, Error> {
    let keys = nats.kv_keys(names(call), &request.bucket, bound(call)).await?;
    Ok(pb::KvKeysResponse { keys })
}

pub(super) async fn kv_history(
    nats: &Nats,
    call: &Call,
    request: pb::KvHistoryRequest,
) -> Result<pb::KvHistoryResponse, Error> {
    let entries = nats
        .kv_history(names(call), &request.bucket, &request.key, bound(call))
        .await?;
    Ok(pb::KvHistoryResponse {
        entries: entries.into_iter().map(convert::entry).collect(),
    })
}

pub(super) async fn object_put(
    nats: &Nats,
    call: &Call,
    request: pb::ObjectPutRequest,
) -> Result<pb::ObjectPutResponse, Error> {
    note(call, "bucket", &request.bucket);
    let object_id = nats
        .object_put(
            names(call),
            &request.bucket,
            &request.object_name,
            request.data,
            request.metadata,
            call.time_left(OBJECT_BOUND),
        )
        .await?;
    Ok(pb::ObjectPutResponse {
        success: true,
        object_id,
    })
}

pub(super) async fn object_get(
    nats: &Nats,
    call: &Call,
    request: pb::ObjectGetRequest,
) -> Result<pb::ObjectGetResponse, Error> {
    let limit = call.time_left(OBJECT_BOUND);
    let found = nats
        .object_get(names(call), &request.bucket, &request.object_name, limit)
        .await?;
    Ok(
        found.map_or_else(pb::ObjectGetResponse::default, |(object, data)| {
            pb::ObjectGetResponse {
                found: true,
                data,
                metadata: object.metadata,
            }
        }),
    )
}

pub(super) async fn object_delete(
    nats: &Nats,
    call: &Call,
    request: pb::ObjectDeleteRequest,
) -> Result<pb::ObjectDeleteResponse, Error> {
    note(call, "bucket", &request.bucket);
    nats.object_delete(names(call), &request.bucket, &request.object_name, bound(call))
        .await?;
    Ok(pb::ObjectDeleteResponse { success: true })
}

pub(super) async fn object_list(
    nats: &Nats,
    call: &Call,
    request: pb::ObjectListRequest,
) -> Result<pb::ObjectListResponse, Error> {
    let objects = nats.objects(names(call), &request.bucket, bound(call)).await?;
    Ok(pb::ObjectListResponse {
        objects: objects.into_iter().map(convert::object).collect(),
    })
}
