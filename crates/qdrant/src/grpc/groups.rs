//! Searches whose results come in groups.

use qdrant_client::qdrant as pb;

use super::{
    pb::group_id::Kind,
    query, recommend as single,
    values::{path, record_out, scored_out, size, with_payload, with_vectors},
};
use crate::service::{Failure, Group, GroupId, Groups, Search, WithLookup};

const DEFAULT_LIMIT: u64 = 10;
const DEFAULT_GROUP_SIZE: u64 = 3;

pub(super) fn search(request: pb::SearchPointGroups) -> Result<Groups, Failure> {
    let search = query::search(pb::SearchPoints {
        vector: request.vector,
        filter: request.filter,
        limit: request.limit.into(),
        with_payload: request.with_payload,
        params: request.params,
        score_threshold: request.score_threshold,
        vector_name: request.vector_name,
        with_vectors: request.with_vectors,
        shard_key_selector: request.shard_key_selector,
        sparse_indices: request.sparse_indices,
        ..Default::default()
    })?;
    groups(
        search,
        &request.group_by,
        request.group_size.into(),
        request.with_lookup,
    )
}

pub(super) fn recommend(request: pb::RecommendPointGroups) -> Result<Groups, Failure> {
    let search = single::recommend(pb::RecommendPoints {
        positive: request.positive,
        negative: request.negative,
        filter: request.filter,
        limit: request.limit.into(),
        with_payload: request.with_payload,
        params: request.params,
        score_threshold: request.score_threshold,
        using: request.using,
        with_vectors: request.with_vectors,
        lookup_from: request.lookup_from,
        strategy: request.strategy,
        positive_vectors: request.positive_vectors,
        negative_vectors: request.negative_vectors,
        shard_key_selector: request.shard_key_selector,
        ..Default::default()
    })?;
    groups(
        search,
        &request.group_by,
        request.group_size.into(),
        request.with_lookup,
    )
}

pub(super) fn query(request: pb::QueryPointGroups) -> Result<Groups, Failure> {
    let search = query::query(pb::QueryPoints {
        prefetch: request.prefetch,
        query: request.query,
        using: request.using,
        filter: request.filter,
        params: request.params,
        score_threshold: request.score_threshold,
        limit: Some(request.limit.unwrap_or(DEFAULT_LIMIT)),
        with_payload: request.with_payload,
        with_vectors: request.with_vectors,
        lookup_from: request.lookup_from,
        shard_key_selector: request.shard_key_selector,
        ..Default::default()
    })?;
    let group_size = request.group_size.unwrap_or(DEFAULT_GROUP_SIZE);
    groups(search, &request.group_by, group_size, request.with_lookup)
}

fn groups(
    search: Search,
    group_by: &str,
    group_size: u64,
    lookup: Option<pb::WithLookup>,
) -> Result<Groups, Failure> {
    let lookup = lookup.map(|lookup| {
        Ok::<_, Failure>(WithLookup {
            collection: lookup.collection,
            with_payload: with_payload(lookup.with_payload, true)?,
            with_vector: with_vectors(lookup.with_vectors),
        })
    });
    Ok(Groups {
        search,
        by: path("group_by", group_by)?,
        size: size("group_size", group_size)?,
        lookup: lookup.transpose()?,
    })
}

pub(super) fn out(groups: Vec<Group>) -> pb::GroupsResult {
    let group = |group: Group| pb::PointGroup {
        id: Some(pb::GroupId {
            kind: Some(match group.id {
                GroupId::Text(text) => Kind::StringValue(text),
                GroupId::Unsigned(number) => Kind::UnsignedValue(number),
                GroupId::Integer(number) => Kind::IntegerValue(number),
            }),
        }),
        hits: scored_out(group.hits),
        lookup: group.lookup.map(record_out),
    };
    pb::GroupsResult {
        groups: groups.into_iter().map(group).collect(),
    }
}
