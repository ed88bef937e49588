use std::time::Duration;

use isa_proto::prost_types::Timestamp;
use qdrant_client::qdrant::{
    CreateSnapshotRequest, DeleteSnapshotRequest, ListSnapshotsRequest, SnapshotDescription,
};

use super::{Error, Qdrant};
use crate::qdrant::names::Collection;

/// A copy of a collection.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// In Qdrant.
    full: String,
    /// As the tenant says it.
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// In bytes.
    pub(crate) size: u64,
}

impl Qdrant {
    pub(crate) async fn create_snapshot(
        &self,
        collection: &Collection,
        bound: Duration,
    ) -> Result<Snapshot, Error> {
        let request = CreateSnapshotRequest {
            collection_name: collection.full.clone(),
        };
        let request = self.link.request(request, bound);
        let answer = self.link.snapshots().create(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let made = answer.into_inner().snapshot_description;
        made.map(|made| snapshot(collection, made))
            .ok_or_else(|| Error::unexpected("the engine does not name a snapshot that it made"))
    }

    /// Newest first.
    pub(crate) async fn list_snapshots(
        &self,
        collection: &Collection,
        bound: Duration,
    ) -> Result<Vec<Snapshot>, Error> {
        let request = ListSnapshotsRequest {
            collection_name: collection.full.clone(),
        };
        let request = self.link.request(request, bound);
        let answer = self.link.snapshots().list(request).await;
        let answer = answer.map_err(|status| self.refused(status, collection))?;
        let found = answer.into_inner().snapshot_descriptions;
        let mut snapshots: Vec<_> = found
            .into_iter()
            .map(|found| snapshot(collection, found))
            .collect();
        let age = |snapshot: &Snapshot| (snapshot.created.seconds, snapshot.created.nanos);
        snapshots.sort_by(|a, b| age(b).cmp(&age(a)).then_with(|| b.name.cmp(&a.name)));
        Ok(snapshots)
    }

    /// `name` as the tenant says it.
    pub(crate) async fn delete_snapshot(
        &self,
        collection: &Collection,
        name: &str,
        bound: Duration,
    ) -> Result<(), Error> {
        let absent = || Error::NotFound(format!("snapshot {name:?}"));
        let snapshots = self.list_snapshots(collection, bound).await?;
        let found = snapshots.into_iter().find(|snapshot| snapshot.name == name);
        let request = DeleteSnapshotRequest {
            collection_name: collection.full.clone(),
            snapshot_name: found.ok_or_else(absent)?.full,
        };
        let request = self.link.request(request, bound);
        let answer = self.link.snapshots().delete(request).await;
        match answer
            .map(drop)
            .map_err(|status| self.refused(status, collection))
        {
            Err(Error::NotFound(_)) => Err(absent()),
            other => other,
        }
    }
}

fn snapshot(collection: &Collection, made: SnapshotDescription) -> Snapshot {
    Snapshot {
        name: collection.given_snapshot(&made.name).to_owned(),
        full: made.name,
        // The published client needs a time.
        created: made.creation_time.unwrap_or_default(),
        size: u64::try_from(made.size).unwrap_or_default(),
    }
}
