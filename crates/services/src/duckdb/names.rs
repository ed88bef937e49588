//! A tenant's names and the engine's: folders on local disk, keys in object storage and in NATS. The tenant's slug stands
//! in each of them, and nowhere else.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use isa_server::Tenant;
use uuid::Uuid;

use super::service::{Error, invalid};
use crate::minio::{At, Bucket};

/// Where copies and backups are whose tenant names no bucket of its own. No tenant's bucket can have this name: theirs
/// begin with a slug.
const PLACE: &str = "isa-platform-duckdb-copies";

/// What the keys begin with in a bucket of the tenant's own.
const PREFIX: &str = "isa-duckdb";

/// Begins every id, so that none is taken for a name.
const ID: &str = "db-";

/// Of a name of a database or a backup.
const NAME: std::ops::RangeInclusive<usize> = 1..=63;

/// Of an SQL name, in bytes; DuckDB has no bound of its own.
const MAX_IDENTIFIER: usize = 255;

/// One database of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) slug: String,
    pub(super) id: String,
}

impl Key {
    pub(super) fn new(tenant: &Tenant, id: &str) -> Self {
        Self {
            slug: tenant.slug().to_owned(),
            id: id.to_owned(),
        }
    }

    /// Its folder below the service's.
    pub(super) fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.slug).join(&self.id)
    }

    /// Its lease's key.
    pub(super) fn lease(&self) -> String {
        format!("{self}")
    }

    /// Where copy number `epoch.number` is.
    pub(super) fn copy(&self, own_bucket: bool, number: &str) -> String {
        self.object(own_bucket, &format!("copy-{number}.duckdb"))
    }

    /// Where a backup is.
    pub(super) fn backup(&self, own_bucket: bool, name: &str) -> String {
        self.object(own_bucket, &format!("backups/{name}.duckdb"))
    }

    fn object(&self, own_bucket: bool, file: &str) -> String {
        if own_bucket {
            format!("{PREFIX}/{}/{file}", self.id)
        } else {
            format!("{}/{}/{file}", self.slug, self.id)
        }
    }

    /// Where the service notes what it knows of a backup, always in its own place.
    pub(super) fn backup_note(&self, name: &str) -> String {
        format!("{}/{}/backups/{name}.json", self.slug, self.id)
    }

    /// The backup as the tenant names it.
    pub(super) fn backup_path(&self, name: &str) -> String {
        format!("{}/{name}", self.id)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slug, self.id)
    }
}

/// The database and the name in a backup's path.
pub(super) fn read_backup_path(tenant: &Tenant, path: &str) -> Result<(Key, String), Error> {
    let wrong = || invalid("backup_path", "is none that BackupDatabase gave");
    let (id, name) = path.split_once('/').ok_or_else(wrong)?;
    if !is_id(id) || !is_name(name) {
        return Err(wrong());
    }
    Ok((Key::new(tenant, id), name.to_owned()))
}

/// The bucket for what a database leaves in object storage: the tenant's own if `given` names one.
pub(super) fn bucket(tenant: &str, given: &str) -> Result<Bucket, Error> {
    if given.is_empty() {
        return Ok(Bucket::of_platform(PLACE));
    }
    Bucket::of_slug(tenant, "minio_bucket", given).map_err(Error::from)
}

pub(super) fn at<'a>(bucket: &'a Bucket, key: &'a str) -> At<'a> {
    At {
        bucket,
        key,
        version: None,
    }
}

/// The key of what is known of a tenant's databases.
pub(super) fn registry(slug: &str) -> String {
    format!("t.{slug}")
}

pub(super) fn new_id() -> String {
    format!("{ID}{}", Uuid::new_v4().simple())
}

/// Whether it has the form of an id.
pub(super) fn is_id(text: &str) -> bool {
    text.strip_prefix(ID)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    NAME.contains(&text.len()) && text.bytes().all(letter)
}

/// Refuses what cannot name a new database or backup.
pub(super) fn check_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, Error> {
    if !is_name(name) {
        return Err(invalid(field, "must have 1 to 63 of a-z, A-Z, 0-9, `_` and `-`"));
    }
    if is_id(name) {
        return Err(invalid(field, "has the form of an id; choose another name"));
    }
    Ok(name)
}

/// Refuses what is neither an id nor a name.
pub(super) fn check_database(given: &str) -> Result<(), Error> {
    if given.is_empty() {
        return Err(invalid("database_id", "is empty"));
    }
    if !is_name(given) {
        return Err(invalid(
            "database_id",
            "is neither an id that CreateDatabase gave nor a name that it takes",
        ));
    }
    Ok(())
}

/// A table or view: `name`, or `schema.name`.
#[derive(Debug, Clone)]
pub(super) struct TableName {
    pub(super) schema: String,
    pub(super) name: String,
}

impl TableName {
    pub(super) fn of(field: &'static str, given: &str) -> Result<Self, Error> {
        let (schema, name) = given.split_once('.').unwrap_or(("main", given));
        check_identifier(field, schema)?;
        check_identifier(field, name)?;
        Ok(Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
        })
    }

    /// As SQL has it.
    pub(super) fn sql(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }
}

/// Refuses what no SQL name can be.
pub(super) fn check_identifier(field: &'static str, name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid(field, "is empty"));
    }
    if name.len() > MAX_IDENTIFIER {
        return Err(invalid(
            field,
            format_args!("has {} bytes, and may have {MAX_IDENTIFIER}", name.len()),
        ));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(field, "holds a control character"));
    }
    Ok(())
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_no_names_and_names_no_paths() {
        let id = new_id();
        assert!(is_id(&id) && is_name(&id));
        assert!(check_name("database_name", &id).is_err());
        for wrong in ["", "a b", "../x", "a/b", "a.b", "grün", "*", &"a".repeat(64)] {
            assert!(check_name("database_name", wrong).is_err(), "{wrong}");
            assert!(check_database(wrong).is_err(), "{wrong}");
        }
        let (alice, bob) = (Tenant::user("alice"), Tenant::user("bob"));
        let (key, name) = read_backup_path(&alice, &format!("{id}/noon")).unwrap();
        assert_eq!(
            (key.backup_path(&name), name.as_str()),
            (format!("{id}/noon"), "noon")
        );
        let (other, _) = read_backup_path(&bob, &format!("{id}/noon")).unwrap();
        assert_ne!(key.backup_note("noon"), other.backup_note("noon"));
        for wrong in ["", "noon", "x/noon", "../noon", &format!("{id}/../noon")] {
            assert!(read_backup_path(&alice, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_quoted() {
        let table = TableName::of("table_name", "a\"b;--").unwrap();
        assert_eq!(table.sql(), "\"main\".\"a\"\"b;--\"");
        assert_eq!(TableName::of("table_name", "s.t").unwrap().sql(), "\"s\".\"t\"");
        for wrong in ["", ".", "s.", "a\0b"] {
            assert!(TableName::of("table_name", wrong).is_err());
        }
        assert_eq!(literal("it's"), "'it''s'");
    }
}
