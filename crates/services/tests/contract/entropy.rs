//! Requests made of bytes: every bit of a request is decided by some byte, and none left means the least. So proptest, which
//! makes bytes fewer and smaller, makes requests simpler.

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value, bytes::Bytes,
    prost::Message,
};

/// Deepest message inside messages, but for the odd one that is deeper than a decoder goes.
const DEPTH: usize = 6;

/// Bytes of a list that has many items, at most.
const LONGEST: usize = 1 << 20;

/// Fields that say how long the server may wait. A second and more would be waited for, rightly.
const WAITS: [&str; 3] = ["wait_timeout", "timeout", "max_wait"];

pub(crate) struct Entropy<'a> {
    bytes: &'a [u8],
    /// Texts that mean something.
    words: &'a [String],
}

impl<'a> Entropy<'a> {
    pub(crate) fn new(bytes: &'a [u8], words: &'a [String]) -> Self {
        Self { bytes, words }
    }

    fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((first, rest)) => {
                self.bytes = rest;
                *first
            }
            None => 0,
        }
    }

    /// 0 to `n - 1`; 0 when nothing is left.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        let two = usize::from(self.byte()) << 8 | usize::from(if n > 256 { self.byte() } else { 0 });
        let two = if n > 256 { two } else { two >> 8 };
        two % n.max(1)
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let (taken, rest) = self.bytes.split_at(most.min(self.bytes.len()));
        self.bytes = rest;
        taken.to_vec()
    }

    /// Bytes that are no message, or one that was damaged.
    pub(crate) fn garbage(&mut self, of: &[u8]) -> Bytes {
        if of.is_empty() || self.below(2) == 0 {
            return self.take(200).into();
        }
        let mut damaged = of.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(damaged.len());
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 1 << self.below(8);
            }
        }
        damaged.into()
    }

    /// A message of any content.
    pub(crate) fn message(&mut self, desc: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(desc.clone());
        if depth > DEPTH {
            return message;
        }
        if desc.full_name() == "google.protobuf.Value" && self.below(32) == 31 {
            return nested(desc, 120);
        }
        for field in desc.fields() {
            // Three of four: a request with most of its fields gets further than one without.
            if self.below(4) != 0 {
                let value = self.field(&field, depth);
                message.set_field(&field, value);
            }
        }
        message
    }

    /// Puts something else into some places of a message.
    pub(crate) fn change(&mut self, message: &mut DynamicMessage, depth: usize) {
        let desc = message.descriptor();
        let fields: Vec<_> = desc.fields().collect();
        if fields.is_empty() {
            return;
        }
        for _ in 0..=self.below(2) {
            let at = self.below(fields.len());
            let Some(field) = fields.get(at) else { continue };
            let inside = message.has_field(field) && self.below(3) != 0;
            let plain = !field.is_list() && !field.is_map();
            if inside && plain && depth < DEPTH && matches!(field.kind(), Kind::Message(_)) {
                if let Some(nested) = message.get_field_mut(field).as_message_mut() {
                    self.change(nested, depth + 1);
                }
            } else if inside && field.is_list() {
                let one = self.one(field, depth);
                if let Some(items) = message.get_field_mut(field).as_list_mut() {
                    items.push(one);
                }
            } else {
                let value = self.field(field, depth);
                message.set_field(field, value);
            }
        }
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                return Value::default_value_for_field(field);
            };
            let of = entry.map_entry_value_field();
            let entries = (0..self.below(5)).map(|_| (MapKey::String(self.text()), self.one(&of, depth)));
            return Value::Map(entries.collect());
        }
        if field.is_list() {
            let count = match self.below(40) {
                // More than most limits.
                39 if !matches!(field.kind(), Kind::Message(_) | Kind::Bytes) => 10_001,
                38 if !matches!(field.kind(), Kind::Bytes) => 1001,
                n => n % 4,
            };
            let first: Vec<_> = (0..count.min(4)).map(|_| self.one(field, depth)).collect();
            // Many, or large: not both. Lists inside lists would be larger than the memory.
            let largest = first.iter().map(size).max().unwrap_or_default();
            let count = if count * largest <= LONGEST {
                count
            } else {
                first.len()
            };
            return Value::List(first.iter().cycle().take(count).cloned().collect());
        }
        self.one(field, depth)
    }

    fn one(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        match field.kind() {
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(match self.below(8) {
                7 => vec![0; 300_000].into(),
                n => self.take(n * 8).into(),
            }),
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::Float => Value::F32(0.0),
            Kind::Double => Value::F64(self.double()),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.int() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.int()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.int() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.int().cast_unsigned()),
            Kind::Enum(_) => Value::EnumNumber(match self.below(10) {
                9 => i32::MAX,
                8 => -1,
                n => i32::try_from(n).unwrap_or_default(),
            }),
            Kind::Message(desc) if desc.full_name() == "google.protobuf.Duration" => {
                Value::Message(self.duration(&desc, WAITS.contains(&field.name())))
            }
            Kind::Message(desc) => Value::Message(self.message(&desc, depth + 1)),
        }
    }

    fn duration(&mut self, desc: &MessageDescriptor, waits: bool) -> DynamicMessage {
        let seconds = match self.below(6) {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            4 => 100_000,
            _ if waits => 0,
            n => i64::try_from(n).unwrap_or_default(),
        };
        let nanos = match self.below(5) {
            0 => 0,
            1 => -1,
            2 => i32::MAX,
            3 => i32::MIN,
            _ => 50_000_000,
        };
        let mut duration = DynamicMessage::new(desc.clone());
        duration.set_field_by_name("seconds", Value::I64(seconds));
        duration.set_field_by_name("nanos", Value::I32(nanos));
        duration
    }

    fn text(&mut self) -> String {
        match self.below(8) {
            0 => String::new(),
            1..=4 => {
                let at = self.below(self.words.len());
                self.words.get(at).cloned().unwrap_or_default()
            }
            5 => {
                let chars = self.take(12);
                chars.iter().map(|byte| char::from(*byte)).collect()
            }
            6 => {
                // Any characters at all, of four bytes each.
                let mut text = String::new();
                for _ in 0..self.below(8) {
                    let bytes = self.take(3);
                    let code = bytes
                        .iter()
                        .fold(0_u32, |code, byte| code << 8 | u32::from(*byte));
                    text.push(char::from_u32(code % 0x0011_0000).unwrap_or('\u{fffd}'));
                }
                text
            }
            _ => {
                let unit = ["x", "é", "\u{0}", ".", "'", "/", "🔑"][self.below(7)];
                unit.repeat([1, 64, 300, 5000, 100_000][self.below(5)])
            }
        }
    }

    fn int(&mut self) -> i64 {
        let small = i64::try_from(self.below(20)).unwrap_or_default();
        match self.below(12) {
            0 => 0,
            1 => 1,
            2 => -1,
            3 => i64::from(i32::MAX),
            4 => i64::from(i32::MIN),
            5 => i64::MAX,
            6 => i64::MIN,
            7 => 10_001,
            8 => -small,
            9 => 1 << small,
            _ => small,
        }
    }

    fn double(&mut self) -> f64 {
        [
            0.0,
            1.0,
            -1.5,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            -0.0,
            9e15,
            1e-320,
            1e300,
        ][self.below(12)]
    }
}

/// About as many bytes as it takes in a message.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Message(message) => message.encoded_len(),
        _ => 10,
    }
}

/// Lists inside lists.
fn nested(desc: &MessageDescriptor, levels: usize) -> DynamicMessage {
    let mut value = DynamicMessage::new(desc.clone());
    let field = desc.get_field_by_name("list_value").expect("a field of Value");
    let Kind::Message(list) = field.kind() else {
        return value;
    };
    for _ in 0..levels {
        let mut outer = DynamicMessage::new(list.clone());
        outer.set_field_by_name("values", Value::List(vec![Value::Message(value)]));
        value = DynamicMessage::new(desc.clone());
        value.set_field(&field, Value::Message(outer));
    }
    value
}
