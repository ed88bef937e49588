//! Settings in Qdrant's REST form: `google.protobuf.Struct` that is read into types, and made of them.

use isa_proto::prost_types::{ListValue, Struct, Value, value::Kind};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value as Json};

use crate::qdrant::service::Error;

/// Up to here, either way, a double that is whole is an integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads settings; absent is none.
pub(super) fn read<T: DeserializeOwned + Default>(
    field: &'static str,
    given: Option<Struct>,
) -> Result<T, Error> {
    let Some(given) = given else {
        return Ok(T::default());
    };
    let json = object(given).map_err(|why| Error::invalid(field, why))?;
    // These are our own words, not the engine's: which field, and what would do.
    serde_json::from_value(Json::Object(json)).map_err(|why| Error::invalid(field, why.to_string()))
}

pub(super) fn object(given: Struct) -> Result<Map<String, Json>, String> {
    let fields = given.fields.into_iter();
    fields.map(|(key, given)| Ok((key, value(given)?))).collect()
}

fn value(given: Value) -> Result<Json, String> {
    Ok(match given.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => bool.into(),
        Some(Kind::NumberValue(number)) if number.fract() == 0.0 && number.abs() <= EXACT => {
            (number as i64).into()
        }
        Some(Kind::NumberValue(number)) => Number::from_f64(number)
            .ok_or_else(|| format!("has the number {number}, which JSON has not"))?
            .into(),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(value).collect::<Result<_, _>>()?,
        Some(Kind::StructValue(given)) => Json::Object(object(given)?),
    })
}

/// Settings as the caller reads them: what is null is left out.
pub(super) fn shown(json: Json) -> Struct {
    match json {
        Json::Object(fields) => Struct {
            fields: fields
                .into_iter()
                .filter_map(|(key, json)| Some((key, shown_value(json)?)))
                .collect(),
        },
        _ => Struct::default(),
    }
}

fn shown_value(json: Json) -> Option<Value> {
    let kind = match json {
        Json::Null => return None,
        Json::Bool(bool) => Kind::BoolValue(bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64()?),
        Json::String(text) => Kind::StringValue(text),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.into_iter().filter_map(shown_value).collect(),
        }),
        json @ Json::Object(_) => Kind::StructValue(shown(json)),
    };
    Some(Value { kind: Some(kind) })
}
