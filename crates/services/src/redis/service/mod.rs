//! What the building block does with Redis, without gRPC. One file each for what the contract has a section for.

mod address;
mod batch;
mod bounds;
mod error;
mod hashes;
mod hub;
mod keys;
mod limits;
mod link;
mod lists;
mod locks;
mod reply;
mod scripts;
mod server;
mod sessions;
mod sets;
mod sorted;
mod strings;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use isa_config::Endpoint;
use redis::{Cmd, Pipeline, RedisError, Value};

use self::{address::Target, bounds::Part, hub::Hub, link::Link};
pub(crate) use self::{
    batch::Command,
    error::Error,
    hub::{Ended, Message, Subscription},
    keys::{KeyInfo, Kind},
    lists::End,
    server::Statistics,
    sessions::{CREATED_LIFE_MS, Session},
    sets::Together,
};
use super::names::{Name, Space};

/// Arguments above this go over the connection for large things, as do answers that may be above it: a small call does
/// not wait behind them.
const LARGE: usize = 64 << 10;

/// Redis, as tenants see it. Clones share everything.
#[derive(Clone)]
pub(crate) struct Store {
    small: Arc<Link>,
    large: Arc<Link>,
    /// Bytes that Redis had in use when it was asked last; all there can be in a cluster, whose nodes are not asked.
    held: Arc<AtomicU64>,
    hub: Hub,
}

/// A key of a request that was checked, and what the request calls it.
#[derive(Clone, Copy)]
struct Key<'a> {
    name: Name<'a>,
    field: &'static str,
}

impl Store {
    /// Says what is wrong with the address. Redis need not be there yet. Must be called in a tokio runtime.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let target = Arc::new(Target::new(endpoint)?);
        Ok(Self {
            small: Link::new(Arc::clone(&target)),
            large: Link::new(Arc::clone(&target)),
            held: Arc::new(AtomicU64::new(u64::MAX)),
            hub: Hub::start(target),
        })
    }

    /// Whether Redis answers; says why not.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let (held, _) = tokio::try_join!(self.small.ping(), self.large.ping())?;
        self.held.store(held.unwrap_or(u64::MAX), Relaxed);
        Ok(())
    }

    /// A command on one key with a small answer.
    async fn ask(&self, key: Key<'_>, command: Cmd) -> Result<Value, Error> {
        self.ask_over(&self.small, key, command).await
    }

    /// A command that reads a part of a value which may be large.
    async fn read(&self, key: Key<'_>, part: Part, command: Cmd) -> Result<Value, Error> {
        self.fits(key.name.space, &[key.name], part).await?;
        self.ask_over(&self.large, key, command).await
    }

    /// Chooses the connection by how much there is to write.
    async fn tell(&self, key: Key<'_>, bytes: usize, command: Cmd) -> Result<Value, Error> {
        let link = if bytes > LARGE { &self.large } else { &self.small };
        self.ask_over(link, key, command).await
    }

    async fn ask_over(&self, link: &Arc<Link>, key: Key<'_>, command: Cmd) -> Result<Value, Error> {
        match link.command(key.name.space, command).await.map_err(Error::from) {
            Err(error) if error.is_wrong_type() => Err(self.what_it_holds(&[key]).await),
            answer => answer,
        }
    }

    /// A command on many keys, which are to be sets.
    async fn ask_all(&self, keys: &[Key<'_>], space: Space<'_>, command: Cmd) -> Result<Value, Error> {
        match self.large.command(space, command).await.map_err(Error::from) {
            Err(error) if error.is_wrong_type() => Err(self.what_it_holds(keys).await),
            answer => answer,
        }
    }

    /// A command that is on no key of the caller's.
    async fn aside(&self, space: Space<'_>, command: Cmd) -> Result<Value, Error> {
        Ok(self.small.command(space, command).await?)
    }

    async fn pipeline(&self, space: Space<'_>, commands: Pipeline) -> Result<Vec<Value>, Error> {
        Ok(self.large.pipeline(space, commands).await?)
    }

    /// Why a call was refused for the type of its key, in full: asked only then. Many keys are always to be sets, so the
    /// first that is none is to blame.
    async fn what_it_holds(&self, keys: &[Key<'_>]) -> Error {
        let Some(first) = keys.first() else {
            return Error::Refused("a key holds another type");
        };
        let mut types = redis::pipe();
        for key in keys {
            types.cmd("TYPE").arg(key.name);
        }
        let types = match self.pipeline(first.name.space, types).await {
            Ok(types) => types,
            Err(error) => return error,
        };
        let types = types
            .into_iter()
            .map(|kind| reply::text(kind).unwrap_or_default());
        let found = types
            .enumerate()
            .find(|(_, kind)| keys.len() == 1 || !matches!(kind.as_str(), "set" | "none"));
        let (index, kind) = found.unwrap_or_default();
        let holds = match kind.as_str() {
            "string" => "a string",
            "hash" => "a hash",
            "list" => "a list",
            "set" => "a set",
            "zset" => "a sorted set",
            "stream" => "a stream",
            _ => "another type",
        };
        Error::WrongType {
            field: match keys.len() {
                1 => first.field.into(),
                _ => format!("{}[{index}]", first.field).into(),
            },
            holds: holds.into(),
        }
    }
}

impl<'a> Key<'a> {
    fn new(space: Space<'a>, name: &'a str) -> Result<Self, Error> {
        Self::of_field(space, "key", name)
    }

    fn of_field(space: Space<'a>, field: &'static str, name: &'a str) -> Result<Self, Error> {
        limits::name(field, name)?;
        Ok(Self {
            name: space.key(name),
            field,
        })
    }

    fn all(space: Space<'a>, field: &'static str, names: &'a [String]) -> Result<Vec<Self>, Error> {
        limits::names(field, names)?;
        Ok(names
            .iter()
            .map(|name| Self {
                name: space.key(name),
                field,
            })
            .collect())
    }
}

/// A command on a key, with room for so many further arguments of so many bytes.
fn on(command: &'static str, key: Key<'_>, arguments: usize, bytes: usize) -> Cmd {
    let mut built = Cmd::with_capacity(2 + arguments, command.len() + key.name.len() + bytes);
    built.arg(command).arg(key.name);
    built
}

/// What one of the commands of a pipeline answered.
fn answer(value: Value) -> Result<Value, Error> {
    match value {
        Value::ServerError(error) => Err(RedisError::from(error).into()),
        value => Ok(value),
    }
}

/// Bytes of many texts together.
fn bytes_of(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}
