//! Lists, structs and maps as JSON. Numbers that every reader takes are numbers; what is text outside is text here.

use std::fmt::Write;

use duckdb::arrow::{
    array::{Array, AsArray},
    datatypes::DataType,
};

use super::{
    error::Error,
    rows::{Cell, Shape, cell},
};

/// How deep values may be.
const MAX_DEPTH: usize = 64;

pub(super) fn write(text: &mut String, column: &dyn Array, shape: &Shape, row: usize) -> Result<(), Error> {
    put(text, column, shape, row, 0)
}

fn put(text: &mut String, column: &dyn Array, shape: &Shape, row: usize, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::Unsupported(format!(
            "values nested more than {MAX_DEPTH} deep cannot be sent"
        )));
    }
    if column.is_null(row) {
        text.push_str("null");
        return Ok(());
    }
    let Shape::Nested(inner) = shape else {
        return scalar(text, cell(column, shape, row)?);
    };
    let child = |index: usize| inner.get(index).unwrap_or(&Shape::Plain);
    match column.data_type() {
        DataType::List(_) => list(text, column.as_list::<i32>().value(row).as_ref(), child(0), depth),
        DataType::LargeList(_) => list(text, column.as_list::<i64>().value(row).as_ref(), child(0), depth),
        DataType::FixedSizeList(..) => list(
            text,
            column.as_fixed_size_list().value(row).as_ref(),
            child(0),
            depth,
        ),
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            // A row without names, as `row(1, 2)` makes it.
            let unnamed = fields.iter().any(|field| field.name().is_empty());
            text.push(if unnamed { '[' } else { '{' });
            for (index, (field, column)) in fields.iter().zip(columns).enumerate() {
                separate(text, index);
                if !unnamed {
                    string(text, field.name())?;
                    text.push(':');
                }
                put(text, column.as_ref(), child(index), row, depth + 1)?;
            }
            text.push(if unnamed { ']' } else { '}' });
            Ok(())
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let (keys, values) = (entries.column(0), entries.column(1));
            text.push('{');
            for index in 0..entries.len() {
                separate(text, index);
                let mut key = String::new();
                put(&mut key, keys.as_ref(), child(0), index, depth + 1)?;
                // Keys of JSON are texts.
                if key.starts_with('"') {
                    text.push_str(&key);
                } else {
                    string(text, &key)?;
                }
                text.push(':');
                put(text, values.as_ref(), child(1), index, depth + 1)?;
            }
            text.push('}');
            Ok(())
        }
        DataType::Union(..) => {
            let union = column.as_union();
            let member = usize::try_from(union.type_id(row)).unwrap_or_default();
            put(text, union.value(row).as_ref(), child(member), 0, depth + 1)
        }
        other => Err(Error::Unsupported(format!(
            "values of type {other} cannot be sent"
        ))),
    }
}

fn list(text: &mut String, items: &dyn Array, shape: &Shape, depth: usize) -> Result<(), Error> {
    text.push('[');
    for index in 0..items.len() {
        separate(text, index);
        put(text, items, shape, index, depth + 1)?;
    }
    text.push(']');
    Ok(())
}

fn separate(text: &mut String, index: usize) {
    if index > 0 {
        text.push(',');
    }
}

fn scalar(text: &mut String, value: Cell) -> Result<(), Error> {
    match value {
        Cell::Null => text.push_str("null"),
        Cell::Bool(truth) => text.push_str(if truth { "true" } else { "false" }),
        Cell::Int(number) => {
            let _ = write!(text, "{number}");
        }
        Cell::Double(number) if number.is_finite() => {
            let _ = write!(text, "{number:?}");
        }
        Cell::Double(number) => string(text, &number.to_string())?,
        Cell::Text(value) => string(text, &value)?,
        // As DuckDB writes bytes in a text.
        Cell::Bytes(bytes) => {
            let mut hex = String::with_capacity(bytes.len() * 4);
            for byte in bytes {
                let _ = write!(hex, "\\x{byte:02X}");
            }
            string(text, &hex)?;
        }
    }
    Ok(())
}

fn string(text: &mut String, value: &str) -> Result<(), Error> {
    text.push_str(&serde_json::to_string(value).map_err(Error::internal)?);
    Ok(())
}
