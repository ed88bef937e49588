//! Where a tenant's names stand in Qdrant, and back: the one place that knows.
//!
//! Collections and aliases are `<slug>-NAME`. Qdrant makes the names of snapshots of the collection's, so these begin with
//! the slug too. Points, payload keys and vectors belong to a collection, and keep their names.

use super::service::Error;

/// Longest collection and alias, in bytes. Qdrant takes 255, of which the prefix is a part, and makes the names of
/// snapshots of them.
const MAX_NAME: usize = 200;

/// Longest snapshot that is looked for: Qdrant makes files of them.
const MAX_SNAPSHOT: usize = 255;

/// Longest name of a vector. It becomes part of the names of files.
const MAX_VECTOR: usize = 64;

/// Longest key of a payload, with its path.
const MAX_KEY: usize = 1024;

/// The names of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    slug: &'a str,
}

/// A collection's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    /// In Qdrant.
    pub(crate) full: String,
    /// As the tenant says it.
    pub(crate) given: String,
}

impl<'a> Names<'a> {
    /// `slug` has nothing but letters and digits.
    pub(crate) fn of(slug: &'a str) -> Self {
        Self { slug }
    }

    /// A collection or an alias.
    pub(crate) fn collection(self, field: &'static str, given: &str) -> Result<Collection, Error> {
        check(field, given, MAX_NAME)?;
        Ok(Collection {
            full: format!("{}-{given}", self.slug),
            given: given.to_owned(),
        })
    }

    /// A name as it was given; `None` if it is not the tenant's.
    pub(crate) fn given(self, full: &str) -> Option<&str> {
        full.strip_prefix(self.slug)?.strip_prefix('-')
    }
}

impl Collection {
    /// What stands before the tenant's names.
    fn prefix(&self) -> &str {
        self.full.strip_suffix(&self.given).unwrap_or_default()
    }

    /// A snapshot of it as the tenant says it. Not every engine names it after the collection.
    pub(crate) fn given_snapshot<'a>(&self, full: &'a str) -> &'a str {
        full.strip_prefix(self.prefix()).unwrap_or(full)
    }

    /// A text of the engine, with the tenant's names in it as the tenant says them.
    pub(crate) fn reworded(&self, text: &str) -> String {
        text.replace(self.prefix(), "")
    }
}

/// A snapshot, as the tenant says it.
pub(crate) fn check_snapshot(field: &'static str, given: &str) -> Result<(), Error> {
    check(field, given, MAX_SNAPSHOT)
}

/// A vector of a collection.
pub(crate) fn check_vector(field: &'static str, given: &str) -> Result<(), Error> {
    check(field, given, MAX_VECTOR)
}

/// A key of a payload, or a path to one. What is in it the engine reads.
pub(crate) fn check_key(field: &'static str, given: &str) -> Result<(), Error> {
    check_length(field, given, MAX_KEY)
}

fn check(field: &'static str, given: &str, longest: usize) -> Result<(), Error> {
    check_length(field, given, longest)?;
    if matches!(given, "." | "..") {
        return Err(Error::invalid(field, "is the name of a folder"));
    }
    let forbidden = |c: char| c.is_control() || "<>:\"/\\|?*".contains(c);
    match given.chars().find(|c| forbidden(*c)) {
        Some(c) => Err(Error::invalid(
            field,
            format!("has the character {c:?}, which names must not have"),
        )),
        None => Ok(()),
    }
}

fn check_length(field: &'static str, given: &str, longest: usize) -> Result<(), Error> {
    if given.is_empty() {
        return Err(Error::invalid(field, "is empty"));
    }
    if given.len() > longest {
        let why = format!("has {} bytes, and may have {longest}", given.len());
        return Err(Error::invalid(field, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    #[test]
    fn names_stay_in_their_tenant() {
        let names = Names::of(SLUG);
        let collection = names.collection("collection_name", "Bücher und mehr").unwrap();
        assert_eq!(collection.full, format!("{SLUG}-Bücher und mehr"));
        assert_eq!(names.given(&collection.full), Some("Bücher und mehr"));
        assert_eq!(Names::of("ffffffffffffffffffff").given(&collection.full), None);
        assert_eq!(names.given(SLUG), None);
    }

    #[test]
    fn what_qdrant_makes_of_names_is_undone() {
        let collection = Names::of(SLUG).collection("f", "docs").unwrap();
        let snapshot = format!("{SLUG}-docs-1-2026-01-01-00-00-00.snapshot");
        assert_eq!(
            collection.given_snapshot(&snapshot),
            "docs-1-2026-01-01-00-00-00.snapshot"
        );
        assert_eq!(collection.given_snapshot("other.snapshot"), "other.snapshot");
        assert_eq!(
            collection.reworded(&format!("Collection `{SLUG}-docs` is odd")),
            "Collection `docs` is odd"
        );
    }

    #[test]
    fn crafted_names_are_refused() {
        let long = "x".repeat(MAX_NAME + 1);
        for bad in [
            "", ".", "..", "a/b", "../a", "a\\b", "a:b", "a*", "a?", "a|b", "<a>", "\"a\"", "a\nb", "\0",
            &long,
        ] {
            assert!(Names::of(SLUG).collection("f", bad).is_err(), "{bad:?}");
        }
        for good in ["a", "a b", "...", "ключ", "a.b-c_d", &long[1..]] {
            assert!(Names::of(SLUG).collection("f", good).is_ok(), "{good:?}");
        }
    }
}
