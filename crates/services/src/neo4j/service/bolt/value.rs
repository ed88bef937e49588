//! What Bolt carries, as Rust has it.

/// The properties of a node or relationship, a map, a summary.
pub(crate) type Map = Vec<(String, Value)>;

/// A value of Neo4j.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Map(Map),
    Node(Box<Node>),
    Relationship(Box<Relationship>),
    Path(Box<Path>),
    /// Days since 1970-01-01.
    Date(i64),
    /// Nanoseconds since midnight, and seconds east of Greenwich.
    Time(i64, i64),
    LocalTime(i64),
    DateTime(Moment, Zone),
    LocalDateTime(Moment),
    Duration(Duration),
    Point(Point),
}

/// Seconds since 1970-01-01T00:00:00, and nanoseconds within them. In UTC, where there is a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) seconds: i64,
    pub(crate) nanos: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Seconds east of Greenwich.
    Offset(i64),
    /// As the time zone database calls it.
    Name(String),
}

/// The parts do not make up for each other: a month is not so many days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duration {
    pub(crate) months: i64,
    pub(crate) days: i64,
    pub(crate) seconds: i64,
    /// Never negative: they go on from the seconds.
    pub(crate) nanos: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    /// The coordinate system.
    pub(crate) srid: i64,
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) z: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) id: i64,
    pub(crate) labels: Vec<String>,
    pub(crate) properties: Map,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Relationship {
    pub(crate) id: i64,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) kind: String,
    pub(crate) properties: Map,
}

/// One more node than there are relationships.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Path {
    pub(crate) nodes: Vec<Node>,
    pub(crate) relationships: Vec<Relationship>,
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(crate) fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A list of texts; what is no text is left out.
    pub(crate) fn into_texts(self) -> Vec<String> {
        match self {
            Self::List(items) => items.into_iter().filter_map(Self::into_text).collect(),
            _ => Vec::new(),
        }
    }
}

/// The value of a key.
pub(crate) fn get<'a>(map: &'a Map, key: &str) -> Option<&'a Value> {
    map.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}
