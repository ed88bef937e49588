//! To the caller.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use isa_proto::{
    neo4j as pb,
    prost_types::{ListValue, Struct, Value as Wire, value::Kind},
};

use super::{EXACT, MAX_DEPTH, TYPE, time};
use crate::neo4j::{
    names,
    service::{Error, Map, Node, Path, Point, Relationship, Value},
};

const fn of(kind: Kind) -> Wire {
    Wire { kind: Some(kind) }
}

fn text(text: impl Into<String>) -> Wire {
    of(Kind::StringValue(text.into()))
}

fn number(number: f64) -> Wire {
    of(Kind::NumberValue(number))
}

fn typed<const N: usize>(name: &str, fields: [(&str, Wire); N]) -> Wire {
    let mut map: BTreeMap<String, Wire> = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    map.insert(TYPE.into(), text(name));
    of(Kind::StructValue(Struct { fields: map }))
}

/// A type that is written as a text.
fn written(name: &str, value: impl Into<String>) -> Wire {
    typed(name, [("value", text(value))])
}

#[allow(clippy::cast_precision_loss)] // Not within these bounds.
fn int(int: i64) -> Wire {
    if (-EXACT..=EXACT).contains(&int) {
        number(int as f64)
    } else {
        written("integer", int.to_string())
    }
}

fn float(float: f64) -> Wire {
    if float.is_finite() {
        number(float)
    } else if float.is_nan() {
        written("float", "NaN")
    } else if float > 0.0 {
        written("float", "Infinity")
    } else {
        written("float", "-Infinity")
    }
}

fn point(point: Point) -> Wire {
    let (srid, x, y) = (int(point.srid), float(point.x), float(point.y));
    match point.z {
        None => typed("point", [("srid", srid), ("x", x), ("y", y)]),
        Some(z) => typed("point", [("srid", srid), ("x", x), ("y", y), ("z", float(z))]),
    }
}

fn list(values: Vec<Wire>) -> Wire {
    of(Kind::ListValue(ListValue { values }))
}

fn map(entries: Map, depth: usize) -> Result<Struct, Error> {
    let entry = |(key, inner)| Ok((key, value(inner, depth)?));
    let fields = entries.into_iter().map(entry).collect::<Result<_, Error>>()?;
    Ok(Struct { fields })
}

fn value(value: Value, depth: usize) -> Result<Wire, Error> {
    if depth > MAX_DEPTH {
        return Err(Error::TooDeep);
    }
    Ok(match value {
        Value::Null => of(Kind::NullValue(0)),
        Value::Bool(value) => of(Kind::BoolValue(value)),
        Value::Int(value) => int(value),
        Value::Float(value) => float(value),
        Value::Text(value) => text(value),
        Value::Bytes(bytes) => written("bytes", STANDARD.encode(bytes)),
        Value::List(items) => {
            let items = items.into_iter().map(|item| self::value(item, depth + 1));
            list(items.collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => of(Kind::StructValue(map(entries, depth + 1)?)),
        Value::Date(days) => written("date", time::date(days)),
        Value::Time(nanos, east) => written("time", time::time(nanos, east)),
        Value::LocalTime(nanos) => written("localtime", time::local_time(nanos)),
        Value::DateTime(at, zone) => written("datetime", time::datetime(at, &zone)),
        Value::LocalDateTime(at) => written("localdatetime", time::local_datetime(at)),
        Value::Duration(span) => written("duration", time::duration(span)),
        Value::Point(at) => point(at),
        Value::Node(node) => in_row(*node, depth)?,
        Value::Relationship(relationship) => related(*relationship, depth)?,
        Value::Path(path) => {
            let nodes = path.nodes.into_iter().map(|node| in_row(node, depth + 2));
            let relationships = path.relationships.into_iter().map(|one| related(one, depth + 2));
            typed(
                "path",
                [
                    ("nodes", list(nodes.collect::<Result<_, _>>()?)),
                    ("relationships", list(relationships.collect::<Result<_, _>>()?)),
                ],
            )
        }
    })
}

/// The labels that the caller may see, sorted.
fn labels(mut labels: Vec<String>) -> Vec<String> {
    labels.retain(|label| names::is_visible(label));
    labels.sort_unstable();
    labels
}

fn in_row(node: Node, depth: usize) -> Result<Wire, Error> {
    let labels = labels(node.labels).into_iter().map(text).collect();
    Ok(typed(
        "node",
        [
            ("id", int(node.id)),
            ("labels", list(labels)),
            (
                "properties",
                of(Kind::StructValue(map(node.properties, depth + 2)?)),
            ),
        ],
    ))
}

fn related(relationship: Relationship, depth: usize) -> Result<Wire, Error> {
    Ok(typed(
        "relationship",
        [
            ("id", int(relationship.id)),
            ("start_node_id", int(relationship.start)),
            ("end_node_id", int(relationship.end)),
            ("type", text(relationship.kind)),
            (
                "properties",
                of(Kind::StructValue(map(relationship.properties, depth + 2)?)),
            ),
        ],
    ))
}

/// Rows by their columns.
pub(in crate::neo4j) fn rows(columns: &[String], rows: Vec<Vec<Value>>) -> Result<Vec<pb::ResultRow>, Error> {
    let row = |row: Vec<Value>| {
        let mut fields = BTreeMap::new();
        for (column, inner) in columns.iter().zip(row) {
            fields.insert(column.clone(), value(inner, 0)?);
        }
        Ok(pb::ResultRow { fields })
    };
    rows.into_iter().map(row).collect()
}

pub(in crate::neo4j) fn node(node: Node) -> Result<pb::Node, Error> {
    Ok(pb::Node {
        id: node.id,
        labels: labels(node.labels),
        properties: Some(map(node.properties, 0)?),
    })
}

pub(in crate::neo4j) fn relationship(relationship: Relationship) -> Result<pb::Relationship, Error> {
    Ok(pb::Relationship {
        id: relationship.id,
        start_node_id: relationship.start,
        end_node_id: relationship.end,
        r#type: relationship.kind,
        properties: Some(map(relationship.properties, 0)?),
    })
}

pub(in crate::neo4j) fn path(path: Path) -> Result<pb::Path, Error> {
    Ok(pb::Path {
        length: i32::try_from(path.relationships.len()).unwrap_or(i32::MAX),
        nodes: path.nodes.into_iter().map(node).collect::<Result<_, _>>()?,
        relationships: path
            .relationships
            .into_iter()
            .map(relationship)
            .collect::<Result<_, _>>()?,
    })
}
