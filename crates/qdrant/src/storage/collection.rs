//! What is known of a collection without opening it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::disk;
use crate::{Error, service::CollectionConfig};

pub(super) const COLLECTION_FILE: &str = "collection.json";
/// Its presence says that the collection is deleted, and its files are not yet.
const DELETED_FILE: &str = "deleted";

/// One collection. Its configuration can change; its name and folder cannot.
pub(crate) struct Collection {
    pub(super) id: Uuid,
    pub(super) dir: PathBuf,
    pub(crate) name: String,
    replaces: Option<Uuid>,
    config: RwLock<Arc<CollectionConfig>>,
    /// One change of the configuration at a time, until the engine has taken it. Taken before all other locks.
    pub(super) reconfiguring: Mutex<()>,
    deleted: AtomicBool,
}

/// The content of [`COLLECTION_FILE`].
#[derive(Serialize, Deserialize)]
pub(super) struct CollectionFile {
    pub(super) name: String,
    pub(super) config: CollectionConfig,
    /// The collection whose place this one took when it was recovered. If both are there, a crash came between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<Uuid>,
}

impl CollectionFile {
    /// Writes it into the folder of a collection; after a crash the file has its old or its new content.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        disk::write_atomically(&dir.join(COLLECTION_FILE), &json)
    }

    pub(super) fn read(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(dir.join(COLLECTION_FILE))?)?)
    }
}

impl Collection {
    pub(super) fn new(id: Uuid, dir: PathBuf, file: CollectionFile) -> Self {
        Self {
            id,
            dir,
            name: file.name,
            replaces: file.replaces,
            config: RwLock::new(Arc::new(file.config)),
            reconfiguring: Mutex::new(()),
            deleted: AtomicBool::new(false),
        }
    }

    pub(crate) fn config(&self) -> Arc<CollectionConfig> {
        Arc::clone(&self.config.read())
    }

    /// Durably; the engine takes it when the shard is opened next.
    pub(super) fn set_config(&self, config: CollectionConfig) -> io::Result<()> {
        let file = CollectionFile {
            name: self.name.clone(),
            config: config.clone(),
            replaces: self.replaces,
        };
        file.write(&self.dir)?;
        *self.config.write() = Arc::new(config);
        Ok(())
    }

    /// Requests that look it up from now on find it gone, also after a restart.
    pub(super) fn mark_deleted(&self) -> io::Result<()> {
        disk::write_atomically(&self.dir.join(DELETED_FILE), b"")?;
        self.deleted.store(true, Ordering::Release);
        Ok(())
    }

    /// Another has taken its place, which the other's file says.
    pub(super) fn mark_replaced(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }
}

/// Reads what collections there are. Removes, by way of `staging`, those that were deleted or replaced and whose files
/// were still in use.
pub(super) fn read_all(collections_dir: &Path, staging_dir: &Path) -> Result<Vec<Collection>, Error> {
    let at = |action| {
        move |source| Error::Io {
            action,
            path: collections_dir.to_owned(),
            source,
        }
    };
    let mut found = Vec::new();
    let mut gone = Vec::new();
    for entry in fs::read_dir(collections_dir).map_err(at("read"))? {
        let dir = entry.map_err(at("read"))?.path();
        if dir.join(DELETED_FILE).exists() {
            gone.push(dir);
            continue;
        }
        let collection = read(&dir)?;
        gone.extend(collection.replaces.map(|id| collections_dir.join(id.to_string())));
        found.push(collection);
    }
    for dir in gone.iter().filter(|dir| dir.exists()) {
        let id = dir.file_name().unwrap_or_default();
        fs::rename(dir, staging_dir.join(id)).map_err(at("remove a deleted collection in"))?;
    }
    disk::sync_dir(collections_dir).map_err(at("sync"))?;
    for dir in &gone {
        // What cannot be removed now is removed at the next start.
        let _ = fs::remove_dir_all(staging_dir.join(dir.file_name().unwrap_or_default()));
    }
    found.retain(|collection| !gone.contains(&collection.dir));
    Ok(found)
}

fn read(dir: &Path) -> Result<Collection, Error> {
    let damaged = |reason: String| Error::Damaged {
        path: dir.join(COLLECTION_FILE),
        reason,
    };
    let id = dir
        .file_name()
        .and_then(|n| n.to_str())
        .and_then(|n| n.parse().ok());
    let id = id.ok_or_else(|| damaged("its folder is not named by an id".into()))?;
    let file = CollectionFile::read(dir).map_err(|e| damaged(e.to_string()))?;
    Ok(Collection::new(id, dir.to_owned(), file))
}
