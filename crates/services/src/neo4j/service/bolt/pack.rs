//! PackStream, written.

use super::value::{Map, Value, Zone};

/// A message of Bolt in chunks, at the end of `out`.
pub(super) fn message(out: &mut Vec<u8>, tag: u8, fields: &[Field<'_>]) {
    let from = out.len();
    // Room for the length of the first chunk: nearly all messages have only one.
    out.extend_from_slice(&[0, 0]);
    out.push(0xB0 | small(fields.len()));
    out.push(tag);
    for field in fields {
        match field {
            Field::Text(value) => text(out, value),
            Field::Map(entries) => map(out, entries),
        }
    }
    let length = out.len() - from - 2;
    match u16::try_from(length) {
        Ok(length) => out[from..from + 2].copy_from_slice(&length.to_be_bytes()),
        Err(_) => chunk(out, from),
    }
    out.extend_from_slice(&[0, 0]);
}

/// Cuts a message that is too long for one chunk.
fn chunk(out: &mut Vec<u8>, from: usize) {
    let body = out.split_off(from + 2);
    out.truncate(from);
    for part in body.chunks(u16::MAX.into()) {
        // No part is longer than that.
        let length = u16::try_from(part.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
}

/// What messages to Neo4j are made of.
pub(super) enum Field<'a> {
    Text(&'a str),
    Map(&'a Map),
}

/// A count that is known to be below 16.
fn small(count: usize) -> u8 {
    u8::try_from(count & 0x0F).unwrap_or_default()
}

fn size(out: &mut Vec<u8>, count: usize, tiny: Option<u8>, markers: [u8; 3]) {
    match (tiny, u8::try_from(count), u16::try_from(count)) {
        (Some(tiny), _, _) if count < 16 => out.push(tiny | small(count)),
        (_, Ok(count), _) => out.extend_from_slice(&[markers[0], count]),
        (_, _, Ok(count)) => {
            out.push(markers[1]);
            out.extend_from_slice(&count.to_be_bytes());
        }
        _ => {
            out.push(markers[2]);
            // A request is far smaller than 4 GiB.
            out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        }
    }
}

fn text(out: &mut Vec<u8>, value: &str) {
    size(out, value.len(), Some(0x80), [0xD0, 0xD1, 0xD2]);
    out.extend_from_slice(value.as_bytes());
}

fn map(out: &mut Vec<u8>, entries: &Map) {
    size(out, entries.len(), Some(0xA0), [0xD8, 0xD9, 0xDA]);
    for (key, value) in entries {
        text(out, key);
        self::value(out, value);
    }
}

fn int(out: &mut Vec<u8>, int: i64) {
    if let Ok(byte) = i8::try_from(int) {
        if byte < -16 {
            out.push(0xC8);
        }
        out.extend_from_slice(&byte.to_be_bytes());
    } else if let Ok(short) = i16::try_from(int) {
        out.push(0xC9);
        out.extend_from_slice(&short.to_be_bytes());
    } else if let Ok(long) = i32::try_from(int) {
        out.push(0xCA);
        out.extend_from_slice(&long.to_be_bytes());
    } else {
        out.push(0xCB);
        out.extend_from_slice(&int.to_be_bytes());
    }
}

fn float(out: &mut Vec<u8>, float: f64) {
    out.push(0xC1);
    out.extend_from_slice(&float.to_be_bytes());
}

fn ints(out: &mut Vec<u8>, tag: u8, fields: &[i64]) {
    out.extend_from_slice(&[0xB0 | small(fields.len()), tag]);
    for field in fields {
        int(out, *field);
    }
}

pub(super) fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(0xC0),
        Value::Bool(false) => out.push(0xC2),
        Value::Bool(true) => out.push(0xC3),
        Value::Int(value) => int(out, *value),
        Value::Float(value) => float(out, *value),
        Value::Text(value) => text(out, value),
        Value::Bytes(bytes) => {
            size(out, bytes.len(), None, [0xCC, 0xCD, 0xCE]);
            out.extend_from_slice(bytes);
        }
        Value::List(items) => {
            size(out, items.len(), Some(0x90), [0xD4, 0xD5, 0xD6]);
            for item in items {
                self::value(out, item);
            }
        }
        Value::Map(entries) => map(out, entries),
        Value::Date(days) => ints(out, b'D', &[*days]),
        Value::Time(nanos, offset) => ints(out, b'T', &[*nanos, *offset]),
        Value::LocalTime(nanos) => ints(out, b't', &[*nanos]),
        Value::LocalDateTime(at) => ints(out, b'd', &[at.seconds, at.nanos]),
        Value::DateTime(at, Zone::Offset(offset)) => ints(out, b'I', &[at.seconds, at.nanos, *offset]),
        Value::DateTime(at, Zone::Name(name)) => {
            out.extend_from_slice(&[0xB3, b'i']);
            int(out, at.seconds);
            int(out, at.nanos);
            text(out, name);
        }
        Value::Duration(span) => ints(out, b'E', &[span.months, span.days, span.seconds, span.nanos]),
        Value::Point(point) => {
            out.extend_from_slice(match point.z {
                None => &[0xB3, b'X'],
                Some(_) => &[0xB4, b'Y'],
            });
            int(out, point.srid);
            for axis in [Some(point.x), Some(point.y), point.z].into_iter().flatten() {
                float(out, axis);
            }
        }
        // Neo4j takes none of these as a parameter: nothing here makes one of them.
        Value::Node(_) | Value::Relationship(_) | Value::Path(_) => out.push(0xC0),
    }
}
