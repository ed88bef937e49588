use std::{fs::File, path::Path};

use super::{Failure, Service, name};
use crate::storage::{SnapshotInfo, Staged};

/// A snapshot of all collections could not be recovered as one: Qdrant itself only does so when it starts.
pub(crate) fn no_full_snapshots() -> Failure {
    Failure::unsupported("snapshots of the whole storage: take one of each collection")
}

impl Service {
    /// On the disk when this returns. Writes to the collection wait while it is copied.
    pub(crate) fn create_snapshot(&self, name: &str) -> Result<SnapshotInfo, Failure> {
        self.storage().create_snapshot(name)
    }

    /// From old to new. Those of a deleted collection are still there.
    pub(crate) fn snapshots(&self, name: &str) -> Result<Vec<SnapshotInfo>, Failure> {
        self.storage().snapshots(name)
    }

    pub(crate) fn delete_snapshot(&self, name: &str, snapshot: &str) -> Result<(), Failure> {
        self.storage().delete_snapshot(name, snapshot)
    }

    /// The file of a snapshot and its size in bytes.
    pub(crate) fn open_snapshot(&self, name: &str, snapshot: &str) -> Result<(File, u64), Failure> {
        self.storage().open_snapshot(name, snapshot)
    }

    /// Recovers a collection from a snapshot of this storage, given by its name or by a `file:` URL. `checksum` is
    /// the SHA-256 that the snapshot must have, in hexadecimal digits.
    pub(crate) fn recover(&self, name: &str, location: &str, checksum: Option<&str>) -> Result<(), Failure> {
        name::check("collection_name", name, name::MAX_COLLECTION)?;
        let path = self.storage().locate_snapshot(name, location)?;
        self.storage().recover(name, &path, checksum)
    }

    /// Where to put a snapshot that comes from elsewhere.
    pub(crate) fn stage_upload(&self) -> Staged {
        self.storage().stage()
    }

    /// The same from a file that was uploaded.
    pub(crate) fn recover_upload(
        &self,
        name: &str,
        upload: &Path,
        checksum: Option<&str>,
    ) -> Result<(), Failure> {
        name::check("collection_name", name, name::MAX_COLLECTION)?;
        self.storage().recover(name, upload, checksum)
    }
}
