//! A database's file where it is opened: the one that is there, or the newest copy. And folders that nobody needs any more.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::task::spawn_blocking;

use super::{Duck, copies::checksum, disk, error::Error, limits::SPARE, open, registry::Meta};
use crate::{
    duckdb::names::{self, Key},
    minio::{At, StoreError},
};

/// In the database's folder: what its file is.
const NOTE: &str = "epoch";

/// In the database's folder, while a copy is brought.
const BROUGHT: &str = "brought.duckdb";

/// Below the service's folder: what is being removed. No tenant's slug begins so.
const GONE: &str = ".gone";

/// Of the file in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Note {
    /// In which it was last opened: the registry gives a new one each time.
    epoch: u64,
    /// It was closed, and object storage has all of it.
    saved: bool,
}

impl Note {
    /// Blocks.
    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join(NOTE)).ok()?;
        let mut words = text.split_whitespace();
        Some(Self {
            epoch: words.next()?.parse().ok()?,
            saved: words.next() == Some("saved"),
        })
    }

    /// Whole or not at all, and synced: without it the file counts as older than any copy. Blocks.
    fn write(self, folder: &Path) -> Result<(), Error> {
        let new = folder.join(format!("{NOTE}.new"));
        let mut file = fs::File::create(&new)?;
        let saved = if self.saved { " saved" } else { "" };
        write!(file, "{}{saved}", self.epoch)?;
        file.sync_all()?;
        fs::rename(new, folder.join(NOTE))?;
        Ok(fs::File::open(folder)?.sync_all()?)
    }
}

/// Whether a copy has what this file does not. A replica that only read has left none: then the file of the one before it,
/// which has all that the newest copy has, is still the newest.
fn is_behind(note: Option<Note>, meta: &Meta) -> bool {
    match (&meta.copy, note) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(copy), Some(note)) => copy.epoch > note.epoch,
    }
}

/// Whether there is a file that this replica cannot have: an empty one in its place would look like a loss of everything.
/// With copies, a database that has none has nothing that was promised to be kept.
fn is_out_of_reach(note: Option<Note>, meta: &Meta, copies: bool) -> bool {
    !copies && note.is_none() && meta.epoch > 0
}

/// Why a folder can go.
#[derive(Debug, PartialEq, Eq)]
enum Spare {
    /// There is no such database, or a copy is newer.
    Useless,
    /// A copy is the same.
    Same,
}

/// Never of a folder that has what no copy has.
fn spare(note: Option<Note>, meta: Option<&Meta>) -> Option<Spare> {
    let Some(meta) = meta else {
        return Some(Spare::Useless);
    };
    if is_behind(note, meta) {
        return Some(Spare::Useless);
    }
    let same = meta.copy.is_some() && note.is_some_and(|note| note.saved);
    same.then_some(Spare::Same)
}

impl Duck {
    /// Sees to it that the newest file of a database is in its folder, or none if there is none yet. Whether it has what no
    /// copy has, for all that is known.
    pub(super) async fn bring(&self, key: &Key, meta: &Meta) -> Result<bool, Error> {
        let folder = key.folder(&self.0.root);
        let (at, known) = (folder.clone(), meta.clone());
        let look = move || {
            fs::create_dir_all(&at)?;
            let there = open::data_file(&at).exists();
            if !there && known.copy.is_none() {
                // A log without its file is of no use, and would be read into the next one.
                open::remove_data(&at)?;
            }
            Ok::<_, Error>(Note::read(&at).filter(|_| there))
        };
        let note = spawn_blocking(look).await.map_err(Error::internal)??;
        // Without leases the registry counts nothing, and this is the only process that has databases.
        if is_out_of_reach(note, meta, self.0.store.is_some()) {
            return Err(Error::Precondition(
                "the database is a file on the disk of another replica, or of one that is lost, and without object storage there \
                 are no copies: set engines.minio.url where it runs"
                    .into(),
            ));
        }
        match &meta.copy {
            Some(copy) if is_behind(note, meta) => {
                let bucket = names::bucket(&key.slug, &meta.bucket)?;
                self.bring_copy(names::at(&bucket, &copy.key), &copy.sha256, &folder)
                    .await?;
            }
            _ if note.is_none() => self.0.disk.check()?,
            _ => {}
        }
        let unsaved = !is_behind(note, meta) && note.is_some_and(|note| !note.saved);
        let epoch = if self.0.leases.is_some() {
            self.next_epoch(key, meta).await?
        } else {
            meta.epoch
        };
        // Killed before this, the file is what it was, with the note that it had.
        let write = move || Note { epoch, saved: false }.write(&folder);
        spawn_blocking(write).await.map_err(Error::internal)??;
        Ok(unsaved)
    }

    /// Fails where what is known of the database has changed: the one before may just have left a copy.
    async fn next_epoch(&self, key: &Key, known: &Meta) -> Result<u64, Error> {
        let epoch = self
            .0
            .registry
            .update(&key.slug, &key.id, |meta| {
                let same = meta.epoch == known.epoch && meta.copy == known.copy;
                if !same {
                    return None;
                }
                meta.closed = false;
                meta.epoch += 1;
                Some(meta.epoch)
            })
            .await?;
        epoch.ok_or(Error::Elsewhere(
            "another replica was just given the database; try again",
        ))
    }

    pub(super) async fn bring_copy(&self, at: At<'_>, sha256: &str, folder: &Path) -> Result<(), Error> {
        let brought = folder.join(BROUGHT);
        let result = async {
            self.download(at, &brought).await.map_err(|error| match error {
                Error::Store(StoreError::Missing(_)) => Error::Damaged("the copy in object storage is gone"),
                other => other,
            })?;
            let (file, folder, sha256) = (brought.clone(), folder.to_owned(), sha256.to_owned());
            spawn_blocking(move || {
                if checksum(&file)?.1 != sha256 {
                    return Err(Error::Damaged(
                        "the copy in object storage was changed by another",
                    ));
                }
                open::check_file(&file)?;
                fs::File::open(&file)?.sync_all()?;
                open::remove_data(&folder)?;
                fs::rename(&file, open::data_file(&folder))?;
                Ok(())
            })
            .await
            .map_err(Error::internal)?
        }
        .await;
        let _ = tokio::fs::remove_file(&brought).await;
        result
    }

    /// Notes of a new database that its file is there already.
    pub(super) async fn note_new(&self, folder: PathBuf) -> Result<(), Error> {
        // What a new database begins with.
        let write = move || {
            Note {
                epoch: 0,
                saved: false,
            }
            .write(&folder)
        };
        spawn_blocking(write).await.map_err(Error::internal)?
    }

    /// Whether this replica was the last that held a database.
    pub(super) async fn had_last(&self, key: &Key, meta: &Meta) -> bool {
        let folder = key.folder(&self.0.root);
        let note = spawn_blocking(move || Note::read(&folder)).await.ok().flatten();
        note.is_some_and(|note| note.epoch == meta.epoch)
    }

    /// Notes of a database that was closed that object storage has all of it.
    pub(super) async fn note_saved(&self, key: &Key, folder: PathBuf) {
        let write = move || {
            let note = Note::read(&folder)?;
            // Without it, the file is copied once more.
            let _ = Note { saved: true, ..note }.write(&folder);
            Some(note.epoch)
        };
        let epoch = spawn_blocking(write).await.ok().flatten();
        if self.0.leases.is_some() && epoch.is_some() {
            let note = |meta: &mut Meta| meta.closed |= Some(meta.epoch) == epoch;
            let noted = self.0.registry.update(&key.slug, &key.id, note).await;
            if let Err(error) = noted {
                tracing::info!(database = %key, %error, "others do not know that a database was closed");
            }
        }
    }

    /// Removes folders of databases that are deleted or have newer copies; and where the disk gets full, those of which
    /// there is a copy that is the same.
    pub(super) async fn sweep(&self) {
        // Without NATS this process is the only one that knows what is where.
        if self.0.leases.is_none() {
            return;
        }
        let root = self.0.root.clone();
        let looking = spawn_blocking(move || {
            let _ = fs::remove_dir_all(root.join(GONE));
            let tenants = disk::entries(&root).filter(|path| path.is_dir());
            let folders = |tenant: PathBuf| disk::entries(&tenant).filter(|path| path.is_dir()).collect();
            tenants.map(folders).collect::<Vec<Vec<PathBuf>>>()
        });
        for folders in looking.await.unwrap_or_default() {
            for folder in folders {
                let name = |path: Option<&Path>| Some(path?.file_name()?.to_str()?.to_owned());
                let (Some(slug), Some(id)) = (name(folder.parent()), name(Some(&folder))) else {
                    continue;
                };
                if let Err(error) = self.sweep_one(Key { slug, id }, folder).await {
                    tracing::info!(%error, "a folder of a database was not looked at");
                }
            }
        }
    }

    async fn sweep_one(&self, key: Key, folder: PathBuf) -> Result<(), Error> {
        if !names::is_id(&key.id) || self.is_used(&key) {
            return Ok(());
        }
        let at = folder.clone();
        let note = spawn_blocking(move || Note::read(&at))
            .await
            .map_err(Error::internal)?;
        let meta = match self.0.registry.find(&key.slug, &key.id).await {
            Ok(meta) => Some(meta),
            Err(Error::Missing(_)) => None,
            Err(error) => return Err(error),
        };
        match spare(note, meta.as_ref()) {
            Some(Spare::Useless) => {}
            Some(Spare::Same) if self.0.disk.used() > SPARE => {}
            _ => return Ok(()),
        }
        let (duck, gone) = (self.clone(), self.0.root.join(GONE));
        let removing = spawn_blocking(move || {
            fs::create_dir_all(&gone)?;
            let to = gone.join(&key.id);
            {
                // While this is held nobody begins to open it. Whoever has meanwhile has left another note.
                let slots = duck.0.slots.lock();
                if slots.contains_key(&key) || duck.is_alive(&key) || Note::read(&folder) != note {
                    return Ok(());
                }
                match fs::rename(&folder, &to) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                    moved => moved?,
                }
            }
            tracing::info!(database = %key, "a folder was removed that others have replaced");
            Ok::<_, Error>(fs::remove_dir_all(to)?)
        });
        removing.await.map_err(Error::internal)?
    }

    fn is_used(&self, key: &Key) -> bool {
        self.0.slots.lock().contains_key(key) || self.is_alive(key)
    }

    /// Whether DuckDB still has its file open, by work that has not ended.
    fn is_alive(&self, key: &Key) -> bool {
        let instances = self.0.instances.lock();
        instances.get(key).is_some_and(|alive| alive.strong_count() > 0)
    }

    /// Marks the database's file as open: two at a time would write over each other. None while another has not ended.
    pub(super) fn claim(&self, key: &Key) -> Option<open::Alive> {
        let mut instances = self.0.instances.lock();
        instances.retain(|_, alive| alive.strong_count() > 0);
        if instances.contains_key(key) {
            return None;
        }
        let alive = open::Alive::default();
        instances.insert(key.clone(), Arc::downgrade(&alive));
        Some(alive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duckdb::service::registry::CopyNote;

    fn meta(copy: Option<u64>) -> Meta {
        Meta {
            copy: copy.map(|epoch| CopyNote {
                key: String::new(),
                bytes: 0,
                sha256: String::new(),
                number: 1,
                epoch,
            }),
            ..Meta::default()
        }
    }

    #[test]
    fn what_no_copy_has_is_kept() {
        let note = |epoch, saved| Some(Note { epoch, saved });
        // Not copied yet: whatever is there is all that there is.
        assert!(!is_behind(note(3, false), &meta(None)));
        assert_eq!(spare(note(3, false), Some(&meta(None))), None);
        assert_eq!(spare(note(3, true), Some(&meta(None))), None);
        assert_eq!(spare(None, Some(&meta(None))), None);
        // Killed after writes that the copy may not have.
        assert!(!is_behind(note(3, false), &meta(Some(3))));
        assert_eq!(spare(note(3, false), Some(&meta(Some(3)))), None);
        assert_eq!(spare(note(4, false), Some(&meta(Some(3)))), None);
        // Closed with a copy.
        assert_eq!(spare(note(4, true), Some(&meta(Some(3)))), Some(Spare::Same));
        // Another replica has written since.
        assert!(is_behind(note(3, true), &meta(Some(4))));
        assert_eq!(spare(note(3, false), Some(&meta(Some(4)))), Some(Spare::Useless));
        // Begun to be brought, and not ended.
        assert!(is_behind(None, &meta(Some(1))));
        assert_eq!(spare(None, Some(&meta(Some(1)))), Some(Spare::Useless));
        assert_eq!(spare(note(1, false), None), Some(Spare::Useless));
    }

    #[test]
    fn nobody_begins_a_database_anew_whose_file_is_elsewhere() {
        let opened = Meta {
            epoch: 1,
            ..Meta::default()
        };
        let note = Some(Note {
            epoch: 1,
            saved: false,
        });
        assert!(is_out_of_reach(None, &opened, false));
        assert!(!is_out_of_reach(note, &opened, false));
        assert!(!is_out_of_reach(None, &opened, true));
        assert!(!is_out_of_reach(None, &meta(None), false), "nobody had it yet");
    }

    #[test]
    fn notes_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Note::read(folder.path()), None);
        for saved in [false, true] {
            let note = Note { epoch: 7, saved };
            note.write(folder.path()).unwrap();
            assert_eq!(Note::read(folder.path()), Some(note));
        }
    }
}
