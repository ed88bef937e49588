//! Where a tenant's names stand at the broker and in NATS, and back: the one place that knows.
//!
//! Topics are `isa/t/<slug>/TOPIC`, shared filters `$share/GROUP/isa/t/<slug>/FILTER`. Whatever is the service's own
//! stands below `isa/own/`. Keys of NATS' buckets are `<slug>.NAME`, with what a key cannot have written as `=HH`.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::service::Error;

/// Before the slug in every topic of a tenant.
const TENANTS: &str = "isa/t/";

/// Topics of the service itself.
pub(crate) const OWN: &str = "isa/own/";

/// Below it, by their names at the broker, replicas say which clients they are about to connect.
pub(crate) const TAKEOVERS: &str = "isa/own/takeover/";

/// All topics of all tenants.
pub(crate) const ALL: &str = "isa/t/#";

/// What devices of all tenants say, each message to one replica.
pub(crate) const DEVICES: &str = "$share/isa-mqtt/isa/t/+/devices/#";

/// Longest topic and filter, in bytes: far below the 65535 that MQTT has, behind any prefix.
const MAX_TOPIC: usize = 1024;

/// Most levels: Mosquitto closes the connection of whoever has more than 200.
const MAX_LEVELS: usize = 128;

/// Longest name of a client, a device or a group, in bytes.
pub(crate) const MAX_NAME: usize = 128;

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

    pub(crate) fn slug(self) -> &'a str {
        self.slug
    }

    /// A topic to publish to.
    pub(crate) fn topic(self, field: &'static str, given: &str) -> Result<String, Error> {
        check(field, given, false)?;
        Ok(self.prefixed("", given))
    }

    /// A filter to listen to.
    pub(crate) fn filter(self, field: &'static str, given: &str) -> Result<String, Error> {
        check(field, given, true)?;
        Ok(match split_shared(given) {
            Some((group, filter)) => self.prefixed(&format!("$share/{group}/"), filter),
            None => self.prefixed("", given),
        })
    }

    fn prefixed(self, before: &str, topic: &str) -> String {
        let mut full =
            String::with_capacity(before.len() + TENANTS.len() + self.slug.len() + 1 + topic.len());
        for part in [before, TENANTS, self.slug, "/", topic] {
            full.push_str(part);
        }
        full
    }

    /// What the tenant's devices say.
    pub(crate) fn devices(self) -> String {
        self.prefixed("", "devices/#")
    }

    /// The topic as it was given; `None` if it is not the tenant's.
    pub(crate) fn given_topic(self, full: &str) -> Option<&str> {
        full.strip_prefix(TENANTS)?
            .strip_prefix(self.slug)?
            .strip_prefix('/')
    }

    /// The name of a client at the broker: the user's own, whatever other users call theirs.
    pub(crate) fn client(self, user: &str, client: &str) -> String {
        let mut hash = Sha256::new();
        // The length keeps two texts apart that are one text together.
        hash.update((user.len() as u64).to_be_bytes());
        hash.update(user);
        hash.update(client);
        let hash = hash.finalize();
        format!("isa-{}-{}", self.slug, hex::encode(&hash[..16]))
    }

    /// A key of the tenant in a bucket.
    pub(crate) fn key(self, name: &str) -> String {
        let mut key = format!("{}.", self.slug);
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                key.push(char::from(byte));
            } else {
                let _ = write!(key, "={byte:02X}");
            }
        }
        key
    }
}

/// The tenant's slug and its topic.
pub(crate) fn split(full: &str) -> Option<(&str, &str)> {
    full.strip_prefix(TENANTS)?.split_once('/')
}

/// The device that a topic is about, and the level after it with what follows.
pub(crate) fn device_of(topic: &str) -> Option<(&str, &str)> {
    let (device, rest) = topic.strip_prefix("devices/")?.split_once('/')?;
    is_device(device).then_some((device, rest))
}

fn is_device(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=MAX_NAME).contains(&id.len()) && id.bytes().all(allowed)
}

/// A device's id.
pub(crate) fn check_device(field: &'static str, given: &str) -> Result<(), Error> {
    if is_device(given) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        "must have 1 to 128 of letters, digits, - _ . and :",
    ))
}

/// A client's id, as the caller gave it.
pub(crate) fn check_client(field: &'static str, given: &str) -> Result<(), Error> {
    if given.len() > MAX_NAME {
        return Err(Error::invalid(
            field,
            format!("has {} bytes, and may have {MAX_NAME}", given.len()),
        ));
    }
    if !is_text(given) {
        return Err(Error::invalid(field, UNSPEAKABLE));
    }
    Ok(())
}

/// Whether a topic, or a filter, matches this filter. Both as given, the filter without `$share`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// The filter behind `$share/GROUP/`, or all of it.
pub(crate) fn unshared(filter: &str) -> &str {
    split_shared(filter).map_or(filter, |(_, filter)| filter)
}

fn split_shared(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix("$share/")?.split_once('/')
}

const UNSPEAKABLE: &str = "has a control character, or one that is none, which MQTT forbids";

/// Whether MQTT takes this text: brokers close the connection of whoever sends another.
pub(crate) fn is_text(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe)
}

/// What is wrong with a topic, or with a filter; nothing if it is good.
pub(crate) fn violations(given: &str, wildcards: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if given.is_empty() {
        return vec!["is empty".to_owned()];
    }
    if given.len() > MAX_TOPIC {
        wrong.push(format!("has {} bytes, and may have {MAX_TOPIC}", given.len()));
    }
    if !is_text(given) {
        wrong.push(UNSPEAKABLE.to_owned());
    }
    let mut topic = given;
    if wildcards && given.starts_with("$share/") {
        match split_shared(given) {
            Some((group, filter)) if !group.is_empty() && !filter.is_empty() => {
                topic = filter;
                if group.contains(['+', '#']) {
                    wrong.push("has a wildcard in the name of its group".to_owned());
                }
            }
            _ => {
                wrong.push("is no $share/GROUP/FILTER".to_owned());
                return wrong;
            }
        }
    }
    if topic.starts_with('$') {
        wrong.push("begins with $, which is the broker's own".to_owned());
    }
    if topic.starts_with('/') {
        wrong.push("has an empty first level".to_owned());
    }
    let levels = topic.split('/').count();
    if levels > MAX_LEVELS {
        wrong.push(format!("has {levels} levels, and may have {MAX_LEVELS}"));
    }
    let mut levels = topic.split('/').peekable();
    while let Some(level) = levels.next() {
        let why = match level {
            _ if !level.contains(['+', '#']) => continue,
            _ if !wildcards => "has a wildcard, which only a filter may",
            "#" if levels.peek().is_some() => "has # before its end",
            "+" | "#" => continue,
            _ => "has + or # beside other characters",
        };
        wrong.push(why.to_owned());
        break;
    }
    wrong
}

fn check(field: &'static str, given: &str, wildcards: bool) -> Result<(), Error> {
    if given == "$SYS" || given.starts_with("$SYS/") {
        return Err(Error::NotFound(format!("the topic {}", shown(given))));
    }
    match violations(given, wildcards).into_iter().next() {
        None => Ok(()),
        Some(why) => Err(Error::invalid(field, why)),
    }
}

/// A name in an answer for people, not longer than names are.
pub(crate) fn shown(name: &str) -> String {
    let short: String = name.chars().take(MAX_NAME).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    #[test]
    fn topics_stay_in_their_tenant() {
        let names = Names::of(SLUG);
        let full = names.topic("topic", "a/b").unwrap();
        assert_eq!(full, format!("isa/t/{SLUG}/a/b"));
        assert_eq!(names.given_topic(&full), Some("a/b"));
        assert_eq!(split(&full), Some((SLUG, "a/b")));
        assert_eq!(Names::of("ffffffffffffffffffff").given_topic(&full), None);
        assert_eq!(names.filter("f", "#").unwrap(), format!("isa/t/{SLUG}/#"));
        assert_eq!(
            names.filter("f", "$share/g/a/+").unwrap(),
            format!("$share/g/isa/t/{SLUG}/a/+")
        );
    }

    #[test]
    fn crafted_topics_are_refused() {
        let names = Names::of(SLUG);
        let long = "x".repeat(10_240);
        let deep = "a/".repeat(200);
        for bad in [
            "",
            "/",
            "/a",
            "a\0",
            "a\u{1}",
            "a\u{85}",
            "\u{fffe}",
            "a+",
            "#/a",
            "a/#/b",
            "$other/a",
            "$share/g",
            "$share//a",
            "$share/g/",
            "$share/+/a",
            "$share/g/$SYS/#",
            "$share/g//a",
            "$share/g/$share/h/a",
            &long,
            &deep,
        ] {
            assert!(names.filter("f", bad).is_err(), "{bad:?}");
            assert!(names.topic("f", bad).is_err(), "{bad:?}");
        }
        for wild in ["+", "#", "a/+", "a/#", "$share/g/a"] {
            assert!(names.topic("f", wild).is_err() && names.filter("f", wild).is_ok());
        }
        for good in ["a", "a//b", "a/", "größe/ä", "../a", "a b"] {
            assert!(names.topic("f", good).is_ok() && names.filter("f", good).is_ok());
        }
        for system in ["$SYS", "$SYS/#", "$SYS/broker/version"] {
            assert!(matches!(names.filter("f", system), Err(Error::NotFound(_))));
        }
    }

    #[test]
    fn filters_match_as_brokers_do() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("+/b", "a/b", true),
            ("a", "a/b", false),
            ("a/b", "a", false),
            ("a/+/c", "a//c", true),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn devices_and_keys() {
        assert_eq!(device_of("devices/d-1/telemetry/x"), Some(("d-1", "telemetry/x")));
        for none in ["devices/d", "devices//x", "devices/a b/x", "other/d/x"] {
            assert_eq!(device_of(none), None, "{none}");
        }
        let names = Names::of(SLUG);
        assert_eq!(names.key("a.b:c"), format!("{SLUG}.a=2Eb=3Ac"));
        assert_ne!(names.client("a", "bc"), names.client("ab", "c"));
        assert_ne!(names.client("a", "x"), Names::of("f").client("a", "x"));
    }
}
