//! How much there may be of everything.

use std::time::Duration;

/// Databases that are open at a time, of all tenants: with [`MEMORY`] 2 GiB, if all of them use all of it. The limit of
/// the pod leaves as much again to what is not DuckDB's, such as results on their way.
pub(super) const OPEN: usize = 16;

/// Of one tenant: what a tenant may use is this often what a database may.
pub(super) const OPEN_OF_TENANT: usize = 4;

/// Memory of an open database, in bytes. What needs more goes to temporary files.
pub(in crate::duckdb) const MEMORY: u64 = 128 << 20;

/// Least memory that a database can do anything with.
pub(super) const LEAST_MEMORY: u64 = 16 << 20;

/// Threads of an open database: a large scan uses the cores of a small machine.
pub(in crate::duckdb) const THREADS: u64 = 2;

/// Temporary files of an open database.
pub(super) const TEMPORARY: &str = "2GiB";

/// A database whose holder has not given it back is taken by another when it was nobody's for so long.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// All files of this replica, in bytes: of databases, open or not, of copies on their way, of imports and exports, and
/// temporary ones. The largest database has room for its copy. The pod's volume (`emptyDir` of its manifest) has 20 GiB:
/// what more is written between two looks fits in.
pub(super) const DISK: u64 = 16 << 30;

/// When there is so much more, statements that write are stopped.
pub(super) const OVERRUN: u64 = 1 << 30;

/// When there is so much, folders go of which object storage has all.
pub(super) const SPARE: u64 = DISK / 2;

/// How often the files are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// How often folders that other replicas have replaced are looked for.
pub(super) const SWEEP: Duration = Duration::from_secs(60);

/// Statements that run at a time, of all tenants, each on a thread of its own. Others wait.
pub(super) const RUNNING: usize = 64;

/// Of one database.
pub(super) const RUNNING_OF_DATABASE: usize = 16;

/// Calls that wait for one of these. More are refused.
pub(super) const WAITING: usize = 256;

/// Databases that a tenant may have: the list of them is one message of NATS.
pub(super) const DATABASES: usize = 100;

/// A database of more than this takes no more rows, only deletions, in bytes.
pub(super) const DATABASE_BYTES: u64 = 5 << 30;

/// A file of an import or export, in bytes.
pub(in crate::duckdb) const FILE_BYTES: u64 = 10 << 30;

/// Files that a database reads or writes at a time.
pub(super) const FILES: usize = 4;

/// Rows of a response that says no number.
pub(in crate::duckdb) const ROWS: usize = 10_000;

/// Of a response in one message, in bytes: below the 100 MiB of a message.
pub(super) const RESPONSE_BYTES: usize = 96 << 20;

/// What results that are held whole take of memory together, in bytes. More are refused.
pub(super) const RESULTS: usize = 1 << 30;

/// Of each of them, what is not counted: as many as may run are no burden.
pub(super) const RESULT_FREE: usize = 1 << 20;

/// Of one piece of a stream, in bytes.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// Of a piece of a stream in Arrow's form into which what DuckDB gives at several times is put together, in bytes.
pub(super) const TOGETHER_BYTES: usize = 256 << 10;

/// Pieces that wait for their reader.
pub(super) const PIECES: usize = 3;

/// A statement that names no limit.
pub(in crate::duckdb) const TIME: Duration = Duration::from_secs(60);

/// And the most that one may name; also of imports and exports.
pub(in crate::duckdb) const MAX_TIME: Duration = Duration::from_secs(3600);

/// How long a call waits for a database to be opened, brought from object storage too.
pub(super) const OPENING: Duration = Duration::from_secs(300);

/// A database that nobody uses is closed after so long.
pub(super) const IDLE: Duration = Duration::from_secs(300);

/// A copy is begun so long after a write: with the time that it takes, it is there within a minute.
pub(super) const COPY_AFTER: Duration = Duration::from_secs(20);

/// A copy that failed is tried again after so long.
pub(super) const COPY_AGAIN: Duration = Duration::from_secs(5);

/// What is written since is put into the database's file when the log of it has so many bytes.
pub(super) const LOG_BYTES: u64 = 16 << 20;

/// How often all of this is looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// Open transactions of a tenant, of this replica.
pub(super) const TRANSACTIONS_OF_TENANT: usize = 16;

/// And of all tenants: each keeps a connection.
pub(super) const TRANSACTIONS: usize = 256;

/// A transaction that nobody uses is rolled back after so long.
pub(super) const TRANSACTION_IDLE: Duration = Duration::from_secs(60);

/// And any, after so long.
pub(super) const TRANSACTION_LIFE: Duration = Duration::from_secs(300);

/// Prepared statements of a tenant.
pub(super) const STATEMENTS_OF_TENANT: usize = 100;

/// And of all.
pub(super) const STATEMENTS: usize = 10_000;

/// One that nobody uses is forgotten after so long.
pub(super) const STATEMENT_IDLE: Duration = Duration::from_secs(600);

/// Statements of a batch.
pub(super) const BATCH: usize = 1000;

/// Columns of a new table.
pub(super) const COLUMNS: usize = 2000;

/// Tables and views that are listed.
pub(super) const LISTED: usize = 10_000;

/// Notes that a caller gives a database: entries, and bytes in all.
pub(super) const NOTES: usize = 32;
pub(super) const NOTES_BYTES: usize = 4096;

/// Tenants whose figures are kept.
pub(super) const COUNTED: usize = 10_000;
