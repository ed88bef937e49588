//! Ids that mean the points of another collection.

use std::collections::{BTreeMap, HashMap};

use qdrant_edge::{PointId, WithPayloadInterface, WithVector};

use super::{Failure, Input, Lookup, Query, Service, Stage, check, search};
use crate::storage::Shard;

/// Points of other collections that one request may ask with.
const MAX_LOOKUPS: usize = 10_000;
/// Their vectors are read in portions, and have together at most that many numbers: the ids of a small request can
/// mean large vectors.
const PORTION: usize = 100;
const MAX_NUMBERS: usize = 16 << 20;

/// What is asked of one vector of one collection.
type Wanted<'a> = BTreeMap<(String, String), Vec<&'a mut Input>>;

impl Service {
    /// Puts the vectors of the points of other collections in the place of their ids. Before the searched collection
    /// is opened: a request that kept one open while it waits for another could wait for one that waits for it.
    pub(super) fn look_up<'a>(
        &self,
        name: &str,
        stages: impl Iterator<Item = &'a mut Stage>,
    ) -> Result<(), Failure> {
        let mut wanted = Wanted::new();
        stages.for_each(|stage| collect(name, stage, &mut wanted));
        let count: usize = wanted.values().map(Vec::len).sum();
        if count > MAX_LOOKUPS {
            return Err(Failure::Invalid(format!(
                "lookup_from: {count} points are more than {MAX_LOOKUPS}"
            )));
        }
        let mut room = MAX_NUMBERS;
        for ((collection, vector), mut inputs) in wanted {
            self.with(&collection, |shard, config| {
                check::kind(config, "lookup_from.vector", &vector)?;
                inputs
                    .chunks_mut(PORTION)
                    .try_for_each(|portion| fill(shard, &collection, &vector, portion, &mut room))
            })?;
        }
        Ok(())
    }
}

fn fill(
    shard: &Shard,
    collection: &str,
    vector: &str,
    inputs: &mut [&mut Input],
    room: &mut usize,
) -> Result<(), Failure> {
    let ids: Vec<_> = inputs.iter().filter_map(|input| input.id()).collect();
    let with_vector = WithVector::Selector(vec![vector.to_owned()]);
    let records = shard
        .read(|engine| engine.retrieve(&ids, Some(WithPayloadInterface::Bool(false)), Some(with_vector)))?;
    let found: HashMap<_, _> = records.iter().map(|record| (record.id, record)).collect();
    for input in inputs {
        let Some(id) = input.id() else { continue };
        let record = found
            .get(&id)
            .ok_or_else(|| Failure::NotFound(format!("No point with id {id} found in `{collection}`")))?;
        let stored = record.get_vector_by_name(vector).ok_or_else(|| {
            Failure::Invalid(format!(
                "query: the point with id {id} of `{collection}` has no vector {vector:?}"
            ))
        })?;
        let stored = stored.to_owned();
        *room = room.checked_sub(search::numbers(&stored)).ok_or_else(|| {
            Failure::Invalid(format!(
                "lookup_from: the vectors have together more than {MAX_NUMBERS} numbers"
            ))
        })?;
        **input = Input::Vector(stored);
    }
    Ok(())
}

fn collect<'a>(name: &str, stage: &'a mut Stage, wanted: &mut Wanted<'a>) {
    if let (Some(Lookup { collection, vector }), Some(query)) = (&stage.lookup_from, &mut stage.query)
        && collection != name
    {
        let vector = vector.clone().unwrap_or_else(|| stage.using.clone());
        let inputs = query
            .inputs_mut()
            .into_iter()
            .filter(|input| input.id().is_some());
        let mut inputs = inputs.peekable();
        if inputs.peek().is_some() {
            wanted
                .entry((collection.clone(), vector))
                .or_default()
                .extend(inputs);
        }
    }
    for inner in &mut stage.prefetch {
        collect(name, inner, wanted);
    }
}

impl Query {
    fn inputs_mut(&mut self) -> Vec<&mut Input> {
        fn both((positive, negative): &mut (Input, Input)) -> [&mut Input; 2] {
            [positive, negative]
        }
        match self {
            Self::Nearest { input, .. } => vec![input],
            Self::Recommend {
                positive, negative, ..
            } => positive.iter_mut().chain(negative).collect(),
            Self::Discover { target, context } => std::iter::once(target)
                .chain(context.iter_mut().flat_map(both))
                .collect(),
            Self::Context(context) => context.iter_mut().flat_map(both).collect(),
            Self::Feedback(feedback) => std::iter::once(&mut feedback.target)
                .chain(feedback.feedback.iter_mut().map(|(example, _)| example))
                .collect(),
            Self::OrderBy(_) | Self::Fusion(_) | Self::Formula(_) | Self::Sample => Vec::new(),
        }
    }
}

impl Input {
    fn id(&self) -> Option<PointId> {
        match self {
            Self::Id(id) => Some(*id),
            Self::Vector(_) => None,
        }
    }
}
