//! Container images of the services: packed from the engines in isa's cache, or built by a container tool.
//!
//! Packing needs no container tool. A packed image has the programs that `isa up` runs too, the libraries that this
//! machine's loader finds for them, and little else. Either way the result is one archive for each service in the cache, which
//! every container tool can load.

mod archive;
mod definition;
mod error;
mod libraries;
mod tool;
mod tree;

#[cfg(test)]
mod tests;

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

pub use definition::{Definition, definitions, named};
pub use error::Error;
use error::io_error;
pub use tool::{Builder, Loader};
use tree::{Content, Inputs, Node, Tree};

use crate::{
    install::{EventKind, Report, Reporter, Unit, public_dir},
    locate::on_path,
    versions,
};

const STRIP_LIMIT: Duration = Duration::from_secs(120);
/// The name of this program where definitions name what they are made of.
const ISA: &str = "isa";

/// An image that is there as an archive.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    pub reference: String,
    /// Digest of its configuration, the name that container tools have for it.
    pub id: String,
    /// Size of the archive.
    pub bytes: u64,
    /// `isa` packed it, or the container tool that built it.
    pub by: String,
    inputs: Option<Inputs>,
}

/// What is known of a service's image.
#[derive(Debug)]
pub enum Status {
    /// Nothing was made yet.
    Missing,
    /// What it was made of has changed since.
    Outdated(Built),
    Current(Built),
}

/// The archive of a service's image, whether it is there or not.
pub fn archive(cache_dir: &Path, definition: &Definition) -> PathBuf {
    cache_dir
        .join("images")
        .join(format!("{}.tar", definition.service))
}

/// Looks at the archive of a service and at what it was made of; a few `stat` calls.
pub fn status(cache_dir: &Path, definition: &Definition) -> Status {
    let archive = archive(cache_dir, definition);
    let built = fs::read(record(&archive))
        .ok()
        .and_then(|text| serde_json::from_slice::<Built>(&text).ok());
    let Some(built) = built else {
        return Status::Missing;
    };
    match fs::metadata(&archive) {
        // Killed between the archive and its record, or changed by somebody.
        Ok(meta) if meta.len() != built.bytes => Status::Outdated(built),
        Ok(_) => match &built.inputs {
            Some(inputs) if !inputs.unchanged(definition, cache_dir) => Status::Outdated(built),
            _ => Status::Current(built),
        },
        Err(_) => Status::Missing,
    }
}

fn record(archive: &Path) -> PathBuf {
    archive.with_extension("json")
}

/// Packs the images whose inputs have changed, and returns those that failed.
pub async fn pack(
    cache_dir: &Path,
    images: &[&'static Definition],
    report: Report<'_>,
) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    for definition in images {
        let reporter = Reporter::new(&definition.service, report);
        let started = Instant::now();
        // A container tool's image is not what was asked for.
        let present =
            matches!(status(cache_dir, definition), Status::Current(built) if built.inputs.is_some());
        if present {
            reporter.send(EventKind::Present);
            continue;
        }
        let packed = tokio::task::block_in_place(|| pack_one(cache_dir, definition, &reporter));
        finish(definition, packed, started, &reporter, &mut failed);
        // Whoever waits for Ctrl-C beside this has a turn.
        tokio::task::yield_now().await;
    }
    failed
}

/// Builds the images from upstream's by a container tool, and keeps them as archives like the packed ones. Returns those that
/// failed.
pub async fn build_with(
    builder: Builder,
    sources: &Path,
    cache_dir: &Path,
    images: &[&'static Definition],
    report: Report<'_>,
) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    for definition in images {
        let reporter = Reporter::new(&definition.service, report);
        let started = Instant::now();
        let built = async {
            let out = NamedTempFile::new_in(images_dir(cache_dir)?)
                .map_err(io_error("make a file in", cache_dir))?;
            let id = builder.build(definition, sources, out.path(), &reporter).await?;
            publish(
                definition,
                &archive(cache_dir, definition),
                out,
                id,
                builder.name(),
                None,
            )
        };
        let outcome = built.await;
        finish(definition, outcome, started, &reporter, &mut failed);
    }
    failed
}

/// Loads the archives into a container tool, and returns those that failed.
pub async fn load(
    loader: &Loader,
    cache_dir: &Path,
    images: &[&'static Definition],
    report: Report<'_>,
) -> Vec<(String, Error)> {
    let mut failed = Vec::new();
    for definition in images {
        let reporter = Reporter::new(&definition.service, report);
        let started = Instant::now();
        let outcome = match status(cache_dir, definition) {
            Status::Missing => Err(Error::NotBuilt {
                service: definition.service.clone(),
            }),
            Status::Outdated(built) | Status::Current(built) => {
                loader
                    .load(&built.reference, &archive(cache_dir, definition), &reporter)
                    .await
            }
        };
        finish(definition, outcome, started, &reporter, &mut failed);
    }
    failed
}

fn finish(
    definition: &Definition,
    outcome: Result<(), Error>,
    started: Instant,
    reporter: &Reporter<'_>,
    failed: &mut Vec<(String, Error)>,
) {
    match outcome {
        Ok(()) => reporter.send(EventKind::Done {
            seconds: started.elapsed().as_secs_f64(),
        }),
        Err(error) => {
            reporter.send(EventKind::Failed(error.to_string()));
            failed.push((definition.service.clone(), error));
        }
    }
}

fn pack_one(cache_dir: &Path, definition: &Definition, reporter: &Reporter<'_>) -> Result<(), Error> {
    if let Some(why) = &definition.elsewhere {
        return Err(Error::Elsewhere(why.clone()));
    }
    use std::env::consts::{ARCH, OS};
    if (OS, ARCH) != ("linux", "x86_64") {
        return Err(Error::Machine(format!("{OS} on {ARCH}")));
    }
    reporter.message("finding its files");
    let mut tree = Tree::of(definition, cache_dir)?;
    let inputs = tree.inputs(definition);
    let path = archive(cache_dir, definition);
    let folder = images_dir(cache_dir)?;
    let _stripped = strip_isa(&mut tree, &folder)?;
    reporter.message("packing");
    reporter.started(Some(tree.bytes()), Unit::Bytes);
    let mut out = NamedTempFile::new_in(&folder).map_err(io_error("make a file in", &folder))?;
    let temporary = out.path().to_owned();
    let id = archive::write(definition, &tree, &temporary, out.as_file_mut(), &mut |done| {
        reporter.advanced(done)
    })?;
    publish(definition, &path, out, id, ISA, Some(inputs))
}

fn images_dir(cache_dir: &Path) -> Result<PathBuf, Error> {
    let folder = cache_dir.join("images");
    public_dir(cache_dir)?;
    public_dir(&folder)?;
    Ok(folder)
}

/// Moves a finished archive into place and writes down what it is.
fn publish(
    definition: &Definition,
    path: &Path,
    archive: NamedTempFile,
    id: String,
    by: &str,
    inputs: Option<Inputs>,
) -> Result<(), Error> {
    let built = Built {
        reference: definition.reference(),
        id,
        bytes: archive
            .as_file()
            .metadata()
            .map_err(io_error("read", archive.path()))?
            .len(),
        by: by.to_owned(),
        inputs,
    };
    // Without its record an archive counts as missing: first the old record goes, then the archive comes, then the new one.
    let record = record(path);
    match fs::remove_file(&record) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error("delete", &record)(error)),
        _ => {}
    }
    persist(archive, path)?;
    let text = serde_json::to_string_pretty(&built).unwrap_or_default();
    let folder = path.parent().unwrap_or(path);
    let mut new = NamedTempFile::new_in(folder).map_err(io_error("make a file in", folder))?;
    std::io::Write::write_all(&mut new, text.as_bytes()).map_err(io_error("write", &record))?;
    persist(new, &record)
}

/// Moves a file into place, for every user to read.
fn persist(file: NamedTempFile, path: &Path) -> Result<(), Error> {
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))
        .map_err(io_error("set the mode of", file.path()))?;
    file.persist(path)
        .map_err(|e| io_error("move into place", path)(e.error))?;
    Ok(())
}

/// Line tables are most of a development build. Where `strip` is not at hand, they stay.
fn strip_isa(tree: &mut Tree, folder: &Path) -> Result<Option<NamedTempFile>, Error> {
    let isa = std::env::current_exe().map_err(io_error("find", Path::new(ISA)))?;
    let found = tree
        .nodes
        .values_mut()
        .find(|node| matches!(node, Node::File { source: Content::At(path), .. } if *path == isa));
    let (Some(Node::File { source, .. }), Some(strip)) = (found, on_path("strip")) else {
        return Ok(None);
    };
    let stripped = NamedTempFile::new_in(folder).map_err(io_error("make a file in", folder))?;
    let target = stripped.path().display().to_string();
    let args = [
        "--strip-debug".into(),
        "-o".into(),
        target,
        isa.display().to_string(),
    ];
    versions::output(&strip, &args, &[], STRIP_LIMIT);
    // It fails by leaving nothing.
    if !fs::metadata(stripped.path()).is_ok_and(|meta| meta.len() > 0) {
        return Ok(None);
    }
    *source = Content::At(stripped.path().to_owned());
    Ok(Some(stripped))
}
