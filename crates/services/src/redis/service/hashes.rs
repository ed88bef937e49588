use super::{Error, Key, Part, Store, bytes_of, limits, on, reply};
use crate::redis::names::Space;

impl Store {
    /// How many fields are new.
    pub(crate) async fn hash_set(
        &self,
        space: Space<'_>,
        key: &str,
        fields: &[(String, String)],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("fields", fields.iter().map(|(field, _)| field.as_str()))?;
        limits::values("fields", fields.iter().map(|(_, value)| value.as_str()))?;
        let bytes = fields
            .iter()
            .map(|(field, value)| field.len() + value.len())
            .sum();
        let mut command = on("HSET", key, 2 * fields.len(), bytes);
        for (field, value) in fields {
            command.arg(field).arg(value);
        }
        reply::count(self.tell(key, bytes, command).await?)
    }

    pub(crate) async fn hash_get(
        &self,
        space: Space<'_>,
        key: &str,
        field: &str,
    ) -> Result<Option<String>, Error> {
        let key = Key::new(space, key)?;
        limits::value("field", field)?;
        let mut command = on("HGET", key, 1, field.len());
        command.arg(field);
        reply::maybe(self.tell(key, field.len(), command).await?, reply::text)
    }

    pub(crate) async fn hash_all(&self, space: Space<'_>, key: &str) -> Result<Vec<(String, String)>, Error> {
        let key = Key::new(space, key)?;
        reply::pairs(
            self.read(key, Part::All, on("HGETALL", key, 0, 0)).await?,
            reply::text,
        )
    }

    /// How many were there.
    pub(crate) async fn hash_delete(
        &self,
        space: Space<'_>,
        key: &str,
        fields: &[String],
    ) -> Result<i32, Error> {
        let key = Key::new(space, key)?;
        limits::values("fields", fields.iter().map(String::as_str))?;
        let bytes = bytes_of(fields);
        let mut command = on("HDEL", key, fields.len(), bytes);
        command.arg(fields);
        reply::count(self.tell(key, bytes, command).await?)
    }

    pub(crate) async fn hash_exists(&self, space: Space<'_>, key: &str, field: &str) -> Result<bool, Error> {
        let key = Key::new(space, key)?;
        limits::value("field", field)?;
        let mut command = on("HEXISTS", key, 1, field.len());
        command.arg(field);
        reply::flag(self.tell(key, field.len(), command).await?)
    }

    pub(crate) async fn hash_fields(&self, space: Space<'_>, key: &str) -> Result<Vec<String>, Error> {
        let key = Key::new(space, key)?;
        reply::texts(self.read(key, Part::All, on("HKEYS", key, 0, 0)).await?)
    }

    pub(crate) async fn hash_values(&self, space: Space<'_>, key: &str) -> Result<Vec<String>, Error> {
        let key = Key::new(space, key)?;
        reply::texts(self.read(key, Part::All, on("HVALS", key, 0, 0)).await?)
    }

    pub(crate) async fn hash_increment(
        &self,
        space: Space<'_>,
        key: &str,
        field: &str,
        delta: i64,
    ) -> Result<i64, Error> {
        let key = Key::new(space, key)?;
        limits::value("field", field)?;
        let mut command = on("HINCRBY", key, 2, field.len() + 20);
        command.arg(field).arg(delta);
        reply::int(self.tell(key, field.len(), command).await?)
    }
}
