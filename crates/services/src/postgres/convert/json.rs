//! JSON text and `Value`, both ways. Numbers that a double does not hold come as text; no library at hand says which.

use std::{collections::BTreeMap, fmt::Write};

use isa_proto::prost_types::{ListValue, Struct, Value, value::Kind};

/// Deeper than this, a value comes as text. Each level is up to three messages within each other, and readers of protobuf
/// give up at 100.
const MAX_DEPTH: usize = 30;

/// Levels of a value that is written. PostgreSQL has its own bound, for which this is enough.
const MAX_WRITTEN: usize = 100;

/// Writes a value as JSON.
pub(super) fn write(value: &Value, out: &mut String) -> Result<(), String> {
    write_at(value, 0, out)
}

fn write_at(value: &Value, depth: usize, out: &mut String) -> Result<(), String> {
    if depth > MAX_WRITTEN {
        return Err(format!("is more than {MAX_WRITTEN} levels deep"));
    }
    match &value.kind {
        None | Some(Kind::NullValue(_)) => out.push_str("null"),
        Some(Kind::BoolValue(bool)) => out.push_str(if *bool { "true" } else { "false" }),
        Some(Kind::NumberValue(number)) => {
            if !number.is_finite() {
                return Err(format!("has {number}, which JSON has not"));
            }
            let _ = if *number != 0.0 && !(1e-7..1e21).contains(&number.abs()) {
                write!(out, "{number:e}")
            } else {
                write!(out, "{number}")
            };
        }
        Some(Kind::StringValue(text)) => write_string(text, out)?,
        Some(Kind::ListValue(list)) => {
            out.push('[');
            for (at, value) in list.values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_at(value, depth + 1, out)?;
            }
            out.push(']');
        }
        Some(Kind::StructValue(fields)) => {
            out.push('{');
            for (at, (name, value)) in fields.fields.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_string(name, out)?;
                out.push(':');
                write_at(value, depth + 1, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

fn write_string(text: &str, out: &mut String) -> Result<(), String> {
    out.push('"');
    for character in text.chars() {
        match character {
            '\0' => return Err("has a NUL character, which PostgreSQL has not in JSON".into()),
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            ..' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
    Ok(())
}

/// Reads JSON text. `None` if it is none.
pub(super) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, expected: &str) -> Option<()> {
        self.text[self.at..]
            .starts_with(expected)
            .then(|| self.at += expected.len())
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.blanks();
        let first = self.peek()?;
        if depth == MAX_DEPTH && matches!(first, b'{' | b'[') {
            let start = self.at;
            self.skip()?;
            return Some(of(Kind::StringValue(self.text[start..self.at].to_owned())));
        }
        Some(of(match first {
            b'{' => Kind::StructValue(self.object(depth)?),
            b'[' => Kind::ListValue(self.array(depth)?),
            b'"' => Kind::StringValue(self.string()?),
            b't' => self.take("true").map(|()| Kind::BoolValue(true))?,
            b'f' => self.take("false").map(|()| Kind::BoolValue(false))?,
            b'n' => self.take("null").map(|()| Kind::NullValue(0))?,
            _ => self.number()?,
        }))
    }

    fn object(&mut self, depth: usize) -> Option<Struct> {
        let mut fields = BTreeMap::new();
        self.at += 1;
        self.blanks();
        if self.take("}").is_some() {
            return Some(Struct { fields });
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.take(":")?;
            fields.insert(name, self.value(depth + 1)?);
            self.blanks();
            if self.take("}").is_some() {
                return Some(Struct { fields });
            }
            self.take(",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Option<ListValue> {
        let mut values = Vec::new();
        self.at += 1;
        self.blanks();
        if self.take("]").is_some() {
            return Some(ListValue { values });
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.blanks();
            if self.take("]").is_some() {
                return Some(ListValue { values });
            }
            self.take(",")?;
        }
    }

    /// The end of a string, and whether it has escapes.
    fn raw_string(&mut self) -> Option<(usize, usize, bool)> {
        self.take("\"")?;
        let start = self.at;
        let mut escapes = false;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some((start, self.at - 1, escapes));
                }
                b'\\' => {
                    escapes = true;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let (start, end, escapes) = self.raw_string()?;
        let inside = self.text.get(start..end)?;
        if !escapes {
            return Some(inside.to_owned());
        }
        serde_json::from_str(self.text.get(start - 1..end + 1)?).ok()
    }

    fn number(&mut self) -> Option<Kind> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let number: f64 = text.parse().ok()?;
        let exact = number.is_finite() && decimal(text) == decimal(&format!("{number:e}"));
        Some(if exact {
            Kind::NumberValue(number)
        } else {
            Kind::StringValue(text.to_owned())
        })
    }

    /// Past a value of any depth, without recursion.
    fn skip(&mut self) -> Option<()> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.raw_string()?;
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open -= 1,
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return Some(());
            }
        }
    }
}

fn of(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

/// A number's sign, digits without zeros around them, and the power of ten of the first.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let leading = digits.bytes().take_while(|digit| *digit == b'0').count();
    let trimmed = digits.trim_matches('0');
    if trimmed.is_empty() {
        return Some((false, String::new(), 0));
    }
    let power = exponent + i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
    Some((negative, trimmed.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn back(text: &str) -> String {
        let mut out = String::new();
        write(&read(text).unwrap_or_else(|| panic!("{text}")), &mut out).unwrap();
        out
    }

    #[test]
    fn values_are_read_and_numbers_lose_nothing() {
        for (text, expected) in [
            (
                r#" {"a": [1, 2.50, -0.1, true, null], "b\n\u00e9": "\ud83d\ude00"} "#,
                "{\"a\":[1,2.5,-0.1,true,null],\"b\\u000aé\":\"😀\"}",
            ),
            ("9007199254740992", "9007199254740992"),
            ("9007199254740993", "\"9007199254740993\""),
            (
                "0.1000000000000000055511151231257827",
                "\"0.1000000000000000055511151231257827\"",
            ),
            ("1e400", "\"1e400\""),
            ("1.0E+2", "100"),
            ("[]", "[]"),
        ] {
            assert_eq!(back(text), expected);
        }
        for nonsense in ["", "{", "[1,]", "nul", "1 2", "\"a", "{\"a\"}"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_too_deep_is_text() {
        let text = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
        let mut value = read(&text).unwrap();
        let mut depth = 0;
        while let Some(Kind::ListValue(list)) = value.kind {
            depth += 1;
            value = list.values.into_iter().next().unwrap();
        }
        assert_eq!(depth, MAX_DEPTH);
        assert!(
            matches!(value.kind, Some(Kind::StringValue(rest)) if rest.len() == text.len() - 2 * MAX_DEPTH)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_not(text in "[\\[\\]{}\",:0-9eE.+tfn\\\\ -]{0,40}") {
            let ours = read(&text);
            if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&text) {
                prop_assert!(ours.is_some(), "{} is {}", text, theirs);
            }
        }

        #[test]
        fn doubles_come_back(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            let mut text = String::new();
            write(&of(Kind::NumberValue(number)), &mut text).unwrap();
            prop_assert_eq!(read(&text), Some(of(Kind::NumberValue(number))));
        }
    }
}
