//! What `fuzz/` feeds with bytes, for values.

use isa_proto::prost_types::Value;
use tokio_postgres::types::Type;

use super::{Params, decode, json};
use crate::postgres::service::{Codec, Values};

const TYPES: [Type; 12] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::JSONB,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::JSONB_ARRAY,
];

/// The bytes as what PostgreSQL sends of each type, and as JSON that becomes a parameter of each type. What is read as JSON
/// stays the same when it is written and read again.
pub fn values(data: &[u8]) {
    for codec in codecs() {
        if let Some(value) = decode::value(&codec, Some(data)) {
            again(&value);
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(value) = json::read(text)
    {
        again(&value);
        for kind in TYPES {
            if let Ok(params) = Params(std::slice::from_ref(&value)).bind(&[kind]) {
                let text = params.first().and_then(|param| param.0.as_deref());
                assert!(!text.unwrap_or_default().contains('\0'), "a NUL in a parameter");
            }
        }
    }
}

fn again(value: &Value) {
    let mut text = String::new();
    // What JSON does not have is refused.
    if json::write(value, &mut text).is_ok() {
        assert_eq!(json::read(&text).as_ref(), Some(value), "{text}");
    }
}

fn codecs() -> Vec<Codec> {
    let plain = vec![
        Codec::Bool,
        Codec::Int2,
        Codec::Int4,
        Codec::Int8,
        Codec::Oid,
        Codec::Float4,
        Codec::Float8,
        Codec::Numeric,
        Codec::Text,
        Codec::Char,
        Codec::Json,
        Codec::Jsonb,
        Codec::Uuid,
        Codec::Date,
        Codec::Time,
        Codec::Timestamp,
        Codec::Timestamptz,
        Codec::Interval,
        Codec::Bytea,
        Codec::Vector,
        Codec::Halfvec,
    ];
    let arrays = [Codec::Int4, Codec::Text, Codec::Numeric].map(|element| Codec::Array(Box::new(element)));
    plain.into_iter().chain(arrays).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_hold_on_their_corpus() {
        crate::fuzz::corpus("values", super::values);
    }
}
