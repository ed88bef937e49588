use std::{
    fs, io,
    path::{Path, PathBuf},
};

use duckdb::{Config, Connection};
use isa_config::Endpoint;
use tokio::task::spawn_blocking;
use url::Url;

use crate::{
    Error, Probe,
    error::During,
    run::{Run, Stop, unique_name},
};

/// Memory that a check's database may take, in DuckDB's notation.
const MEMORY: &str = "64MB";

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    // The library is part of this process and does not die by itself: what can go away is the folder. No database is
    // opened: that alone makes 17 MB of the library resident, in a process that may never use it.
    let folder = folder(endpoint)?;
    blocking(move || fs::read_dir(&folder).map(drop).during("open the folder")).await?;
    Ok(Probe { version: None })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let folder = run.step("folder", async { folder(endpoint) }).await?;
    let name = format!("{}.duckdb", unique_name());
    let file = folder.join(&name);
    let made = async {
        let path = file.clone();
        let open =
            blocking(move || Connection::open_with_flags(path, config()?).during("open a database file"));
        let connection = run.step("database file opened", open).await?;
        let connection = run
            .step(
                "table created, filled and summed",
                blocking(move || aggregate(connection)),
            )
            .await?;
        run.step(
            "date_trunc and time zones",
            blocking(move || time_zones(&connection)),
        )
        .await
    }
    .await;
    let removed = run
        .remove("database file removed", &name, blocking(move || remove(&file)))
        .await;
    made.and(removed)
}

/// Runs what blocks its thread on one that is meant for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.during("run DuckDB")?
}

fn folder(endpoint: &Endpoint) -> Result<PathBuf, Error> {
    let invalid = |why: &str| Error::Address {
        field: "url",
        why: why.into(),
    };
    let expected = "expected file:///FOLDER for duckdb";
    let url = Url::parse(&endpoint.url).map_err(|_| invalid(&format!("is not a URL; {expected}")))?;
    let path = url
        .to_file_path()
        .map_err(|()| invalid(&format!("names no folder of this machine; {expected}")))?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(invalid(&format!("names {}, which is no folder", path.display())))
    }
}

fn config() -> Result<Config, Error> {
    let config = Config::default().threads(1).and_then(|c| c.max_memory(MEMORY));
    config.during("configure DuckDB")
}

fn aggregate(connection: Connection) -> Result<Connection, Error> {
    let what = "sum a table";
    connection
        .execute_batch("CREATE TABLE t (n BIGINT); INSERT INTO t SELECT * FROM range(1, 101)")
        .during("create and fill a table")?;
    let sum: i64 = connection
        .query_row("SELECT sum(n)::BIGINT FROM t", [], |row| row.get(0))
        .during(what)?;
    if sum == 5050 {
        Ok(connection)
    } else {
        Err(Error::wrong(what, 5050, sum))
    }
}

/// Time zones come with the ICU extension, which not every build of DuckDB carries.
fn time_zones(connection: &Connection) -> Result<(), Error> {
    let what = "truncate a date in a time zone";
    let sql = "SELECT date_trunc('day', TIMESTAMPTZ '2026-01-01 00:30:00+00' AT TIME ZONE 'America/New_York')::VARCHAR";
    let day: String = connection.query_row(sql, [], |row| row.get(0)).during(what)?;
    let expected = "2025-12-31 00:00:00";
    if day == expected {
        Ok(())
    } else {
        Err(Error::wrong(what, expected, day))
    }
}

fn remove(file: &Path) -> Result<(), Error> {
    for path in [file.to_path_buf(), file.with_extension("duckdb.wal")] {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::protocol("remove the file", e));
            }
            _ => {}
        }
    }
    Ok(())
}
