use isa_proto::qdrant as pb;
use isa_server::{Call, Upstream};

use super::{PATIENCE, bound};
use crate::qdrant::{
    convert,
    service::{Error, Qdrant},
};

pub(super) async fn health(qdrant: &Qdrant, upstream: &Upstream) -> pb::QdrantHealthCheckResponse {
    let version = if upstream.is_up() {
        qdrant.version(PATIENCE).await.inspect_err(|error| {
            tracing::warn!(%error, "Qdrant is not well");
        })
    } else {
        Err(Error::TimedOut)
    };
    pb::QdrantHealthCheckResponse {
        metadata: None,
        healthy: version.is_ok(),
        version: version.unwrap_or_default(),
    }
}

pub(super) async fn get_cluster_info(
    qdrant: &Qdrant,
    call: &Call,
    _: pb::GetClusterInfoRequest,
) -> Result<pb::GetClusterInfoResponse, Error> {
    let cluster = qdrant.cluster(bound(call)).await?;
    Ok(pb::GetClusterInfoResponse {
        metadata: None,
        cluster_info: Some(convert::cluster(cluster)),
    })
}
