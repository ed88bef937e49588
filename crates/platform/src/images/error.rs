use std::{
    io,
    path::{Path, PathBuf},
};

use crate::file_error::FileError;

/// Why an image could not be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no image of {name:?}; there are {known}")]
    Unknown { name: String, known: String },
    #[error("{0}")]
    Elsewhere(String),
    #[error(
        "the image of {service} needs {missing}, not installed in isa's cache; install with `isa engines install {missing}`"
    )]
    NotInstalled { service: String, missing: String },
    #[error(
        "packed images are for Linux on x86_64, and this is {0}; build them with a container tool: isa images build --with docker"
    )]
    Machine(String),
    #[error(
        "{path} is not on this machine, and the image of {service} has it; {hint}, or build the image with a container tool: isa images build {service} --with docker",
        path = path.display()
    )]
    Absent {
        service: String,
        path: PathBuf,
        hint: &'static str,
    },
    #[error("{program} needs {library}, which this machine does not have; install the package that has it", program = program.display())]
    Library { program: PathBuf, library: String },
    #[error("the image of {service} is not made yet; make it with `isa images build {service}`")]
    NotBuilt { service: String },
    #[error(transparent)]
    File(#[from] FileError),
    /// A container tool failed, or the cache folder cannot be made.
    #[error(transparent)]
    Tool(#[from] crate::install::Error),
}

/// For `map_err`: a failure of the file system at `path`.
pub(super) fn io_error<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> Error + 'a {
    move |source| FileError::new(what, path, "cache_dir", source).into()
}
