//! Distance matrices.

use qdrant_client::qdrant as pb;

use super::{
    filter::filter,
    values::{point_id_out, size},
};
use crate::service::{Distances, Failure, Matrix, check::refuse_present};

const DEFAULT_SAMPLE: u64 = 10;
const DEFAULT_LIMIT: u64 = 3;

pub(super) fn request(request: pb::SearchMatrixPoints) -> Result<Matrix, Failure> {
    refuse_present(&[("shard_key_selector", request.shard_key_selector.is_some())])?;
    Ok(Matrix {
        filter: filter(request.filter)?,
        using: request.using.unwrap_or_default(),
        sample: size("sample", request.sample.unwrap_or(DEFAULT_SAMPLE))?,
        limit: size("limit", request.limit.unwrap_or(DEFAULT_LIMIT))?,
    })
}

pub(super) fn pairs(distances: &Distances) -> pb::SearchMatrixPairs {
    let pairs = distances.pairs().map(|(a, b, score)| pb::SearchMatrixPair {
        a: Some(point_id_out(a)),
        b: Some(point_id_out(b)),
        score,
    });
    pb::SearchMatrixPairs {
        pairs: pairs.collect(),
    }
}

pub(super) fn offsets(distances: &Distances) -> pb::SearchMatrixOffsets {
    let mut out = pb::SearchMatrixOffsets {
        ids: distances.ids.iter().copied().map(point_id_out).collect(),
        ..Default::default()
    };
    for (row, column, score) in distances.offsets() {
        out.offsets_row.push(row as u64);
        out.offsets_col.push(column as u64);
        out.scores.push(score);
    }
    out
}
