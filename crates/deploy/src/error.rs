use std::{
    io,
    path::{Path, PathBuf},
};

/// Why something could not be done. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no overlay {name:?}; {}", known_overlays(.known.as_deref()))]
    NoOverlay {
        name: String,
        /// Those of the project around the working folder, if it is in one.
        known: Option<Vec<String>>,
    },
    #[error("{0} is not an overlay: it has no kustomization.yaml; name a folder that has one")]
    NotAnOverlay(PathBuf),
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{what} is not the YAML that was expected")]
    Yaml {
        what: String,
        source: serde_yaml_ng::Error,
    },

    #[error(
        "the overlay generates a Secret {0:?}, which isa does not know; its values must come from somewhere else"
    )]
    UnknownSecret(String),
    #[error(
        "the overlay reads a Secret from {0}; isa keeps such files in the overlay's folder `secrets`, name it there"
    )]
    SecretElsewhere(PathBuf),
    #[error("the overlay has no Secret {name:?} to rotate; its Secrets are {known}")]
    NothingToRotate { name: String, known: String },
    #[error("nothing was written: git would add {0}; list its folder in .gitignore first")]
    GitWouldAdd(PathBuf),
    #[error(
        "nothing was written: git tracks {0}; `git rm --cached` it first, and rotate the values that it held"
    )]
    GitTracks(PathBuf),
    #[error(
        "cannot find out whether git ignores {0}, so nothing is written there; does `git status` work in this folder?"
    )]
    GitCannotTell(PathBuf),
}

impl Error {
    pub(crate) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }
}

fn known_overlays(known: Option<&[String]>) -> String {
    match known {
        None => "no folder from here upwards has deployments/kubernetes/overlays: go into the project, or give a path".into(),
        Some([]) => "deployments/kubernetes/overlays is empty".into(),
        Some(names) => format!("the overlays are {}", names.join(", ")),
    }
}
