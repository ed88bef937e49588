//! Which labels an entry may have. Every distinct set of them is a stream that Loki keeps open: what differs from entry to
//! entry belongs into the line.

use crate::loki::names::{Labels, is_name};

/// Labels of an entry. Loki takes 15, of which one is ours.
pub(crate) const MAX_LABELS: usize = 12;

/// Longest name, in bytes.
pub(crate) const MAX_NAME: usize = 64;

/// Longest value, in bytes.
pub(crate) const MAX_VALUE: usize = 256;

/// Violations that are told of one set.
const MAX_VIOLATIONS: usize = 100;

/// The label of an entry that has none.
pub(crate) const UNKNOWN: (&str, &str) = ("service", "unknown");

/// What is wrong with the first label that is wrong.
pub(crate) fn check(labels: &Labels) -> Result<(), String> {
    match violations(labels).next() {
        None => Ok(()),
        Some(violation) => Err(violation),
    }
}

/// All that is wrong with them.
pub(crate) fn all_violations(labels: &Labels) -> Vec<String> {
    violations(labels).take(MAX_VIOLATIONS).collect()
}

fn violations(labels: &Labels) -> impl Iterator<Item = String> {
    let count = labels.len();
    let many = (count > MAX_LABELS).then(|| format!("there are {count}, and may be {MAX_LABELS}"));
    many.into_iter().chain(
        labels
            .iter()
            .filter_map(|(name, value)| Some(format!("{:?} {}", shown(name), violation(name, value)?))),
    )
}

fn violation(name: &str, value: &str) -> Option<String> {
    if name.len() > MAX_NAME {
        return Some(format!(
            "is a name of {} bytes, and may have {MAX_NAME}",
            name.len()
        ));
    }
    if name.starts_with("__") {
        return Some("is a name that begins with __, which is Loki's own".to_owned());
    }
    if !is_name(name) {
        return Some("is no name: it must match [a-zA-Z_][a-zA-Z0-9_]*".to_owned());
    }
    if value.is_empty() {
        return Some("has an empty value; leave it out".to_owned());
    }
    if value.len() > MAX_VALUE {
        return Some(format!(
            "has a value of {} bytes, and may have {MAX_VALUE}",
            value.len()
        ));
    }
    None
}

/// As much of a name as fits into a message.
fn shown(name: &str) -> &str {
    match name.char_indices().nth(MAX_NAME) {
        Some((end, _)) => &name[..end],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Labels {
        Labels::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn good_labels_are_good() {
        for (name, value) in [
            ("service", "api"),
            ("_x9", "größe \"quoted\" \n"),
            (&"n".repeat(MAX_NAME), &*"v".repeat(MAX_VALUE)),
        ] {
            assert!(check(&one(name, value)).is_ok(), "{name:?}");
        }
        let most: Labels = (0..MAX_LABELS)
            .map(|n| (format!("l{n}"), "v".to_owned()))
            .collect();
        assert!(check(&most).is_ok());
    }

    #[test]
    fn each_violation_names_its_label() {
        let long = "é".repeat(5 * 1024);
        for (name, value) in [
            ("", "v"),
            ("9a", "v"),
            ("a-b", "v"),
            ("größe", "v"),
            ("__isa__", "v"),
            ("a}", "v"),
            (&long, "v"),
            ("a", ""),
            ("a", &long),
        ] {
            let said = all_violations(&one(name, value));
            assert_eq!(said.len(), 1, "{name:?}");
            assert!(said[0].len() < 250, "{}", said[0].len());
        }
        let mut many: Labels = (0..=MAX_LABELS)
            .map(|n| (format!("l{n:02}"), "v".to_owned()))
            .collect();
        many.insert("a b".to_owned(), String::new());
        assert_eq!(all_violations(&many).len(), 2);
    }
}
