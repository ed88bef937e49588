use std::{collections::HashSet, time::Duration};

use redis::{Cmd, Value};

use super::{Error, Key, Store, answer, limits, on, reply};
use crate::redis::names::{Space, own};

/// Keys that Redis looks at in one step of a SCAN: a fraction of a millisecond.
pub(super) const STEP: usize = 1000;

/// Most keys that a listing gives, and how many if it is not said.
const LISTED: (usize, usize) = (10_000, 100);

/// Longest pattern: that of keys.
const PATTERN_BYTES: usize = 8192;

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Other,
}

/// What is known of a key without reading it.
#[derive(Debug)]
pub(crate) struct KeyInfo {
    pub(crate) kind: Kind,
    /// As Redis says it: -1 if it does not end.
    pub(crate) life_seconds: i64,
    pub(crate) bytes: i64,
    /// How long ago it was last used. Not known where Redis counts uses instead.
    pub(crate) idle: Option<Duration>,
}

impl Kind {
    /// `None` if there is no key.
    pub(super) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "none" => return None,
            "string" => Self::String,
            "hash" => Self::Hash,
            "list" => Self::List,
            "set" => Self::Set,
            "zset" => Self::SortedSet,
            _ => Self::Other,
        })
    }
}

impl Store {
    /// How many were there.
    pub(crate) async fn delete(&self, space: Space<'_>, key: &str) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        // Frees memory in the background, however large the value is.
        reply::count(self.ask(key, on("UNLINK", key, 0, 0)).await?)
    }

    pub(crate) async fn delete_multiple(&self, space: Space<'_>, keys: &[String]) -> Result<i32, Error> {
        limits::names("keys", keys)?;
        let mut command = Cmd::with_capacity(1 + keys.len(), 0);
        command.arg("UNLINK");
        for key in keys {
            command.arg(space.key(key));
        }
        reply::count(self.large.command(space, command).await?)
    }

    pub(crate) async fn exists(&self, space: Space<'_>, key: &str) -> Result<bool, Error> {
        let key = Key::new(space, key)?;
        reply::flag(self.ask(key, on("EXISTS", key, 0, 0)).await?)
    }

    /// Whether there was a key. `life` is in milliseconds.
    pub(crate) async fn expire(&self, space: Space<'_>, key: &str, life: Option<i64>) -> Result<bool, Error> {
        let key = Key::new(space, key)?;
        let life = limits::life_or_end("expiration", life)?;
        let mut command = on("PEXPIRE", key, 1, 20);
        command.arg(life);
        reply::flag(self.ask(key, command).await?)
    }

    /// Seconds, rounded up; -1 and -2 as Redis means them.
    pub(crate) async fn life(&self, space: Space<'_>, key: &str) -> Result<i64, Error> {
        let key = Key::new(space, key)?;
        let left = reply::int(self.ask(key, on("PTTL", key, 0, 0)).await?)?;
        Ok(seconds(left))
    }

    pub(crate) async fn rename(&self, space: Space<'_>, old: &str, new: &str) -> Result<(), Error> {
        let from = Key::of_field(space, "old_key", old)?;
        let to = Key::of_field(space, "new_key", new)?;
        let mut command = on("RENAME", from, 1, to.name.len());
        command.arg(to.name);
        self.ask(from, command).await.map(reply::done)
    }

    /// Keys of the tenant that match, each once, at most `limit`.
    pub(crate) async fn list(
        &self,
        space: Space<'_>,
        pattern: &str,
        limit: i32,
    ) -> Result<Vec<String>, Error> {
        let limit = match usize::try_from(limit) {
            Ok(0) => LISTED.1,
            Ok(limit) if limit <= LISTED.0 => limit,
            Ok(limit) => {
                return Err(Error::invalid(
                    "limit",
                    format!("is {limit}, and may be {}", LISTED.0),
                ));
            }
            Err(_) => return Err(Error::invalid("limit", "is negative")),
        };
        let pattern = match pattern {
            "" => "*",
            pattern if pattern.len() > PATTERN_BYTES => {
                return Err(Error::invalid(
                    "pattern",
                    format!("has {} bytes, and may have {PATTERN_BYTES}", pattern.len()),
                ));
            }
            pattern => pattern,
        };
        let mut found = HashSet::new();
        let mut cursor = String::from("0");
        loop {
            let (next, keys) = self.scan(space, pattern, &cursor).await?;
            for key in keys {
                if found.len() < limit
                    && let Some(key) = own(&key)
                    && !found.contains(key)
                {
                    found.insert(key.to_owned());
                }
            }
            if next == "0" || found.len() >= limit {
                return Ok(found.into_iter().collect());
            }
            cursor = next;
        }
    }

    /// One step of a listing: where to go on, and full names. Names that are not UTF-8 cannot be told and are left out.
    pub(super) async fn scan(
        &self,
        space: Space<'_>,
        pattern: &str,
        cursor: &str,
    ) -> Result<(String, Vec<String>), Error> {
        let mut command = Cmd::new();
        command
            .arg("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(space.key(pattern));
        command.arg("COUNT").arg(STEP);
        let mut step = reply::list(self.large.command(space, command).await?)?.into_iter();
        let (Some(next), Some(keys)) = (step.next(), step.next()) else {
            return Err(Error::shape(&Value::Nil));
        };
        let keys = reply::list(keys)?
            .into_iter()
            .filter_map(|key| reply::text(key).ok());
        Ok((reply::text(next)?, keys.collect()))
    }

    pub(crate) async fn key_info(&self, space: Space<'_>, key: &str) -> Result<Option<KeyInfo>, Error> {
        let key = Key::new(space, key)?;
        let mut commands = redis::pipe();
        // The idle time first, though the others do not count as uses.
        commands.cmd("OBJECT").arg("IDLETIME").arg(key.name);
        commands.cmd("TYPE").arg(key.name);
        commands.cmd("PTTL").arg(key.name);
        commands.cmd("MEMORY").arg("USAGE").arg(key.name);
        let answers = self.small.pipeline(space, commands).await?;
        let Ok([idle, kind, left, bytes]) = <[Value; 4]>::try_from(answers) else {
            return Err(Error::shape(&Value::Nil));
        };
        let Some(kind) = Kind::of(&reply::text(answer(kind)?)?) else {
            return Ok(None);
        };
        let left = reply::int(answer(left)?)?;
        // It ended between the commands.
        if left == -2 {
            return Ok(None);
        }
        let idle = match idle {
            Value::Int(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
            // Redis evicts by frequency, or the key is gone.
            _ => None,
        };
        Ok(Some(KeyInfo {
            kind,
            life_seconds: seconds(left),
            bytes: reply::maybe(answer(bytes)?, reply::int)?.unwrap_or_default(),
            idle,
        }))
    }
}

/// Rounds up; negative numbers are no times.
fn seconds(milliseconds: i64) -> i64 {
    if milliseconds < 0 {
        return milliseconds;
    }
    milliseconds.saturating_add(999) / 1000
}
