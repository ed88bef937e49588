use std::collections::HashSet;

use redis::Cmd;

use super::{Error, Key, Store, limits, on, reply};
use crate::redis::names::Space;

/// Digits of a number of 64 bits.
const NUMBER: usize = 20;

impl Store {
    pub(crate) async fn set(&self, space: Space<'_>, key: &str, value: &str) -> Result<(), Error> {
        let key = Key::new(space, key)?;
        limits::value("value", value)?;
        let mut command = on("SET", key, 1, value.len());
        command.arg(value);
        self.tell(key, value.len(), command).await.map(reply::done)
    }

    /// It vanishes after `life` milliseconds.
    pub(crate) async fn set_for(
        &self,
        space: Space<'_>,
        key: &str,
        value: &str,
        life: Option<i64>,
    ) -> Result<(), Error> {
        let key = Key::new(space, key)?;
        limits::value("value", value)?;
        let life = limits::life("expiration", life)?;
        let mut command = on("SET", key, 3, value.len() + NUMBER);
        command.arg(value).arg("PX").arg(life);
        self.tell(key, value.len(), command).await.map(reply::done)
    }

    pub(crate) async fn get(&self, space: Space<'_>, key: &str) -> Result<Option<String>, Error> {
        let key = Key::new(space, key)?;
        let found = self.ask(key, on("GET", key, 0, 0)).await?;
        reply::maybe(found, reply::text)
    }

    /// Those that are there and are strings, with their keys, in the order asked.
    pub(crate) async fn get_multiple(
        &self,
        space: Space<'_>,
        mut names: Vec<String>,
    ) -> Result<Vec<(String, String)>, Error> {
        limits::names("keys", &names)?;
        let again: Vec<bool> = {
            let mut seen = HashSet::with_capacity(names.len());
            names.iter().map(|name| !seen.insert(name.as_str())).collect()
        };
        let mut again = again.into_iter();
        names.retain(|_| again.next() != Some(true));
        self.strings_fit(space, &names).await?;
        let mut command = Cmd::with_capacity(1 + names.len(), 0);
        command.arg("MGET");
        for name in &names {
            command.arg(space.key(name));
        }
        let values = reply::list(self.large.command(space, command).await?)?;
        let found = names.into_iter().zip(values).filter_map(|(name, value)| {
            let value = reply::maybe(value, reply::text).transpose()?;
            Some(value.map(|value| (name, value)))
        });
        found.collect()
    }

    pub(crate) async fn increment(&self, space: Space<'_>, key: &str, delta: i64) -> Result<i64, Error> {
        let key = Key::new(space, key)?;
        let mut command = on("INCRBY", key, 1, NUMBER);
        command.arg(delta);
        reply::int(self.ask(key, command).await?)
    }

    pub(crate) async fn decrement(&self, space: Space<'_>, key: &str, delta: i64) -> Result<i64, Error> {
        let key = Key::new(space, key)?;
        let mut command = on("DECRBY", key, 1, NUMBER);
        command.arg(delta);
        reply::int(self.ask(key, command).await?)
    }

    /// Length in bytes after it.
    pub(crate) async fn append(&self, space: Space<'_>, key: &str, value: &str) -> Result<i64, Error> {
        let key = Key::new(space, key)?;
        limits::value("value", value)?;
        let mut command = on("APPEND", key, 1, value.len());
        command.arg(value);
        reply::int(self.tell(key, value.len(), command).await?)
    }
}
