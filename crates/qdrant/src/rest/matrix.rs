//! Distance matrices.

use axum::{
    extract::{Path, State},
    response::Response,
};
use qdrant_edge::Filter;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reply::{Body, reply};
use crate::{
    engine::Engine,
    service::{Distances, Failure, Matrix, check::refuse_present},
};

const DEFAULT_SAMPLE: usize = 10;
const DEFAULT_LIMIT: usize = 3;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatrixRequest {
    filter: Option<Filter>,
    sample: Option<usize>,
    limit: Option<usize>,
    using: Option<String>,
    shard_key: Option<Value>,
}

impl MatrixRequest {
    fn into_matrix(self) -> Result<Matrix, Failure> {
        refuse_present(&[("shard_key", self.shard_key.is_some())])?;
        Ok(Matrix {
            filter: self.filter,
            using: self.using.unwrap_or_default(),
            sample: self.sample.unwrap_or(DEFAULT_SAMPLE),
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
        })
    }
}

async fn answer<T: Serialize + 'static>(
    engine: Engine,
    name: String,
    body: Body,
    out: fn(&Distances) -> T,
) -> Response {
    reply(&engine, move |service| {
        let matrix = body.parse::<MatrixRequest>()?.into_matrix()?;
        service.matrix(&name, matrix).map(|distances| out(&distances))
    })
    .await
}

pub(super) async fn pairs(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    answer(engine, name, body, |distances| {
        let pair = |(a, b, score)| json!({ "a": a, "b": b, "score": score });
        json!({ "pairs": distances.pairs().map(pair).collect::<Vec<_>>() })
    })
    .await
}

pub(super) async fn offsets(State(engine): State<Engine>, Path(name): Path<String>, body: Body) -> Response {
    answer(engine, name, body, |distances| {
        let (mut rows, mut columns, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for (row, column, score) in distances.offsets() {
            rows.push(row);
            columns.push(column);
            scores.push(score);
        }
        json!({ "offsets_row": rows, "offsets_col": columns, "scores": scores, "ids": distances.ids })
    })
    .await
}
