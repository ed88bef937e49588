use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use redis::Value;
use tokio::time::timeout;

use super::{Error, Kind, Store, answer, keys::STEP, link::PATIENCE, reply};
use crate::redis::names::Space;

/// How much of Redis is looked at to count a tenant's keys.
const LOOKED_AT: usize = 100_000;
const LOOKING: Duration = Duration::from_secs(1);

/// A key that tries Redis is gone after this, whatever becomes of us. In milliseconds.
const TRIAL_MS: u32 = 10_000;

/// How Redis is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) clients: i64,
    pub(crate) memory: i64,
}

/// Figures of a tenant's keys, and of the server that has them.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    pub(crate) keys: i64,
    pub(crate) kinds: BTreeMap<&'static str, i64>,
    pub(crate) memory: i64,
    pub(crate) commands: i64,
    pub(crate) connections: i64,
    /// 0 to 1.
    pub(crate) hit_rate: f64,
}

impl Store {
    /// `deep` writes, reads and removes a key too. The error says for people why Redis is not well.
    pub(crate) async fn health(&self, space: Space<'_>, deep: bool) -> Result<Health, String> {
        let asked = timeout(PATIENCE, self.look(space, deep));
        match asked.await {
            Ok(Ok(health)) => Ok(health),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("Redis does not answer in time".into()),
        }
    }

    async fn look(&self, space: Space<'_>, deep: bool) -> Result<Health, Error> {
        let id = format!("{:032x}", rand::random::<u128>());
        let trial = space.health(&id);
        let mut commands = redis::pipe();
        commands.cmd("INFO");
        if deep {
            commands.cmd("SET").arg(trial).arg(&id).arg("PX").arg(TRIAL_MS);
            commands.cmd("GET").arg(trial);
            commands.cmd("UNLINK").arg(trial);
        }
        let answers = self.small.pipeline(space, commands).await?;
        let mut answers = answers.into_iter().map(answer);
        let info = reply::text(answers.next().unwrap_or(Ok(Value::Nil))?)?;
        if deep {
            let tried = answers.collect::<Result<Vec<_>, _>>()?;
            let read = tried.into_iter().nth(1).map(reply::text).transpose()?;
            if read.as_deref() != Some(&id) {
                return Err(Error::Refused("Redis did not give back what was written"));
            }
        }
        Ok(Health {
            clients: figure(&info, "connected_clients"),
            memory: figure(&info, "used_memory"),
        })
    }

    pub(crate) async fn statistics(&self, space: Space<'_>) -> Result<Statistics, Error> {
        let mut commands = redis::pipe();
        commands.cmd("INFO").cmd("DBSIZE");
        let answers = self.pipeline(space, commands).await?;
        let Ok([info, all]) = <[Value; 2]>::try_from(answers) else {
            return Err(Error::shape(&Value::Nil));
        };
        let info = reply::text(answer(info)?)?;
        let (keys, kinds) = self.count(space, reply::int(answer(all)?)?).await?;
        let hits = figure(&info, "keyspace_hits");
        let reads = hits.saturating_add(figure(&info, "keyspace_misses"));
        Ok(Statistics {
            keys,
            kinds,
            memory: figure(&info, "used_memory"),
            commands: figure(&info, "total_commands_processed"),
            connections: figure(&info, "total_connections_received"),
            // Exact far beyond what a ratio shows.
            hit_rate: if reads > 0 {
                hits as f64 / reads as f64
            } else {
                0.0
            },
        })
    }

    /// Counts the tenant's keys, in all and by type, among `all` of the server; projects if it does not come to an end.
    async fn count(&self, space: Space<'_>, all: i64) -> Result<(i64, BTreeMap<&'static str, i64>), Error> {
        let began = Instant::now();
        let mut seen = HashSet::new();
        let mut kinds = BTreeMap::new();
        let mut looked_at = 0;
        let mut cursor = String::from("0");
        loop {
            let (next, keys) = self.scan(space, "*", &cursor).await?;
            looked_at += STEP;
            // Redis may name a key twice.
            let new: Vec<_> = keys.into_iter().filter(|key| seen.insert(key.clone())).collect();
            if !new.is_empty() {
                let mut commands = redis::pipe();
                for key in &new {
                    commands.cmd("TYPE").arg(key);
                }
                for kind in self.pipeline(space, commands).await? {
                    if let Some(kind) = Kind::of(&reply::text(answer(kind)?)?) {
                        *kinds.entry(kind.name()).or_default() += 1;
                    }
                }
            }
            if next == "0" {
                return Ok((kinds.values().sum(), kinds));
            }
            if looked_at >= LOOKED_AT || began.elapsed() >= LOOKING {
                // At least what was seen.
                let share = (all as f64 / looked_at as f64).max(1.0);
                for count in kinds.values_mut() {
                    *count = (*count as f64 * share) as i64;
                }
                return Ok((kinds.values().sum(), kinds));
            }
            cursor = next;
        }
    }
}

impl Kind {
    /// As Redis calls it; types that the contract has no word for count as strings, as they appear everywhere.
    fn name(self) -> &'static str {
        match self {
            Self::String | Self::Other => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "zset",
        }
    }
}

/// A number in the answer to INFO; 0 if it is not there.
fn figure(info: &str, name: &str) -> i64 {
    let found = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or_default()
}
