//! Which databases a tenant has. With NATS all replicas share one list; without it, it is a file beside the databases.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{
    error::Error,
    limits::DATABASES,
    nats::{Bucket, Change},
    settings::Settings,
};
use crate::duckdb::names;

/// The list's file in the tenant's folder.
const FILE: &str = "databases.json";

/// How often a change is tried that others come before.
const TRIES: u32 = 20;

/// What is known of a database without opening it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::duckdb) struct Meta {
    pub(in crate::duckdb) id: String,
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) user: String,
    pub(in crate::duckdb) organization: String,
    /// The tenant's bucket for copies, as it names it; empty for the service's own.
    pub(in crate::duckdb) bucket: String,
    /// Microseconds since 1970, as `accessed`.
    pub(in crate::duckdb) created: i64,
    pub(in crate::duckdb) accessed: i64,
    pub(in crate::duckdb) notes: BTreeMap<String, String>,
    pub(in crate::duckdb) settings: Settings,
    /// Grows each time a replica begins to hold the database: whose file has the newest is the newest.
    pub(in crate::duckdb) epoch: u64,
    /// The replica that held it last gave it back, with a copy of all.
    pub(in crate::duckdb) closed: bool,
    pub(in crate::duckdb) copy: Option<CopyNote>,
    /// As they were when the database was last copied or closed.
    pub(in crate::duckdb) tables: u64,
    pub(in crate::duckdb) bytes: u64,
}

/// A copy in object storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::duckdb) struct CopyNote {
    pub(in crate::duckdb) key: String,
    pub(in crate::duckdb) bytes: u64,
    /// By which a copy is known that somebody changed.
    pub(in crate::duckdb) sha256: String,
    /// Counts the copies.
    pub(in crate::duckdb) number: u64,
    /// In which it was made.
    pub(in crate::duckdb) epoch: u64,
}

pub(super) enum Registry {
    Local(Local),
    Shared(Box<Bucket>),
}

impl Registry {
    /// All databases of a tenant.
    pub(super) async fn list(&self, slug: &str) -> Result<Arc<Vec<Meta>>, Error> {
        match self {
            Self::Local(local) => local.list(slug).await,
            Self::Shared(bucket) => Ok(Arc::new(shared(bucket, slug).await?.0)),
        }
    }

    /// The database with this id or name.
    pub(super) async fn find(&self, slug: &str, given: &str) -> Result<Meta, Error> {
        let all = self.list(slug).await?;
        let by_id = all.iter().find(|meta| meta.id == given);
        by_id
            .or_else(|| all.iter().find(|meta| meta.name == given))
            .cloned()
            .ok_or_else(|| Error::Missing(format!("database {given:?}")))
    }

    pub(super) async fn add(&self, slug: &str, meta: Meta) -> Result<(), Error> {
        self.change(slug, move |all| {
            if all.iter().any(|other| other.name == meta.name) {
                return Err(Error::Exists(format!("database {:?}", meta.name)));
            }
            if all.len() >= DATABASES {
                return Err(Error::Quota {
                    what: "the tenant has all the databases that it may have",
                    limit: DATABASES,
                });
            }
            all.push(meta.clone());
            all.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(())
        })
        .await
    }

    pub(super) async fn remove(&self, slug: &str, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.change(slug, move |all| {
            all.retain(|meta| meta.id != id);
            Ok(())
        })
        .await
    }

    /// Changes what is known of a database; it may be gone.
    pub(super) async fn update<T: Send>(
        &self,
        slug: &str,
        id: &str,
        mut change: impl FnMut(&mut Meta) -> T + Send,
    ) -> Result<T, Error> {
        let id = id.to_owned();
        self.change(slug, move |all| match all.iter_mut().find(|meta| meta.id == id) {
            Some(meta) => Ok(change(meta)),
            None => Err(Error::Missing("the database".into())),
        })
        .await
    }

    async fn change<T: Send>(
        &self,
        slug: &str,
        mut change: impl FnMut(&mut Vec<Meta>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let bucket = match self {
            Self::Local(local) => return local.change(slug, change).await,
            Self::Shared(bucket) => bucket,
        };
        for _ in 0..TRIES {
            let (mut all, revision) = shared(bucket, slug).await?;
            let result = change(&mut all)?;
            let text = serde_json::to_vec(&all).map_err(Error::internal)?;
            match bucket.put(&names::registry(slug), text, revision).await? {
                Change::Made(_) => return Ok(result),
                Change::Overtaken => {}
            }
        }
        Err(Error::Conflict(
            "others change the tenant's databases all the time; try again".into(),
        ))
    }
}

async fn shared(bucket: &Bucket, slug: &str) -> Result<(Vec<Meta>, u64), Error> {
    match bucket.get(&names::registry(slug)).await? {
        Some((text, revision)) => Ok((serde_json::from_slice(&text).map_err(Error::internal)?, revision)),
        None => Ok((Vec::new(), 0)),
    }
}

/// Of a process that is alone.
pub(super) struct Local {
    root: PathBuf,
    known: Mutex<HashMap<String, Arc<Vec<Meta>>>>,
    turn: tokio::sync::Mutex<()>,
}

impl Local {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    async fn list(&self, slug: &str) -> Result<Arc<Vec<Meta>>, Error> {
        if let Some(known) = self.known.lock().get(slug) {
            return Ok(Arc::clone(known));
        }
        let file = self.root.join(slug).join(FILE);
        let all = spawn_blocking(move || read(&file))
            .await
            .map_err(Error::internal)??;
        let all = Arc::new(all);
        // Tenants that have none are not kept in mind: there may be any number of them.
        if !all.is_empty() {
            let mut known = self.known.lock();
            return Ok(Arc::clone(known.entry(slug.to_owned()).or_insert(all)));
        }
        Ok(all)
    }

    async fn change<T: Send>(
        &self,
        slug: &str,
        mut change: impl FnMut(&mut Vec<Meta>) -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let _turn = self.turn.lock().await;
        let mut all = self.list(slug).await?.as_ref().clone();
        let result = change(&mut all)?;
        let folder = self.root.join(slug);
        let text = serde_json::to_vec_pretty(&all).map_err(Error::internal)?;
        // Written to its end also if the call that asked for it is given up.
        spawn_blocking(move || write(&folder, &text))
            .await
            .map_err(Error::internal)??;
        self.known.lock().insert(slug.to_owned(), Arc::new(all));
        Ok(result)
    }
}

fn read(file: &Path) -> Result<Vec<Meta>, Error> {
    match fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(Error::internal),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Whole or not at all, and synced.
fn write(folder: &Path, text: &[u8]) -> Result<(), Error> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{FILE}.new"));
    let mut file = fs::File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, folder.join(FILE))?;
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_outlives_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::Local(Local::new(folder.path().into()));
        let meta = |id: &str, name: &str| Meta {
            id: id.into(),
            name: name.into(),
            ..Meta::default()
        };
        registry.add("s", meta("2", "b")).await.unwrap();
        registry.add("s", meta("1", "a")).await.unwrap();
        assert!(matches!(
            registry.add("s", meta("3", "a")).await,
            Err(Error::Exists(_))
        ));
        registry.update("s", "1", |meta| meta.tables = 7).await.unwrap();
        let again = Registry::Local(Local::new(folder.path().into()));
        let names: Vec<_> = again
            .list("s")
            .await
            .unwrap()
            .iter()
            .map(|meta| meta.name.clone())
            .collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(again.find("s", "a").await.unwrap().tables, 7);
        assert_eq!(again.find("s", "2").await.unwrap().name, "b");
        assert!(matches!(again.find("t", "a").await, Err(Error::Missing(_))));
        again.remove("s", "1").await.unwrap();
        assert!(again.find("s", "a").await.is_err());
    }
}
