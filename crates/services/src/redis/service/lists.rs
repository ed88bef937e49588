use super::{Error, Key, Part, Store, bytes_of, limits, on, reply};
use crate::redis::names::Space;

/// An end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    First,
    Last,
}

impl Store {
    /// Length after it.
    pub(crate) async fn push(
        &self,
        space: Space<'_>,
        end: End,
        key: &str,
        values: &[String],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("values", values.iter().map(String::as_str))?;
        let bytes = bytes_of(values);
        let name = match end {
            End::First => "LPUSH",
            End::Last => "RPUSH",
        };
        let mut command = on(name, key, values.len(), bytes);
        command.arg(values);
        reply::count(self.tell(key, bytes, command).await?)
    }

    pub(crate) async fn pop(&self, space: Space<'_>, end: End, key: &str) -> Result<Option<String>, Error> {
        let key = Key::new(space, key)?;
        let name = match end {
            End::First => "LPOP",
            End::Last => "RPOP",
        };
        reply::maybe(self.ask(key, on(name, key, 0, 0)).await?, reply::text)
    }

    pub(crate) async fn range(
        &self,
        space: Space<'_>,
        key: &str,
        start: i32,
        stop: i32,
    ) -> Result<Vec<String>, Error> {
        let key = Key::new(space, key)?;
        let mut command = on("LRANGE", key, 2, 24);
        command.arg(start).arg(stop);
        reply::texts(self.read(key, Part::Range("LLEN", start, stop), command).await?)
    }

    pub(crate) async fn length(&self, space: Space<'_>, key: &str) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        reply::count(self.ask(key, on("LLEN", key, 0, 0)).await?)
    }

    pub(crate) async fn index(
        &self,
        space: Space<'_>,
        key: &str,
        index: i32,
    ) -> Result<Option<String>, Error> {
        let key = Key::new(space, key)?;
        let mut command = on("LINDEX", key, 1, 12);
        command.arg(index);
        reply::maybe(self.ask(key, command).await?, reply::text)
    }

    pub(crate) async fn trim(&self, space: Space<'_>, key: &str, start: i32, stop: i32) -> Result<(), Error> {
        let key = Key::new(space, key)?;
        let mut command = on("LTRIM", key, 2, 24);
        command.arg(start).arg(stop);
        self.ask(key, command).await.map(reply::done)
    }
}
