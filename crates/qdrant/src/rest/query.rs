//! The `query` of a search, which Qdrant lets be many things, and vectors within it.

use qdrant_edge::{Fusion, OrderByInterface, PointId, SparseVector, Vector, VectorInternal};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::service::{Failure, Input, Mmr, Query, Strategy};

pub(super) fn query(value: Value) -> Result<Query, Failure> {
    let Value::Object(mut map) = value else {
        return Ok(Query::Nearest {
            input: input("query", value)?,
            mmr: None,
        });
    };
    let kinds = [
        "recommend",
        "discover",
        "context",
        "order_by",
        "fusion",
        "rrf",
        "sample",
        "nearest",
    ];
    let Some(kind) = kinds.into_iter().find(|kind| map.contains_key(*kind)) else {
        for kind in ["formula", "relevance_feedback"] {
            if map.contains_key(kind) {
                return Err(Failure::Unsupported(format!("a query of kind `{kind}`")));
            }
        }
        return Ok(Query::Nearest {
            input: input("query", Value::Object(map))?,
            mmr: None,
        });
    };
    let value = map.remove(kind).unwrap_or_default();
    let field = format!("query.{kind}");
    let query = match kind {
        "nearest" => Query::Nearest {
            input: input(&field, value)?,
            mmr: map.remove("mmr").map(mmr).transpose()?,
        },
        "recommend" => recommend(&field, object(&field, value)?)?,
        "discover" => {
            let mut map = object(&field, value)?;
            let target = input(
                &format!("{field}.target"),
                map.remove("target").unwrap_or_default(),
            )?;
            let context = pairs(
                &format!("{field}.context"),
                map.remove("context").unwrap_or_default(),
            )?;
            nothing_else(&field, &map)?;
            Query::Discover { target, context }
        }
        "context" => Query::Context(pairs(&field, value)?),
        "order_by" => Query::OrderBy(parse::<OrderByInterface>(&field, value)?.into()),
        "fusion" => match value.as_str() {
            Some("rrf") => Query::rrf(None, None)?,
            Some("dbsf") => Query::Fusion(Fusion::Dbsf),
            _ => return Err(Failure::Invalid(format!("{field}: expected \"rrf\" or \"dbsf\""))),
        },
        "rrf" => {
            let mut map = object(&field, value)?;
            let k: Option<usize> = parse(&format!("{field}.k"), map.remove("k").unwrap_or_default())?;
            let weights: Option<Vec<f32>> = parse(
                &format!("{field}.weights"),
                map.remove("weights").unwrap_or_default(),
            )?;
            nothing_else(&field, &map)?;
            Query::rrf(k, weights)?
        }
        _ => match value.as_str() {
            Some("random") => Query::Sample,
            _ => return Err(Failure::Invalid(format!("{field}: expected \"random\""))),
        },
    };
    nothing_else("query", &map)?;
    Ok(query)
}

fn recommend(field: &str, mut map: Map<String, Value>) -> Result<Query, Failure> {
    let mut examples = |name: &str| match map.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(values)) => {
            let at = |(i, value)| input(&format!("{field}.{name}[{i}]"), value);
            values
                .into_iter()
                .enumerate()
                .map(at)
                .collect::<Result<Vec<_>, _>>()
        }
        Some(_) => Err(Failure::Invalid(format!("{field}.{name}: expected a list"))),
    };
    let (positive, negative) = (examples("positive")?, examples("negative")?);
    let strategy = match map.remove("strategy") {
        None | Some(Value::Null) => Strategy::default(),
        Some(value) => match value.as_str() {
            Some("average_vector") => Strategy::AverageVector,
            Some("best_score") => Strategy::BestScore,
            Some("sum_scores") => Strategy::SumScores,
            _ => {
                return Err(Failure::Invalid(format!(
                    "{field}.strategy: {value} is not a strategy"
                )));
            }
        },
    };
    nothing_else(field, &map)?;
    Ok(Query::Recommend {
        positive,
        negative,
        strategy,
    })
}

fn mmr(value: Value) -> Result<Mmr, Failure> {
    let mut map = object("query.mmr", value)?;
    let mmr = Mmr {
        diversity: parse("query.mmr.diversity", map.remove("diversity").unwrap_or_default())?,
        candidates_limit: parse(
            "query.mmr.candidates_limit",
            map.remove("candidates_limit").unwrap_or_default(),
        )?,
    };
    nothing_else("query.mmr", &map)?;
    Ok(mmr)
}

/// One pair or a list of pairs of a positive and a negative example.
fn pairs(field: &str, value: Value) -> Result<Vec<(Input, Input)>, Failure> {
    let values = match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values,
        pair => vec![pair],
    };
    let pair = |(i, value)| {
        let field = format!("{field}[{i}]");
        let mut map = object(&field, value)?;
        let positive = input(
            &format!("{field}.positive"),
            map.remove("positive").unwrap_or_default(),
        )?;
        let negative = input(
            &format!("{field}.negative"),
            map.remove("negative").unwrap_or_default(),
        )?;
        nothing_else(&field, &map)?;
        Ok((positive, negative))
    };
    values.into_iter().enumerate().map(pair).collect()
}

/// A vector of any kind, or the id of a point.
pub(super) fn input(field: &str, value: Value) -> Result<Input, Failure> {
    match &value {
        Value::Number(_) | Value::String(_) => parse::<PointId>(field, value).map(Input::Id),
        Value::Array(rows) if rows.first().is_some_and(Value::is_array) => {
            let rows: Vec<Vec<f32>> = parse(field, value)?;
            let vector = Vector::new_multi(rows).map_err(|e| Failure::Invalid(format!("{field}: {e}")))?;
            Ok(Input::Vector(vector.0))
        }
        Value::Array(_) => parse(field, value).map(|values| Input::Vector(VectorInternal::Dense(values))),
        Value::Object(map) if map.contains_key("indices") => {
            parse::<SparseVector>(field, value).map(|sparse| Input::Vector(VectorInternal::Sparse(sparse)))
        }
        Value::Object(map)
            if ["text", "image", "object", "model"]
                .iter()
                .any(|key| map.contains_key(*key)) =>
        {
            Err(Failure::unsupported(
                "inference: there are no models here, compute the vector in the client",
            ))
        }
        _ => Err(Failure::Invalid(format!(
            "{field}: expected a vector or the id of a point"
        ))),
    }
}

pub(super) fn object(field: &str, value: Value) -> Result<Map<String, Value>, Failure> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(Failure::Invalid(format!("{field}: expected an object"))),
    }
}

fn nothing_else(field: &str, map: &Map<String, Value>) -> Result<(), Failure> {
    match map.keys().next() {
        Some(key) => Err(Failure::Invalid(format!("{field}: unknown field `{key}`"))),
        None => Ok(()),
    }
}

pub(super) fn parse<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| Failure::Invalid(format!("{field}: {e}")))
}
