//! Collections on disk.
//!
//! ```text
//! storage/lock                        held while a server uses the folder
//! storage/aliases.json                other names for collections
//! storage/collections/<id>/           one collection: complete, or not there at all
//!     collection.json                 its name and configuration
//!     journal                         acknowledged writes that the engine's files may lack
//!     shard/                          the engine's files
//!     deleted                         there if the rest was in use when the collection was deleted
//! storage/snapshots/<name>/           copies of the collection of that name, each complete, with its checksum
//! storage/staging/                    being created, deleted or uploaded; emptied at start
//! ```
//!
//! Folders of collections are named by a random id, so that a new collection never shares a path with a deleted one
//! of the same name whose files are still in use.

mod aliases;
mod archive;
mod change;
mod collection;
mod disk;
mod journal;
mod pool;
mod removal;
mod shard;
mod snapshots;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

pub(crate) use self::{
    aliases::AliasMap,
    collection::Collection,
    pool::InUse,
    shard::{Shard, existing_points},
    snapshots::{SnapshotInfo, Staged},
};
use self::{aliases::Aliases, collection::CollectionFile, pool::Pool};
use crate::{
    Error,
    service::{CollectionConfig, Failure},
};

/// Closed files of the engine's log, of 32 MiB each, that an open shard may have.
const MAX_ENGINE_LOG_FILES: usize = 8;

/// All collections of a storage folder.
pub(crate) struct Storage {
    collections_dir: PathBuf,
    snapshots_dir: PathBuf,
    staging_dir: PathBuf,
    by_name: RwLock<BTreeMap<String, Arc<Collection>>>,
    aliases: Aliases,
    /// Held while it is decided what collections and aliases there are, and never while somebody is waited for.
    changing: Mutex<()>,
    /// One snapshot is made or recovered at a time: each reads and writes a whole collection.
    snapshotting: Mutex<()>,
    pool: Pool,
    max_collections: usize,
    /// Open with an earlier configuration.
    outdated: Mutex<Vec<Arc<Collection>>>,
    /// Deleted, with files that were in use.
    doomed: Mutex<Vec<Arc<Collection>>>,
    /// Unlocked by the kernel when the process ends, however it ends.
    _lock: File,
}

impl Storage {
    /// Takes the folder's lock and reads what collections there are; removes those half created or half deleted.
    pub(crate) fn open(root: &Path, max_open_shards: usize, max_collections: usize) -> Result<Self, Error> {
        let at = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { action, path, source }
        };
        let [collections_dir, snapshots_dir, staging_dir] =
            ["collections", "snapshots", "staging"].map(|name| root.join(name));
        fs::create_dir_all(&collections_dir).map_err(at("create", &collections_dir))?;
        let lock = take_lock(root)?;
        fs::create_dir_all(&snapshots_dir).map_err(at("create", &snapshots_dir))?;
        if staging_dir.exists() {
            fs::remove_dir_all(&staging_dir).map_err(at("empty", &staging_dir))?;
        }
        fs::create_dir(&staging_dir).map_err(at("create", &staging_dir))?;
        let by_name: BTreeMap<_, _> = collection::read_all(&collections_dir, &staging_dir)?
            .into_iter()
            .map(|collection| (collection.name.clone(), Arc::new(collection)))
            .collect();
        Ok(Self {
            aliases: Aliases::open(root, |name| by_name.contains_key(name))?,
            collections_dir,
            snapshots_dir,
            staging_dir,
            by_name: RwLock::new(by_name),
            changing: Mutex::new(()),
            snapshotting: Mutex::new(()),
            pool: Pool::new(max_open_shards),
            max_collections,
            outdated: Mutex::default(),
            doomed: Mutex::default(),
            _lock: lock,
        })
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.by_name.read().keys().cloned().collect()
    }

    pub(crate) fn max_collections(&self) -> usize {
        self.max_collections
    }

    /// A collection by its name or an alias.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Collection>, Failure> {
        let by_name = self.by_name.read();
        by_name
            .get(name)
            .or_else(|| by_name.get(&self.aliases.resolve(name)?))
            .cloned()
            .ok_or_else(|| Failure::no_collection(name))
    }

    pub(crate) fn aliases(&self) -> AliasMap {
        self.aliases.all()
    }

    /// Changes the aliases: all of it durably, or nothing. The change is given a test for names of collections.
    pub(crate) fn change_aliases(
        &self,
        change: impl FnOnce(&mut AliasMap, &dyn Fn(&str) -> bool) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let _changing = self.changing.lock();
        self.aliases
            .change(|map| change(map, &|name| self.by_name.read().contains_key(name)))
    }

    /// Creates a collection. After a crash it is there whole or not at all; when this returns it is there.
    pub(crate) fn create(&self, name: &str, config: CollectionConfig) -> Result<(), Failure> {
        // What is refused in the end is not made first.
        self.check_new(name)?;
        let id = Uuid::new_v4();
        let staged = Staged {
            path: self.staging_dir.join(id.to_string()),
        };
        let failed = |e: std::io::Error| Failure::io("create a collection in", &self.collections_dir, &e);
        let file = CollectionFile {
            name: name.to_owned(),
            config,
            replaces: None,
        };
        // Beside other changes: it waits for the disk many times.
        Shard::create(&staged.path, file.config.engine_config())?;
        file.write(&staged.path).map_err(failed)?;

        let _changing = self.changing.lock();
        self.check_new(name)?;
        if let Err(error) = self.publish(id) {
            // What cannot be removed now is there at the next start: nobody was told that it is not.
            let _ = fs::remove_dir_all(self.collections_dir.join(id.to_string()));
            return Err(failed(error));
        }
        self.insert(id, file);
        Ok(())
    }

    /// The name is free, and there is room for one more collection.
    fn check_new(&self, name: &str) -> Result<(), Failure> {
        let by_name = self.by_name.read();
        if by_name.contains_key(name) {
            return Err(Failure::AlreadyExists(format!(
                "Collection `{name}` already exists!"
            )));
        }
        if self.aliases.resolve(name).is_some() {
            return Err(Failure::AlreadyExists(format!("Alias `{name}` already exists!")));
        }
        if by_name.len() >= self.max_collections {
            let text = format!(
                "there are {} collections already, which is the limit",
                by_name.len()
            );
            return Err(Failure::Invalid(text));
        }
        Ok(())
    }

    /// Moves a complete collection out of staging, durably.
    fn publish(&self, id: Uuid) -> std::io::Result<()> {
        let id = id.to_string();
        fs::rename(self.staging_dir.join(&id), self.collections_dir.join(&id))?;
        disk::sync_dir(&self.collections_dir)
    }

    fn insert(&self, id: Uuid, file: CollectionFile) {
        let name = file.name.clone();
        let collection = Collection::new(id, self.collections_dir.join(id.to_string()), file);
        self.by_name.write().insert(name, Arc::new(collection));
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

    /// A collection and its shard, opened if need be.
    pub(crate) fn acquire(&self, name: &str) -> Result<(Arc<Collection>, InUse<'_>), Failure> {
        let collection = self.get(name)?;
        match self.shard(&collection) {
            // Between the look-up and here it was replaced, or the alias leads elsewhere now.
            Err(Failure::NotFound(_)) => {
                let collection = self.get(name)?;
                let shard = self.shard(&collection)?;
                Ok((collection, shard))
            }
            shard => Ok((collection, shard?)),
        }
    }

    fn shard(&self, collection: &Collection) -> Result<InUse<'_>, Failure> {
        let deleted = || Failure::no_collection(&collection.name);
        let open = || {
            // Its files are moved away by who keeps it closed, which is after this was set.
            if collection.is_deleted() {
                return Err(deleted());
            }
            Shard::open(&collection.dir, collection.config().engine_config())
        };
        self.pool.acquire(collection.id, open).map_err(|failure| {
            if collection.is_deleted() {
                deleted()
            } else {
                failure
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
        self.sweep();
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
