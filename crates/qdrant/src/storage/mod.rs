//! Collections on disk.
//!
//! ```text
//! storage/lock                        held while a server uses the folder
//! storage/collections/<id>/           one collection: complete, or not there at all
//!     collection.json                 its name and configuration
//!     journal                         acknowledged writes that the engine's files may lack
//!     shard/                          the engine's files
//! storage/staging/<id>/               being created or deleted; emptied at start
//! ```
//!
//! Folders are named by a random id, so that names may hold any character and a new collection never shares a path
//! with a deleted one of the same name whose files are still in use.

mod disk;
mod journal;
mod pool;
mod shard;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::pool::Pool;
pub(crate) use self::{
    pool::InUse,
    shard::{Shard, existing_points},
};
use crate::{
    Error,
    service::{CollectionConfig, Failure},
};

const COLLECTION_FILE: &str = "collection.json";

/// How long a deletion waits for those who use the collection.
const DELETE_PATIENCE: Duration = Duration::from_secs(5);

/// Closed files of the engine's log, of 32 MiB each, that an open shard may have.
const MAX_ENGINE_LOG_FILES: usize = 8;

/// All collections of a storage folder.
pub(crate) struct Storage {
    collections_dir: PathBuf,
    staging_dir: PathBuf,
    by_name: RwLock<BTreeMap<String, Arc<Collection>>>,
    /// One creation or deletion at a time.
    changing: Mutex<()>,
    pool: Pool,
    max_collections: usize,
    /// Unlocked by the kernel when the process ends, however it ends.
    _lock: File,
}

/// What is known of a collection without opening it.
pub(crate) struct Collection {
    id: Uuid,
    dir: PathBuf,
    pub(crate) config: CollectionConfig,
}

#[derive(Serialize, Deserialize)]
struct CollectionFile {
    name: String,
    config: CollectionConfig,
}

impl Storage {
    /// Takes the folder's lock and reads what collections there are; removes those half created or half deleted.
    pub(crate) fn open(root: &Path, max_open_shards: usize, max_collections: usize) -> Result<Self, Error> {
        let at = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        let [collections_dir, staging_dir] = ["collections", "staging"].map(|name| root.join(name));
        fs::create_dir_all(&collections_dir).map_err(at("create", &collections_dir))?;
        let lock = take_lock(root)?;
        if staging_dir.exists() {
            fs::remove_dir_all(&staging_dir).map_err(at("empty", &staging_dir))?;
        }
        fs::create_dir(&staging_dir).map_err(at("create", &staging_dir))?;
        let mut by_name = BTreeMap::new();
        for entry in fs::read_dir(&collections_dir).map_err(at("read", &collections_dir))? {
            let dir = entry.map_err(at("read", &collections_dir))?.path();
            let (name, collection) = read_collection(&dir)?;
            by_name.insert(name, Arc::new(collection));
        }
        Ok(Self {
            collections_dir,
            staging_dir,
            by_name: RwLock::new(by_name),
            changing: Mutex::new(()),
            pool: Pool::new(max_open_shards),
            max_collections,
            _lock: lock,
        })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Collection>, Failure> {
        self.by_name
            .read()
            .get(name)
            .cloned()
            .ok_or_else(|| Failure::no_collection(name))
    }

    /// Creates a collection. After a crash it is there whole or not at all; when this returns it is there.
    pub(crate) fn create(&self, name: &str, config: CollectionConfig) -> Result<(), Failure> {
        let _changing = self.changing.lock();
        {
            let by_name = self.by_name.read();
            if by_name.contains_key(name) {
                return Err(Failure::AlreadyExists(format!(
                    "Collection `{name}` already exists!"
                )));
            }
            if by_name.len() >= self.max_collections {
                let text = format!(
                    "there are {} collections already, which is the limit",
                    by_name.len()
                );
                return Err(Failure::Invalid(text));
            }
        }
        let id = Uuid::new_v4();
        let staged = self.staging_dir.join(id.to_string());
        let dir = self.collections_dir.join(id.to_string());
        let created = Shard::create(&staged, config.engine_config()).and_then(|()| {
            let file = CollectionFile {
                name: name.to_owned(),
                config: config.clone(),
            };
            let json = serde_json::to_vec_pretty(&file).map_err(io::Error::from);
            json.and_then(|json| disk::write_atomically(&staged.join(COLLECTION_FILE), &json))
                .and_then(|()| fs::rename(&staged, &dir))
                .and_then(|()| disk::sync_dir(&self.collections_dir))
                .map_err(|e| Failure::io("create a collection in", &self.collections_dir, &e))
        });
        if let Err(failure) = created {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_dir_all(&staged);
            let _ = fs::remove_dir_all(&dir);
            return Err(failure);
        }
        self.by_name
            .write()
            .insert(name.to_owned(), Arc::new(Collection { id, dir, config }));
        Ok(())
    }

    /// Deletes a collection; false if there is none. When this returns it is gone for good, though requests that are
    /// running still see it.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        let _changing = self.changing.lock();
        let Ok(collection) = self.get(name) else {
            return Ok(false);
        };
        // An index that is being built may take minutes. It is then built in files that are deleted at the next start.
        let closed = self
            .pool
            .keep_closed(collection.id, Instant::now() + DELETE_PATIENCE);
        let staged = self.staging_dir.join(collection.id.to_string());
        fs::rename(&collection.dir, &staged)
            .and_then(|()| disk::sync_dir(&self.collections_dir))
            .map_err(|e| Failure::io("delete", &collection.dir, &e))?;
        self.by_name.write().remove(name);
        if closed.is_some()
            && let Err(error) = fs::remove_dir_all(&staged)
        {
            tracing::warn!(dir = %staged.display(), %error, "the files of a deleted collection go at the next start");
        }
        Ok(true)
    }

    /// Closes idle shards whose engine's log has grown: it is only cut when they are closed.
    pub(crate) fn recycle(&self) {
        for id in self.pool.open_ids() {
            let grown = self
                .pool
                .peek(id)
                .is_some_and(|shard| shard.engine_log_files() > MAX_ENGINE_LOG_FILES);
            if grown {
                drop(self.pool.keep_closed(id, Instant::now()));
            }
        }
    }

    pub(crate) fn shard(&self, collection: &Collection) -> Result<InUse<'_>, Failure> {
        self.pool
            .acquire(collection.id, &collection.dir)
            .map_err(|failure| {
                // Deleted between the look-up and here.
                if collection.dir.exists() {
                    failure
                } else {
                    Failure::NotFound("the collection was deleted".into())
                }
            })
    }

    /// Shards that are open, each only kept open while it is visited.
    pub(crate) fn open_shards(&self) -> impl Iterator<Item = InUse<'_>> {
        self.pool
            .open_ids()
            .into_iter()
            .filter_map(|id| self.pool.peek(id))
    }

    /// Flushes and closes what gets idle before the deadline.
    pub(crate) fn close(&self, deadline: Instant) {
        self.pool.close_all(deadline);
    }
}

fn take_lock(root: &Path) -> Result<File, Error> {
    let path = root.join("lock");
    let io = |source| Error::Io {
        action: "lock",
        path: path.clone(),
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: root.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn read_collection(dir: &Path) -> Result<(String, Collection), Error> {
    let path = dir.join(COLLECTION_FILE);
    let damaged = |reason: String| Error::Damaged {
        path: path.clone(),
        reason,
    };
    let id = dir
        .file_name()
        .and_then(|n| n.to_str())
        .and_then(|n| n.parse().ok());
    let id = id.ok_or_else(|| damaged("its folder is not named by an id".into()))?;
    let json = fs::read(&path).map_err(|e| damaged(e.to_string()))?;
    let CollectionFile { name, config } =
        serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
    Ok((
        name,
        Collection {
            id,
            dir: dir.to_owned(),
            config,
        },
    ))
}
