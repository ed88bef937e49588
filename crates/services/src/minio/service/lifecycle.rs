//! Rules by which objects expire.

use aws_sdk_s3::{
    primitives::DateTime,
    types::{
        ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator, LifecycleRuleFilter,
        Tag, Transition, TransitionStorageClass,
    },
};

use super::{error::StoreError, tags::Tags};

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) id: String,
    pub(crate) enabled: bool,
    /// Of which objects: those whose keys begin so, and that have all these tags.
    pub(crate) prefix: Option<String>,
    pub(crate) tags: Tags,
    pub(crate) expiration: Option<When>,
    pub(crate) transition: Option<Action>,
}

/// When something is done with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// So many days after it was written.
    Days(i32),
    /// On a day, by its first second since 1970.
    Date(i64),
}

/// A move to another storage class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) when: When,
    pub(crate) class: String,
}

impl When {
    fn parts(self) -> (Option<i32>, Option<DateTime>) {
        match self {
            Self::Days(days) => (Some(days), None),
            Self::Date(seconds) => (None, Some(DateTime::from_secs(seconds))),
        }
    }

    fn of(days: Option<i32>, date: Option<&DateTime>) -> Option<Self> {
        match (days, date) {
            (Some(days), _) => Some(Self::Days(days)),
            (None, Some(date)) => Some(Self::Date(date.secs())),
            (None, None) => None,
        }
    }
}

impl Rule {
    pub(super) fn into_engine(self) -> Result<LifecycleRule, StoreError> {
        let status = if self.enabled {
            ExpirationStatus::Enabled
        } else {
            ExpirationStatus::Disabled
        };
        let expiration = self.expiration.map(|when| {
            let (days, date) = when.parts();
            LifecycleExpiration::builder()
                .set_days(days)
                .set_date(date)
                .build()
        });
        let transition = self.transition.map(|action| {
            let (days, date) = action.when.parts();
            let class = TransitionStorageClass::from(action.class.as_str());
            vec![
                Transition::builder()
                    .set_days(days)
                    .set_date(date)
                    .storage_class(class)
                    .build(),
            ]
        });
        LifecycleRule::builder()
            .id(self.id)
            .status(status)
            .filter(filter(self.prefix, self.tags)?)
            .set_expiration(expiration)
            .set_transitions(transition)
            .build()
            .map_err(StoreError::internal)
    }

    pub(super) fn of_engine(rule: &LifecycleRule) -> Self {
        let filter = rule.filter();
        let both = filter.and_then(LifecycleRuleFilter::and);
        let prefix = both.and_then(LifecycleRuleAndOperator::prefix);
        let prefix = prefix.or_else(|| filter.and_then(LifecycleRuleFilter::prefix));
        let tags = both.into_iter().flat_map(LifecycleRuleAndOperator::tags);
        let tags = tags.chain(filter.and_then(LifecycleRuleFilter::tag));
        let transition = rule.transitions().first().and_then(|it| {
            Some(Action {
                when: When::of(it.days(), it.date())?,
                class: it.storage_class()?.as_str().to_owned(),
            })
        });
        Self {
            id: rule.id().unwrap_or_default().to_owned(),
            enabled: *rule.status() == ExpirationStatus::Enabled,
            prefix: prefix.filter(|prefix| !prefix.is_empty()).map(str::to_owned),
            tags: tags.map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            expiration: rule.expiration().and_then(|it| When::of(it.days(), it.date())),
            transition,
        }
    }
}

fn filter(prefix: Option<String>, tags: Tags) -> Result<LifecycleRuleFilter, StoreError> {
    let tag = |(key, value): (String, String)| Tag::builder().key(key).value(value).build();
    let mut tags = tags
        .into_iter()
        .map(tag)
        .collect::<Result<Vec<_>, _>>()
        .map_err(StoreError::internal)?;
    let filter = LifecycleRuleFilter::builder();
    Ok(match (prefix, tags.len()) {
        (prefix, 0) => filter.prefix(prefix.unwrap_or_default()).build(),
        (None, 1) => filter.set_tag(tags.pop()).build(),
        (prefix, _) => {
            let both = LifecycleRuleAndOperator::builder()
                .set_prefix(prefix)
                .set_tags(Some(tags));
            filter.and(both.build()).build()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_come_back_as_they_were_given() {
        let tags = |count: usize| {
            (0..count)
                .map(|i| (format!("k{i}"), "v".to_owned()))
                .collect::<Tags>()
        };
        for (prefix, tags) in [
            (None, tags(0)),
            (Some("tmp/"), tags(0)),
            (None, tags(1)),
            (None, tags(2)),
            (Some("a"), tags(1)),
        ] {
            let rule = Rule {
                id: "one".into(),
                enabled: tags.is_empty(),
                prefix: prefix.map(str::to_owned),
                tags,
                expiration: Some(When::Days(3)),
                transition: Some(Action {
                    when: When::Date(86_400),
                    class: "GLACIER".into(),
                }),
            };
            assert_eq!(Rule::of_engine(&rule.clone().into_engine().unwrap()), rule);
        }
    }
}
