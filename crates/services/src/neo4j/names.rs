//! What a tenant's things are called in Neo4j, and back: the one place that knows.
//!
//! Community has one database, so labels keep tenants apart. A node that a structured call makes with the label `Person` has
//! three: `Person`, for raw Cypher; `_isa_<slug>`, which says whose it is; and `_isa_<slug>_Person`, which is what structured
//! calls look for, and what the tenant's indexes and constraints are made on: so they bind nobody else. Relationships need
//! no mark: one is the tenant's if both of its nodes are.
//!
//! Indexes and constraints are named `_isa_<slug>_NAME`.

use super::service::Error;

/// Begins what no caller may name and none gets to see.
const RESERVED: &str = "_isa_";

/// Digits of a tenant's slug.
const SLUG: usize = 20;

/// Longest label, type and key, in characters.
const MAX_NAME: usize = 255;

/// Most labels of one node: each is two here.
const MAX_LABELS: usize = 64;

/// The names of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    slug: &'a str,
}

impl<'a> Names<'a> {
    /// `slug` has nothing but letters and digits.
    pub(crate) fn of(slug: &'a str) -> Self {
        Self { slug }
    }

    /// The label of all nodes of the tenant, quoted.
    pub(crate) fn tenant(self) -> String {
        format!("`{RESERVED}{}`", self.slug)
    }

    /// What the tenant's other labels and its indexes begin with.
    pub(crate) fn prefix(self) -> String {
        format!("{RESERVED}{}_", self.slug)
    }

    /// The label that structured calls look for, quoted: that of the tenant where none is given.
    pub(crate) fn label(self, field: &str, label: Option<&str>) -> Result<String, Error> {
        match label {
            None | Some("") => Ok(self.tenant()),
            Some(label) => {
                check(field, label)?;
                Ok(quoted(&format!("{}{label}", self.prefix())))
            }
        }
    }

    /// All labels of a new node, as they stand behind its variable.
    pub(crate) fn labels(self, labels: &[String]) -> Result<String, Error> {
        if labels.len() > MAX_LABELS {
            return Err(Error::invalid("labels", format!("are more than {MAX_LABELS}")));
        }
        let mut all = format!(":{}", self.tenant());
        for label in labels {
            check("labels", label)?;
            for name in [label.clone(), format!("{}{label}", self.prefix())] {
                all.push(':');
                all.push_str(&quoted(&name));
            }
        }
        Ok(all)
    }

    /// The name of an index or constraint in Neo4j.
    pub(crate) fn schema(self, field: &str, name: &str) -> Result<String, Error> {
        if name.is_empty() {
            return Err(Error::invalid(field, "is empty"));
        }
        if name.len() > MAX_NAME {
            return Err(Error::invalid(
                field,
                format!("is longer than {MAX_NAME} characters"),
            ));
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            return Err(Error::invalid(field, "may have A-Z, a-z, 0-9 and _ alone"));
        }
        Ok(format!("{}{name}", self.prefix()))
    }

    /// A label, index or constraint as it was given; `None` if it is not the tenant's.
    pub(crate) fn given(self, full: &str) -> Option<&str> {
        full.strip_prefix(RESERVED)?
            .strip_prefix(self.slug)?
            .strip_prefix('_')
    }

    /// Neo4j's words with the tenant's own names as they were given, and those of others taken out.
    pub(crate) fn scrub(self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(RESERVED) {
            clean.push_str(&rest[..at]);
            let name = &rest[at + RESERVED.len()..];
            let slug = name
                .get(..SLUG)
                .filter(|slug| slug.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let Some(slug) = slug else {
                clean.push_str(RESERVED);
                rest = name;
                continue;
            };
            rest = &name[SLUG..];
            if slug == self.slug {
                rest = rest.strip_prefix('_').unwrap_or(rest);
            } else {
                // The whole name is another's, however long it is.
                clean.push_str("(another's)");
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                rest = &rest[end.unwrap_or(rest.len())..];
            }
        }
        clean.push_str(rest);
        clean
    }
}

/// Whether callers see this label.
pub(crate) fn is_visible(label: &str) -> bool {
    !label.starts_with(RESERVED)
}

/// A label, type or key between backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A relationship's type or a property's key, quoted.
pub(crate) fn word(field: &str, name: &str) -> Result<String, Error> {
    check(field, name)?;
    Ok(quoted(name))
}

/// Whether Neo4j takes the name between backticks as it is.
pub(crate) fn check(field: &str, name: &str) -> Result<(), Error> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.chars().count() > MAX_NAME {
        "is longer than 255 characters"
    } else if name.starts_with(RESERVED) {
        "begins with _isa_, which is the platform's own"
    } else if name.contains('\0') {
        "has the character NUL"
    } else if name.contains("\\u") {
        // Cypher reads \u0060 as a backtick, even between backticks.
        "has \\u, which Cypher reads as the beginning of another character"
    } else {
        return Ok(());
    };
    Err(Error::invalid(field, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    #[test]
    fn labels_are_the_tenants_and_quoted() {
        let names = Names::of(SLUG);
        assert_eq!(names.tenant(), "`_isa_0123456789abcdef0123`");
        assert_eq!(
            names.labels(&["A`b".into()]).unwrap(),
            ":`_isa_0123456789abcdef0123`:`A``b`:`_isa_0123456789abcdef0123_A``b`"
        );
        assert_eq!(names.label("label", None).unwrap(), names.tenant());
        assert_eq!(
            names.label("label", Some("A")).unwrap(),
            "`_isa_0123456789abcdef0123_A`"
        );
        for name in ["", "_isa_x", "a\\u0060", "a\0", &"x".repeat(256)] {
            assert!(names.labels(&[name.into()]).is_err(), "{name:?}");
            assert!(word("type", name).is_err(), "{name:?}");
        }
        assert!(word("type", &"é".repeat(255)).is_ok());
        assert!(names.schema("index_name", "a b").is_err());
    }

    #[test]
    fn others_names_are_taken_out() {
        let names = Names::of(SLUG);
        let text =
            "label `_isa_0123456789abcdef0123_Person` and _isa_ffffffffffffffffffff_Secret x, _isa_é, _isa_";
        assert_eq!(
            names.scrub(text),
            "label `Person` and (another's) x, _isa_é, _isa_"
        );
        assert_eq!(names.given("_isa_0123456789abcdef0123_Person"), Some("Person"));
        assert_eq!(names.given("_isa_ffffffffffffffffffff_Person"), None);
    }
}
