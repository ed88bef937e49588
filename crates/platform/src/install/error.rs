use std::{
    io,
    path::{Path, PathBuf},
};

use crate::file_error::FileError;

/// Why something could not be installed. Nothing half-installed stays behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("nothing is called {name:?}; there are {known}")]
    Unknown { name: String, known: String },
    #[error("{name} is in none of the registries; {how}")]
    Elsewhere { name: String, how: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "only {free_mb} MiB are free at {path}, and installing {name} takes {needed_mb} MiB; free some, or choose another folder with --set cache_dir=…",
        path = path.display()
    )]
    DiskFull {
        name: String,
        path: PathBuf,
        free_mb: u64,
        needed_mb: u64,
    },
    #[error("{tool} is missing, which is needed to {doing}; {how}")]
    ToolMissing {
        tool: &'static str,
        doing: String,
        how: String,
    },
    #[error("{tool} {outcome} while it was to {doing}; {hint}; its last words:\n{output}")]
    Tool {
        tool: &'static str,
        doing: String,
        outcome: String,
        hint: String,
        /// The last lines that it printed, indented.
        output: String,
    },
    #[error(
        "{file} does not have the pinned checksum: expected sha256 {expected}, got {got}; it was removed, try again{hint}"
    )]
    Checksum {
        file: String,
        expected: String,
        got: String,
        hint: &'static str,
    },
    #[error("{file}: {why}")]
    Archive { file: String, why: String },
    #[error("the installed {program} does not run here: {output}; {hint}")]
    Broken {
        program: String,
        output: String,
        hint: String,
    },
    #[error("there is no pinned {name} for this machine ({machine}); {how}")]
    Machine {
        name: String,
        machine: String,
        how: String,
    },
}

/// For `map_err`: a failure of the file system at `path`.
pub(super) fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| FileError::new(what, path, "cache_dir", source).into()
}
