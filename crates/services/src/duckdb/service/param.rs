//! Parameters of statements.

use std::collections::BTreeMap;

use duckdb::types::{TimeUnit, Value};

use super::error::{Error, invalid};

/// What a caller gives for a parameter.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::duckdb) enum Param {
    Null,
    Text(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    Bytes(Vec<u8>),
    /// Microseconds since 1970.
    Time(i64),
}

/// By name, or by position from `1`.
pub(in crate::duckdb) type Params = BTreeMap<String, Param>;

/// In the order in which the statement has them.
pub(super) fn bind(statement: &duckdb::Statement<'_>, params: &Params) -> Result<Vec<Value>, Error> {
    let count = statement.parameter_count();
    let mut values = Vec::with_capacity(count);
    for index in 1..=count {
        let name = statement.parameter_name(index)?;
        let param = params.get(&name).ok_or_else(|| {
            invalid(
                "parameters",
                format_args!("have no entry {name:?}, which the statement asks for"),
            )
        })?;
        values.push(value(param));
    }
    if params.len() > count {
        let known: Vec<_> = (1..=count)
            .filter_map(|index| statement.parameter_name(index).ok())
            .collect();
        if let Some(other) = params.keys().find(|name| !known.contains(name)) {
            return Err(invalid(
                "parameters",
                format_args!("have an entry {other:?}, which the statement does not ask for"),
            ));
        }
    }
    Ok(values)
}

fn value(param: &Param) -> Value {
    match param {
        Param::Null => Value::Null,
        Param::Text(text) => Value::Text(text.clone()),
        Param::Int(number) => Value::BigInt(*number),
        Param::Double(number) => Value::Double(*number),
        Param::Bool(truth) => Value::Boolean(*truth),
        Param::Bytes(bytes) => Value::Blob(bytes.clone()),
        Param::Time(micros) => Value::Timestamp(TimeUnit::Microsecond, *micros),
    }
}
