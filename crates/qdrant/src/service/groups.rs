//! Results by the value of a field: the best of each group, the groups in the order of their best.

use std::{
    collections::{HashMap, HashSet},
    iter,
};

use qdrant_edge::{
    AnyVariants, Condition, FieldCondition, Filter, JsonPath, Match, Payload, PointId, QueryRequest, Record,
    ScoredPoint, ScoringQuery, WithPayloadInterface, WithVector, external::uuid::Uuid,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Failure, Search, Service, Stage, check,
    search::{self, Resolved},
};
use crate::storage::{InUse, Shard};

/// Searches made for one request at most: results of groups that are full make room for others only in the next.
const MAX_SEARCHES: usize = 10;

/// A search whose `limit` is a number of groups.
#[derive(Debug)]
pub(crate) struct Groups {
    pub(crate) search: Search,
    /// The field with the ids of the groups. A point with several is in each of them.
    pub(crate) by: JsonPath,
    /// Most points of a group.
    pub(crate) size: usize,
    pub(crate) lookup: Option<WithLookup>,
}

/// Another collection, in which the ids of groups are those of points.
#[derive(Debug)]
pub(crate) struct WithLookup {
    pub(crate) collection: String,
    pub(crate) with_payload: WithPayloadInterface,
    pub(crate) with_vector: WithVector,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub(crate) enum GroupId {
    Text(String),
    Unsigned(u64),
    Integer(i64),
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// The best first.
    pub(crate) hits: Vec<ScoredPoint>,
    /// What a lookup found.
    pub(crate) lookup: Option<Record>,
}

impl Service {
    /// The best groups, the one with the best result first.
    pub(crate) fn groups(&self, name: &str, groups: Groups) -> Result<Vec<Group>, Failure> {
        let Groups {
            mut search,
            by,
            size,
            lookup,
        } = groups;
        let wanted = search.stage.limit;
        check::limit(wanted, 0)?;
        if size == 0 {
            return Err(Failure::invalid("group_size: 0 is less than 1"));
        }
        check::results("limit * group_size", wanted.saturating_mul(size))?;
        if let Some(lookup) = &lookup {
            // Before all the work.
            self.storage.get(&lookup.collection)?;
        }
        self.look_up(name, iter::once(&mut search.stage))?;
        let mut groups = self.with(name, |shard, config| {
            let enrich = (search.with_payload.clone(), search.with_vector.clone());
            search.stage.limit = wanted * size;
            search.with_payload = WithPayloadInterface::Fields(vec![whole(&by)]);
            search.with_vector = WithVector::Bool(false);
            let share = check::MAX_RESULTS / stages(&search.stage);
            widen(&mut search.stage.prefetch, wanted, share);
            let resolved = search::resolve(shard.engine(), config, search)?;
            let mut groups = find(shard, resolved, &by, wanted, size)?;
            fill(shard, &mut groups, enrich)?;
            Ok(groups)
        })?;
        if let Some(lookup) = lookup {
            self.add_lookups(&mut groups, lookup)?;
        }
        Ok(groups)
    }

    fn add_lookups(&self, groups: &mut [Group], lookup: WithLookup) -> Result<(), Failure> {
        let ids: Vec<_> = groups.iter().filter_map(|group| group.id.point()).collect();
        let records = self.with(&lookup.collection, |shard, _| {
            shard.read(|engine| engine.retrieve(&ids, Some(lookup.with_payload), Some(lookup.with_vector)))
        })?;
        let found: HashMap<_, _> = records.into_iter().map(|record| (record.id, record)).collect();
        for group in groups {
            group.lookup = group.id.point().and_then(|id| found.get(&id)).cloned();
        }
        Ok(())
    }
}

impl GroupId {
    fn new(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            Value::Number(number) => number
                .as_u64()
                .map(Self::Unsigned)
                .or_else(|| number.as_i64().map(Self::Integer)),
            _ => None,
        }
    }

    /// All groups of a point; none if one of its values cannot be the id of one, as in Qdrant.
    fn of(payload: Option<&Payload>, by: &JsonPath) -> Vec<Self> {
        let mut seen = HashSet::new();
        let ids: Option<Vec<_>> = payload
            .into_iter()
            .flat_map(|payload| by.value_get(&payload.0))
            .flat_map(|value| match value {
                Value::Array(values) => values.iter().collect(),
                value => vec![value],
            })
            .map(Self::new)
            .collect();
        let mut ids = ids.unwrap_or_default();
        ids.retain(|id| seen.insert(id.clone()));
        ids
    }

    fn point(&self) -> Option<PointId> {
        match self {
            Self::Text(text) => Uuid::parse_str(text).ok().map(PointId::Uuid),
            Self::Unsigned(number) => Some(PointId::NumId(*number)),
            Self::Integer(number) => u64::try_from(*number).ok().map(PointId::NumId),
        }
    }
}

/// The field itself where the path is to the elements of a list: those cannot be selected alone.
fn whole(by: &JsonPath) -> JsonPath {
    let text = by.to_string();
    text.strip_suffix("[]")
        .and_then(|field| field.parse().ok())
        .unwrap_or_else(|| by.clone())
}

fn stages(stage: &Stage) -> usize {
    1 + stage.prefetch.iter().map(stages).sum::<usize>()
}

/// Lets prefetches find enough for all groups.
fn widen(prefetches: &mut [Stage], groups: usize, share: usize) {
    for prefetch in prefetches {
        let wide = prefetch.limit.saturating_mul(groups).min(share);
        prefetch.limit = prefetch.limit.max(wide);
        widen(&mut prefetch.prefetch, groups, share);
    }
}

fn find(
    shard: &InUse<'_>,
    mut resolved: Resolved,
    by: &JsonPath,
    wanted: usize,
    size: usize,
) -> Result<Vec<Group>, Failure> {
    let has_group = Filter::new_must_not(Condition::IsEmpty(by.clone().into()));
    let filter = resolved.request.filter.take().unwrap_or_default();
    let filter = filter.merge_owned(has_group);
    let mut found = Found {
        wanted,
        size,
        groups: Vec::new(),
        by_id: HashMap::new(),
        seen: HashSet::new(),
    };
    // The scores of these depend on what else is found: leaving out what was seen would change them.
    let together = candidates(&resolved.request);
    for _ in 0..MAX_SEARCHES {
        let mut page = resolved.clone();
        if let Some(candidates) = together {
            page.request.limit = candidates;
        }
        page.request.filter = Some(filter.clone().merge_owned(found.missing(by)));
        let limit = page.request.limit;
        let points = page.run(shard)?;
        let all = together.is_some() || points.len() < limit;
        found.add(by, points);
        if all || found.is_complete() {
            break;
        }
    }
    found.groups.truncate(wanted);
    Ok(found.groups)
}

/// How many results there can be, of a query that must be asked once for all of them.
fn candidates(request: &QueryRequest) -> Option<usize> {
    let prefetched = request
        .prefetches
        .iter()
        .fold(0_usize, |sum, prefetch| sum.saturating_add(prefetch.limit));
    match &request.query {
        Some(ScoringQuery::Mmr(mmr)) => Some(mmr.candidates_limit),
        _ if request.prefetches.is_empty() => None,
        _ => Some(prefetched.clamp(1, check::MAX_RESULTS)),
    }
}

/// Groups in the order in which their best results were found.
struct Found {
    wanted: usize,
    size: usize,
    groups: Vec<Group>,
    by_id: HashMap<GroupId, usize>,
    seen: HashSet<PointId>,
}

impl Found {
    fn add(&mut self, by: &JsonPath, points: Vec<ScoredPoint>) {
        for mut point in points {
            self.seen.insert(point.id);
            let payload = point.payload.take();
            for id in GroupId::of(payload.as_ref(), by) {
                let index = *self.by_id.entry(id.clone()).or_insert_with(|| {
                    self.groups.push(Group {
                        id,
                        hits: Vec::new(),
                        lookup: None,
                    });
                    self.groups.len() - 1
                });
                if let Some(group) = self.groups.get_mut(index)
                    && group.hits.len() < self.size
                {
                    group.hits.push(point.clone());
                }
            }
        }
    }

    fn best(&self) -> Option<&[Group]> {
        self.groups.get(..self.wanted)
    }

    fn is_complete(&self) -> bool {
        self.best()
            .is_some_and(|best| best.iter().all(|group| group.hits.len() >= self.size))
    }

    /// Points not seen yet, outside the groups that are full; within the best groups once these are known.
    fn missing(&self, by: &JsonPath) -> Filter {
        let is_full = |group: &Group| group.hits.len() >= self.size;
        let on = |kind| Condition::Field(FieldCondition::new_match(by.clone(), kind));
        let must: Vec<_> = match self.best() {
            None => values(self.groups.iter().filter(|group| is_full(group)))
                .map(|values| on(Match::new_except(values)))
                .collect(),
            Some(best) => {
                let any: Vec<_> = values(best.iter().filter(|group| !is_full(group)))
                    .map(|values| on(Match::new_any(values)))
                    .collect();
                let one_of = Filter {
                    should: Some(any).filter(|any| !any.is_empty()),
                    ..Filter::default()
                };
                vec![Condition::Filter(one_of)]
            }
        };
        let filter = Filter {
            must: Some(must).filter(|must| !must.is_empty()),
            ..Filter::default()
        };
        if self.seen.is_empty() {
            filter
        } else {
            search::excluding(Some(filter), self.seen.clone())
        }
    }
}

/// The ids of groups as conditions have them: texts and integers. Larger integers cannot be told apart there, so
/// points of such groups are found again and left out.
fn values<'a>(groups: impl Iterator<Item = &'a Group>) -> impl Iterator<Item = AnyVariants> {
    let (mut texts, mut integers) = (Vec::<String>::new(), Vec::<i64>::new());
    for group in groups {
        match &group.id {
            GroupId::Text(text) => texts.push(text.clone()),
            GroupId::Unsigned(number) => integers.extend(i64::try_from(*number)),
            GroupId::Integer(number) => integers.push(*number),
        }
    }
    let texts = (!texts.is_empty()).then(|| AnyVariants::Strings(texts.into_iter().collect()));
    let integers = (!integers.is_empty()).then(|| AnyVariants::Integers(integers.into_iter().collect()));
    texts.into_iter().chain(integers)
}

/// Adds what the client wants of each point.
fn fill(
    shard: &Shard,
    groups: &mut [Group],
    (with_payload, with_vector): (WithPayloadInterface, WithVector),
) -> Result<(), Failure> {
    if matches!(with_payload, WithPayloadInterface::Bool(false)) && !with_vector.is_enabled() {
        return Ok(());
    }
    let ids: HashSet<_> = groups
        .iter()
        .flat_map(|group| &group.hits)
        .map(|hit| hit.id)
        .collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let records = shard.read(|engine| engine.retrieve(&ids, Some(with_payload), Some(with_vector)))?;
    let records: HashMap<_, _> = records.into_iter().map(|record| (record.id, record)).collect();
    for group in groups {
        // One that is not there any more was deleted meanwhile.
        group.hits.retain_mut(|hit| match records.get(&hit.id) {
            Some(record) => {
                hit.payload.clone_from(&record.payload);
                hit.vector.clone_from(&record.vector);
                true
            }
            None => false,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ids(payload: Value, by: &str) -> Vec<GroupId> {
        let payload: Payload = serde_json::from_value(payload).unwrap();
        GroupId::of(Some(&payload), &by.parse().unwrap())
    }

    #[test]
    fn texts_and_integers_are_groups() {
        let text = |text: &str| GroupId::Text(text.to_owned());
        assert_eq!(ids(json!({ "a": "x" }), "a"), [text("x")]);
        assert_eq!(ids(json!({ "a": ["x", "y", "x"] }), "a"), [text("x"), text("y")]);
        assert_eq!(ids(json!({ "a": ["x"] }), "a[]"), [text("x")]);
        assert_eq!(
            ids(json!({ "a": [{ "b": 3 }, { "b": -3 }] }), "a[].b"),
            [GroupId::Unsigned(3), GroupId::Integer(-3)]
        );
        assert_eq!(ids(json!({ "a": ["x", true] }), "a"), []);
        assert_eq!(ids(json!({ "a": 1.5 }), "a"), []);
        assert_eq!(ids(json!({}), "a"), []);
    }

    #[test]
    fn lists_are_selected_whole() {
        let whole = |path: &str| super::whole(&path.parse().unwrap()).to_string();
        assert_eq!(whole("a.b[]"), "a.b");
        assert_eq!(whole("a[].b"), "a[].b");
    }
}
