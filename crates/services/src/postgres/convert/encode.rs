//! Values as PostgreSQL's text.

use std::{
    borrow::{Borrow, Cow},
    fmt::Write,
};

use isa_proto::prost_types::{ListValue, Value, value::Kind};
use tokio_postgres::types::{Kind as TypeKind, Type};

use super::json;
use crate::postgres::service::{Invalid, Param, Values};

/// Levels of lists: PostgreSQL's arrays have six dimensions at most.
const MAX_DEPTH: usize = 6;

/// Parameters of raw SQL.
pub(in crate::postgres) struct Params<'a>(pub(in crate::postgres) &'a [Value]);

/// The same, of a call that outlives its request.
pub(in crate::postgres) struct Owned(pub(in crate::postgres) Vec<Value>);

/// Values of a structured call, each with the field that it came from.
pub(in crate::postgres) struct Fields<V>(pub(in crate::postgres) Vec<(V, String)>);

impl Values for Params<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(&self, types: &[Type]) -> Result<Vec<Param<'_>>, Invalid> {
        bind(self.0, types)
    }
}

impl Values for Owned {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(&self, types: &[Type]) -> Result<Vec<Param<'_>>, Invalid> {
        bind(&self.0, types)
    }
}

impl<V: Borrow<Value> + Send + Sync> Values for Fields<V> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(&self, types: &[Type]) -> Result<Vec<Param<'_>>, Invalid> {
        let pairs = self.0.iter().zip(types);
        pairs
            .map(|((value, field), kind)| {
                param(value.borrow(), kind).map_err(|why| Invalid::new(field.as_str(), why))
            })
            .collect()
    }
}

fn bind<'a>(values: &'a [Value], types: &[Type]) -> Result<Vec<Param<'a>>, Invalid> {
    let pairs = values.iter().zip(types).enumerate();
    pairs
        .map(|(at, (value, kind))| {
            param(value, kind).map_err(|why| Invalid::new(format!("params[{at}]"), why))
        })
        .collect()
}

/// A value as text of this type, or why it cannot be.
fn param<'a>(value: &'a Value, kind: &Type) -> Result<Param<'a>, String> {
    Ok(Param(match &value.kind {
        None | Some(Kind::NullValue(_)) => None,
        Some(Kind::StringValue(text)) => Some(string(text)?),
        Some(_) => {
            let mut text = String::new();
            write(value, kind, &mut text)?;
            Some(text.into())
        }
    }))
}

fn string(text: &str) -> Result<Cow<'_, str>, String> {
    if text.contains('\0') {
        return Err("has a NUL character, which PostgreSQL has not in text; bytea takes `\\x…`".into());
    }
    Ok(text.into())
}

/// Domains are read as what they are made of.
fn base(kind: &Type) -> &Type {
    match kind.kind() {
        TypeKind::Domain(below) => base(below),
        _ => kind,
    }
}

fn write(value: &Value, kind: &Type, out: &mut String) -> Result<(), String> {
    let kind = base(kind);
    if matches!(*kind, Type::JSON | Type::JSONB) {
        return json::write(value, out);
    }
    match &value.kind {
        None | Some(Kind::NullValue(_)) => out.push_str("NULL"),
        Some(Kind::StringValue(text)) => out.push_str(&string(text)?),
        Some(Kind::NumberValue(number)) => write_number(*number, kind, out)?,
        Some(Kind::BoolValue(bool)) => {
            if *kind != Type::BOOL {
                return Err(format!("is a bool, and the parameter is of type {}", kind.name()));
            }
            out.push_str(if *bool { "true" } else { "false" });
        }
        Some(Kind::StructValue(_)) => {
            return Err(format!(
                "is a struct, and the parameter is of type {}, not json",
                kind.name()
            ));
        }
        Some(Kind::ListValue(list)) => match kind.kind() {
            TypeKind::Array(element) => write_array(list, element, 1, out)?,
            _ if ["vector", "halfvec"].contains(&kind.name()) => write_vector(list, out)?,
            _ => {
                return Err(format!(
                    "is a list, and the parameter is of type {}, not an array",
                    kind.name()
                ));
            }
        },
    }
    Ok(())
}

fn write_number(number: f64, kind: &Type, out: &mut String) -> Result<(), String> {
    let range = match *kind {
        Type::INT2 => Some((f64::from(i16::MIN), f64::from(i16::MAX))),
        Type::INT4 => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
        Type::OID => Some((0.0, f64::from(u32::MAX))),
        // The largest double below 2^63.
        Type::INT8 => Some((-9_223_372_036_854_775_808.0, 9_223_372_036_854_774_784.0)),
        Type::BOOL => return Err("is a number, and the parameter is of type bool".into()),
        _ => None,
    };
    if let Some((least, most)) = range {
        if number.fract() != 0.0 || number.is_nan() || number.is_infinite() {
            return Err(format!(
                "is {number}, and the parameter is of type {}: not a whole number",
                kind.name()
            ));
        }
        if !(least..=most).contains(&number) {
            return Err(format!(
                "is {number}, which is out of range for type {}",
                kind.name()
            ));
        }
    }
    let _ = match number {
        _ if number.is_nan() => out.write_str("NaN"),
        f64::INFINITY => out.write_str("Infinity"),
        f64::NEG_INFINITY => out.write_str("-Infinity"),
        // Not a mile of zeros.
        _ if number != 0.0 && !(1e-7..1e21).contains(&number.abs()) => write!(out, "{number:e}"),
        _ if number == 0.0 && range.is_some() => out.write_char('0'),
        _ => write!(out, "{number}"),
    };
    Ok(())
}

/// `{1,"two",NULL}`
fn write_array(list: &ListValue, element: &Type, depth: usize, out: &mut String) -> Result<(), String> {
    let is_json = matches!(*base(element), Type::JSON | Type::JSONB);
    // A box has commas in it.
    let between = if *element == Type::BOX { ';' } else { ',' };
    out.push('{');
    for (at, value) in list.values.iter().enumerate() {
        if at > 0 {
            out.push(between);
        }
        match &value.kind {
            Some(Kind::ListValue(inner)) if !is_json && !is_vector(element) => {
                if depth == MAX_DEPTH {
                    return Err(format!(
                        "has lists more than {MAX_DEPTH} deep, as arrays cannot be"
                    ));
                }
                write_array(inner, element, depth + 1, out).map_err(|why| format!("[{at}] {why}"))?;
            }
            None | Some(Kind::NullValue(_)) => out.push_str("NULL"),
            _ => {
                let mut text = String::new();
                match &value.kind {
                    Some(Kind::StringValue(json)) if is_json => {
                        text.push_str(&string(json).map_err(|why| format!("[{at}] {why}"))?);
                    }
                    _ => write(value, element, &mut text).map_err(|why| format!("[{at}] {why}"))?,
                }
                out.push('"');
                for character in text.chars() {
                    if matches!(character, '"' | '\\') {
                        out.push('\\');
                    }
                    out.push(character);
                }
                out.push('"');
            }
        }
    }
    out.push('}');
    Ok(())
}

fn is_vector(kind: &Type) -> bool {
    ["vector", "halfvec"].contains(&kind.name())
}

/// `[1,2.5]`
fn write_vector(list: &ListValue, out: &mut String) -> Result<(), String> {
    out.push('[');
    for (at, value) in list.values.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match value.kind {
            Some(Kind::NumberValue(number)) if number.is_finite() => {
                let _ = write!(out, "{number}");
            }
            _ => {
                return Err(format!(
                    "[{at}] is not a finite number, as every element of a vector is"
                ));
            }
        }
    }
    out.push(']');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(number: f64) -> Value {
        Value {
            kind: Some(Kind::NumberValue(number)),
        }
    }

    fn text(text: &str) -> Value {
        Value {
            kind: Some(Kind::StringValue(text.into())),
        }
    }

    fn list(values: Vec<Value>) -> Value {
        Value {
            kind: Some(Kind::ListValue(ListValue { values })),
        }
    }

    fn written(value: &Value, kind: &Type) -> Result<Option<String>, String> {
        param(value, kind).map(|param| param.0.map(Cow::into_owned))
    }

    #[test]
    fn numbers_are_what_they_are() {
        for (given, kind, expected) in [
            (3.0, Type::INT4, Some("3")),
            (-0.0, Type::INT4, Some("0")),
            (3.5, Type::INT4, None),
            (40_000.0, Type::INT2, None),
            (9_007_199_254_740_993.0, Type::INT8, Some("9007199254740992")),
            (9.3e18, Type::INT8, None),
            (f64::NAN, Type::INT8, None),
            (f64::NAN, Type::FLOAT8, Some("NaN")),
            (f64::NEG_INFINITY, Type::NUMERIC, Some("-Infinity")),
            (0.1, Type::NUMERIC, Some("0.1")),
            (1e300, Type::FLOAT8, Some("1e300")),
            (42.0, Type::TEXT, Some("42")),
            (1.0, Type::BOOL, None),
            (1.5, Type::JSONB, Some("1.5")),
        ] {
            let written = written(&number(given), &kind).ok().flatten();
            assert_eq!(written.as_deref(), expected, "{given} as {kind}");
        }
    }

    #[test]
    fn lists_are_arrays_or_json() {
        let nested = list(vec![
            list(vec![number(1.0), Value { kind: None }]),
            list(vec![number(2.0), number(3.0)]),
        ]);
        assert_eq!(
            written(&nested, &Type::INT4_ARRAY),
            Ok(Some("{{\"1\",NULL},{\"2\",\"3\"}}".into()))
        );
        assert_eq!(
            written(&nested, &Type::JSONB),
            Ok(Some("[[1,null],[2,3]]".into()))
        );
        for kind in [Type::TEXT_ARRAY, Type::JSON_ARRAY] {
            assert!(written(&list(vec![text("\0")]), &kind).is_err());
        }
        let strings = list(vec![text("a\"b\\"), text("NULL"), text("")]);
        assert_eq!(
            written(&strings, &Type::TEXT_ARRAY),
            Ok(Some("{\"a\\\"b\\\\\",\"NULL\",\"\"}".into()))
        );
        let wrong = written(&list(vec![number(1.5)]), &Type::INT4_ARRAY).unwrap_err();
        assert!(wrong.starts_with("[0] is 1.5"), "{wrong}");
        assert!(written(&nested, &Type::INT4).is_err());
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Kind::NullValue(0)),
            any::<f64>().prop_map(Kind::NumberValue),
            ".{0,8}".prop_map(Kind::StringValue),
            any::<bool>().prop_map(Kind::BoolValue),
        ]
        .prop_map(|kind| Value { kind: Some(kind) });
        leaf.prop_recursive(8, 32, 4, |inner| {
            let values = prop::collection::vec(inner.clone(), 0..4);
            let fields = prop::collection::btree_map(".{0,4}", inner, 0..4);
            prop_oneof![
                values.prop_map(list),
                fields.prop_map(|fields| Value {
                    kind: Some(Kind::StructValue(isa_proto::prost_types::Struct { fields })),
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_is_written_or_refused(value in any_value(), kind in 0..8_usize) {
            let kinds = [
                Type::INT4, Type::TEXT, Type::BOOL, Type::JSONB, Type::TEXT_ARRAY, Type::JSON_ARRAY, Type::FLOAT8, Type::BYTEA,
            ];
            if let Ok(Some(text)) = written(&value, &kinds[kind]) {
                prop_assert!(!text.contains('\0'));
                if kinds[kind] == Type::JSONB && !matches!(value.kind, Some(Kind::StringValue(_))) {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
                }
            }
        }
    }
}
