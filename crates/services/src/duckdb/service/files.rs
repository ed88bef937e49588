//! Files of object storage, and those that callers send: read into tables, queried, written. Each is on the local disk
//! meanwhile, under one of the few names that DuckDB may open there.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use duckdb::Connection;
use isa_proto::Bytes;
use isa_server::Tenant;
use tokio::{
    io::AsyncWriteExt,
    sync::OwnedSemaphorePermit,
    time::{interval, timeout},
};

use super::{
    Duck, Rows,
    disk::Room,
    entered::Entered,
    error::{Error, invalid},
    limits::{FILE_BYTES, MAX_TIME, ROWS, TIME},
    open::Open,
    options::{Kind, Options, read_options},
    param::Params,
    queries::{gather, in_transaction},
    run::{On, run},
    sql::{self, Statement},
    transactions::left,
};
use crate::{
    duckdb::names::{TableName, literal},
    minio::{self, At, Bucket, StoreError},
};

/// How often the length of a file is looked at that DuckDB writes.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::duckdb) enum Format {
    Csv,
    Json,
    Parquet,
}

/// A file of the tenant's.
#[derive(Debug, Clone)]
pub(in crate::duckdb) struct Object {
    bucket: Bucket,
    key: String,
}

impl Object {
    pub(in crate::duckdb) fn of(tenant: &Tenant, bucket: &str, key: &str) -> Result<Self, Error> {
        let bucket = Bucket::of(tenant, "bucket_name", bucket)?;
        minio::check_key("object_key", key)?;
        Ok(Self {
            bucket,
            key: key.to_owned(),
        })
    }

    fn at(&self) -> At<'_> {
        At {
            bucket: &self.bucket,
            key: &self.key,
            version: None,
        }
    }

    /// For errors: as the tenant names it.
    fn absent(&self, error: Error) -> Error {
        match error {
            Error::Store(StoreError::Missing(minio::Missing::Bucket)) => {
                Error::Missing(format!("bucket {:?}", self.bucket.given()))
            }
            Error::Store(StoreError::Missing(_)) => Error::Missing(format!("object {:?}", self.key)),
            other => other,
        }
    }
}

impl Format {
    /// What the caller says, or the key's ending.
    pub(in crate::duckdb) fn of(given: &str, key: &str) -> Result<Self, Error> {
        let name = if given.is_empty() {
            key.rsplit_once('.').map_or("", |(_, ending)| ending)
        } else {
            given
        };
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "jsonl" | "ndjson" if given.is_empty() => Ok(Self::Json),
            "parquet" => Ok(Self::Parquet),
            _ => Err(invalid(
                "format",
                "must be `csv`, `json` or `parquet`, or empty where the key ends so",
            )),
        }
    }

    /// SQL that reads a file.
    fn reader(self, file: &str, options: &Options) -> Result<String, Error> {
        let (function, known): (_, &[(&str, Kind)]) = match self {
            Self::Csv => (
                "read_csv",
                &[
                    ("header", Kind::Bool),
                    ("delim", Kind::Text),
                    ("quote", Kind::Text),
                    ("escape", Kind::Text),
                    ("nullstr", Kind::Text),
                    ("dateformat", Kind::Text),
                    ("timestampformat", Kind::Text),
                    ("skip", Kind::Number),
                    ("ignore_errors", Kind::Bool),
                ],
            ),
            Self::Json => ("read_json", &[("format", Kind::JsonFormat)]),
            Self::Parquet => ("read_parquet", &[]),
        };
        let mut text = format!("{function}({}", literal(file));
        for (name, value) in read_options(known, options)? {
            text.push_str(&format!(", {name} = {value}"));
        }
        text.push(')');
        Ok(text)
    }

    /// SQL that says how to write a file.
    fn writer(self, options: &Options) -> Result<String, Error> {
        let (format, known): (_, &[(&str, Kind)]) = match self {
            Self::Csv => (
                "csv",
                &[
                    ("header", Kind::Bool),
                    ("delim", Kind::Text),
                    ("quote", Kind::Text),
                    ("nullstr", Kind::Text),
                ],
            ),
            Self::Json => ("json", &[]),
            Self::Parquet => (
                "parquet",
                &[
                    ("compression", Kind::Compression),
                    ("row_group_size", Kind::Number),
                ],
            ),
        };
        let mut text = format!("(FORMAT {format}, USE_TMP_FILE false");
        if self == Self::Csv && !options.contains_key("header") {
            text.push_str(", HEADER true");
        }
        for (name, value) in read_options(known, options)? {
            text.push_str(&format!(", {name} {value}"));
        }
        text.push(')');
        Ok(text)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// A file's name while a call has it. Dropped, the file is gone.
struct Staged {
    open: Arc<Open>,
    slot: usize,
    _permit: OwnedSemaphorePermit,
}

impl Staged {
    async fn take(entered: &Entered) -> Result<Self, Error> {
        let open = Arc::clone(entered.open());
        let permit = timeout(TIME, Arc::clone(&open.files).acquire_owned()).await;
        let permit = permit.map_err(|_| Error::Busy)?.map_err(Error::internal)?;
        let slot = open.take_file().ok_or(Error::Busy)?;
        Ok(Self {
            open,
            slot,
            _permit: permit,
        })
    }

    fn path(&self) -> PathBuf {
        self.open.file(self.slot)
    }

    fn sql(&self) -> String {
        self.path().to_string_lossy().into_owned()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.open.give_back(self.slot);
    }
}

/// What is read into a table.
struct Import {
    table: TableName,
    reader: String,
    by_name: bool,
    truncate: bool,
}

impl Duck {
    /// Reads an object into a table. How many rows.
    pub(in crate::duckdb) async fn import(
        &self,
        entered: &Entered,
        object: &Object,
        table: &str,
        format: Format,
        options: &Options,
        truncate: bool,
    ) -> Result<u64, Error> {
        let table = TableName::of("table_name", table)?;
        let began = Instant::now();
        entered.open().check_room()?;
        let file = Staged::take(entered).await?;
        let reader = format.reader(&file.sql(), options)?;
        self.fetch(object, &file).await?;
        let import = Import {
            table,
            reader,
            by_name: format != Format::Csv,
            truncate,
        };
        self.load(entered, import, file, left(began, MAX_TIME)).await
    }

    async fn fetch(&self, object: &Object, file: &Staged) -> Result<(), Error> {
        let fetched = timeout(MAX_TIME, self.download(object.at(), &file.path())).await;
        fetched
            .map_err(|_| Error::TimedOut)?
            .map(drop)
            .map_err(|error| object.absent(error))
    }

    async fn load(
        &self,
        entered: &Entered,
        import: Import,
        file: Staged,
        limit: Duration,
    ) -> Result<u64, Error> {
        let loaded = run(&self.0.threads, entered, On::Own, limit, move |connection| {
            let rows = in_transaction(connection, || import_rows(connection, &import));
            drop(file);
            rows
        })
        .await;
        entered.open().wrote();
        loaded
    }

    /// Runs a query over an object, at most [`ROWS`] rows of it.
    pub(in crate::duckdb) async fn query_file(
        &self,
        entered: &Entered,
        object: &Object,
        format: Format,
        options: &Options,
        query: &str,
    ) -> Result<Rows, Error> {
        let began = Instant::now();
        let file = Staged::take(entered).await?;
        let reader = format.reader(&file.sql(), options)?;
        let query = if query.is_empty() {
            "SELECT * FROM $FILE"
        } else {
            query
        };
        let statement = Statement::query("query", query)?;
        let sql = sql::with_file("query", &statement.text, &reader)?;
        self.fetch(object, &file).await?;
        let results = self.0.threads.results.clone();
        let mut rows = run(
            &self.0.threads,
            entered,
            On::Own,
            left(began, MAX_TIME),
            move |connection| {
                let rows = gather(connection, &sql, &Params::new(), ROWS, &results);
                drop(file);
                rows
            },
        )
        .await?;
        rows.time = began.elapsed();
        Ok(rows)
    }

    /// Writes the result of a query to an object. How many rows and bytes.
    pub(in crate::duckdb) async fn export(
        &self,
        entered: &Entered,
        query: &str,
        object: &Object,
        format: Format,
        options: &Options,
        overwrite: bool,
    ) -> Result<(u64, u64), Error> {
        let began = Instant::now();
        let query = Statement::query("query", query)?;
        let store = self.store()?;
        self.0.disk.check()?;
        if let Err(error) = store.bucket_info(&object.bucket).await {
            return Err(object.absent(error.into()));
        }
        if !overwrite {
            match store.stat(object.at()).await {
                Ok(_) => return Err(Error::Exists(format!("object {:?}", object.key))),
                Err(StoreError::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let file = Staged::take(entered).await?;
        let writer = format.writer(options)?;
        let sql = format!("COPY (\n{}\n) TO {} {writer}", query.text, literal(&file.sql()));
        let copy = run(
            &self.0.threads,
            entered,
            On::Own,
            left(began, MAX_TIME),
            move |connection| {
                let mut statement = connection.prepare(&sql)?;
                Ok(statement.execute([])? as u64)
            },
        );
        let path = file.path();
        let rows = tokio::select! {
            rows = copy => rows?,
            // Dropped, the query stops.
            () = too_long(&path) => {
                return Err(Error::Exhausted(format!(
                    "the result has more than the {} GiB that a file may have",
                    FILE_BYTES >> 30
                )));
            }
        };
        let length = tokio::fs::metadata(&path).await?.len();
        let upload = timeout(
            left(began, MAX_TIME),
            self.upload(&path, object.at(), length, format.content_type()),
        );
        upload
            .await
            .map_err(|_| Error::TimedOut)?
            .map_err(|error| object.absent(error))?;
        Ok((rows, length))
    }

    /// Begins to take a file that the caller sends.
    pub(in crate::duckdb) async fn receive(
        &self,
        entered: &Entered,
        table: &str,
        format: Format,
        options: &Options,
        announced: u64,
    ) -> Result<Upload, Error> {
        let table = TableName::of("table_name", table)?;
        entered.open().check_room()?;
        if announced > FILE_BYTES {
            return Err(too_big("total_size"));
        }
        let file = Staged::take(entered).await?;
        let import = Import {
            table,
            reader: format.reader(&file.sql(), options)?,
            by_name: format != Format::Csv,
            truncate: false,
        };
        let disk = &self.0.disk;
        let room = (announced > 0).then(|| disk.take(file.path(), announced));
        Ok(Upload {
            room: room.transpose()?,
            to: tokio::fs::File::create(file.path()).await?,
            duck: self.clone(),
            entered: entered.clone(),
            import,
            file,
            announced,
            received: 0,
            began: Instant::now(),
        })
    }
}

/// A file that the caller sends.
pub(in crate::duckdb) struct Upload {
    duck: Duck,
    entered: Entered,
    import: Import,
    file: Staged,
    to: tokio::fs::File,
    /// For a file whose length was announced.
    room: Option<Room>,
    announced: u64,
    received: u64,
    began: Instant,
}

impl Upload {
    pub(in crate::duckdb) async fn put(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.received += chunk.len() as u64;
        if self.announced > 0 && self.received > self.announced {
            return Err(self.mismatch());
        }
        if self.received > FILE_BYTES {
            return Err(too_big("chunk"));
        }
        if self.room.is_none() {
            self.duck.0.disk.check()?;
        }
        Ok(self.to.write_all(&chunk).await?)
    }

    /// All came. How many rows.
    pub(in crate::duckdb) async fn finish(mut self) -> Result<u64, Error> {
        if self.announced > 0 && self.received != self.announced {
            return Err(self.mismatch());
        }
        self.to.flush().await?;
        let Self {
            duck,
            entered,
            import,
            file,
            began,
            ..
        } = self;
        duck.load(&entered, import, file, left(began, MAX_TIME)).await
    }

    fn mismatch(&self) -> Error {
        invalid(
            "total_size",
            format_args!(
                "is {}, and {} bytes came; nothing was imported",
                self.announced, self.received
            ),
        )
    }
}

fn too_big(field: &'static str) -> Error {
    invalid(field, format_args!("a file may have {} GiB", FILE_BYTES >> 30))
}

/// Completes when the file is longer than a file may be.
async fn too_long(path: &std::path::Path) {
    let mut look = interval(LOOK);
    loop {
        look.tick().await;
        if tokio::fs::metadata(path)
            .await
            .is_ok_and(|file| file.len() > FILE_BYTES)
        {
            return;
        }
    }
}

fn import_rows(connection: &Connection, import: &Import) -> Result<u64, Error> {
    let table = import.table.sql();
    let known = format!(
        "SELECT count(*)::UBIGINT FROM duckdb_tables() WHERE database_name = current_database()
            AND lower(schema_name) = lower({}) AND lower(table_name) = lower({})",
        literal(&import.table.schema),
        literal(&import.table.name)
    );
    let known: u64 = connection.query_row(&known, [], |row| row.get(0))?;
    let reader = &import.reader;
    if known == 0 {
        connection.execute_batch(&format!("CREATE TABLE {table} AS SELECT * FROM {reader}"))?;
        // The client counts no rows of this kind of statement.
        let count = format!("SELECT count(*)::UBIGINT FROM {table}");
        return Ok(connection.query_row(&count, [], |row| row.get(0))?);
    }
    if import.truncate {
        connection.execute_batch(&format!("DELETE FROM {table}"))?;
    }
    let by_name = if import.by_name { "BY NAME " } else { "" };
    let sql = format!("INSERT INTO {table} {by_name}SELECT * FROM {reader}");
    let mut statement = connection.prepare(&sql)?;
    Ok(statement.execute([])? as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(name: &str, value: &str) -> Options {
        Options::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn options_are_few_and_never_sql() {
        let csv = Format::Csv.reader("f", &options("delim", "'; drop")).unwrap();
        assert_eq!(csv, "read_csv('f', delim = '''; drop')");
        assert_eq!(
            Format::Parquet.writer(&options("compression", "ZSTD")).unwrap(),
            "(FORMAT parquet, USE_TMP_FILE false, compression 'zstd')"
        );
        for (format, name, value) in [
            (Format::Csv, "filename", "x"),
            (Format::Csv, "skip", "-1"),
            (Format::Csv, "header", "maybe"),
            (Format::Json, "format", "') --"),
            (Format::Parquet, "header", "true"),
        ] {
            assert!(format.reader("f", &options(name, value)).is_err(), "{name}");
        }
        assert!(Format::Parquet.writer(&options("compression", "x) --")).is_err());
    }

    #[test]
    fn formats_come_of_the_key() {
        assert_eq!(Format::of("", "a/b.Parquet").unwrap(), Format::Parquet);
        assert_eq!(Format::of("", "a.ndjson").unwrap(), Format::Json);
        assert_eq!(Format::of("CSV", "a.json").unwrap(), Format::Csv);
        assert!(Format::of("", "a").is_err() && Format::of("xml", "a.csv").is_err());
    }
}
