//! JSON as the contract has it, whose numbers are doubles, and as Qdrant has it, which tells integers apart.

use std::collections::HashMap;

use isa_proto::prost_types::{self, value::Kind as Json};
use qdrant_client::qdrant::{self as engine, value::Kind};

use crate::qdrant::service::Error;

/// Levels of a payload. Each is up to three messages within each other, and readers of protobuf give up at 100.
const MAX_DEPTH: usize = 24;

/// Up to here, either way, every integer is a double.
const EXACT: i64 = 1 << 53;

/// A payload to be stored.
pub(in crate::qdrant) fn payload(
    field: &str,
    given: prost_types::Struct,
) -> Result<HashMap<String, engine::Value>, Error> {
    fields(given, 1).map_err(|why| Error::invalid(field.to_owned(), why))
}

fn fields(given: prost_types::Struct, depth: usize) -> Result<HashMap<String, engine::Value>, String> {
    let convert = |(key, given)| match value(given, depth) {
        Ok(value) => Ok((key, value)),
        Err(why) => Err(why),
    };
    given.fields.into_iter().map(convert).collect()
}

fn value(given: prost_types::Value, depth: usize) -> Result<engine::Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("is more than {MAX_DEPTH} levels deep"));
    }
    let kind = match given.kind {
        None | Some(Json::NullValue(_)) => Kind::NullValue(0),
        Some(Json::BoolValue(bool)) => Kind::BoolValue(bool),
        Some(Json::NumberValue(number)) => self::number(number)?,
        Some(Json::StringValue(text)) => Kind::StringValue(text),
        Some(Json::ListValue(list)) => {
            let values = list.values.into_iter().map(|given| value(given, depth + 1));
            Kind::ListValue(engine::ListValue {
                values: values.collect::<Result<_, _>>()?,
            })
        }
        Some(Json::StructValue(given)) => Kind::StructValue(engine::Struct {
            fields: fields(given, depth + 1)?,
        }),
    };
    Ok(engine::Value { kind: Some(kind) })
}

fn number(number: f64) -> Result<Kind, String> {
    if !number.is_finite() {
        return Err(format!("has the number {number}, which JSON has not"));
    }
    // -0 is a double alone.
    let is_whole = number.fract() == 0.0
        && number.abs() <= EXACT as f64
        && !(number == 0.0 && number.is_sign_negative());
    Ok(if is_whole {
        Kind::IntegerValue(number as i64)
    } else {
        Kind::DoubleValue(number)
    })
}

/// A payload that is stored.
pub(super) fn read_payload(stored: HashMap<String, engine::Value>) -> prost_types::Struct {
    read_fields(stored, 1)
}

fn read_fields(stored: HashMap<String, engine::Value>, depth: usize) -> prost_types::Struct {
    prost_types::Struct {
        fields: stored
            .into_iter()
            .map(|(key, stored)| (key, read_value(stored, depth)))
            .collect(),
    }
}

fn read_value(stored: engine::Value, depth: usize) -> prost_types::Value {
    let kind = match stored.kind {
        None | Some(Kind::NullValue(_)) => Json::NullValue(0),
        Some(Kind::BoolValue(bool)) => Json::BoolValue(bool),
        Some(Kind::DoubleValue(number)) => Json::NumberValue(number),
        Some(Kind::IntegerValue(number)) if (-EXACT..=EXACT).contains(&number) => {
            Json::NumberValue(number as f64)
        }
        Some(Kind::IntegerValue(number)) => Json::StringValue(number.to_string()),
        Some(Kind::StringValue(text)) => Json::StringValue(text),
        // Only Qdrant's own clients write what is so deep. Nothing of it is lost.
        Some(deep @ (Kind::ListValue(_) | Kind::StructValue(_))) if depth >= MAX_DEPTH => {
            let deep = engine::Value { kind: Some(deep) };
            Json::StringValue(serde_json::Value::from(deep).to_string())
        }
        Some(Kind::ListValue(list)) => Json::ListValue(prost_types::ListValue {
            values: list
                .values
                .into_iter()
                .map(|value| read_value(value, depth + 1))
                .collect(),
        }),
        Some(Kind::StructValue(stored)) => Json::StructValue(read_fields(stored.fields, depth + 1)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: Json) -> prost_types::Value {
        prost_types::Value { kind: Some(kind) }
    }

    fn object(fields: &[(&str, prost_types::Value)]) -> prost_types::Struct {
        prost_types::Struct {
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        }
    }

    fn nested(levels: usize) -> prost_types::Struct {
        (1..levels).fold(object(&[("a", json(Json::NumberValue(1.0)))]), |inner, _| {
            object(&[("a", json(Json::StructValue(inner)))])
        })
    }

    #[test]
    fn payloads_come_back_as_they_were() {
        let list = prost_types::ListValue {
            values: vec![
                json(Json::NumberValue(1.5)),
                json(Json::NullValue(0)),
                json(Json::BoolValue(true)),
            ],
        };
        let given = object(&[
            ("whole", json(Json::NumberValue(7.0))),
            ("part", json(Json::NumberValue(-0.25))),
            ("zero", json(Json::NumberValue(-0.0))),
            ("large", json(Json::NumberValue(1e300))),
            ("text", json(Json::StringValue("größe".into()))),
            ("list", json(Json::ListValue(list))),
            ("deep", json(Json::StructValue(nested(MAX_DEPTH - 1)))),
        ]);
        let stored = payload("payload", given.clone()).unwrap();
        assert_eq!(stored["whole"].kind, Some(Kind::IntegerValue(7)));
        assert_eq!(stored["part"].kind, Some(Kind::DoubleValue(-0.25)));
        assert!(matches!(stored["zero"].kind, Some(Kind::DoubleValue(zero)) if zero.is_sign_negative()));
        assert_eq!(read_payload(stored), given);
    }

    #[test]
    fn what_json_has_not_is_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(payload("payload", object(&[("n", json(Json::NumberValue(number)))])).is_err());
        }
        assert!(payload("payload", nested(MAX_DEPTH)).is_ok());
        assert!(payload("payload", nested(MAX_DEPTH + 1)).is_err());
    }

    #[test]
    fn integers_and_depth_beyond_the_contract_become_text() {
        let exact = engine::Value {
            kind: Some(Kind::IntegerValue(EXACT)),
        };
        assert_eq!(
            read_value(exact, 1),
            json(Json::NumberValue(9_007_199_254_740_992.0))
        );
        let beyond = engine::Value {
            kind: Some(Kind::IntegerValue(i64::MIN)),
        };
        assert_eq!(
            read_value(beyond, 1),
            json(Json::StringValue("-9223372036854775808".into()))
        );
        let deep = engine::Value {
            kind: Some(Kind::ListValue(engine::ListValue {
                values: vec![engine::Value {
                    kind: Some(Kind::IntegerValue(1)),
                }],
            })),
        };
        assert_eq!(read_value(deep, MAX_DEPTH), json(Json::StringValue("[1]".into())));
    }
}
