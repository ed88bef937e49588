//! Snapshots: copies of a collection, each in one file.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Shard, Storage, archive, collection::CollectionFile, disk};
use crate::{
    PEER_ID,
    service::{Failure, name},
};

/// Ending of the name of a snapshot.
const EXTENSION: &str = ".snapshot";
/// Ending of the file beside it that has its SHA-256.
const CHECKSUM_EXTENSION: &str = ".checksum";
/// The name of a snapshot starts with this much of the collection's: there must be room for the rest.
const MAX_PREFIX: usize = 180;

/// Snapshots of one collection; each is as large as the collection.
const MAX_SNAPSHOTS: usize = 1_000;

/// How long a snapshot waits for the optimizer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of a snapshot.
pub(crate) struct SnapshotInfo {
    pub(crate) name: String,
    pub(crate) created: DateTime<Utc>,
    /// Bytes.
    pub(crate) size: u64,
    /// SHA-256 in hexadecimal digits.
    pub(crate) checksum: Option<String>,
}

/// A file or folder in staging, removed when this is dropped.
pub(crate) struct Staged {
    pub(crate) path: PathBuf,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What stays, and what was moved elsewhere, does not matter: staging is emptied at start.
        let _ = if self.path.is_dir() {
            fs::remove_dir_all(&self.path)
        } else {
            fs::remove_file(&self.path)
        };
    }
}

impl Storage {
    /// A path in staging where nothing is.
    pub(crate) fn stage(&self) -> Staged {
        Staged {
            path: self.staging_dir.join(Uuid::new_v4().to_string()),
        }
    }

    /// Copies a collection into a new snapshot. Its writes wait meanwhile. When this returns the snapshot is on the
    /// disk; before, there is none.
    pub(crate) fn create_snapshot(&self, name: &str) -> Result<SnapshotInfo, Failure> {
        let _one = self.snapshotting.lock();
        let (collection, shard) = self.acquire(name)?;
        let dir = self.snapshots_dir.join(&collection.name);
        let io = |e: io::Error| Failure::io("write a snapshot in", &dir, &e);
        fs::create_dir_all(&dir)
            .and_then(|()| disk::sync_dir(&self.snapshots_dir))
            .map_err(io)?;
        if read_dir(&dir).map_err(io)?.len() >= MAX_SNAPSHOTS {
            let text =
                format!("the collection has {MAX_SNAPSHOTS} snapshots, which is the limit: delete some");
            return Err(Failure::Invalid(text));
        }
        let staged = self.stage();
        let file = File::create(&staged.path).map_err(io)?;
        let checksum = shard.frozen(PATIENCE, || {
            let description = CollectionFile {
                name: collection.name.clone(),
                config: (*collection.config()).clone(),
                replaces: None,
            };
            let json = serde_json::to_vec_pretty(&description).map_err(|e| io(e.into()))?;
            archive::write(&collection.dir, &json, file).map_err(io)
        })?;
        drop(shard);
        let name = snapshot_name(&collection.name, Utc::now());
        // The checksum first: a snapshot that is there has one.
        disk::write_atomically(&checksum_file(&dir, &name), checksum.as_bytes())
            .and_then(|()| fs::rename(&staged.path, dir.join(&name)))
            .and_then(|()| disk::sync_dir(&dir))
            .map_err(io)?;
        describe(&dir, name).map_err(io)
    }

    /// The snapshots of a collection, which may be deleted meanwhile, from old to new.
    pub(crate) fn snapshots(&self, name: &str) -> Result<Vec<SnapshotInfo>, Failure> {
        let dir = self.snapshots_of(name)?;
        let io = |e: io::Error| Failure::io("read", &dir, &e);
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for snapshot in read_dir(&dir).map_err(io)? {
            match describe(&dir, snapshot) {
                Ok(info) => found.push(info),
                // Deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        }
        found.sort_by_key(|info| info.created);
        Ok(found)
    }

    /// Deletes a snapshot, durably.
    pub(crate) fn delete_snapshot(&self, name: &str, snapshot: &str) -> Result<(), Failure> {
        let path = self.snapshot_path(name, snapshot)?;
        let dir = path.parent().unwrap_or(&self.snapshots_dir);
        let deleted = fs::remove_file(&path).and_then(|()| disk::sync_dir(dir));
        deleted.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => no_snapshot(snapshot),
            _ => Failure::io("delete", &path, &e),
        })?;
        // Without its snapshot it means nothing.
        let _ = fs::remove_file(checksum_file(dir, snapshot));
        if self.get(name).is_err() {
            // The last trace of a deleted collection; only goes when it is empty.
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    }

    /// The file of a snapshot, with its size in bytes, to be read from its start.
    pub(crate) fn open_snapshot(&self, name: &str, snapshot: &str) -> Result<(File, u64), Failure> {
        let path = self.snapshot_path(name, snapshot)?;
        let opened = File::open(&path).and_then(|file| {
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        opened.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => no_snapshot(snapshot),
            _ => Failure::io("read", &path, &e),
        })
    }

    /// The path of a snapshot of this storage, given by its name or by a `file:` URL.
    pub(crate) fn locate_snapshot(&self, name: &str, location: &str) -> Result<PathBuf, Failure> {
        let Some(path) = location.strip_prefix("file://") else {
            if location.contains("://") {
                return Err(Failure::unsupported(
                    "`location` elsewhere: download the snapshot and upload it here",
                ));
            }
            return self.snapshot_path(name, location);
        };
        let missing = || Failure::NotFound(format!("location: there is no snapshot {location:?}"));
        // Whatever lies elsewhere is none of the caller's business, not even whether it is there.
        let path = Path::new(path).canonicalize().map_err(|_| missing())?;
        let ours = self.snapshots_dir.canonicalize().map_err(|_| missing())?;
        if !path.starts_with(ours) || !path.is_file() {
            return Err(missing());
        }
        Ok(path)
    }

    /// Makes the collection what it was when the snapshot was taken, and creates it if there is none. All of it or,
    /// after an error or a crash, nothing. What is written meanwhile is lost.
    pub(crate) fn recover(&self, name: &str, snapshot: &Path, checksum: Option<&str>) -> Result<(), Failure> {
        let _one = self.snapshotting.lock();
        let found = archive::verify(snapshot)?;
        if checksum.is_some_and(|expected| !expected.eq_ignore_ascii_case(&found)) {
            return Err(Failure::Invalid(format!(
                "checksum: the snapshot has the checksum {found}"
            )));
        }
        let id = Uuid::new_v4();
        let staged = Staged {
            path: self.staging_dir.join(id.to_string()),
        };
        let io = |e: io::Error| Failure::io("recover a snapshot in", &staged.path, &e);
        fs::create_dir(&staged.path).map_err(io)?;
        archive::unpack(snapshot, &staged.path)?;
        let mut file = CollectionFile::read(&staged.path)
            .map_err(|e| Failure::Invalid(format!("snapshot: its description is wrong: {e}")))?;
        file.config.validate()?;
        // Finds out whether the engine can work with it, before anything changes.
        let shard = Shard::open(&staged.path, file.config.engine_config())
            .map_err(|failure| Failure::Invalid(format!("snapshot: the engine cannot load it: {failure}")))?;
        shard.close();
        disk::sync_tree(&staged.path).map_err(io)?;

        let changing = self.changing.lock();
        let before = self.get(name).ok();
        file.name = before
            .as_ref()
            .map_or_else(|| name.to_owned(), |before| before.name.clone());
        file.replaces = before.as_ref().map(|before| before.id);
        if before.is_none() {
            self.check_new(name)?;
        }
        file.write(&staged.path)
            // From here on it is there, and the one before is not.
            .and_then(|()| self.publish(id))
            .map_err(io)?;
        self.insert(id, file);
        if let Some(before) = before {
            // In its own file too: the new one may be deleted while files of the old one are in use.
            if let Err(error) = before.mark_deleted() {
                before.mark_replaced();
                tracing::warn!(dir = %before.dir.display(), %error, "cannot mark a replaced collection as deleted");
            }
            drop(changing);
            self.clear_away(before);
        }
        Ok(())
    }

    /// The folder of a collection's snapshots, which may not be there.
    fn snapshots_of(&self, name: &str) -> Result<PathBuf, Failure> {
        match self.get(name) {
            Ok(collection) => Ok(self.snapshots_dir.join(&collection.name)),
            Err(failure) => {
                name::check("collection_name", name, name::MAX_COLLECTION)?;
                let dir = self.snapshots_dir.join(name);
                if dir.is_dir() { Ok(dir) } else { Err(failure) }
            }
        }
    }

    fn snapshot_path(&self, name: &str, snapshot: &str) -> Result<PathBuf, Failure> {
        name::check("snapshot_name", snapshot, name::MAX_COLLECTION)?;
        if !snapshot.ends_with(EXTENSION) {
            return Err(no_snapshot(snapshot));
        }
        let path = self.snapshots_of(name)?.join(snapshot);
        if path.is_file() {
            Ok(path)
        } else {
            Err(no_snapshot(snapshot))
        }
    }
}

fn no_snapshot(snapshot: &str) -> Failure {
    Failure::NotFound(format!("Snapshot {snapshot} not found"))
}

/// Unique, since one is made after the other and each takes longer than a millisecond.
fn snapshot_name(collection: &str, now: DateTime<Utc>) -> String {
    let prefix = &collection[..collection.floor_char_boundary(MAX_PREFIX)];
    format!(
        "{prefix}-{PEER_ID}-{}{EXTENSION}",
        now.format("%Y-%m-%d-%H-%M-%S-%3f")
    )
}

fn checksum_file(dir: &Path, snapshot: &str) -> PathBuf {
    dir.join(format!("{snapshot}{CHECKSUM_EXTENSION}"))
}

/// The names of the snapshots in a folder.
fn read_dir(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().into_string();
        names.extend(name.ok().filter(|name| name.ends_with(EXTENSION)));
    }
    Ok(names)
}

fn describe(dir: &Path, name: String) -> io::Result<SnapshotInfo> {
    let metadata = dir.join(&name).metadata()?;
    Ok(SnapshotInfo {
        created: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).into(),
        size: metadata.len(),
        checksum: fs::read_to_string(checksum_file(dir, &name)).ok(),
        name,
    })
}
