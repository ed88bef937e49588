//! Rows as `Struct`, of PostgreSQL's binary form.

use std::{collections::BTreeMap, fmt::Write, net::IpAddr};

use isa_proto::prost_types::{ListValue, Struct, Value, value::Kind};
use tokio_postgres::Row;

use super::{json, time};
use crate::postgres::service::{Codec, Error, Invalid, Prepared, Raw};

/// Most rows of one response. Each is a map, which takes many times the bytes here that it has on the wire.
const MAX_ROWS: usize = 100_000;

/// Most bytes of one response, about: a message has no more.
const MAX_BYTES: usize = 100 << 20;

/// Integers up to this, either way, are doubles.
const EXACT: i64 = 1 << 53;

/// The rows of one response, as far as they fit.
#[derive(Debug, Default)]
pub(in crate::postgres) struct Rows {
    pub(in crate::postgres) rows: Vec<Struct>,
    bytes: usize,
}

impl Rows {
    pub(in crate::postgres) fn push(&mut self, prepared: &Prepared, row: &Row) -> Result<(), Error> {
        let mut fields = BTreeMap::new();
        self.bytes += row.raw_size_bytes();
        for (at, (name, _, codec)) in prepared.columns().enumerate() {
            self.bytes += name.len() + 8;
            let raw: Raw<'_> = row.try_get(at)?;
            let value = value(codec, raw.0).ok_or_else(|| unreadable(name))?;
            if fields.insert(name.to_owned(), value).is_some() {
                let why = format!("gives two columns named {name:?}, and a row is a map; rename one with AS");
                return Err(Invalid::new("sql", why).into());
            }
        }
        if self.bytes > MAX_BYTES || self.rows.len() >= MAX_ROWS {
            // What was read is of no use any more.
            self.rows = Vec::new();
            return Err(Error::TooLarge);
        }
        self.rows.push(Struct { fields });
        Ok(())
    }
}

/// A row in the order of its columns, and its bytes.
pub(in crate::postgres) fn list(prepared: &Prepared, row: &Row) -> Result<(ListValue, usize), Error> {
    let mut values = Vec::with_capacity(row.len());
    for (at, (name, _, codec)) in prepared.columns().enumerate() {
        let raw: Raw<'_> = row.try_get(at)?;
        values.push(value(codec, raw.0).ok_or_else(|| unreadable(name))?);
    }
    Ok((ListValue { values }, row.raw_size_bytes() + 8 * row.len()))
}

fn unreadable(name: &str) -> Error {
    Error::Internal(format!("column {name:?} is not of the form that its type has"))
}

const fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: impl Into<String>) -> Value {
    of(Kind::StringValue(text.into()))
}

fn number(number: f64) -> Value {
    if number.is_finite() {
        return of(Kind::NumberValue(number));
    }
    // A number that is none makes readers of Struct lose the whole of it.
    text(if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    })
}

/// The value of these bytes; `None` if they are not of this form.
pub(super) fn value(codec: &Codec, bytes: Option<&[u8]>) -> Option<Value> {
    let Some(bytes) = bytes else {
        return Some(of(Kind::NullValue(0)));
    };
    Some(match codec {
        Codec::Bool => of(Kind::BoolValue(*bytes.first()? != 0)),
        Codec::Int2 => number(i16::from_be_bytes(bytes.try_into().ok()?).into()),
        Codec::Int4 => number(i32::from_be_bytes(bytes.try_into().ok()?).into()),
        Codec::Oid => number(u32::from_be_bytes(bytes.try_into().ok()?).into()),
        Codec::Int8 => int8(i64::from_be_bytes(bytes.try_into().ok()?)),
        Codec::Float4 => float4(f32::from_be_bytes(bytes.try_into().ok()?)),
        Codec::Float8 => number(f64::from_be_bytes(bytes.try_into().ok()?)),
        Codec::Numeric => text(numeric(bytes)?),
        Codec::Text => text(std::str::from_utf8(bytes).ok()?),
        Codec::Char => match bytes {
            [] | [0] => text(""),
            [byte] if byte.is_ascii() => text(char::from(*byte)),
            // As PostgreSQL writes what is no letter.
            [byte] => text(format!("\\{byte:03o}")),
            _ => return None,
        },
        Codec::Json => json::read(std::str::from_utf8(bytes).ok()?)?,
        Codec::Jsonb => json::read(std::str::from_utf8(bytes.strip_prefix(&[1])?).ok()?)?,
        Codec::Uuid => text(uuid::Uuid::from_slice(bytes).ok()?.hyphenated().to_string()),
        Codec::Date => text(time::date(i32::from_be_bytes(bytes.try_into().ok()?))),
        Codec::Time => text(time::time(i64::from_be_bytes(bytes.try_into().ok()?))),
        Codec::Timestamp => text(time::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), false)),
        Codec::Timestamptz => text(time::timestamp(i64::from_be_bytes(bytes.try_into().ok()?), true)),
        Codec::Interval => {
            let mut bytes = Bytes(bytes);
            let micros = bytes.i64()?;
            let days = bytes.i32()?;
            text(time::interval(micros, days, bytes.i32()?))
        }
        Codec::Bytea => text(format!("\\x{}", hex::encode(bytes))),
        Codec::Inet => text(inet(bytes)?),
        Codec::Vector => {
            let floats = bytes.get(4..)?.as_chunks::<4>().0.iter();
            list_of(floats.map(|float| float4(f32::from_be_bytes(*float))).collect())
        }
        Codec::Halfvec => {
            let floats = bytes.get(4..)?.as_chunks::<2>().0.iter();
            list_of(
                floats
                    .map(|float| number(half(u16::from_be_bytes(*float))))
                    .collect(),
            )
        }
        Codec::Array(element) => array(element, bytes)?,
    })
}

fn list_of(values: Vec<Value>) -> Value {
    of(Kind::ListValue(ListValue { values }))
}

/// A double where it is the same.
#[allow(clippy::cast_precision_loss)] // Not within these bounds.
fn int8(integer: i64) -> Value {
    if (-EXACT..=EXACT).contains(&integer) {
        number(integer as f64)
    } else {
        text(integer.to_string())
    }
}

/// The shortest decimal that is this float4, as PostgreSQL shows it: 0.1 and not 0.10000000149011612.
fn float4(float: f32) -> Value {
    if !float.is_finite() {
        return number(f64::from(float));
    }
    let exact = f64::from(float);
    number(if float.fract() == 0.0 {
        exact
    } else {
        float.to_string().parse().unwrap_or(exact)
    })
}

/// IEEE 754 binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    }
}

/// Family, bits of the network, whether it is a cidr, length, address.
fn inet(bytes: &[u8]) -> Option<String> {
    let [_, bits, cidr, _, address @ ..] = bytes else {
        return None;
    };
    let address: IpAddr = match address.len() {
        4 => <[u8; 4]>::try_from(address).ok()?.into(),
        16 => <[u8; 16]>::try_from(address).ok()?.into(),
        _ => return None,
    };
    let whole = if address.is_ipv4() { 32 } else { 128 };
    Some(if *bits == whole && *cidr == 0 {
        address.to_string()
    } else {
        format!("{address}/{bits}")
    })
}

/// Groups of four decimal digits, the first of which counts `10000^weight`.
fn numeric(bytes: &[u8]) -> Option<String> {
    let mut bytes = Bytes(bytes);
    let count = bytes.u16()?;
    let weight = i32::from(bytes.i16()?);
    let sign = bytes.u16()?;
    let scale = usize::from(bytes.u16()?);
    let mut out = String::with_capacity(scale + 8);
    match sign {
        0x0000 => {}
        0x4000 => out.push('-'),
        0xc000 => return Some("NaN".into()),
        0xd000 => return Some("Infinity".into()),
        0xf000 => return Some("-Infinity".into()),
        _ => return None,
    }
    let mut groups = Vec::with_capacity(count.into());
    for _ in 0..count {
        groups.push(bytes.u16()?);
    }
    let group = |place: i32| {
        let at = usize::try_from(weight - place).ok();
        at.and_then(|at| groups.get(at)).copied().unwrap_or(0)
    };
    if weight < 0 {
        out.push('0');
    }
    for place in (0..=weight).rev() {
        let _ = if place == weight {
            write!(out, "{}", group(place))
        } else {
            write!(out, "{:04}", group(place))
        };
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + scale;
        let mut place = -1;
        while out.len() < end {
            let _ = write!(out, "{:04}", group(place));
            place -= 1;
        }
        out.truncate(end);
    }
    Some(out)
}

/// Dimensions, then elements in the order of their places.
fn array(element: &Codec, bytes: &[u8]) -> Option<Value> {
    let mut bytes = Bytes(bytes);
    let dimensions = bytes.i32()?;
    bytes.i32()?;
    bytes.i32()?;
    if dimensions == 0 {
        return Some(list_of(Vec::new()));
    }
    if !(1..=6).contains(&dimensions) {
        return None;
    }
    let mut lengths = Vec::with_capacity(6);
    for _ in 0..dimensions {
        lengths.push(usize::try_from(bytes.i32()?).ok()?);
        bytes.i32()?;
    }
    dimension(element, &lengths, &mut bytes)
}

fn dimension(element: &Codec, lengths: &[usize], bytes: &mut Bytes<'_>) -> Option<Value> {
    let Some((length, rest)) = lengths.split_first() else {
        let length = bytes.i32()?;
        return match usize::try_from(length) {
            Ok(length) => value(element, Some(bytes.take(length)?)),
            Err(_) => value(element, None),
        };
    };
    // No more than there is room for, whatever the length says.
    let mut values = Vec::with_capacity((*length).min(bytes.0.len() / 4 + 1));
    for _ in 0..*length {
        values.push(dimension(element, rest, bytes)?);
    }
    Some(list_of(values))
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (front, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*front)
    }

    fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_be_bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.chunk().map(i64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numeric_of(groups: &[u16], weight: i16, sign: u16, scale: u16) -> Option<String> {
        let mut bytes = Vec::new();
        bytes.extend(u16::try_from(groups.len()).unwrap().to_be_bytes());
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        numeric(&bytes)
    }

    #[test]
    fn numerics_keep_their_scale() {
        for (groups, weight, sign, scale, expected) in [
            (&[1, 2345][..], 1, 0, 0, "12345"),
            (&[12, 3400], 0, 0x4000, 2, "-12.34"),
            (&[], 0, 0, 3, "0.000"),
            (&[5], -2, 0, 8, "0.00000005"),
            (&[1], 2, 0, 0, "100000000"),
            (&[], 0, 0xc000, 0, "NaN"),
        ] {
            assert_eq!(numeric_of(groups, weight, sign, scale).as_deref(), Some(expected));
        }
    }

    #[test]
    fn floats_and_integers_are_exact_or_text() {
        assert_eq!(float4(0.1), number(0.1));
        assert_eq!(number(f64::NAN), text("NaN"));
        assert_eq!(int8(EXACT), number(9_007_199_254_740_992.0));
        assert_eq!(int8(-EXACT - 1), text("-9007199254740993"));
        assert_eq!(
            [half(0x3c00), half(0xc000), half(0x0001)],
            [1.0, -2.0, 2_f64.powi(-24)]
        );
    }

    #[test]
    fn arrays_nest_and_have_nulls() {
        let mut bytes = Vec::new();
        for number in [2, 1, 23, 2, 1, 1, 1, 4, 7, -1] {
            bytes.extend(i32::to_be_bytes(number));
        }
        let row = |value| list_of(vec![value]);
        let expected = list_of(vec![row(number(7.0)), row(of(Kind::NullValue(0)))]);
        assert_eq!(array(&Codec::Int4, &bytes), Some(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..64), which in 0..12_usize) {
            let codecs = [
                Codec::Bool, Codec::Int8, Codec::Numeric, Codec::Text, Codec::Char, Codec::Jsonb, Codec::Uuid, Codec::Timestamptz,
                Codec::Interval, Codec::Vector, Codec::Halfvec, Codec::Array(Box::new(Codec::Array(Box::new(Codec::Int4)))),
            ];
            let _ = value(&codecs[which], Some(&bytes));
        }
    }
}
