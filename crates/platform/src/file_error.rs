use std::{
    io,
    path::{Path, PathBuf},
};

/// What could not be done to a file or folder, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot {what} {path}: {source}; {help}, or choose another folder with --set {setting}=…",
    path = path.display(),
    help = help(source)
)]
pub struct FileError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
    /// The key of the configuration that moves the folder.
    setting: &'static str,
}

impl FileError {
    pub(crate) fn new(what: &'static str, path: &Path, setting: &'static str, source: io::Error) -> Self {
        Self {
            what,
            path: path.to_owned(),
            source,
            setting,
        }
    }
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "it belongs to another user: run as that user",
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only: mount it writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the disk is full: free some space",
        _ => "see `isa doctor`",
    }
}
