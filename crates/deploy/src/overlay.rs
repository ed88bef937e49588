//! Which overlay is meant, and what its `kustomization.yaml` says of secrets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::Error;

/// Where the overlays are, from the root of the project.
const OVERLAYS: &str = "deployments/kubernetes/overlays";
/// The names that Kustomize takes, in its own order.
const KUSTOMIZATION: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A folder that `kubectl kustomize` renders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlay {
    /// What the user called it.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
}

/// The parts of a kustomization that say where Secrets come from.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Kustomization {
    pub(crate) resources: Vec<PathBuf>,
    pub(crate) secret_generator: Vec<SecretGenerator>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SecretGenerator {
    pub(crate) name: String,
    pub(crate) literals: Vec<String>,
    pub(crate) envs: Vec<PathBuf>,
}

impl Overlay {
    /// Finds an overlay by its name, in this folder's project or that of a folder above, or by its path.
    pub fn find(name: &str, here: &Path) -> Result<Self, Error> {
        let overlay = |path: PathBuf| Self {
            name: name.to_owned(),
            path,
        };
        let is_path = name.contains('/') || name.starts_with('.');
        if is_path {
            let path = here.join(name);
            return if kustomization(&path).is_some() {
                Ok(overlay(path))
            } else {
                Err(Error::NotAnOverlay(path))
            };
        }
        let roots: Vec<_> = here.ancestors().map(|folder| folder.join(OVERLAYS)).collect();
        let named = roots.iter().map(|root| root.join(name));
        if let Some(path) = named
            .chain([here.join(name)])
            .find(|p| kustomization(p).is_some())
        {
            return Ok(overlay(path));
        }
        Err(Error::NoOverlay {
            name: name.to_owned(),
            known: roots.iter().find(|root| root.is_dir()).map(|root| overlays(root)),
        })
    }

    /// The folder that holds `base`, `components` and `overlays`, where the overlay lies in one.
    pub(crate) fn tree(&self) -> Option<PathBuf> {
        let path = self.path.canonicalize().ok()?;
        let tree = path.parent()?.parent()?;
        tree.join("base").is_dir().then(|| tree.to_owned())
    }

    pub(crate) fn kustomization(&self) -> Result<Kustomization, Error> {
        let path = kustomization(&self.path).ok_or_else(|| Error::NotAnOverlay(self.path.clone()))?;
        let text = fs::read_to_string(&path).map_err(|e| Error::read(&path, e))?;
        serde_yaml_ng::from_str(&text).map_err(|source| Error::Yaml {
            what: path.display().to_string(),
            source,
        })
    }
}

/// The file that makes a folder one that Kustomize renders.
fn kustomization(folder: &Path) -> Option<PathBuf> {
    KUSTOMIZATION
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

fn overlays(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter(|entry| kustomization(&entry.path()).is_some())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_are_found_from_below_by_name_and_by_path() {
        let root = tempfile::tempdir().unwrap();
        let staging = root.path().join(OVERLAYS).join("staging");
        let below = root.path().join("crates/deep");
        fs::create_dir_all(&staging).unwrap();
        fs::create_dir_all(&below).unwrap();
        fs::write(staging.join("kustomization.yaml"), "resources: []\n").unwrap();

        assert_eq!(Overlay::find("staging", &below).unwrap().path, staging);
        let by_path = Overlay::find("../../deployments/kubernetes/overlays/staging", &below).unwrap();
        assert_eq!(
            by_path.path.canonicalize().unwrap(),
            staging.canonicalize().unwrap()
        );
        let error = Overlay::find("stagin", &below).unwrap_err().to_string();
        assert!(
            error.contains("stagin") && error.contains("the overlays are staging"),
            "{error}"
        );
        let error = Overlay::find("./x", &below).unwrap_err().to_string();
        assert!(error.contains("kustomization.yaml"), "{error}");
    }
}
