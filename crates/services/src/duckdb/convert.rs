//! The contract's messages and the service's types.

use std::time::{Duration, SystemTime};

use isa_proto::{
    Bytes,
    duckdb::{self as pb, value::Value as Kind},
    prost_types::{self, Struct, Timestamp, value::Kind as Json},
};

use super::service::{Cell, Column, ColumnStats, Error, Param, Params, Summary, Table, invalid};

/// The years 1 to 9999, as a Timestamp may be, in seconds.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// How deep a Struct may be.
const MAX_DEPTH: usize = 64;

pub(super) fn params(given: impl IntoIterator<Item = (String, pb::Value)>) -> Result<Params, Error> {
    let given = given.into_iter();
    given
        .map(|(name, value)| Ok((name.clone(), param(&name, value)?)))
        .collect()
}

fn param(name: &str, value: pb::Value) -> Result<Param, Error> {
    let wrong = |why: &str| invalid(format!("parameters.{name}"), why);
    Ok(match value.value {
        None | Some(Kind::NullValue(_)) => Param::Null,
        Some(Kind::StringValue(text)) => Param::Text(text),
        Some(Kind::IntValue(number)) => Param::Int(number),
        Some(Kind::DoubleValue(number)) => Param::Double(number),
        Some(Kind::BoolValue(truth)) => Param::Bool(truth),
        Some(Kind::BytesValue(bytes)) => Param::Bytes(bytes.to_vec()),
        Some(Kind::TimestampValue(time)) => Param::Time(micros(time).map_err(wrong)?),
        Some(Kind::StructValue(fields)) => {
            let json = object(fields, 0).map_err(wrong)?;
            Param::Text(json.to_string())
        }
    })
}

fn micros(time: Timestamp) -> Result<i64, &'static str> {
    if !SECONDS.contains(&time.seconds) || !(0..1_000_000_000).contains(&time.nanos) {
        return Err("is no time of the years 1 to 9999");
    }
    if time.nanos % 1000 != 0 {
        return Err("is finer than a microsecond, which DuckDB's TIMESTAMP cannot keep; send it as text");
    }
    Ok(time.seconds * 1_000_000 + i64::from(time.nanos / 1000))
}

fn object(fields: Struct, depth: usize) -> Result<serde_json::Value, &'static str> {
    let fields = fields.fields.into_iter();
    let fields = fields.map(|(name, value)| Ok::<_, &'static str>((name, json(value, depth + 1)?)));
    Ok(serde_json::Value::Object(fields.collect::<Result<_, _>>()?))
}

fn json(value: prost_types::Value, depth: usize) -> Result<serde_json::Value, &'static str> {
    if depth > MAX_DEPTH {
        return Err("nests too deep");
    }
    Ok(match value.kind {
        None | Some(Json::NullValue(_)) => serde_json::Value::Null,
        Some(Json::BoolValue(truth)) => truth.into(),
        Some(Json::StringValue(text)) => text.into(),
        Some(Json::NumberValue(number)) => serde_json::Number::from_f64(number)
            .ok_or("holds a number that JSON does not have")?
            .into(),
        Some(Json::ListValue(list)) => {
            let items = list.values.into_iter().map(|item| json(item, depth + 1));
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
        Some(Json::StructValue(fields)) => object(fields, depth)?,
    })
}

pub(super) fn value(cell: Cell) -> pb::Value {
    pb::Value {
        value: match cell {
            Cell::Null => None,
            Cell::Int(number) => Some(Kind::IntValue(number)),
            Cell::Double(number) => Some(Kind::DoubleValue(number)),
            Cell::Bool(truth) => Some(Kind::BoolValue(truth)),
            Cell::Text(text) => Some(Kind::StringValue(text)),
            Cell::Bytes(bytes) => Some(Kind::BytesValue(Bytes::from(bytes))),
        }
        // A Value of no kind is none that the published client can tell from others.
        .or(Some(Kind::NullValue(0))),
    }
}

pub(super) fn rows(rows: Vec<Vec<Cell>>) -> Vec<pb::Row> {
    let row = |row: Vec<Cell>| pb::Row {
        values: row.into_iter().map(value).collect(),
    };
    rows.into_iter().map(row).collect()
}

pub(super) fn database(summary: Summary, version: &str) -> pb::DatabaseInfo {
    let Summary {
        meta,
        tables,
        bytes,
        accessed,
    } = summary;
    pb::DatabaseInfo {
        database_id: meta.id,
        database_name: meta.name,
        user_id: meta.user,
        organization_id: meta.organization,
        minio_bucket: meta.bucket,
        minio_path: meta.copy.map(|copy| copy.key).unwrap_or_default(),
        size_bytes: long(bytes),
        table_count: int(tables),
        created_at: Some(timestamp(meta.created)),
        last_accessed: Some(timestamp(accessed)),
        metadata: meta.notes.into_iter().collect(),
        version: version.to_owned(),
    }
}

pub(super) fn table(table: Table) -> pb::TableInfo {
    pb::TableInfo {
        table_name: table.name,
        schema_name: table.schema,
        columns: table.columns.into_iter().map(column).collect(),
        row_count: long(table.rows),
        size_bytes: long(table.bytes),
        table_type: "BASE TABLE".into(),
        created_at: None,
        comment: table.comment,
    }
}

fn column(column: Column) -> pb::ColumnInfo {
    pb::ColumnInfo {
        name: column.name,
        data_type: column.kind,
        nullable: column.nullable,
        default_value: column.default,
        is_primary_key: column.primary,
        is_unique: column.unique,
        comment: column.comment,
    }
}

pub(super) fn new_column(column: pb::ColumnInfo) -> Column {
    Column {
        name: column.name,
        kind: column.data_type,
        nullable: column.nullable,
        default: column.default_value,
        primary: column.is_primary_key,
        unique: column.is_unique,
        comment: column.comment,
    }
}

pub(super) fn column_stats(stats: ColumnStats) -> pb::ColumnStats {
    pb::ColumnStats {
        column_name: stats.name,
        distinct_count: long(stats.distinct),
        min_value: Some(value(stats.least)),
        max_value: Some(value(stats.greatest)),
        null_count: long(stats.nulls),
    }
}

/// Of microseconds since 1970.
pub(super) fn timestamp(micros: i64) -> Timestamp {
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1000).unwrap_or_default(),
    }
}

pub(super) fn moment(at: SystemTime) -> Timestamp {
    Timestamp::from(at)
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Stops at the largest number that there is room for.
pub(super) fn int(number: u64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Text and numbers for `details`.
pub(super) fn details<const N: usize>(fields: [(&str, Json); N]) -> Struct {
    let fields = fields.map(|(name, kind)| (name.to_owned(), prost_types::Value { kind: Some(kind) }));
    Struct {
        fields: fields.into_iter().collect(),
    }
}

pub(super) fn number(number: u64) -> Json {
    Json::NumberValue(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_what_they_are() {
        let param = |kind| param("p", pb::Value { value: Some(kind) });
        let time = |seconds, nanos| Kind::TimestampValue(Timestamp { seconds, nanos });
        assert_eq!(param(time(-1, 1000)).unwrap(), Param::Time(-999_999));
        for wrong in [time(0, 1), time(0, -1), time(i64::MAX, 0), time(0, i32::MAX)] {
            assert!(param(wrong).is_err());
        }
        assert_eq!(param(Kind::NullValue(7)).unwrap(), Param::Null);
        let nan = details([("n", Json::NumberValue(f64::NAN))]);
        assert!(param(Kind::StructValue(nan)).is_err());
        let good = details([("n", Json::NumberValue(1.5))]);
        assert_eq!(
            param(Kind::StructValue(good)).unwrap(),
            Param::Text("{\"n\":1.5}".into())
        );
    }
}
