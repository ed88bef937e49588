//! Changing the configuration of collections.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Collection, Storage};
use crate::service::{CollectionConfig, Failure};

/// How long a changed configuration waits for those who use the collection, before it is left to the maintenance.
const PATIENCE: Duration = Duration::from_secs(2);

impl Storage {
    /// Changes the configuration of a collection, durably. The engine takes it when it loads the shard again: now,
    /// or as soon as nobody uses it and no index is being built.
    pub(crate) fn change(
        &self,
        name: &str,
        change: impl FnOnce(&CollectionConfig) -> Result<CollectionConfig, Failure>,
    ) -> Result<(), Failure> {
        let collection = self.get(name)?;
        let _reconfiguring = collection.reconfiguring.lock();
        let set = |config| {
            let _changing = self.changing.lock();
            if collection.is_deleted() {
                // If there is one of the name, it was recovered from a snapshot meanwhile.
                self.get(name)?;
                return Err(Failure::Busy(
                    "the collection is being replaced, try again later".into(),
                ));
            }
            collection
                .set_config(config)
                .map_err(|e| Failure::io("change", &collection.dir, &e))
        };
        let before = collection.config();
        let config = change(&before)?;
        if config == *before {
            return Ok(());
        }
        set(config)?;
        let building = self
            .pool
            .peek(collection.id)
            .is_some_and(|shard| shard.optimizer_runs());
        let patience = if building { Duration::ZERO } else { PATIENCE };
        match self.pool.keep_closed(collection.id, Instant::now() + patience) {
            Some(closed) => drop(closed),
            None => {
                self.outdated.lock().push(Arc::clone(&collection));
                return Ok(());
            }
        }
        // Loaded again at once, so that the optimizer sees to it.
        match self.shard(&collection) {
            Err(failure @ Failure::Internal(_)) => {
                set((*before).clone())?;
                Err(failure)
            }
            // A crowd is not a reason to undo it.
            _ => Ok(()),
        }
    }

    /// Loads again the shards whose configuration has changed while they were in use, so that the optimizer sees to
    /// them; false if there were none. For the thread that runs the optimizer.
    pub(crate) fn reload_outdated(&self) -> bool {
        let outdated = std::mem::take(&mut *self.outdated.lock());
        let any = !outdated.is_empty();
        for collection in outdated.into_iter().filter(|collection| !collection.is_deleted()) {
            let closed = self.pool.keep_closed(collection.id, Instant::now() + PATIENCE);
            if closed.is_none() {
                self.outdated.lock().push(collection);
                continue;
            }
            drop(closed);
            if let Err(failure) = self.shard(&collection) {
                tracing::warn!(collection = collection.name, %failure, "cannot load a changed collection");
            }
        }
        any
    }

    /// Its shard is open with an earlier configuration.
    pub(crate) fn is_outdated(&self, collection: &Collection) -> bool {
        self.outdated.lock().iter().any(|other| other.id == collection.id)
    }
}
