//! Between the contract's messages and the store's types.

use std::collections::BTreeMap;

use aws_sdk_s3::types::StorageClass;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use isa_proto::{
    minio as pb,
    prost_types::{ListValue, Struct, Timestamp, Value, value::Kind},
};

use super::service::{
    Access, Action, BucketInfo, NotDeleted, ObjectInfo, Rule, StoreError, Tags, When, check_tags, invalid,
};
use crate::minio::names::check_prefix;

/// Rules of a bucket, of S3.
const MAX_RULES: usize = 1000;

/// Of a rule's id, of S3, in characters.
const MAX_RULE_ID: usize = 255;

/// Tags that a rule asks for, as many as an object may have.
const RULE_TAGS: usize = 10;

pub(super) fn timestamp((seconds, nanos): (i64, i32)) -> Timestamp {
    Timestamp { seconds, nanos }
}

pub(super) fn bucket(info: BucketInfo) -> pb::BucketInfo {
    pb::BucketInfo {
        name: info.name,
        creation_date: info.created.map(timestamp),
        owner_id: info.owner,
        organization_id: info.organization,
        tags: info.tags,
        region: info.region,
        size_bytes: info.size,
        object_count: info.objects,
    }
}

pub(super) fn object(info: ObjectInfo) -> pb::ObjectInfo {
    pb::ObjectInfo {
        key: info.key,
        size: info.size,
        etag: info.etag,
        content_type: info.content_type,
        last_modified: info.modified.map(timestamp),
        metadata: info.metadata,
        storage_class: info.storage_class,
        version_id: info.version,
        owner_id: info.owner,
    }
}

pub(super) fn not_deleted(failed: NotDeleted) -> pb::DeleteError {
    pb::DeleteError {
        key: failed.key,
        error_message: "the object store did not remove it".to_owned(),
        error_code: failed.code,
    }
}

/// Empty is the engine's own.
pub(super) fn storage_class(given: &str) -> Result<Option<String>, StoreError> {
    match given {
        "" => Ok(None),
        known if StorageClass::values().contains(&known) => Ok(Some(known.to_owned())),
        _ => Err(invalid("storage_class", "is none that S3 has, such as STANDARD")),
    }
}

pub(super) fn access(policy_type: i32, custom: String) -> Result<Access, StoreError> {
    use pb::BucketPolicyType as T;
    Ok(match T::try_from(policy_type) {
        Ok(T::BucketPolicyPrivate) => Access::Private,
        Ok(T::BucketPolicyPublicRead) => Access::Read,
        Ok(T::BucketPolicyPublicWrite) => Access::Write,
        Ok(T::BucketPolicyPublicRw) => Access::ReadWrite,
        Ok(T::BucketPolicyCustom) => Access::Custom(custom),
        Err(_) => return Err(invalid("policy_type", "is not known")),
    })
}

pub(super) fn policy_type(access: &Access) -> pb::BucketPolicyType {
    match access {
        Access::Private => pb::BucketPolicyType::BucketPolicyPrivate,
        Access::Read => pb::BucketPolicyType::BucketPolicyPublicRead,
        Access::Write => pb::BucketPolicyType::BucketPolicyPublicWrite,
        Access::ReadWrite => pb::BucketPolicyType::BucketPolicyPublicRw,
        Access::Custom(_) => pb::BucketPolicyType::BucketPolicyCustom,
    }
}

pub(super) fn text(text: impl Into<String>) -> Value {
    Value {
        kind: Some(Kind::StringValue(text.into())),
    }
}

pub(super) fn number(number: f64) -> Value {
    Value {
        kind: Some(Kind::NumberValue(number)),
    }
}

fn structure(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
    Struct {
        fields: fields.collect(),
    }
}

fn nested(fields: Struct) -> Value {
    Value {
        kind: Some(Kind::StructValue(fields)),
    }
}

pub(super) fn rule(rule: Rule) -> pb::LifecycleRule {
    let transition = rule.transition.map(|action| {
        let (key, value) = moment(action.when);
        structure([(key, value), ("storage_class", text(action.class))])
    });
    pb::LifecycleRule {
        id: rule.id,
        status: if rule.enabled { "Enabled" } else { "Disabled" }.to_owned(),
        filter: filter(rule.prefix, rule.tags),
        expiration: rule.expiration.map(|when| structure([moment(when)])),
        transition,
    }
}

fn moment(when: When) -> (&'static str, Value) {
    match when {
        When::Days(days) => ("days", number(days.into())),
        When::Date(seconds) => {
            let date = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default();
            ("date", text(date.format("%Y-%m-%d").to_string()))
        }
    }
}

fn filter(prefix: Option<String>, tags: Tags) -> Option<Struct> {
    let tag =
        |(key, value): (String, String)| nested(structure([("key", text(key)), ("value", text(value))]));
    let mut tags: Vec<_> = tags.into_iter().map(tag).collect();
    let mut parts: Vec<_> = prefix
        .into_iter()
        .map(|prefix| ("prefix", text(prefix)))
        .collect();
    if tags.len() > 1 {
        parts.push((
            "tags",
            Value {
                kind: Some(Kind::ListValue(ListValue { values: tags })),
            },
        ));
    } else {
        parts.extend(tags.pop().map(|tag| ("tag", tag)));
    }
    let several = parts.len() > 1 || parts.iter().any(|(key, _)| *key == "tags");
    match parts.len() {
        0 => None,
        _ if several => Some(structure([("and", nested(structure(parts)))])),
        _ => Some(structure(parts)),
    }
}

pub(super) fn rules(given: &[pb::LifecycleRule]) -> Result<Vec<Rule>, StoreError> {
    if !(1..=MAX_RULES).contains(&given.len()) {
        let count = given.len();
        return Err(invalid(
            "rules",
            format_args!("are {count}, and must be 1 to {MAX_RULES}; DeleteBucketLifecycle removes them"),
        ));
    }
    let mut ids: std::collections::BTreeSet<_> = given.iter().map(|rule| rule.id.clone()).collect();
    if given.iter().filter(|rule| !rule.id.is_empty()).count()
        != ids.iter().filter(|id| !id.is_empty()).count()
    {
        return Err(invalid("rules", "have the same id twice"));
    }
    let mut made = (1..).map(|number| format!("rule-{number}"));
    let read = |(number, rule): (usize, &pb::LifecycleRule)| {
        let mut read = read_rule(&format!("rules[{number}]"), rule)?;
        if read.id.is_empty() {
            read.id = made.find(|id| ids.insert(id.clone())).unwrap_or_default();
        }
        Ok(read)
    };
    given.iter().enumerate().map(read).collect()
}

fn read_rule(at: &str, rule: &pb::LifecycleRule) -> Result<Rule, StoreError> {
    if rule.id.chars().count() > MAX_RULE_ID || rule.id.chars().any(char::is_control) {
        return Err(invalid(
            format!("{at}.id"),
            "has more than 255 characters, or a control character",
        ));
    }
    let enabled = match rule.status.to_ascii_lowercase().as_str() {
        "" | "enabled" => true,
        "disabled" => false,
        _ => return Err(invalid(format!("{at}.status"), "must be Enabled or Disabled")),
    };
    let (mut prefix, mut tags) = (None, Tags::new());
    if let Some(filter) = &rule.filter {
        read_filter(&format!("{at}.filter"), filter, &mut prefix, &mut tags, true)?;
    }
    check_tags(&tags, RULE_TAGS)?;
    let expiration = match &rule.expiration {
        Some(when) => read_when(&format!("{at}.expiration"), when, false)?.map(|(when, _)| when),
        None => None,
    };
    let transition = match &rule.transition {
        Some(action) => {
            read_when(&format!("{at}.transition"), action, true)?.map(|(when, class)| Action { when, class })
        }
        None => None,
    };
    if expiration.is_none() && transition.is_none() {
        return Err(invalid(
            at.to_owned(),
            "has neither an expiration nor a transition",
        ));
    }
    Ok(Rule {
        id: rule.id.clone(),
        enabled,
        prefix,
        tags,
        expiration,
        transition,
    })
}

/// The fields by their names in small letters, without what separates words in them.
fn fields(given: &Struct) -> BTreeMap<String, &Kind> {
    let plain = |key: &str| key.replace('_', "").to_ascii_lowercase();
    let set = given
        .fields
        .iter()
        .filter_map(|(key, value)| Some((key, value.kind.as_ref()?)));
    set.filter(|(_, kind)| !matches!(kind, Kind::NullValue(_)))
        .map(|(key, kind)| (plain(key), kind))
        .collect()
}

fn read_filter(
    at: &str,
    given: &Struct,
    prefix: &mut Option<String>,
    tags: &mut Tags,
    outside: bool,
) -> Result<(), StoreError> {
    for (key, kind) in fields(given) {
        match (key.as_str(), kind) {
            ("prefix", Kind::StringValue(text)) => {
                check_prefix("rules", text)?;
                *prefix = Some(text.clone()).filter(|text| !text.is_empty());
            }
            ("tag", Kind::StructValue(tag)) => read_tag(at, tag, tags)?,
            ("tags", Kind::ListValue(list)) => {
                for tag in &list.values {
                    match &tag.kind {
                        Some(Kind::StructValue(tag)) => read_tag(at, tag, tags)?,
                        _ => {
                            return Err(invalid(
                                format!("{at}.tags"),
                                "must be a list of `key` and `value`",
                            ));
                        }
                    }
                }
            }
            ("and", Kind::StructValue(both)) if outside => read_filter(at, both, prefix, tags, false)?,
            _ => {
                return Err(invalid(
                    format!("{at}.{key}"),
                    "must be `prefix`, `tag`, or `and` of both",
                ));
            }
        }
    }
    Ok(())
}

fn read_tag(at: &str, given: &Struct, tags: &mut Tags) -> Result<(), StoreError> {
    let parts = fields(given);
    match (parts.get("key"), parts.get("value"), parts.len()) {
        (Some(Kind::StringValue(key)), Some(Kind::StringValue(value)), 2) => {
            tags.insert(key.clone(), value.clone());
            Ok(())
        }
        _ => Err(invalid(
            format!("{at}.tag"),
            "must have `key` and `value`, both texts",
        )),
    }
}

/// When, and the storage class of a transition. `None` of an empty struct.
fn read_when(at: &str, given: &Struct, class: bool) -> Result<Option<(When, String)>, StoreError> {
    let (mut when, mut to) = (None, String::new());
    let parts = fields(given);
    if parts.is_empty() {
        return Ok(None);
    }
    for (key, kind) in parts {
        match (key.as_str(), kind) {
            ("days" | "date", _) if when.is_some() => {
                return Err(invalid(at.to_owned(), "has both `days` and `date`"));
            }
            ("days", Kind::NumberValue(days)) => when = Some(When::Days(read_days(at, *days)?)),
            ("date", Kind::StringValue(date)) => when = Some(When::Date(read_date(at, date)?)),
            ("storageclass", Kind::StringValue(name)) if class => to.clone_from(name),
            _ => {
                return Err(invalid(
                    format!("{at}.{key}"),
                    "is not known, or of the wrong type",
                ));
            }
        }
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if class && (to.is_empty() || to.len() > 128 || !to.bytes().all(plain)) {
        return Err(invalid(
            format!("{at}.storage_class"),
            "must name a class, such as GLACIER",
        ));
    }
    match when {
        Some(when) => Ok(Some((when, to))),
        None => Err(invalid(at.to_owned(), "has neither `days` nor `date`")),
    }
}

fn read_days(at: &str, days: f64) -> Result<i32, StoreError> {
    let whole = days.trunc();
    if whole != days || !(1.0..=f64::from(i32::MAX)).contains(&whole) {
        return Err(invalid(format!("{at}.days"), "must be a whole number above 0"));
    }
    // In range, as was just seen.
    Ok(whole as i32)
}

fn read_date(at: &str, date: &str) -> Result<i64, StoreError> {
    let wrong = || invalid(format!("{at}.date"), "must be a day, such as 2027-01-31");
    let day = match DateTime::parse_from_rfc3339(date) {
        Ok(time) if time.with_timezone(&Utc).time() == NaiveTime::MIN => {
            time.with_timezone(&Utc).date_naive()
        }
        Ok(_) => return Err(wrong()),
        Err(_) => NaiveDate::parse_from_str(date, "%Y-%m-%d").map_err(|_| wrong())?,
    };
    let seconds = day.and_time(NaiveTime::MIN).and_utc().timestamp();
    if (0..253_402_300_800).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(filter: Option<Struct>, expiration: Struct) -> pb::LifecycleRule {
        pb::LifecycleRule {
            filter,
            expiration: Some(expiration),
            ..Default::default()
        }
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        let tag = || nested(structure([("Key", text("team")), ("Value", text("a"))]));
        let days = || structure([("Days", number(7.0))]);
        for (filter, back) in [
            (None, None),
            (
                Some(structure([("Prefix", text("tmp/"))])),
                Some(structure([("prefix", text("tmp/"))])),
            ),
            (
                Some(structure([(
                    "And",
                    nested(structure([("Prefix", text("a")), ("Tag", tag())])),
                )])),
                Some(structure([(
                    "and",
                    nested(structure([
                        ("prefix", text("a")),
                        (
                            "tag",
                            nested(structure([("key", text("team")), ("value", text("a"))])),
                        ),
                    ])),
                )])),
            ),
        ] {
            let read = rules(&[given(filter, days())]).unwrap().pop().unwrap();
            let written = rule(read);
            assert_eq!(written.filter, back);
            assert_eq!(
                (written.id.as_str(), written.status.as_str()),
                ("rule-1", "Enabled")
            );
            assert_eq!(written.expiration, Some(structure([("days", number(7.0))])));
        }
        let dated = rules(&[given(None, structure([("date", text("2027-01-31T00:00:00Z"))]))]).unwrap();
        let written = rule(dated[0].clone());
        assert_eq!(
            written.expiration,
            Some(structure([("date", text("2027-01-31"))]))
        );
    }

    #[test]
    fn wrong_rules_name_their_place() {
        let days = |days| structure([("days", number(days))]);
        for (rule, place) in [
            (given(None, days(0.0)), "rules[0].expiration.days"),
            (given(None, days(1.5)), "rules[0].expiration.days"),
            (given(None, days(f64::NAN)), "rules[0].expiration.days"),
            (
                given(None, structure([("date", text("soon"))])),
                "rules[0].expiration.date",
            ),
            (
                given(None, structure([("date", text("+99999-01-01"))])),
                "rules[0].expiration.date",
            ),
            (given(None, Struct::default()), "rules[0]"),
            (
                given(Some(structure([("suffix", text("x"))])), days(1.0)),
                "rules[0].filter.suffix",
            ),
            (
                pb::LifecycleRule {
                    status: "On".into(),
                    ..given(None, days(1.0))
                },
                "rules[0].status",
            ),
        ] {
            let error = rules(&[rule]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{place}: ")), "{error}");
        }
        let same = pb::LifecycleRule {
            id: "a".into(),
            ..given(None, days(1.0))
        };
        assert!(rules(&[same.clone(), same]).is_err());
        assert!(rules(&[]).is_err());
    }
}
