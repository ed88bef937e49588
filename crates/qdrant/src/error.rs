use std::{io, path::PathBuf};

/// Why the vector engine cannot run. The message names the path or the protocol, and the way out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{} is in use by another vector engine: stop that one, or configure another storage folder", path.display())]
    Locked { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is damaged ({reason}): restore it, or move its folder away to start without that collection", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot serve {protocol}")]
    Serve {
        protocol: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the storage could not be opened: {0}")]
    Panicked(String),
}
