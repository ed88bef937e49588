//! The cache folder: `engines/<implementation>/<version>` with what is installed, `staging` with what is being made.
//!
//! An installation is made in a staging folder and moved into place by one rename, after its manifest is on the disk.
//! So what is in `engines` is whole, whatever was killed when.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Error, Reporter, error::io_error};
use crate::{catalog::Entry, locate::executable};

const MANIFEST: &str = "isa-install.json";
/// How often a waiting install looks whether it is its turn.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);

/// What is known of an installation, in `isa-install.json` in its folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    name: String,
    version: String,
    /// Checksums of what was downloaded or, where it was built here, of what came out.
    sha256: BTreeMap<String, String>,
    installed_at: DateTime<Utc>,
}

/// The folder of an installation, whether it is there or not.
pub(super) fn folder(cache_dir: &Path, entry: &Entry) -> PathBuf {
    cache_dir.join("engines").join(&entry.name).join(&entry.version)
}

/// The folder of an installation, if it is there and whole.
pub fn installed(cache_dir: &Path, entry: &Entry) -> Option<PathBuf> {
    let folder = folder(cache_dir, entry);
    let runs = entry
        .program
        .as_ref()
        .is_none_or(|program| executable(&folder.join(program)));
    (runs && folder.join(MANIFEST).is_file()).then_some(folder)
}

/// The right to install one implementation, for as long as it is held.
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other process installs the same.
    pub(super) async fn take(cache_dir: &Path, entry: &Entry, report: &Reporter<'_>) -> Result<Self, Error> {
        public_dir(cache_dir)?;
        let staging = cache_dir.join("staging");
        public_dir(&staging)?;
        let path = staging.join(format!("{}.lock", entry.name));
        let opened = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path);
        let mut lock = opened.map_err(io_error("open", &path))?;
        let mut told = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if !told => {
                    let mut holder = String::new();
                    let _ = (&lock).take(20).read_to_string(&mut holder);
                    report.message(format!(
                        "waiting for process {holder}, which is installing it too"
                    ));
                    told = true;
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOCK_INTERVAL).await,
                Err(TryLockError::Error(e)) => return Err(io_error("lock", &path)(e)),
            }
        }
        let mut sign = || {
            lock.set_len(0)?;
            lock.rewind()?;
            lock.write_all(std::process::id().to_string().as_bytes())
        };
        sign().map_err(io_error("write", &path))?;
        Ok(Self { _lock: lock })
    }
}

/// Where one installation is made. Gone when it is dropped.
pub(super) struct Staging {
    temp: TempDir,
}

impl Staging {
    /// Only with the turn in hand, which makes what others left here the leftovers of dead processes.
    pub(super) fn new(cache_dir: &Path, entry: &Entry, _turn: &Turn) -> Result<Self, Error> {
        let parent = cache_dir.join("staging").join(&entry.name);
        if parent.exists() {
            fs::remove_dir_all(&parent).map_err(io_error("delete", &parent))?;
        }
        public_dir(&parent)?;
        let temp = TempDir::new_in(&parent).map_err(io_error("make a folder in", &parent))?;
        let staging = Self { temp };
        for dir in [staging.root(), staging.work(), staging.tmp()] {
            fs::create_dir(&dir).map_err(io_error("make the folder", &dir))?;
        }
        Ok(staging)
    }

    /// What becomes the install folder.
    pub(super) fn root(&self) -> PathBuf {
        self.temp.path().join("root")
    }

    /// For downloads and sources.
    pub(super) fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    /// `TMPDIR` of the tools.
    pub(super) fn tmp(&self) -> PathBuf {
        self.temp.path().join("tmp")
    }

    /// Writes the manifest and moves the whole into place.
    pub(super) fn publish(
        &self,
        cache_dir: &Path,
        entry: &Entry,
        sha256: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let root = self.root();
        make_public(&root)?;
        let manifest = Manifest {
            name: entry.name.clone(),
            version: entry.version.clone(),
            sha256,
            installed_at: Utc::now(),
        };
        let path = root.join(MANIFEST);
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        fs::write(&path, text).map_err(io_error("write", &path))?;
        make_public(&path)?;
        // Everything below, not only the manifest: a power cut must not leave a manifest beside empty files.
        let dir = File::open(&root).map_err(io_error("open", &root))?;
        nix::unistd::syncfs(&dir).map_err(|e| io_error("write out", &root)(e.into()))?;

        let target = folder(cache_dir, entry);
        let parent = target.parent().unwrap_or(cache_dir);
        public_dir(&cache_dir.join("engines"))?;
        public_dir(parent)?;
        if target.exists() {
            // Damaged by somebody, or it would have counted as installed.
            let old = self.temp.path().join("old");
            fs::rename(&target, &old).map_err(io_error("move away", &target))?;
        }
        fs::rename(&root, &target).map_err(io_error("move into place", &target))?;
        let parent = File::open(parent).map_err(io_error("open", &target))?;
        parent.sync_all().map_err(io_error("write out", &target))
    }
}

/// Makes a folder that every user may enter, with its parents.
pub(crate) fn public_dir(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(io_error("make the folder", path))?;
    // Root's engines may have to run as another user, whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(io_error("set the mode of", path))
}

/// Lets every user read what is here, and run what its owner can run.
fn make_public(path: &Path) -> Result<(), Error> {
    let meta = fs::symlink_metadata(path).map_err(io_error("read", path))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = if meta.is_dir() || meta.permissions().mode() & 0o100 != 0 {
        0o755
    } else {
        0o644
    };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error("set the mode of", path))?;
    if meta.is_dir() {
        for child in fs::read_dir(path).map_err(io_error("list", path))? {
            make_public(&child.map_err(io_error("list", path))?.path())?;
        }
    }
    Ok(())
}

/// The files directly in a folder.
pub(super) fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for child in fs::read_dir(folder).map_err(io_error("list", folder))? {
        files.push(child.map_err(io_error("list", folder))?.path());
    }
    files.sort();
    Ok(files)
}

/// Checksum of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(io_error("read", path))?;
    Ok(hex::encode(digest.finalize()))
}

/// Compares a downloaded file with its pin; one that differs is removed.
pub(super) fn verify(path: &Path, expected: &str, hint: &'static str) -> Result<(), Error> {
    let got = sha256(path)?;
    if got == expected {
        return Ok(());
    }
    fs::remove_file(path).map_err(io_error("delete", path))?;
    let file = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Err(Error::Checksum {
        file,
        expected: expected.to_owned(),
        got,
        hint,
    })
}
