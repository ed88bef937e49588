//! Copies in object storage: made in the background after writes, brought back where a replica has none or an older one;
//! and backups, which the tenant asks for.

use std::{fs, io::Read, path::Path, sync::Arc, time::SystemTime};

use futures::StreamExt;
use isa_proto::Bytes;
use isa_server::Tenant;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::spawn_blocking,
};

use super::{
    Duck, Slot,
    databases::NewDatabase,
    entered::Entered,
    error::{Error, invalid},
    limits::{COPY_AFTER, COPY_AGAIN, FILE_BYTES, LOG_BYTES},
    open::Open,
    registry::{CopyNote, Meta},
    settings::Settings,
};
use crate::{
    duckdb::names::{self, Key},
    minio::{At, Bucket, Metadata, Missing, NewBucket, NewObject, Range, StoreError},
};

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// In the database's folder, while a copy is made.
const COPY: &str = "copy.duckdb";

/// What the service knows of a backup.
#[derive(Debug, Serialize, Deserialize)]
struct BackupNote {
    /// The tenant's bucket, or empty.
    bucket: String,
    key: String,
    bytes: u64,
    sha256: String,
    settings: Settings,
}

/// A backup that was made.
pub(in crate::duckdb) struct Backup {
    pub(in crate::duckdb) path: String,
    pub(in crate::duckdb) bytes: u64,
    pub(in crate::duckdb) at: SystemTime,
}

impl Duck {
    /// Does what an open database needs by now: a copy, or its log put into its file.
    pub(super) fn care(&self, open: &Arc<Open>) {
        let copy = open.unsaved().is_some_and(|since| since > COPY_AFTER) && open.copy_due();
        let (_, log) = open.measure();
        if !copy && log < LOG_BYTES {
            return;
        }
        // One at a time: what is busy is done at the next tick.
        let Ok(still) = Arc::clone(&open.still).try_lock_owned() else {
            return;
        };
        let (duck, open) = (self.clone(), Arc::clone(open));
        tokio::spawn(async move {
            if log >= LOG_BYTES {
                let open = Arc::clone(&open);
                // Refused while a transaction writes: there is another tick.
                let done = spawn_blocking(move || open.checkpoint()).await;
                if let Ok(Err(Error::Broken(why))) = done {
                    tracing::warn!(why, "a checkpoint failed");
                }
            }
            drop(still);
            if copy && let Err(error) = duck.save(&open).await {
                tracing::warn!(database = %open.key, %error, "a database could not be copied; it is tried again");
                open.try_copy_in(COPY_AGAIN);
            }
        });
    }

    /// Copies what was written since the last copy, and notes what the database has.
    pub(super) async fn save(&self, open: &Arc<Open>) -> Result<(), Error> {
        // One at a time; who waited may have nothing left to do.
        let still = open.still.lock().await;
        if open.is_closed() {
            return Err(Error::Lost);
        }
        if open.unsaved().is_none() {
            return Ok(());
        }
        let key = open.key.clone();
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        let counting = Arc::clone(open);
        let (tables, bytes) = spawn_blocking(move || counting.summary())
            .await
            .map_err(Error::internal)??;
        let accessed = now();
        if self.0.store.is_none() {
            let writes = open.writes();
            self.0
                .registry
                .update(&key.slug, &key.id, |meta| {
                    (meta.tables, meta.bytes, meta.accessed) = (tables, bytes, accessed);
                })
                .await?;
            open.saved(writes);
            return Ok(());
        }
        let number = meta.copy.as_ref().map_or(0, |copy| copy.number) + 1;
        let bucket = self.place(&key, &meta.bucket).await?;
        // Of another epoch under another name: a replica that lost the lease in the middle does no harm.
        let object = key.copy(!meta.bucket.is_empty(), &format!("{}-{number}", meta.epoch));
        let file = open.folder.join(COPY);
        let copied = self.copy_to(open, &file, names::at(&bucket, &object)).await;
        let _ = tokio::fs::remove_file(&file).await;
        let (writes, length, sha256) = copied?;
        drop(still);
        let (note, epoch) = (
            CopyNote {
                key: object,
                bytes: length,
                sha256,
                number,
                epoch: meta.epoch,
            },
            meta.epoch,
        );
        let old = self
            .0
            .registry
            .update(&key.slug, &key.id, |meta| {
                if meta.epoch != epoch {
                    return None;
                }
                (meta.tables, meta.bytes, meta.accessed) = (tables, bytes, accessed);
                Some(meta.copy.replace(note.clone()))
            })
            .await?;
        let Some(old) = old else {
            let _ = self.store()?.delete(names::at(&bucket, &note.key)).await;
            return Err(Error::Elsewhere(
                "another replica has the database now, and copies it",
            ));
        };
        open.saved(writes);
        if let (Some(old), Some(store)) = (old, &self.0.store)
            && old.key != note.key
            && let Err(error) = store.delete(names::at(&bucket, &old.key)).await
        {
            tracing::info!(%error, "an older copy of a database stays");
        }
        Ok(())
    }

    /// How many writes the copy has, its length and its checksum.
    async fn copy_to(&self, open: &Arc<Open>, file: &Path, at: At<'_>) -> Result<(u64, u64, String), Error> {
        let (bytes, log) = open.measure();
        // Beside it stands a copy of the log, which is put into it.
        let _room = self.0.disk.take(file.to_owned(), bytes + 2 * log)?;
        let (copying, to) = (Arc::clone(open), file.to_owned());
        let copy = move || {
            let _ = fs::remove_file(&to);
            let writes = copying.copy(&to)?;
            let (length, sha256) = checksum(&to)?;
            Ok::<_, Error>((writes, length, sha256))
        };
        let (writes, length, sha256) = spawn_blocking(copy).await.map_err(Error::internal)??;
        self.upload(file, at, length, "application/vnd.duckdb").await?;
        Ok((writes, length, sha256))
    }

    /// The bucket for copies; the service's own is made when it is not there.
    async fn place(&self, key: &Key, given: &str) -> Result<Bucket, Error> {
        let bucket = names::bucket(&key.slug, given)?;
        if given.is_empty() {
            match self.store()?.create_bucket(&bucket, NewBucket::default()).await {
                Ok(_) | Err(StoreError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bucket)
    }

    pub(super) async fn upload(
        &self,
        file: &Path,
        at: At<'_>,
        length: u64,
        content_type: &str,
    ) -> Result<(), Error> {
        let new = NewObject {
            content_type: content_type.to_owned(),
            length: Some(length),
            metadata: Metadata::default(),
            class: None,
        };
        let file = tokio::fs::File::open(file).await?;
        let pieces = futures::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).await.map_err(isa_server::Error::internal)?;
            piece.truncate(read);
            Ok((read > 0).then(|| (Bytes::from(piece), file)))
        });
        Box::pin(self.store()?.put(at, new, pieces.boxed())).await?;
        Ok(())
    }

    /// Writes an object to a file, and says its length.
    pub(super) async fn download(&self, at: At<'_>, file: &Path) -> Result<u64, Error> {
        let whole = Range {
            first: 0,
            length: None,
        };
        let mut object = Box::pin(self.store()?.get(at, whole)).await?;
        let announced = u64::try_from(object.info.size).unwrap_or_default();
        let _room = self.0.disk.take(file.to_owned(), announced)?;
        let mut length = 0;
        let mut to = tokio::fs::File::create(file).await?;
        while let Some(piece) = object.next().await? {
            length += piece.len() as u64;
            if length > FILE_BYTES {
                return Err(invalid(
                    "object_key",
                    format_args!("has more than the {} GiB that a file may have", FILE_BYTES >> 30),
                ));
            }
            to.write_all(&piece).await?;
        }
        to.flush().await?;
        Ok(length)
    }

    /// Copies a database to where only RestoreDatabase takes it from.
    pub(in crate::duckdb) async fn backup(&self, entered: &Entered, name: &str) -> Result<Backup, Error> {
        let store = self.store()?;
        let open = entered.open();
        let key = &open.key;
        let at = SystemTime::now();
        let name = match name {
            "" => {
                let time: chrono::DateTime<chrono::Utc> = at.into();
                time.format("%Y%m%dT%H%M%S-%6f").to_string()
            }
            name => names::check_name("backup_name", name)?.to_owned(),
        };
        // What is backed up does not get lost with this node either.
        self.save(open).await?;
        let meta = self.0.registry.find(&key.slug, &key.id).await?;
        let _still = open.still.lock().await;
        let own = self.place(key, "").await?;
        let note_key = key.backup_note(&name);
        match store.stat(names::at(&own, &note_key)).await {
            Ok(_) => return Err(Error::Exists(format!("backup {name:?}"))),
            Err(StoreError::Missing(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let bucket = self.place(key, &meta.bucket).await?;
        let object = key.backup(!meta.bucket.is_empty(), &name);
        let file = open.folder.join(COPY);
        let copied = self.copy_to(open, &file, names::at(&bucket, &object)).await;
        let _ = tokio::fs::remove_file(&file).await;
        let (_, bytes, sha256) = copied?;
        let note = BackupNote {
            bucket: meta.bucket,
            key: object,
            bytes,
            sha256,
            settings: meta.settings,
        };
        let text = serde_json::to_vec(&note).map_err(Error::internal)?;
        let new = NewObject {
            content_type: "application/json".into(),
            length: Some(text.len() as u64),
            metadata: Metadata::default(),
            class: None,
        };
        let piece = futures::stream::iter([Ok(Bytes::from(text))]);
        Box::pin(store.put(names::at(&own, &note_key), new, piece)).await?;
        Ok(Backup {
            path: key.backup_path(&name),
            bytes,
            at,
        })
    }

    /// Makes a new database of a backup. Its id.
    pub(in crate::duckdb) async fn restore(
        &self,
        tenant: &Tenant,
        path: &str,
        mut new: NewDatabase,
    ) -> Result<String, Error> {
        let (key, name) = names::read_backup_path(tenant, path)?;
        names::check_name("new_database_name", &new.name)?;
        let own = names::bucket(tenant.slug(), "")?;
        let note_key = key.backup_note(&name);
        let absent = |error| match error {
            Error::Store(StoreError::Missing(Missing::Bucket | Missing::Object | Missing::Something)) => {
                Error::Missing(format!("backup {path:?}"))
            }
            other => other,
        };
        let note = self
            .read_small(names::at(&own, &note_key))
            .await
            .map_err(absent)?;
        let note: BackupNote = serde_json::from_slice(&note).map_err(Error::internal)?;
        if self.0.registry.find(tenant.slug(), &new.name).await.is_ok() {
            return Err(Error::Exists(format!("database {:?}", new.name)));
        }
        let bucket = names::bucket(tenant.slug(), &note.bucket)?;
        let id = names::new_id();
        let new_key = Key::new(tenant, &id);
        let folder = new_key.folder(&self.0.root);
        // As long as the place is taken the folder is nobody else's.
        let slot = self.slot(&new_key).await?;
        let _turn = slot.turn.lock().await;
        let place = Forget(self, &new_key, &slot);
        tokio::fs::create_dir_all(&folder).await?;
        let made = async {
            self.bring_copy(names::at(&bucket, &note.key), &note.sha256, &folder)
                .await?;
            self.note_new(folder.clone()).await?;
            new.settings = note.settings;
            new.bucket = note.bucket;
            self.add(tenant, id.clone(), new, note.bytes).await
        }
        .await;
        if made.is_err() {
            let _ = tokio::fs::remove_dir_all(&folder).await;
        }
        drop(place);
        made?;
        Ok(id)
    }

    async fn read_small(&self, at: At<'_>) -> Result<Vec<u8>, Error> {
        let whole = Range {
            first: 0,
            length: None,
        };
        let mut object = Box::pin(self.store()?.get(at, whole)).await?;
        let mut text = Vec::new();
        while let Some(piece) = object.next().await? {
            if text.len() + piece.len() > PIECE {
                return Err(Error::Damaged("what is noted of the backup is too long"));
            }
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }

    /// Removes a deleted database's copy.
    pub(super) async fn remove_copy(&self, key: &Key, meta: &Meta) -> Result<(), Error> {
        let (Some(copy), Some(store)) = (&meta.copy, &self.0.store) else {
            return Ok(());
        };
        let bucket = names::bucket(&key.slug, &meta.bucket)?;
        match store.delete(names::at(&bucket, &copy.key)).await {
            Ok(()) | Err(StoreError::Missing(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Gives up the place of a database that is being made, also when the call that makes it is.
struct Forget<'a>(&'a Duck, &'a Key, &'a Arc<Slot>);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1, self.2);
    }
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or_default()
}

/// Length and SHA-256. Blocks.
pub(super) fn checksum(file: &Path) -> Result<(u64, String), Error> {
    let mut file = fs::File::open(file)?;
    let (mut digest, mut length) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((length, hex::encode(digest.finalize())));
        }
        digest.update(&piece[..read]);
        length += read as u64;
    }
}
