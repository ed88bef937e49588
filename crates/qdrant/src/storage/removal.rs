//! Deleting collections.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Collection, Storage, disk};
use crate::service::Failure;

/// How long a deletion waits for those who use the collection, before its files are left to the maintenance.
const PATIENCE: Duration = Duration::from_secs(5);

impl Storage {
    /// Deletes a collection and its aliases; false if there is none. When this returns it is gone for good, though
    /// requests that are running may still see it.
    pub(crate) fn delete(&self, name: &str) -> Result<bool, Failure> {
        let (collection, aliases) = {
            let _changing = self.changing.lock();
            // Not by an alias: who deletes must know what.
            let Some(collection) = self.by_name.read().get(name).cloned() else {
                return Ok(false);
            };
            collection
                .mark_deleted()
                .map_err(|e| Failure::io("delete", &collection.dir, &e))?;
            self.by_name.write().remove(name);
            let aliases = self.aliases.change(|map| {
                map.retain(|_, of| of != name);
                Ok(())
            });
            (collection, aliases)
        };
        self.clear_away(collection);
        aliases.map(|()| true)
    }

    /// Removes the files of a collection that is gone: now, or by [`Storage::sweep`] once nobody uses them.
    pub(super) fn clear_away(&self, collection: Arc<Collection>) {
        // An index that is being built may take minutes, and works in the files: they stay where they are.
        let building = self
            .pool
            .peek(collection.id)
            .is_some_and(|shard| shard.optimizer_runs());
        let patience = if building { Duration::ZERO } else { PATIENCE };
        self.clear_away_by(collection, Instant::now() + patience);
    }

    /// Removes the files of deleted collections that nobody uses any more.
    pub(crate) fn sweep(&self) {
        let doomed = std::mem::take(&mut *self.doomed.lock());
        for collection in doomed {
            self.clear_away_by(collection, Instant::now());
        }
    }

    fn clear_away_by(&self, collection: Arc<Collection>, deadline: Instant) {
        let moved = self
            .pool
            .keep_closed(collection.id, deadline)
            .map(|_closed| self.move_away(&collection));
        match moved {
            Some(Ok(())) => self.remove_files(&collection),
            Some(Err(error)) => {
                tracing::warn!(dir = %collection.dir.display(), %error, "the files of a deleted collection go at the next start");
            }
            None => self.doomed.lock().push(collection),
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
