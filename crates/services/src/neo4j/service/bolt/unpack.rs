//! PackStream, read. Whatever the bytes are: no panic, no recursion without a bound, no room taken for what is not there.

use super::value::{Duration, Map, Moment, Node, Path, Point, Relationship, Value, Zone};

/// Lists in lists, at most: a statement can make them as deep as it likes, and a stack has an end.
const MAX_DEPTH: usize = 100;

/// Why bytes are no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    TooDeep,
    Malformed,
}

/// One message: its tag, and what it carries.
pub(super) fn message(bytes: &[u8]) -> Result<(u8, Reader<'_>), Unreadable> {
    let mut reader = Reader { bytes, depth: 0 };
    let marker = reader.byte()?;
    if marker & 0xF0 != 0xB0 {
        return Err(Unreadable::Malformed);
    }
    Ok((reader.byte()?, reader))
}

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Unreadable::Malformed)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.bytes.split_first_chunk::<N>().ok_or(Unreadable::Malformed)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A length of one, two or four bytes, as the last two bits of the marker say.
    fn length(&mut self, bytes: u8) -> Result<usize, Unreadable> {
        Ok(match bytes {
            0 => self.byte()?.into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            2 => usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Unreadable::Malformed)?,
            _ => return Err(Unreadable::Malformed),
        })
    }

    pub(super) fn value(&mut self) -> Result<Value, Unreadable> {
        if self.depth >= MAX_DEPTH {
            return Err(Unreadable::TooDeep);
        }
        self.depth += 1;
        let value = self.any();
        self.depth -= 1;
        value
    }

    fn any(&mut self) -> Result<Value, Unreadable> {
        let marker = self.byte()?;
        let tiny = usize::from(marker & 0x0F);
        Ok(match marker {
            0x00..=0x7F => Value::Int(marker.into()),
            0xF0..=0xFF => Value::Int(i8::from_be_bytes([marker]).into()),
            0x80..=0x8F => Value::Text(self.text(tiny)?),
            0x90..=0x9F => self.list(tiny)?,
            0xA0..=0xAF => Value::Map(self.entries(tiny)?),
            0xB0..=0xBF => self.structure()?,
            0xC0 => Value::Null,
            0xC1 => Value::Float(f64::from_be_bytes(self.array()?)),
            0xC2 => Value::Bool(false),
            0xC3 => Value::Bool(true),
            0xC8 => Value::Int(i8::from_be_bytes(self.array()?).into()),
            0xC9 => Value::Int(i16::from_be_bytes(self.array()?).into()),
            0xCA => Value::Int(i32::from_be_bytes(self.array()?).into()),
            0xCB => Value::Int(i64::from_be_bytes(self.array()?)),
            0xCC..=0xCE => {
                let length = self.length(marker - 0xCC)?;
                Value::Bytes(self.take(length)?.to_vec())
            }
            0xD0..=0xD2 => {
                let length = self.length(marker - 0xD0)?;
                Value::Text(self.text(length)?)
            }
            0xD4..=0xD6 => {
                let length = self.length(marker - 0xD4)?;
                self.list(length)?
            }
            0xD8..=0xDA => {
                let length = self.length(marker - 0xD8)?;
                Value::Map(self.entries(length)?)
            }
            _ => return Err(Unreadable::Malformed),
        })
    }

    fn text(&mut self, length: usize) -> Result<String, Unreadable> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed)?;
        Ok(text.to_owned())
    }

    /// Room for no more items than there are bytes.
    fn room(&self, count: usize) -> usize {
        count.min(self.bytes.len())
    }

    fn list(&mut self, length: usize) -> Result<Value, Unreadable> {
        let mut items = Vec::with_capacity(self.room(length));
        for _ in 0..length {
            items.push(self.value()?);
        }
        Ok(Value::List(items))
    }

    fn entries(&mut self, length: usize) -> Result<Map, Unreadable> {
        let mut entries = Vec::with_capacity(self.room(length));
        for _ in 0..length {
            let key = self.value()?.into_text().ok_or(Unreadable::Malformed)?;
            entries.push((key, self.value()?));
        }
        Ok(entries)
    }

    pub(super) fn map(&mut self) -> Result<Map, Unreadable> {
        match self.value()? {
            Value::Map(entries) => Ok(entries),
            _ => Err(Unreadable::Malformed),
        }
    }

    /// The fields of a record.
    pub(super) fn fields(&mut self) -> Result<Vec<Value>, Unreadable> {
        match self.value()? {
            Value::List(items) => Ok(items),
            _ => Err(Unreadable::Malformed),
        }
    }

    fn int(&mut self) -> Result<i64, Unreadable> {
        self.value()?.as_int().ok_or(Unreadable::Malformed)
    }

    fn float(&mut self) -> Result<f64, Unreadable> {
        match self.value()? {
            Value::Float(float) => Ok(float),
            _ => Err(Unreadable::Malformed),
        }
    }

    fn word(&mut self) -> Result<String, Unreadable> {
        self.value()?.into_text().ok_or(Unreadable::Malformed)
    }

    fn structure(&mut self) -> Result<Value, Unreadable> {
        Ok(match self.byte()? {
            b'N' => Value::Node(Box::new(self.node()?)),
            b'R' => {
                let relationship = Relationship {
                    id: self.int()?,
                    start: self.int()?,
                    end: self.int()?,
                    kind: self.word()?,
                    properties: self.map()?,
                };
                for _ in 0..3 {
                    self.word()?;
                }
                Value::Relationship(Box::new(relationship))
            }
            // A relationship of a path: who is at its ends, the path says.
            b'r' => {
                let relationship = Relationship {
                    id: self.int()?,
                    start: 0,
                    end: 0,
                    kind: self.word()?,
                    properties: self.map()?,
                };
                self.word()?;
                Value::Relationship(Box::new(relationship))
            }
            b'P' => Value::Path(Box::new(self.path()?)),
            b'D' => Value::Date(self.int()?),
            b'T' => Value::Time(self.int()?, self.int()?),
            b't' => Value::LocalTime(self.int()?),
            b'I' => Value::DateTime(self.moment()?, Zone::Offset(self.int()?)),
            b'i' => Value::DateTime(self.moment()?, Zone::Name(self.word()?)),
            b'd' => Value::LocalDateTime(self.moment()?),
            b'E' => Value::Duration(Duration {
                months: self.int()?,
                days: self.int()?,
                seconds: self.int()?,
                nanos: self.int()?,
            }),
            b'X' => Value::Point(Point {
                srid: self.int()?,
                x: self.float()?,
                y: self.float()?,
                z: None,
            }),
            b'Y' => Value::Point(Point {
                srid: self.int()?,
                x: self.float()?,
                y: self.float()?,
                z: Some(self.float()?),
            }),
            _ => return Err(Unreadable::Malformed),
        })
    }

    fn moment(&mut self) -> Result<Moment, Unreadable> {
        Ok(Moment {
            seconds: self.int()?,
            nanos: self.int()?,
        })
    }

    /// What comes last is the node's id as text, which the number says as well.
    fn node(&mut self) -> Result<Node, Unreadable> {
        let node = Node {
            id: self.int()?,
            labels: self.value()?.into_texts(),
            properties: self.map()?,
        };
        self.word()?;
        Ok(node)
    }

    /// The nodes and relationships, each once; then pairs of numbers that say in which order they follow each other.
    fn path(&mut self) -> Result<Path, Unreadable> {
        let mut nodes = Vec::new();
        for value in self.fields()? {
            match value {
                Value::Node(node) => nodes.push(*node),
                _ => return Err(Unreadable::Malformed),
            }
        }
        let mut relationships = Vec::new();
        for value in self.fields()? {
            match value {
                Value::Relationship(relationship) => relationships.push(*relationship),
                _ => return Err(Unreadable::Malformed),
            }
        }
        let order = self.fields()?;
        let first = nodes.first().ok_or(Unreadable::Malformed)?;
        let mut path = Path {
            nodes: vec![first.clone()],
            relationships: Vec::with_capacity(order.len() / 2),
        };
        let mut from = first.id;
        for pair in order.chunks(2) {
            let [Value::Int(step), Value::Int(to)] = pair else {
                return Err(Unreadable::Malformed);
            };
            let at = |index: u64| usize::try_from(index).map_err(|_| Unreadable::Malformed);
            let index = at(step.unsigned_abs())?
                .checked_sub(1)
                .ok_or(Unreadable::Malformed)?;
            let mut relationship = relationships.get(index).ok_or(Unreadable::Malformed)?.clone();
            let node = nodes.get(at(to.unsigned_abs())?).ok_or(Unreadable::Malformed)?;
            // Negative against its direction.
            (relationship.start, relationship.end) = if *step > 0 {
                (from, node.id)
            } else {
                (node.id, from)
            };
            from = node.id;
            path.relationships.push(relationship);
            path.nodes.push(node.clone());
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::pack, *};

    fn there_and_back(value: &Value) {
        let mut bytes = Vec::new();
        pack::value(&mut bytes, value);
        let mut reader = Reader {
            bytes: &bytes,
            depth: 0,
        };
        assert_eq!(reader.value().as_ref(), Ok(value));
        assert!(reader.bytes.is_empty());
        for end in 0..bytes.len() {
            let mut reader = Reader {
                bytes: &bytes[..end],
                depth: 0,
            };
            assert_eq!(reader.value(), Err(Unreadable::Malformed));
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        let moment = Moment {
            seconds: -1,
            nanos: 5,
        };
        for int in [
            0,
            127,
            128,
            -16,
            -17,
            -128,
            -129,
            32767,
            32768,
            -32769,
            i64::MIN,
            i64::MAX,
            1 << 31,
        ] {
            there_and_back(&Value::Int(int));
        }
        for length in [0, 15, 16, 255, 256, 65_535, 65_536] {
            there_and_back(&Value::text("x".repeat(length)));
            there_and_back(&Value::Bytes(vec![7; length]));
        }
        for length in [0, 15, 16, 300] {
            there_and_back(&Value::List(vec![Value::Null; length]));
            there_and_back(&Value::Map(
                (0..length).map(|n| (n.to_string(), Value::Bool(true))).collect(),
            ));
        }
        for value in [
            Value::Float(0.1),
            Value::Date(-3),
            Value::Time(5, -3600),
            Value::LocalTime(6),
            Value::LocalDateTime(moment),
            Value::DateTime(moment, Zone::Offset(3600)),
            Value::DateTime(moment, Zone::Name("Europe/Berlin".into())),
            Value::Duration(Duration {
                months: 1,
                days: -2,
                seconds: 3,
                nanos: 4,
            }),
            Value::Point(Point {
                srid: 4326,
                x: 1.0,
                y: 2.0,
                z: None,
            }),
            Value::Point(Point {
                srid: 9157,
                x: 1.0,
                y: 2.0,
                z: Some(3.0),
            }),
        ] {
            there_and_back(&value);
        }
    }

    #[test]
    fn depth_has_a_bound() {
        let bytes = vec![0x91; 1_000_000];
        let mut reader = Reader {
            bytes: &bytes,
            depth: 0,
        };
        assert_eq!(reader.value(), Err(Unreadable::TooDeep));
    }

    #[test]
    fn a_length_takes_no_room_by_itself() {
        let mut reader = Reader {
            bytes: &[0xD6, 0xFF, 0xFF, 0xFF, 0xFF],
            depth: 0,
        };
        assert_eq!(reader.value(), Err(Unreadable::Malformed));
    }

    #[test]
    fn a_path_says_who_is_at_the_ends() {
        // (a)-[r]->(b)<-[r]-: there and back over one relationship.
        let mut bytes = vec![0xB3, b'P', 0x92];
        for id in [10, 11] {
            bytes.extend_from_slice(&[0xB4, b'N', id, 0x90, 0xA0, 0x80]);
        }
        bytes.extend_from_slice(&[0x91, 0xB4, b'r', 5, 0x81, b'K', 0xA0, 0x80]);
        bytes.extend_from_slice(&[0x94, 1, 1, 0xFF, 0]);
        let mut reader = Reader {
            bytes: &bytes,
            depth: 0,
        };
        let Ok(Value::Path(path)) = reader.value() else {
            panic!("no path");
        };
        let ids: Vec<_> = path.nodes.iter().map(|node| node.id).collect();
        assert_eq!(ids, [10, 11, 10]);
        let ends: Vec<_> = path
            .relationships
            .iter()
            .map(|r| (r.id, r.start, r.end))
            .collect();
        assert_eq!(ends, [(5, 10, 11), (5, 10, 11)]);
    }
}
