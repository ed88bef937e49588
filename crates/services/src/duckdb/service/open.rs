//! An open database: DuckDB over one file, confined to it.

use std::{
    collections::HashMap,
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use duckdb::{Config, Connection};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    disk::Disk,
    error::Error,
    limits::{DATABASE_BYTES, FILES, MEMORY, RUNNING_OF_DATABASE, TEMPORARY},
    nats::Leases,
    run::Cancel,
    settings::{Settings, memory, threads},
};
use crate::duckdb::names::{Key, literal};

/// The database's own file in its folder. The log of what was written since stands beside it.
const FILE: &str = "data.duckdb";
const LOG: &str = "data.duckdb.wal";

/// Says that DuckDB has a file open, as long as a clone of it is kept.
pub(super) type Alive = Arc<()>;

/// A connection, with which the file stays open.
pub(super) struct Session {
    connection: Connection,
    _alive: Alive,
}

impl Deref for Session {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// What an open database shares with the others.
pub(super) struct Shared {
    pub(super) disk: Arc<Disk>,
    pub(super) leases: Option<Arc<Leases>>,
}

pub(super) struct Open {
    pub(super) key: Key,
    pub(super) folder: PathBuf,
    pub(super) shared: Shared,
    /// All connections come of this one. `None` when it is closed.
    root: Mutex<Option<Session>>,
    /// Statements that may run at a time.
    pub(super) running: Arc<Semaphore>,
    /// Which of the files may be used by imports and exports; as many permits as there are names.
    pub(super) files: Arc<Semaphore>,
    free: Mutex<Vec<usize>>,
    /// What runs, to be stopped by force.
    cancels: Mutex<HashMap<u64, Arc<Cancel>>>,
    next: AtomicU64,
    /// Grows with each write.
    written: AtomicU64,
    /// What of it is in the last copy, and when the oldest write was that is not.
    copied: AtomicU64,
    unsaved: Mutex<Option<Instant>>,
    /// Not before this a copy is tried again.
    again: Mutex<Option<Instant>>,
    pub(super) used: Mutex<Instant>,
    /// One at a time: a copy reads the file while it stays as it is.
    pub(super) still: Arc<tokio::sync::Mutex<()>>,
    broken: AtomicBool,
    full: AtomicBool,
    /// Deleted, or held by another replica now: nothing begins any more.
    closed: AtomicBool,
    pub(super) figures: Figures,
}

/// Figures of one database.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) queries: AtomicU64,
    pub(super) microseconds: AtomicU64,
}

impl Open {
    /// Opens the file in `folder`, and makes it if it is not there. Blocks.
    pub(super) fn at(
        key: Key,
        folder: PathBuf,
        settings: &Settings,
        shared: Shared,
        alive: Alive,
    ) -> Result<Self, Error> {
        let temporary = folder.join("tmp");
        let stage = folder.join("stage");
        for path in [&temporary, &stage] {
            // What is there is of a process before this one.
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
            fs::create_dir_all(path)?;
        }
        let root = Connection::open_with_flags(folder.join(FILE), config(settings)?)?;
        let paths: Vec<_> = (0..FILES)
            .map(|slot| sql_path(&stage.join(slot.to_string())))
            .collect();
        let zone = settings.get("TimeZone").map_or("UTC", String::as_str);
        // In this order: each is refused after the last two.
        root.execute_batch(&format!(
            "SET temp_directory = {temporary};
             SET max_temp_directory_size = '{TEMPORARY}';
             SET GLOBAL TimeZone = {zone};
             SET allowed_paths = [{paths}];
             SET enable_external_access = false;
             SET lock_configuration = true;",
            temporary = sql_path(&temporary),
            zone = literal(zone),
            paths = paths.join(", "),
        ))?;
        Ok(Self {
            key,
            folder,
            shared,
            root: Mutex::new(Some(Session {
                connection: root,
                _alive: alive,
            })),
            running: Arc::new(Semaphore::new(RUNNING_OF_DATABASE)),
            files: Arc::new(Semaphore::new(FILES)),
            free: Mutex::new((0..FILES).collect()),
            cancels: Mutex::default(),
            next: AtomicU64::new(0),
            written: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            unsaved: Mutex::new(None),
            again: Mutex::new(None),
            used: Mutex::new(Instant::now()),
            still: Arc::default(),
            broken: AtomicBool::new(false),
            full: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            figures: Figures::default(),
        })
    }

    /// A connection of its own. Blocks, shortly.
    pub(super) fn connect(&self) -> Result<Session, Error> {
        let root = self.root.lock();
        let root = root
            .as_ref()
            .ok_or(Error::Elsewhere("the database was just closed; try again"))?;
        Ok(Session {
            connection: root.connection.try_clone()?,
            _alive: Arc::clone(&root._alive),
        })
    }

    /// Stops what runs. The file is closed when that has ended, whoever still keeps this. Blocks.
    pub(super) fn shut(&self, why: impl Fn() -> Error) {
        self.set_closed();
        self.cancel_all(why);
        drop(self.root.lock().take());
    }

    /// Whether what is written now is written to the newest file that there is.
    pub(super) fn is_held(&self) -> bool {
        let leases = self.shared.leases.as_ref();
        !self.is_closed() && leases.is_none_or(|leases| leases.is_held(&self.key.lease()))
    }

    pub(super) fn touch(&self) {
        *self.used.lock() = Instant::now();
    }

    /// Something was written, or may have been.
    pub(super) fn wrote(&self) {
        self.written.fetch_add(1, Relaxed);
        self.unsaved.lock().get_or_insert_with(Instant::now);
    }

    /// How many writes there were; to be told to [`Self::saved`] when these are in a copy.
    pub(super) fn writes(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(super) fn saved(&self, writes: u64) {
        self.copied.fetch_max(writes, Relaxed);
        let mut unsaved = self.unsaved.lock();
        *unsaved = (self.writes() > writes).then(Instant::now);
    }

    /// How long ago the oldest write was that no copy has.
    pub(super) fn unsaved(&self) -> Option<Duration> {
        self.unsaved.lock().map(|at| at.elapsed())
    }

    /// Whether a copy that failed may be tried again.
    pub(super) fn copy_due(&self) -> bool {
        self.again.lock().is_none_or(|at| at <= Instant::now())
    }

    pub(super) fn try_copy_in(&self, pause: Duration) {
        *self.again.lock() = Some(Instant::now() + pause);
    }

    /// How many tables there are, and bytes on disk. Blocks.
    pub(super) fn summary(&self) -> Result<(u64, u64), Error> {
        let sql = "SELECT count(*)::UBIGINT FROM duckdb_tables() WHERE NOT internal AND NOT temporary";
        let tables = self.connect()?.query_row(sql, [], |row| row.get(0))?;
        let (file, log) = self.measure();
        Ok((tables, file + log))
    }

    /// Memory and temporary files in use, in bytes. Blocks.
    pub(super) fn memory(&self) -> Result<(u64, u64), Error> {
        let sql = "SELECT coalesce(sum(memory_usage_bytes), 0)::UBIGINT, coalesce(sum(temporary_storage_bytes), 0)::UBIGINT
            FROM duckdb_memory()";
        Ok(self
            .connect()?
            .query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// DuckDB failed in a way that leaves its memory useless.
    pub(super) fn set_broken(&self) {
        self.broken.store(true, Relaxed);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    pub(super) fn set_closed(&self) {
        self.closed.store(true, Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    /// Fails for what makes the database larger while it is as large as it may be.
    pub(super) fn check_room(&self) -> Result<(), Error> {
        self.shared.disk.check()?;
        if self.full.load(Relaxed) {
            return Err(Error::Exhausted(format!(
                "the database has the {} GiB that it may have; delete rows or tables first",
                DATABASE_BYTES >> 30
            )));
        }
        Ok(())
    }

    /// Bytes of the file and of the log. Notes whether that is all there may be.
    pub(super) fn measure(&self) -> (u64, u64) {
        let length = |name| fs::metadata(self.folder.join(name)).map_or(0, |it| it.len());
        let (file, log) = (length(FILE), length(LOG));
        self.full.store(file + log > DATABASE_BYTES, Relaxed);
        (file, log)
    }

    pub(super) fn register(&self, cancel: &Arc<Cancel>) -> u64 {
        let number = self.next.fetch_add(1, Relaxed);
        self.cancels.lock().insert(number, Arc::clone(cancel));
        number
    }

    pub(super) fn unregister(&self, number: u64) {
        self.cancels.lock().remove(&number);
    }

    /// Statements that run now.
    pub(super) fn active(&self) -> usize {
        self.cancels.lock().len()
    }

    /// Stops what runs.
    pub(super) fn cancel_all(&self, why: impl Fn() -> Error) {
        for cancel in self.cancels.lock().values() {
            cancel.fire(why());
        }
    }

    /// A name for a file that DuckDB may read and write. The caller has a permit of [`Self::files`].
    pub(super) fn take_file(&self) -> Option<usize> {
        self.free.lock().pop()
    }

    pub(super) fn file(&self, slot: usize) -> PathBuf {
        self.folder.join("stage").join(slot.to_string())
    }

    pub(super) fn give_back(&self, slot: usize) {
        let _ = fs::remove_file(self.file(slot));
        self.free.lock().push(slot);
    }

    /// Puts the log into the file, unless a transaction writes just now. Blocks. The caller holds [`Self::still`].
    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        Ok(self.connect()?.execute_batch("CHECKPOINT")?)
    }

    /// Copies file and log as they are at one moment to `to`, while others read and write. Blocks. The caller holds
    /// [`Self::still`], so that no checkpoint comes between: without one, the file only gets blocks that the log names
    /// later, and the log only grows. So what the log names is in a file that is copied after it.
    pub(super) fn copy(&self, to: &Path) -> Result<u64, Error> {
        let writes = self.writes();
        let log = self.folder.join(LOG);
        let mut beside = to.as_os_str().to_owned();
        beside.push(".wal");
        if log.exists() {
            fs::copy(log, &beside)?;
        }
        fs::copy(self.folder.join(FILE), to)?;
        // Opened once, which reads the log, and closed, which puts it into the file: what is kept is whole.
        let copy = Connection::open_with_flags(to, copies()?)?;
        copy.execute_batch("CHECKPOINT")?;
        copy.close().map_err(|(_, error)| error)?;
        let _ = fs::remove_file(beside);
        Ok(writes)
    }
}

/// What a database is opened with, all but the settings that are set afterwards.
fn config(settings: &Settings) -> Result<Config, Error> {
    let mut config = base()?
        .with("memory_limit", memory(settings)?.to_string() + "B")?
        .with("threads", threads(settings)?.to_string())?
        // Checkpoints are made by this service alone: see `Open::copy`.
        .with("checkpoint_threshold", "1TB")?;
    for name in ["default_order", "default_null_order"] {
        if let Some(value) = settings.get(name) {
            config = config.with(name, value)?;
        }
    }
    Ok(config)
}

/// For files of ours that no tenant's SQL is run in.
fn copies() -> Result<Config, Error> {
    Ok(base()?
        .with("memory_limit", format!("{MEMORY}B"))?
        .with("threads", "1")?)
}

fn base() -> Result<Config, Error> {
    Ok(Config::default()
        .enable_autoload_extension(false)?
        .with("allow_community_extensions", "false")?
        .with("allow_persistent_secrets", "false")?)
}

/// Whether a file is a database that can be opened. Blocks.
pub(super) fn check_file(path: &Path) -> Result<(), Error> {
    let opened =
        Connection::open_with_flags(path, copies()?).and_then(|it| it.close().map_err(|(_, error)| error));
    opened.map_err(|_| Error::Damaged("the copy is not a database that can be opened"))
}

/// The version of DuckDB, without the `v`.
pub(super) fn version() -> Result<String, Error> {
    let connection = Connection::open_in_memory_with_flags(copies()?)?;
    Ok(connection.version()?.trim_start_matches('v').to_owned())
}

/// The database's file below its folder.
pub(super) fn data_file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

/// Removes the database's file and log, if they are there.
pub(super) fn remove_data(folder: &Path) -> Result<(), Error> {
    for name in [FILE, LOG] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn sql_path(path: &Path) -> String {
    literal(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Open {
        let key = Key {
            slug: "s".into(),
            id: "d".into(),
        };
        let shared = Shared {
            disk: Arc::new(Disk::new(folder.to_owned())),
            leases: None,
        };
        Open::at(
            key,
            folder.to_owned(),
            &Settings::default(),
            shared,
            Alive::default(),
        )
        .unwrap()
    }

    #[test]
    fn a_copy_is_of_one_moment_while_others_write() {
        let folder = tempfile::tempdir().unwrap();
        let open = Arc::new(open(folder.path()));
        open.connect()
            .unwrap()
            .execute_batch("create table t (a bigint, b varchar)")
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (open, stop) = (Arc::clone(&open), Arc::clone(&stop));
            move || {
                let connection = open.connect().unwrap();
                while !stop.load(Relaxed) {
                    // Always a thousand rows, some of them written to the file before they are committed.
                    connection
                        .execute_batch(
                            "begin; insert into t select range, repeat('x', 100) from range(1000); commit;
                            begin; insert into t select range, 'y' from range(200000); rollback",
                        )
                        .unwrap();
                }
            }
        });
        let mut seen = 0;
        for round in 0..5 {
            let to = folder.path().join(format!("copy{round}"));
            open.copy(&to).unwrap();
            assert!(!to.with_extension("wal").exists());
            let copy = Connection::open(&to).unwrap();
            let (rows, letters): (i64, i64) = copy
                .query_row(
                    "select count(*), coalesce(sum(length(b)), 0)::bigint from t",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            assert!(
                rows >= seen && rows % 1000 == 0 && letters == rows * 100,
                "{rows} {letters}"
            );
            seen = rows;
            if round == 2 {
                // Refused while a transaction writes, which is no harm.
                let _ = open.checkpoint();
            }
        }
        stop.store(true, Relaxed);
        writer.join().unwrap();
    }

    #[test]
    fn sql_stays_in_its_database() {
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other.csv");
        fs::write(&other, "a\n1\n").unwrap();
        let inside = folder.path().join("in");
        let open = open(&inside);
        let connection = open.connect().unwrap();
        let other = other.display();
        for sql in [
            format!("select * from read_csv('{other}')"),
            format!("select * from '{other}'"),
            format!("select * from read_text('{other}')"),
            format!("select * from read_blob('{other}')"),
            format!("select * from glob('{}/*')", folder.path().display()),
            format!("copy (select 1) to '{other}'"),
            format!("attach '{other}' as x"),
            format!("export database '{}'", folder.path().display()),
            "select * from read_text('/proc/self/environ')".into(),
            "select * from read_parquet('https://example.org/x')".into(),
            "install httpfs".into(),
            "load httpfs".into(),
            "load '/tmp/x.duckdb_extension'".into(),
            "set enable_external_access = true".into(),
            "set lock_configuration = false".into(),
            "set allowed_paths = ['/']".into(),
            "set memory_limit = '100GB'".into(),
            "set temp_directory = '/tmp'".into(),
            "select getenv('HOME')".into(),
        ] {
            let error = connection.execute_batch(&sql).expect_err(&sql);
            let error = Error::from(error);
            assert!(
                matches!(error, Error::Denied(_) | Error::Missing(_) | Error::Sql(_)),
                "{sql}: {error:?}"
            );
        }
        // What it may use are its own few files, and temporary ones of its own.
        let slot = open.file(0);
        connection
            .execute_batch(&format!(
                "copy (select 1 a) to '{}' (format parquet, use_tmp_file false)",
                slot.display()
            ))
            .unwrap();
        let big = "create temp table big as select range a, hash(range) b from range(12000000) order by b";
        connection.execute_batch(big).unwrap();
    }
}
