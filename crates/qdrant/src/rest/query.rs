//! The `query` of a search, which Qdrant lets be many things, and vectors within it.

use qdrant_edge::{Fusion, OrderByInterface, PointId, SparseVector, Vector, VectorInternal};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::formula;
use crate::service::{Failure, Feedback, Input, Mmr, Query, Strategy};

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
        "formula",
        "relevance_feedback",
        "nearest",
    ];
    let Some(kind) = kinds.into_iter().find(|kind| map.contains_key(*kind)) else {
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
        "formula" => Query::Formula(formula::formula(
            value,
            map.remove("defaults").unwrap_or_default(),
        )?),
        "relevance_feedback" => Query::Feedback(feedback(&field, object(&field, value)?)?),
        _ => match value.as_str() {
            Some("random") => Query::Sample,
            _ => return Err(Failure::Invalid(format!("{field}: expected \"random\""))),
        },
    };
    nothing_else("query", &map)?;
    Ok(query)
}

fn feedback(field: &str, mut map: Map<String, Value>) -> Result<Feedback, Failure> {
    let mut take = |name: &str| map.remove(name).unwrap_or_default();
    let (target, items, strategy) = (take("target"), take("feedback"), take("strategy"));
    nothing_else(field, &map)?;
    let items: Vec<Map<String, Value>> = parse(&format!("{field}.feedback"), items)?;
    let item = |(i, mut item): (usize, Map<String, Value>)| {
        let field = format!("{field}.feedback[{i}]");
        let example = input(
            &format!("{field}.example"),
            item.remove("example").unwrap_or_default(),
        )?;
        let score: f32 = parse(
            &format!("{field}.score"),
            item.remove("score").unwrap_or_default(),
        )?;
        nothing_else(&field, &item)?;
        Ok((example, score))
    };
    let field_of_strategy = format!("{field}.strategy");
    let mut strategy = object(&field_of_strategy, strategy)?;
    let mut naive = object(
        &format!("{field_of_strategy}.naive"),
        strategy.remove("naive").unwrap_or_default(),
    )?;
    nothing_else(&field_of_strategy, &strategy)?;
    let mut coefficients = [0.0; 3];
    for (name, coefficient) in ["a", "b", "c"].into_iter().zip(&mut coefficients) {
        let value = naive.remove(name).unwrap_or_default();
        *coefficient = parse(&format!("{field_of_strategy}.naive.{name}"), value)?;
    }
    nothing_else(&field_of_strategy, &naive)?;
    Ok(Feedback {
        target: input(&format!("{field}.target"), target)?,
        feedback: items
            .into_iter()
            .enumerate()
            .map(item)
            .collect::<Result<_, Failure>>()?,
        coefficients,
    })
}

fn recommend(field: &str, mut map: Map<String, Value>) -> Result<Query, Failure> {
    let mut take = |name: &str| map.remove(name).unwrap_or_default();
    let (positive, negative) = (take("positive"), take("negative"));
    let strategy = take("strategy");
    nothing_else(field, &map)?;
    Ok(Query::Recommend {
        positive: inputs(&format!("{field}.positive"), positive)?,
        negative: inputs(&format!("{field}.negative"), negative)?,
        strategy: self::strategy(&format!("{field}.strategy"), &strategy)?,
    })
}

pub(super) fn strategy(field: &str, value: &Value) -> Result<Strategy, Failure> {
    match (value, value.as_str()) {
        (Value::Null, _) => Ok(Strategy::default()),
        (_, Some("average_vector")) => Ok(Strategy::AverageVector),
        (_, Some("best_score")) => Ok(Strategy::BestScore),
        (_, Some("sum_scores")) => Ok(Strategy::SumScores),
        _ => Err(Failure::Invalid(format!("{field}: {value} is not a strategy"))),
    }
}

/// A list of vectors and ids, or nothing.
pub(super) fn inputs(field: &str, value: Value) -> Result<Vec<Input>, Failure> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => {
            let at = |(i, value)| input(&format!("{field}[{i}]"), value);
            values.into_iter().enumerate().map(at).collect()
        }
        _ => Err(Failure::Invalid(format!("{field}: expected a list"))),
    }
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
pub(super) fn pairs(field: &str, value: Value) -> Result<Vec<(Input, Input)>, Failure> {
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

pub(super) fn nothing_else(field: &str, map: &Map<String, Value>) -> Result<(), Failure> {
    match map.keys().next() {
        Some(key) => Err(Failure::Invalid(format!("{field}: unknown field `{key}`"))),
        None => Ok(()),
    }
}

pub(super) fn parse<T: DeserializeOwned>(field: &str, value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| Failure::Invalid(format!("{field}: {e}")))
}
