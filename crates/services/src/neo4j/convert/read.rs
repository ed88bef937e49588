//! From the caller.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use isa_proto::prost_types::{Struct, Value as Wire, value::Kind};

use super::{EXACT, MAX_DEPTH, TYPE, time};
use crate::neo4j::{
    names,
    service::{Error, Map, Point, Value},
};

/// The parameters of a statement.
pub(in crate::neo4j) fn parameters(field: &str, params: BTreeMap<String, Wire>) -> Result<Map, Error> {
    params
        .into_iter()
        .map(|(name, wire)| {
            let value = value(wire, &|| format!("{field}.{name}"), 0)?;
            Ok((name, value))
        })
        .collect()
}

/// Properties to be written: Neo4j stores no maps.
pub(in crate::neo4j) fn properties(field: &str, given: Option<Struct>) -> Result<Map, Error> {
    let mut map = Map::new();
    for (key, wire) in given.map(|given| given.fields).unwrap_or_default() {
        let place = || format!("{field}.{key}");
        names::check(&place(), &key)?;
        if key == TYPE {
            return Err(Error::invalid(place(), "is a key that types of values use"));
        }
        let value = value(wire, &place, 0)?;
        if has_map(&value) {
            return Err(Error::invalid(
                place(),
                "is a map, and Neo4j stores none; make properties of its entries",
            ));
        }
        map.push((key, value));
    }
    Ok(map)
}

/// Properties of which none is null, and that are not none.
pub(in crate::neo4j) fn wanted(field: &str, given: Option<Struct>) -> Result<Map, Error> {
    let map = properties(field, given)?;
    if map.is_empty() {
        return Err(Error::invalid(field, "are none"));
    }
    match map.iter().find(|(_, value)| *value == Value::Null) {
        Some((key, _)) => Err(Error::invalid(
            format!("{field}.{key}"),
            "is null, which equals nothing",
        )),
        None => Ok(map),
    }
}

fn has_map(value: &Value) -> bool {
    match value {
        Value::Map(_) => true,
        Value::List(items) => items.iter().any(has_map),
        _ => false,
    }
}

fn value(wire: Wire, place: &dyn Fn() -> String, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(
            place(),
            format!("is nested deeper than {MAX_DEPTH}"),
        ));
    }
    Ok(match wire.kind {
        // As the published client's sync form sends None, lists and maps.
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::Text(text),
        Some(Kind::NumberValue(number)) => self::number(number).ok_or_else(|| {
            Error::invalid(
                place(),
                "is a whole number beyond 2^53, which may have been rounded on its way; write \
                     {\"@type\": \"integer\", \"value\": \"…\"}, or \"float\"",
            )
        })?,
        Some(Kind::ListValue(list)) => {
            let items = list.values.into_iter().enumerate();
            let item = |(at, wire)| value(wire, &|| format!("{}[{at}]", place()), depth + 1);
            Value::List(items.map(item).collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(map)) if map.fields.contains_key(TYPE) => typed(&map, place)?,
        Some(Kind::StructValue(map)) => {
            let entry = |(key, wire)| {
                let value = value(wire, &|| format!("{}.{key}", place()), depth + 1)?;
                Ok((key, value))
            };
            Value::Map(map.fields.into_iter().map(entry).collect::<Result<_, Error>>()?)
        }
    })
}

/// Whole numbers are Integers, but for minus nought, which Integers do not have.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // Not within these bounds.
fn number(number: f64) -> Option<Value> {
    let whole = number.is_finite() && number.fract() == 0.0 && !(number == 0.0 && number.is_sign_negative());
    if !whole {
        return Some(Value::Float(number));
    }
    (number.abs() <= EXACT as f64).then_some(Value::Int(number as i64))
}

/// A value whose map says of what type it is.
fn typed(map: &Struct, place: &dyn Fn() -> String) -> Result<Value, Error> {
    let kind = |key: &str| map.fields.get(key).and_then(|value| value.kind.as_ref());
    let Some(Kind::StringValue(name)) = kind(TYPE) else {
        return Err(Error::invalid(format!("{}.@type", place()), "is no text"));
    };
    if name == "point" {
        return point(&kind).map_err(|why| Error::invalid(place(), why));
    }
    let Some(Kind::StringValue(text)) = kind("value") else {
        return Err(Error::invalid(format!("{}.value", place()), "is no text"));
    };
    let text = text.as_str();
    if map.fields.len() > 2 {
        return Err(Error::invalid(place(), "has more than @type and value"));
    }
    let (value, form) = match name.as_str() {
        "integer" => (text.parse().ok().map(Value::Int), "an integer of 64 bits"),
        "float" => (
            float(text).map(Value::Float),
            "a number, NaN, Infinity or -Infinity",
        ),
        "date" => (time::read_date(text).map(Value::Date), "as in 2024-05-01"),
        "time" => (
            time::read_time(text).map(|(nanos, east)| Value::Time(nanos, east)),
            "as in 12:30:00+02:00",
        ),
        "localtime" => (
            time::read_local_time(text).map(Value::LocalTime),
            "as in 12:30:00",
        ),
        "datetime" => (
            time::read_datetime(text).map(|(at, zone)| Value::DateTime(at, zone)),
            "as in 2024-05-01T12:30:00+02:00 or 2024-05-01T12:30:00+02:00[Europe/Berlin]",
        ),
        "localdatetime" => (
            time::read_local_datetime(text).map(Value::LocalDateTime),
            "as in 2024-05-01T12:30:00",
        ),
        "duration" => (
            time::read_duration(text).map(Value::Duration),
            "as in P1Y2M3DT4H5M6.7S",
        ),
        "bytes" => (STANDARD.decode(text).ok().map(Value::Bytes), "base64"),
        "node" | "relationship" | "path" => {
            return Err(Error::invalid(
                place(),
                format!("is a {name}, which Neo4j takes by its id alone"),
            ));
        }
        _ => {
            return Err(Error::invalid(
                format!("{}.@type", place()),
                "is none of integer, float, date, time, localtime, datetime, localdatetime, duration, point and bytes",
            ));
        }
    };
    value.ok_or_else(|| Error::invalid(format!("{}.value", place()), format!("is no {name}: {form}")))
}

/// Rust's own reading takes more forms than it should.
fn float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        text => text.parse().ok().filter(|float: &f64| float.is_finite()),
    }
}

fn point<'a>(kind: &dyn Fn(&str) -> Option<&'a Kind>) -> Result<Value, &'static str> {
    let axis = |key| match kind(key) {
        Some(Kind::NumberValue(number)) => Some(*number),
        _ => None,
    };
    let (srid, x, y, z) = (axis("srid"), axis("x"), axis("y"), axis("z"));
    let (Some(srid), Some(x), Some(y)) = (srid, x, y) else {
        return Err("is a point without the numbers srid, x and y");
    };
    let srid = match (srid, z) {
        (7203.0, None) => 7203,
        (4326.0, None) => 4326,
        (9157.0, Some(_)) => 9157,
        (4979.0, Some(_)) => 4979,
        _ => return Err("is a point whose srid is none of 7203 and 4326, with z of 9157 and 4979"),
    };
    Ok(Value::Point(Point { srid, x, y, z }))
}
