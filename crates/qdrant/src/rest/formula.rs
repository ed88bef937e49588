//! Formulas over scores and payload.

use std::collections::HashMap;

use qdrant_edge::{Condition, DecayKind, Expression, Formula, GeoPoint, JsonPath};
use serde_json::{Map, Value};

use super::query::{nothing_else, object, parse};
use crate::service::Failure;

const FIELD: &str = "query.formula";

pub(super) fn formula(value: Value, defaults: Value) -> Result<Formula, Failure> {
    let defaults: Option<HashMap<String, Value>> = parse("query.defaults", defaults)?;
    Ok(Formula {
        formula: expression(value)?,
        defaults: defaults.unwrap_or_default(),
    })
}

/// Not deeper than JSON may be, which bounds the stack.
fn expression(value: Value) -> Result<Expression, Failure> {
    match value {
        Value::Number(_) => parse(FIELD, value).map(Expression::Constant),
        Value::String(name) => Ok(Expression::Variable(name)),
        Value::Object(map) => operation(map),
        _ => Err(Failure::Invalid(format!(
            "{FIELD}: expected a number, a variable, a condition or an expression"
        ))),
    }
}

/// An object with one operation, or else a condition.
fn operation(mut map: Map<String, Value>) -> Result<Expression, Failure> {
    let name = match map.keys().next() {
        Some(name) if map.len() == 1 => name.clone(),
        _ => return condition(map),
    };
    let field = format!("{FIELD}.{name}");
    let inner = map.remove(&name).unwrap_or_default();
    Ok(match name.as_str() {
        "geo_distance" => {
            let mut map = object(&field, inner)?;
            let origin: GeoPoint = take(&field, &mut map, "origin")?;
            let to: JsonPath = take(&field, &mut map, "to")?;
            nothing_else(&field, &map)?;
            Expression::GeoDistance { origin, to }
        }
        "datetime" => Expression::Datetime(parse(&field, inner)?),
        "datetime_key" => Expression::DatetimeKey(parse(&field, inner)?),
        "mult" => Expression::Mult(expressions(&field, inner)?),
        "sum" => Expression::Sum(expressions(&field, inner)?),
        "neg" => Expression::Neg(boxed(inner)?),
        "abs" => Expression::Abs(boxed(inner)?),
        "sqrt" => Expression::Sqrt(boxed(inner)?),
        "exp" => Expression::Exp(boxed(inner)?),
        "log10" => Expression::Log10(boxed(inner)?),
        "ln" => Expression::Ln(boxed(inner)?),
        "div" => {
            let mut map = object(&field, inner)?;
            let left = boxed(map.remove("left").unwrap_or_default())?;
            let right = boxed(map.remove("right").unwrap_or_default())?;
            let by_zero_default = take(&field, &mut map, "by_zero_default")?;
            nothing_else(&field, &map)?;
            Expression::Div {
                left,
                right,
                by_zero_default,
            }
        }
        "pow" => {
            let mut map = object(&field, inner)?;
            let base = boxed(map.remove("base").unwrap_or_default())?;
            let exponent = boxed(map.remove("exponent").unwrap_or_default())?;
            nothing_else(&field, &map)?;
            Expression::Pow { base, exponent }
        }
        "exp_decay" => decay(DecayKind::Exp, &field, inner)?,
        "gauss_decay" => decay(DecayKind::Gauss, &field, inner)?,
        "lin_decay" => decay(DecayKind::Lin, &field, inner)?,
        "max" | "min" | "acosh" => {
            return Err(Failure::Unsupported(format!("the formula expression `{name}`")));
        }
        _ => {
            map.insert(name, inner);
            return condition(map);
        }
    })
}

fn condition(map: Map<String, Value>) -> Result<Expression, Failure> {
    let condition: Condition = parse(FIELD, Value::Object(map))?;
    Ok(Expression::Condition(Box::new(condition)))
}

fn expressions(field: &str, value: Value) -> Result<Vec<Expression>, Failure> {
    match value {
        Value::Array(values) => values.into_iter().map(expression).collect(),
        _ => Err(Failure::Invalid(format!("{field}: expected a list"))),
    }
}

fn boxed(value: Value) -> Result<Box<Expression>, Failure> {
    expression(value).map(Box::new)
}

fn decay(kind: DecayKind, field: &str, value: Value) -> Result<Expression, Failure> {
    let mut map = object(field, value)?;
    let x = boxed(map.remove("x").unwrap_or_default())?;
    let target = match map.remove("target") {
        None | Some(Value::Null) => None,
        Some(target) => Some(boxed(target)?),
    };
    let midpoint = take(field, &mut map, "midpoint")?;
    let scale = take(field, &mut map, "scale")?;
    nothing_else(field, &map)?;
    Ok(Expression::Decay {
        kind,
        x,
        target,
        midpoint,
        scale,
    })
}

fn take<T: serde::de::DeserializeOwned>(
    field: &str,
    map: &mut Map<String, Value>,
    name: &str,
) -> Result<T, Failure> {
    parse(&format!("{field}.{name}"), map.remove(name).unwrap_or_default())
}
