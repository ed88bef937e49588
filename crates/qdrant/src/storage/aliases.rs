//! Other names for collections, in one file that is replaced whole: every change is there after a crash, or none of
//! it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use parking_lot::RwLock;

use super::disk;
use crate::{Error, service::Failure};

const ALIASES_FILE: &str = "aliases.json";

/// Most aliases in one storage: the file is written whole at every change.
const MAX_ALIASES: usize = 10_000;

/// Alias to collection.
pub(crate) type AliasMap = BTreeMap<String, String>;

pub(super) struct Aliases {
    path: PathBuf,
    map: RwLock<AliasMap>,
}

impl Aliases {
    /// Drops those of collections that are gone: a crash may have come between.
    pub(super) fn open(root: &Path, exists: impl Fn(&str) -> bool) -> Result<Self, Error> {
        let path = root.join(ALIASES_FILE);
        let mut map: AliasMap = match fs::read(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| Error::Damaged {
                path: path.clone(),
                reason: e.to_string(),
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => AliasMap::new(),
            Err(source) => {
                return Err(Error::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        map.retain(|_, collection| exists(collection));
        Ok(Self {
            path,
            map: RwLock::new(map),
        })
    }

    pub(super) fn resolve(&self, alias: &str) -> Option<String> {
        self.map.read().get(alias).cloned()
    }

    pub(super) fn all(&self) -> AliasMap {
        self.map.read().clone()
    }

    /// Makes all of a change or nothing of it, durably. The caller keeps other changes out.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut AliasMap) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let before = self.all();
        let mut map = before.clone();
        change(&mut map)?;
        if map == before {
            return Ok(());
        }
        if map.len() > MAX_ALIASES {
            return Err(Failure::Invalid(format!(
                "actions: there would be {} aliases; at most {MAX_ALIASES} are allowed",
                map.len()
            )));
        }
        let written = serde_json::to_vec_pretty(&map)
            .map_err(io::Error::from)
            .and_then(|json| disk::write_atomically(&self.path, &json));
        written.map_err(|e| Failure::io("write", &self.path, &e))?;
        *self.map.write() = map;
        Ok(())
    }
}
