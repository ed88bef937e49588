//! What DuckDB gives, column by column in Arrow's form, as values of rows. Nothing is rounded.

use std::fmt::Write;

use duckdb::{
    arrow::{
        array::{Array, AsArray, StructArray},
        datatypes::{
            DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
            Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
            TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
            UInt8Type, UInt16Type, UInt32Type, UInt64Type,
        },
    },
    core::{LogicalTypeHandle, LogicalTypeId},
};

use super::{
    error::{Error, invalid},
    json,
};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::duckdb) enum Cell {
    Null,
    Int(i64),
    Double(f64),
    Bool(bool),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// About what it takes in a message, in bytes.
    pub(super) fn size(&self) -> usize {
        12 + match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    /// About what it takes of memory until it is sent, in bytes: as a value, as a field of a message, and in its bytes.
    pub(super) fn memory(&self) -> usize {
        2 * self.size() + 72
    }
}

/// The columns of a result.
#[derive(Debug, Clone, Default)]
pub(in crate::duckdb) struct Head {
    pub(in crate::duckdb) names: Vec<String>,
    /// As DuckDB writes them.
    pub(in crate::duckdb) types: Vec<String>,
    pub(super) shapes: Vec<Shape>,
}

/// What Arrow's types do not say of DuckDB's.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// As Arrow says.
    Plain,
    /// Decimals without a fraction that are integers.
    Hugeint,
    UHugeint,
    Bit,
    /// A type with others in it, in Arrow's order.
    Nested(Vec<Shape>),
}

impl Head {
    /// Of a statement that was executed.
    pub(super) fn of(statement: &duckdb::Statement<'_>) -> Result<Self, Error> {
        let schema = statement.schema();
        let mut head = Self::default();
        for (index, field) in schema.fields().iter().enumerate() {
            let kind = statement.column_logical_type(index);
            head.shapes.push(shape(&kind, field.name())?);
            head.types.push(type_name(&kind));
            head.names.push(field.name().clone());
        }
        Ok(head)
    }

    /// About what it takes in a message, in bytes.
    pub(super) fn size(&self) -> usize {
        self.names
            .iter()
            .chain(&self.types)
            .map(|text| text.len() + 8)
            .sum()
    }
}

fn shape(kind: &LogicalTypeHandle, column: &str) -> Result<Shape, Error> {
    Ok(match kind.id() {
        LogicalTypeId::Hugeint => Shape::Hugeint,
        LogicalTypeId::UHugeint => Shape::UHugeint,
        LogicalTypeId::Bit => Shape::Bit,
        // What the client makes of these has lost a part.
        lossy @ (LogicalTypeId::TimeTZ | LogicalTypeId::Bignum | LogicalTypeId::Variant) => {
            return Err(invalid(
                "query",
                format_args!(
                    "column {column:?} is of type {}, whose values do not come as they are; write {column}::VARCHAR",
                    simple_name(lossy)
                ),
            ));
        }
        LogicalTypeId::List
        | LogicalTypeId::Array
        | LogicalTypeId::Struct
        | LogicalTypeId::Map
        | LogicalTypeId::Union => {
            let children = (0..kind.num_children()).map(|index| shape(&kind.child(index), column));
            Shape::Nested(children.collect::<Result<_, _>>()?)
        }
        _ => Shape::Plain,
    })
}

/// A type as DuckDB writes it. Of enums without their values.
fn type_name(kind: &LogicalTypeHandle) -> String {
    if let Some(alias) = kind.get_alias() {
        return alias;
    }
    let field = |index: usize| {
        let name = kind.child_name(index);
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let name = if plain {
            name
        } else {
            crate::duckdb::names::quoted(&name)
        };
        format!("{name} {}", type_name(&kind.child(index)))
    };
    let fields = || (0..kind.num_children()).map(field).collect::<Vec<_>>().join(", ");
    match kind.id() {
        LogicalTypeId::Decimal => format!("DECIMAL({},{})", kind.decimal_width(), kind.decimal_scale()),
        LogicalTypeId::List | LogicalTypeId::Array => format!("{}[]", type_name(&kind.child(0))),
        LogicalTypeId::Map => format!(
            "MAP({}, {})",
            type_name(&kind.child(0)),
            type_name(&kind.child(1))
        ),
        LogicalTypeId::Struct => format!("STRUCT({})", fields()),
        LogicalTypeId::Union => format!("UNION({})", fields()),
        other => simple_name(other).to_owned(),
    }
}

fn simple_name(id: LogicalTypeId) -> &'static str {
    use LogicalTypeId as T;
    match id {
        T::Boolean => "BOOLEAN",
        T::Tinyint => "TINYINT",
        T::Smallint => "SMALLINT",
        T::Integer => "INTEGER",
        T::Bigint => "BIGINT",
        T::Hugeint => "HUGEINT",
        T::UTinyint => "UTINYINT",
        T::USmallint => "USMALLINT",
        T::UInteger => "UINTEGER",
        T::UBigint => "UBIGINT",
        T::UHugeint => "UHUGEINT",
        T::Float => "FLOAT",
        T::Double => "DOUBLE",
        T::Varchar => "VARCHAR",
        T::Blob => "BLOB",
        T::Date => "DATE",
        T::Time => "TIME",
        T::TimeNs => "TIME_NS",
        T::TimeTZ => "TIME WITH TIME ZONE",
        T::Timestamp => "TIMESTAMP",
        T::TimestampS => "TIMESTAMP_S",
        T::TimestampMs => "TIMESTAMP_MS",
        T::TimestampNs => "TIMESTAMP_NS",
        T::TimestampTZ => "TIMESTAMP WITH TIME ZONE",
        T::Interval => "INTERVAL",
        T::Uuid => "UUID",
        T::Bit => "BIT",
        T::Bignum => "BIGNUM",
        T::Enum => "ENUM",
        T::Geometry => "GEOMETRY",
        T::Variant => "VARIANT",
        T::SqlNull => "NULL",
        _ => "UNKNOWN",
    }
}

/// The rows of a batch.
pub(super) fn rows<'a>(
    head: &'a Head,
    batch: &'a StructArray,
) -> impl Iterator<Item = Result<Vec<Cell>, Error>> + 'a {
    (0..batch.len()).map(move |row| {
        let columns = batch.columns().iter().zip(&head.shapes);
        columns
            .map(|(column, shape)| cell(column.as_ref(), shape, row))
            .collect()
    })
}

/// One value of a column.
pub(super) fn cell(column: &dyn Array, shape: &Shape, row: usize) -> Result<Cell, Error> {
    if column.is_null(row) || column.data_type().is_null() {
        return Ok(Cell::Null);
    }
    macro_rules! value {
        ($kind:ty) => {
            column.as_primitive::<$kind>().value(row)
        };
    }
    Ok(match (column.data_type(), shape) {
        (_, Shape::Nested(_)) => {
            let mut text = String::new();
            json::write(&mut text, column, shape, row)?;
            Cell::Text(text)
        }
        (DataType::Boolean, _) => Cell::Bool(column.as_boolean().value(row)),
        (DataType::Int8, _) => Cell::Int(value!(Int8Type).into()),
        (DataType::Int16, _) => Cell::Int(value!(Int16Type).into()),
        (DataType::Int32, _) => Cell::Int(value!(Int32Type).into()),
        (DataType::Int64, _) => Cell::Int(value!(Int64Type)),
        (DataType::UInt8, _) => Cell::Int(value!(UInt8Type).into()),
        (DataType::UInt16, _) => Cell::Int(value!(UInt16Type).into()),
        (DataType::UInt32, _) => Cell::Int(value!(UInt32Type).into()),
        (DataType::UInt64, _) => integer(value!(UInt64Type)),
        (DataType::Float32, _) => Cell::Double(value!(Float32Type).into()),
        (DataType::Float64, _) => Cell::Double(value!(Float64Type)),
        (DataType::Decimal128(_, 0), Shape::Hugeint) => integer(value!(Decimal128Type)),
        // DuckDB puts its bits there unchanged.
        (DataType::Decimal128(_, 0), Shape::UHugeint) => integer(value!(Decimal128Type).cast_unsigned()),
        (DataType::Decimal128(_, scale), _) => Cell::Text(decimal(value!(Decimal128Type), *scale)),
        (DataType::Utf8, _) => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        (DataType::LargeUtf8, _) => Cell::Text(column.as_string::<i64>().value(row).to_owned()),
        (DataType::Utf8View, _) => Cell::Text(column.as_string_view().value(row).to_owned()),
        (DataType::Binary, Shape::Bit) => Cell::Text(bits(column.as_binary::<i32>().value(row))),
        (DataType::Binary, _) => Cell::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        (DataType::LargeBinary, _) => Cell::Bytes(column.as_binary::<i64>().value(row).to_vec()),
        (DataType::Dictionary(keys, _), _) => {
            let at = match keys.as_ref() {
                DataType::UInt8 => column.as_dictionary::<UInt8Type>().key(row),
                DataType::UInt16 => column.as_dictionary::<UInt16Type>().key(row),
                DataType::UInt32 => column.as_dictionary::<UInt32Type>().key(row),
                _ => None,
            };
            let at = at.ok_or_else(|| Error::internal("an enum with keys of another kind"))?;
            return cell(column.as_any_dictionary().values().as_ref(), &Shape::Plain, at);
        }
        (DataType::Date32, _) => Cell::Text(date(value!(Date32Type))),
        (DataType::Time64(TimeUnit::Microsecond), _) => {
            Cell::Text(time(i128::from(value!(Time64MicrosecondType)) * 1000))
        }
        (DataType::Time64(TimeUnit::Nanosecond), _) => Cell::Text(time(value!(Time64NanosecondType).into())),
        (DataType::Timestamp(unit, zone), _) => {
            let (value, nanos) = match unit {
                TimeUnit::Second => (value!(TimestampSecondType), 1_000_000_000),
                TimeUnit::Millisecond => (value!(TimestampMillisecondType), 1_000_000),
                TimeUnit::Microsecond => (value!(TimestampMicrosecondType), 1000),
                TimeUnit::Nanosecond => (value!(TimestampNanosecondType), 1),
            };
            Cell::Text(timestamp(value, nanos, zone.is_some()))
        }
        (DataType::Interval(_), _) => {
            let interval = value!(IntervalMonthDayNanoType);
            Cell::Text(self::interval(
                interval.months,
                interval.days,
                interval.nanoseconds,
            ))
        }
        (other, _) => {
            return Err(Error::Unsupported(format!(
                "values of type {other} cannot be sent"
            )));
        }
    })
}

/// As a number where it fits, else as text.
fn integer<T: Copy + ToString + TryInto<i64>>(number: T) -> Cell {
    number
        .try_into()
        .map_or_else(|_| Cell::Text(number.to_string()), Cell::Int)
}

fn decimal(value: i128, scale: i8) -> String {
    let Ok(scale) = usize::try_from(scale) else {
        return value.to_string();
    };
    if scale == 0 {
        return value.to_string();
    }
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    format!("{sign}{whole}.{part}")
}

/// The first byte says how many bits of the second are none.
fn bits(bytes: &[u8]) -> String {
    let Some((padding, rest)) = bytes.split_first() else {
        return String::new();
    };
    let mut text = String::with_capacity(rest.len() * 8);
    for byte in rest {
        let _ = write!(text, "{byte:08b}");
    }
    text.split_off(usize::from(*padding).min(text.len()))
}

/// ISO 8601, also before the year 0 and after 9999.
fn date(days: i32) -> String {
    match days {
        i32::MAX => return "infinity".into(),
        days if days == -i32::MAX => return "-infinity".into(),
        _ => {}
    }
    // Days since 0000-03-01, in eras of 400 years (the calendar's cycle).
    let days = i64::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if (0..=9999).contains(&year) {
        format!("{year:04}-{month:02}-{day:02}")
    } else {
        format!("{year:+05}-{month:02}-{day:02}")
    }
}

/// Of the nanoseconds since midnight.
fn time(nanos: i128) -> String {
    let (seconds, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let mut text = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    text.push_str(&fraction(part));
    text
}

fn fraction(nanos: i128) -> String {
    if nanos == 0 {
        return String::new();
    }
    let digits = format!("{nanos:09}");
    format!(".{}", digits.trim_end_matches('0'))
}

fn timestamp(value: i64, nanos: i128, zoned: bool) -> String {
    match value {
        i64::MAX => return "infinity".into(),
        value if value == -i64::MAX => return "-infinity".into(),
        _ => {}
    }
    const DAY: i128 = 86_400_000_000_000;
    let all = i128::from(value) * nanos;
    let days = i32::try_from(all.div_euclid(DAY)).unwrap_or(i32::MAX);
    let zone = if zoned { "Z" } else { "" };
    format!("{}T{}{zone}", date(days), time(all.rem_euclid(DAY)))
}

fn interval(months: i32, days: i32, nanos: i64) -> String {
    let mut text = String::from("P");
    let mut put = |value: i64, unit: char| {
        if value != 0 {
            let _ = write!(text, "{value}{unit}");
        }
    };
    put(i64::from(months / 12), 'Y');
    put(i64::from(months % 12), 'M');
    put(i64::from(days), 'D');
    if nanos != 0 {
        text.push('T');
        let sign = if nanos < 0 { "-" } else { "" };
        let all = i128::from(nanos).abs();
        let (seconds, part) = (all / 1_000_000_000, all % 1_000_000_000);
        for (value, unit) in [(seconds / 3600, 'H'), (seconds / 60 % 60, 'M')] {
            if value != 0 {
                let _ = write!(text, "{sign}{value}{unit}");
            }
        }
        if seconds % 60 != 0 || part != 0 {
            let _ = write!(text, "{sign}{}{}S", seconds % 60, fraction(part));
        }
    }
    if text == "P" {
        text.push_str("T0S");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso_8601() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(11_016), "2000-02-29");
        assert_eq!(date(-719_528), "0000-01-01");
        assert_eq!(date(-719_529), "-0001-12-31");
        assert_eq!(date(2_932_897), "+10000-01-01");
        assert_eq!(date(i32::MAX), "infinity");
        assert_eq!(timestamp(1_500_000, 1000, true), "1970-01-01T00:00:01.5Z");
        assert_eq!(timestamp(-1, 1, false), "1969-12-31T23:59:59.999999999");
        assert_eq!(timestamp(-i64::MAX, 1000, false), "-infinity");
        assert_eq!(time(86_400_000_000_000), "24:00:00");
        assert_eq!(interval(14, 3, 3_723_500_000_000), "P1Y2M3DT1H2M3.5S");
        assert_eq!(interval(0, -1, -1_000_000), "P-1DT-0.001S");
        assert_eq!(interval(0, 0, 0), "PT0S");
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(decimal(-5, 2), "-0.05");
        assert_eq!(decimal(12345, 2), "123.45");
        assert_eq!(decimal(7, 0), "7");
        assert_eq!(integer(i128::from(i64::MAX)), Cell::Int(i64::MAX));
        assert_eq!(integer(u128::MAX), Cell::Text(u128::MAX.to_string()));
        assert_eq!(bits(&[5, 0b1111_1101]), "101");
    }
}
