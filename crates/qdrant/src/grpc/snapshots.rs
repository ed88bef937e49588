use prost_types::Timestamp;
use qdrant_client::qdrant as pb;
use tonic::{Request, Response, Status};

use super::{Api, pb::snapshots_server::Snapshots, status};
use crate::{engine::Work, service::no_full_snapshots, storage::SnapshotInfo};

type Answer<T> = Result<Response<T>, Status>;

fn description(info: SnapshotInfo) -> pb::SnapshotDescription {
    pb::SnapshotDescription {
        name: info.name,
        creation_time: Some(Timestamp {
            seconds: info.created.timestamp(),
            nanos: info.created.timestamp_subsec_nanos() as i32,
        }),
        size: info.size as i64,
        checksum: info.checksum,
    }
}

#[tonic::async_trait]
impl Snapshots for Api {
    async fn create(
        &self,
        request: Request<pb::CreateSnapshotRequest>,
    ) -> Answer<pb::CreateSnapshotResponse> {
        let name = request.into_inner().collection_name;
        self.work(
            Work::Snapshots,
            move |service| service.create_snapshot(&name),
            |info, time| pb::CreateSnapshotResponse {
                snapshot_description: Some(description(info)),
                time,
            },
        )
        .await
    }

    async fn list(&self, request: Request<pb::ListSnapshotsRequest>) -> Answer<pb::ListSnapshotsResponse> {
        let name = request.into_inner().collection_name;
        self.call(
            move |service| service.snapshots(&name),
            |found, time| pb::ListSnapshotsResponse {
                snapshot_descriptions: found.into_iter().map(description).collect(),
                time,
            },
        )
        .await
    }

    async fn delete(
        &self,
        request: Request<pb::DeleteSnapshotRequest>,
    ) -> Answer<pb::DeleteSnapshotResponse> {
        let r = request.into_inner();
        self.call(
            move |service| service.delete_snapshot(&r.collection_name, &r.snapshot_name),
            |(), time| pb::DeleteSnapshotResponse { time },
        )
        .await
    }

    async fn create_full(
        &self,
        _: Request<pb::CreateFullSnapshotRequest>,
    ) -> Answer<pb::CreateSnapshotResponse> {
        Err(status(no_full_snapshots()))
    }

    async fn list_full(&self, _: Request<pb::ListFullSnapshotsRequest>) -> Answer<pb::ListSnapshotsResponse> {
        Err(status(no_full_snapshots()))
    }

    async fn delete_full(
        &self,
        _: Request<pb::DeleteFullSnapshotRequest>,
    ) -> Answer<pb::DeleteSnapshotResponse> {
        Err(status(no_full_snapshots()))
    }
}
