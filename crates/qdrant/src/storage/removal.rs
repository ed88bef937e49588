//! Deleting collections.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Collection, Storage, disk};
use crate::service::Failure;

/// How long a deletion waits for those who use the collection.
const PATIENCE: Duration = Duration::from_secs(5);

impl Storage {
    /// Deletes a collection and its aliases; false if there is none. When this returns it is gone for good, though
    /// requests that are running may still see it.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        let _changing = self.changing.lock();
        // Not by an alias: who deletes must know what.
        let Some(collection) = self.by_name.read().get(name).cloned() else {
            return Ok(false);
        };
        self.retire(&collection, || {
            self.by_name.write().remove(name);
        })?;
        self.aliases.change(|map| {
            map.retain(|_, of| of != name);
            Ok(())
        })?;
        Ok(true)
    }

    /// Takes a collection away durably, calls `gone`, and removes the files: now, or by [`Storage::sweep`] once
    /// nobody uses them. The caller holds `changing`.
    pub(super) fn retire(&self, collection: &Arc<Collection>, gone: impl FnOnce()) -> Result<(), Failure> {
        let failed = |e: &std::io::Error| Failure::io("delete", &collection.dir, e);
        // An index that is being built may take minutes, and works in the files: they stay where they are.
        let building = self
            .pool
            .peek(collection.id)
            .is_some_and(|shard| shard.optimizer_runs());
        let patience = if building { Duration::ZERO } else { PATIENCE };
        let closed = self.pool.keep_closed(collection.id, Instant::now() + patience);
        if closed.is_none() {
            collection.mark_deleted_durably().map_err(|e| failed(&e))?;
            gone();
            self.doomed.lock().push(Arc::clone(collection));
            return Ok(());
        }
        self.move_away(collection).map_err(|e| failed(&e))?;
        collection.mark_deleted();
        gone();
        drop(closed);
        self.remove_files(collection);
        Ok(())
    }

    /// Removes the files of deleted collections that nobody uses any more.
    pub(crate) fn sweep(&self) {
        let doomed = std::mem::take(&mut *self.doomed.lock());
        for collection in doomed {
            let moved = self
                .pool
                .keep_closed(collection.id, Instant::now())
                .map(|_closed| self.move_away(&collection));
            match moved {
                Some(Ok(())) => self.remove_files(&collection),
                Some(Err(error)) => {
                    tracing::warn!(dir = %collection.dir.display(), %error, "the files of a deleted collection go at the next start");
                }
                None => self.doomed.lock().push(collection),
            }
        }
    }

    fn move_away(&self, collection: &Collection) -> std::io::Result<()> {
        fs::rename(&collection.dir, self.staging_dir.join(collection.id.to_string()))?;
        disk::sync_dir(&self.collections_dir)
    }

    fn remove_files(&self, collection: &Collection) {
        let staged = self.staging_dir.join(collection.id.to_string());
        if let Err(error) = fs::remove_dir_all(&staged) {
            tracing::warn!(dir = %staged.display(), %error, "the files of a deleted collection go at the next start");
        }
    }
}
