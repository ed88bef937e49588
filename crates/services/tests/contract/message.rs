//! Messages of any type: made of JSON, filled by the names of their fields, and walked leaf by leaf.

use std::{collections::HashMap, time::Duration};

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor, ReflectMessage,
    Value, bytes::Bytes,
};
use serde_json::Value as Json;

/// A message of the JSON that describes it: fields by name, `google.protobuf.Value` as JSON is, durations and times in
/// seconds.
pub(crate) fn message(desc: &MessageDescriptor, json: &Json) -> DynamicMessage {
    let mut message = DynamicMessage::new(desc.clone());
    match (desc.full_name(), json) {
        ("google.protobuf.Duration" | "google.protobuf.Timestamp", Json::Number(seconds)) => {
            let time = Duration::from_secs_f64(seconds.as_f64().expect("seconds"));
            message.set_field_by_name(
                "seconds",
                Value::I64(i64::try_from(time.as_secs()).expect("a time")),
            );
            message.set_field_by_name("nanos", Value::I32(time.subsec_nanos().cast_signed()));
        }
        ("google.protobuf.Value", _) => {
            let (field, value) = match json {
                Json::Null => ("null_value", Value::EnumNumber(0)),
                Json::Bool(value) => ("bool_value", Value::Bool(*value)),
                Json::Number(value) => ("number_value", Value::F64(value.as_f64().expect("a number"))),
                Json::String(value) => ("string_value", Value::String(value.clone())),
                Json::Array(_) => ("list_value", nested(desc, "list_value", json)),
                Json::Object(_) => ("struct_value", nested(desc, "struct_value", json)),
            };
            message.set_field_by_name(field, value);
        }
        ("google.protobuf.Struct", Json::Object(_)) => {
            let field = desc.get_field_by_name("fields").expect("a struct");
            message.set_field(&field, value(&field, json));
        }
        ("google.protobuf.ListValue", Json::Array(_)) => {
            let field = desc.get_field_by_name("values").expect("a list");
            message.set_field(&field, value(&field, json));
        }
        (name, Json::Object(fields)) => {
            for (key, json) in fields {
                let field = desc
                    .get_field_by_name(key)
                    .unwrap_or_else(|| panic!("{name} has no field {key}"));
                message.set_field(&field, value(&field, json));
            }
        }
        (name, json) => panic!("{json} is no {name}"),
    }
    message
}

fn nested(desc: &MessageDescriptor, field: &str, json: &Json) -> Value {
    let field = desc.get_field_by_name(field).expect("a field of Value");
    value(&field, json)
}

/// The value of a field.
fn value(field: &FieldDescriptor, json: &Json) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            unreachable!("a map has entries")
        };
        let of = entry.map_entry_value_field();
        let entries = json
            .as_object()
            .unwrap_or_else(|| panic!("{}: {json} is no map", field.full_name()));
        let entries = entries
            .iter()
            .map(|(key, json)| (MapKey::String(key.clone()), one(&of, json)));
        return Value::Map(entries.collect());
    }
    if field.is_list() {
        let items = json
            .as_array()
            .unwrap_or_else(|| panic!("{}: {json} is no list", field.full_name()));
        return Value::List(items.iter().map(|json| one(field, json)).collect());
    }
    one(field, json)
}

fn one(field: &FieldDescriptor, json: &Json) -> Value {
    let made = match field.kind() {
        Kind::String => json.as_str().map(|text| Value::String(text.to_owned())),
        Kind::Bytes => json
            .as_str()
            .map(|text| Value::Bytes(Bytes::copy_from_slice(text.as_bytes()))),
        Kind::Bool => json.as_bool().map(Value::Bool),
        Kind::Double => json.as_f64().map(Value::F64),
        Kind::Float => json.as_f64().map(|n| Value::F32(n as f32)),
        Kind::Uint64 => json.as_u64().map(Value::U64),
        Kind::Uint32 => json.as_u64().and_then(|n| u32::try_from(n).ok()).map(Value::U32),
        Kind::Int64 => json.as_i64().map(Value::I64),
        Kind::Int32 => json.as_i64().and_then(|n| i32::try_from(n).ok()).map(Value::I32),
        Kind::Enum(kind) => match json {
            Json::String(name) => kind
                .get_value_by_name(name)
                .map(|value| Value::EnumNumber(value.number())),
            _ => json
                .as_i64()
                .and_then(|n| i32::try_from(n).ok())
                .map(Value::EnumNumber),
        },
        Kind::Message(desc) => Some(Value::Message(message(&desc, json))),
        other => panic!("{}: fields of {other:?} are new here", field.full_name()),
    };
    made.unwrap_or_else(|| panic!("{}: {json} does not fit", field.full_name()))
}

/// Who a request says that asks, on an open server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) organization: String,
}

impl Identity {
    /// Writes it wherever the request has a place for it.
    pub(crate) fn sign(&self, message: &mut DynamicMessage) {
        let desc = message.descriptor();
        for field in desc.fields() {
            match field.name() {
                "user_id" => message.set_field(&field, Value::String(self.user.clone())),
                "organization_id" => message.set_field(&field, Value::String(self.organization.clone())),
                "metadata" => {
                    let Kind::Message(of) = field.kind() else { continue };
                    if field.is_map() || of.get_field_by_name("user_id").is_none() {
                        continue;
                    }
                    // The first message of an upload has it already; the chunks have none.
                    if field.containing_oneof().is_some() && !message.has_field(&field) {
                        continue;
                    }
                    if let Some(nested) = message.get_field_mut(&field).as_message_mut() {
                        self.sign(nested);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What fields are filled with: candidates by `Method.field` or `field`.
pub(crate) type Dictionary = serde_json::Map<String, Json>;

/// The requests of one call, filled with the candidates number `variant` of the dictionary, and how many variants there are.
/// A method that takes a stream gets each kind of its messages once, in order.
pub(crate) fn filled(
    method: &MethodDescriptor,
    dictionary: &Dictionary,
    variant: usize,
) -> (Vec<DynamicMessage>, usize) {
    let mut variants = 1;
    let input = method.input();
    let kinds: Vec<_> = input
        .oneofs()
        .flat_map(|oneof| oneof.fields().collect::<Vec<_>>())
        .collect();
    if !method.is_client_streaming() || kinds.is_empty() {
        return (
            vec![fill(method, &input, dictionary, variant, &mut variants)],
            variants,
        );
    }
    let messages = kinds.iter().map(|field| {
        let mut message = DynamicMessage::new(input.clone());
        let value =
            candidate(method, field, dictionary, variant, &mut variants).unwrap_or_else(|| {
                match field.kind() {
                    Kind::Message(desc) => {
                        Value::Message(fill(method, &desc, dictionary, variant, &mut variants))
                    }
                    _ => Value::default_value_for_field(field),
                }
            });
        message.set_field(field, value);
        message
    });
    (messages.collect(), variants)
}

fn fill(
    method: &MethodDescriptor,
    desc: &MessageDescriptor,
    dictionary: &Dictionary,
    variant: usize,
    variants: &mut usize,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(desc.clone());
    for field in desc.fields() {
        if let Some(value) = candidate(method, &field, dictionary, variant, variants) {
            message.set_field(&field, value);
        }
    }
    message
}

fn candidate(
    method: &MethodDescriptor,
    field: &FieldDescriptor,
    dictionary: &Dictionary,
    variant: usize,
    variants: &mut usize,
) -> Option<Value> {
    let candidates = dictionary
        .get(&format!("{}.{}", method.name(), field.name()))
        .or_else(|| dictionary.get(field.name()))?
        .as_array()
        .unwrap_or_else(|| panic!("the dictionary has no list of candidates for {}", field.name()));
    // The name of one field may be that of another with another type.
    let fits: Vec<_> = candidates.iter().filter(|json| fits(field, json)).collect();
    let json = fits.get(variant % fits.len().max(1))?;
    *variants = (*variants).max(fits.len());
    Some(value(field, json))
}

fn fits(field: &FieldDescriptor, json: &Json) -> bool {
    if field.is_map() {
        return json.is_object();
    }
    if field.is_list() {
        return json
            .as_array()
            .is_some_and(|items| items.iter().all(|item| fits_one(field, item)));
    }
    fits_one(field, json)
}

fn fits_one(field: &FieldDescriptor, json: &Json) -> bool {
    match field.kind() {
        Kind::String | Kind::Bytes => json.is_string(),
        Kind::Bool => json.is_boolean(),
        Kind::Double | Kind::Float => json.is_number(),
        Kind::Int32 | Kind::Int64 => json.is_i64(),
        Kind::Uint32 | Kind::Uint64 => json.is_u64(),
        Kind::Enum(_) => json.is_i64() || json.is_string(),
        Kind::Message(desc) => match desc.full_name() {
            "google.protobuf.Duration" | "google.protobuf.Timestamp" => json.is_number(),
            "google.protobuf.Value" => true,
            "google.protobuf.ListValue" => json.is_array(),
            "google.protobuf.Struct" => json.is_object(),
            _ => json
                .as_object()
                .is_some_and(|fields| fields.keys().all(|key| desc.get_field_by_name(key).is_some())),
        },
        _ => false,
    }
}

/// Shows every text of a message, and every text that could be there: keys of maps and what is in bytes too, by the path of
/// its field.
pub(crate) fn texts(message: &DynamicMessage, path: &str, see: &mut dyn FnMut(&str, &str)) {
    for (field, value) in message.fields() {
        texts_of(value, &format!("{path}.{}", field.name()), see);
    }
}

fn texts_of(value: &Value, path: &str, see: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => see(path, text),
        Value::Bytes(bytes) => see(path, &String::from_utf8_lossy(bytes)),
        Value::Message(message) => texts(message, path, see),
        Value::List(items) => items.iter().for_each(|item| texts_of(item, path, see)),
        Value::Map(entries) => {
            for (key, value) in sorted(entries) {
                if let MapKey::String(key) = key {
                    see(path, key);
                }
                texts_of(value, path, see);
            }
        }
        _ => {}
    }
}

/// Changes texts of a request, those that are empty too: `change` gets the path of the field. Keys of maps are not changed.
pub(crate) fn change_texts(
    message: &mut DynamicMessage,
    path: &str,
    change: &mut dyn FnMut(&str, &mut String),
) {
    let desc = message.descriptor();
    for field in desc.fields() {
        let path = format!("{path}.{}", field.name());
        let plain = field.kind() == Kind::String && !field.is_list() && !field.is_map();
        if (plain && field.containing_oneof().is_none()) || message.has_field(&field) {
            change_value(message.get_field_mut(&field), &path, change);
        }
    }
}

fn change_value(value: &mut Value, path: &str, change: &mut dyn FnMut(&str, &mut String)) {
    match value {
        Value::String(text) => change(path, text),
        Value::Message(message) => change_texts(message, path, change),
        Value::List(items) => items.iter_mut().for_each(|item| change_value(item, path, change)),
        Value::Map(entries) => {
            let mut keys: Vec<_> = entries.keys().cloned().collect();
            keys.sort();
            for key in keys {
                if let Some(value) = entries.get_mut(&key) {
                    change_value(value, path, change);
                }
            }
        }
        _ => {}
    }
}

/// Entries of a map in the order of their keys.
pub(crate) fn sorted(entries: &HashMap<MapKey, Value>) -> Vec<(&MapKey, &Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|(key, _)| (*key).clone());
    entries
}

/// The message without fields of these names, at any depth: what differs from call to call by its nature.
pub(crate) fn without(message: &DynamicMessage, names: &[&str]) -> DynamicMessage {
    let mut rest = message.clone();
    for (field, value) in message.fields() {
        if names.contains(&field.name()) {
            rest.clear_field(&field);
        } else {
            rest.set_field(&field, value_without(value, names));
        }
    }
    rest
}

fn value_without(value: &Value, names: &[&str]) -> Value {
    match value {
        Value::Message(message) => Value::Message(without(message, names)),
        Value::List(items) => Value::List(items.iter().map(|item| value_without(item, names)).collect()),
        other => other.clone(),
    }
}

/// What can be told of an answer apart from the words in it: truth values, numbers, how many of each, whether there is a
/// text. Two answers about absent things have the same.
pub(crate) fn shape(message: &DynamicMessage, volatile: &[&str]) -> String {
    let mut out = String::from("{");
    let desc = message.descriptor();
    for field in desc.fields().filter(|field| !volatile.contains(&field.name())) {
        if message.has_field(&field) {
            out += &format!(
                "{}: {}, ",
                field.name(),
                shape_of(&message.get_field(&field), volatile)
            );
        }
    }
    out + "}"
}

fn shape_of(value: &Value, volatile: &[&str]) -> String {
    match value {
        Value::String(_) => "text".into(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::F32(_) | Value::F64(_) => "number".into(),
        Value::Message(message) if message.descriptor().full_name() == "google.protobuf.Timestamp" => {
            "time".into()
        }
        Value::Message(message) => shape(message, volatile),
        Value::List(items) => {
            let mut shapes: Vec<_> = items.iter().map(|item| shape_of(item, volatile)).collect();
            shapes.sort();
            format!("{shapes:?}")
        }
        Value::Map(entries) => format!("{} entries", entries.len()),
        other => format!("{other:?}"),
    }
}
