use redis::Cmd;

use super::{Error, Key, Part, Store, bytes_of, limits, on, reply};
use crate::redis::names::Space;

/// How sets are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Together {
    Union,
    Intersection,
    Difference,
}

impl Store {
    /// How many were new.
    pub(crate) async fn set_add(
        &self,
        space: Space<'_>,
        key: &str,
        members: &[String],
    ) -> Result<i32, Error> {
        self.set_change(space, "SADD", key, members).await
    }

    /// How many were there.
    pub(crate) async fn set_remove(
        &self,
        space: Space<'_>,
        key: &str,
        members: &[String],
    ) -> Result<i32, Error> {
        self.set_change(space, "SREM", key, members).await
    }

    async fn set_change(
        &self,
        space: Space<'_>,
        change: &'static str,
        key: &str,
        members: &[String],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("members", members.iter().map(String::as_str))?;
        let bytes = bytes_of(members);
        let mut command = on(change, key, members.len(), bytes);
        command.arg(members);
        reply::count(self.tell(key, bytes, command).await?)
    }

    pub(crate) async fn set_members(&self, space: Space<'_>, key: &str) -> Result<Vec<String>, Error> {
        let key = Key::new(space, key)?;
        reply::texts(self.read(key, Part::All, on("SMEMBERS", key, 0, 0)).await?)
    }

    pub(crate) async fn set_has(&self, space: Space<'_>, key: &str, member: &str) -> Result<bool, Error> {
        let key = Key::new(space, key)?;
        limits::value("member", member)?;
        let mut command = on("SISMEMBER", key, 1, member.len());
        command.arg(member);
        reply::flag(self.tell(key, member.len(), command).await?)
    }

    pub(crate) async fn set_count(&self, space: Space<'_>, key: &str) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        reply::count(self.ask(key, on("SCARD", key, 0, 0)).await?)
    }

    pub(crate) async fn sets(
        &self,
        space: Space<'_>,
        how: Together,
        keys: &[String],
    ) -> Result<Vec<String>, Error> {
        let keys = Key::all(space, "keys", keys)?;
        let names: Vec<_> = keys.iter().map(|key| key.name).collect();
        self.fits(space, &names, Part::All).await?;
        let mut command = Cmd::with_capacity(1 + keys.len(), 0);
        command.arg(match how {
            Together::Union => "SUNION",
            Together::Intersection => "SINTER",
            Together::Difference => "SDIFF",
        });
        command.arg(&names);
        reply::texts(self.ask_all(&keys, space, command).await?)
    }
}
