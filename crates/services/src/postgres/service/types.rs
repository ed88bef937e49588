//! PostgreSQL's types as far as their binary form is read here. Values of all others come as PostgreSQL's own text, by
//! a cast that is added to the statement.

use tokio_postgres::types::{FromSql, Kind, Type};

/// How the bytes of a value are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) enum Codec {
    Bool,
    Int2,
    Int4,
    Int8,
    /// Unsigned, 4 bytes.
    Oid,
    Float4,
    Float8,
    Numeric,
    /// The bytes are the text.
    Text,
    /// `"char"`: one byte.
    Char,
    Json,
    /// JSON after a version.
    Jsonb,
    Uuid,
    Date,
    Time,
    Timestamp,
    Timestamptz,
    Interval,
    Bytea,
    /// Addresses and networks.
    Inet,
    /// pgvector's, of 4-byte or of 2-byte floats.
    Vector,
    Halfvec,
    Array(Box<Codec>),
}

impl Codec {
    /// `None` if the binary form is not read here.
    pub(in crate::postgres) fn of(kind: &Type) -> Option<Self> {
        Some(match *kind {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID | Type::XID | Type::CID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => Self::Numeric,
            Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::XML
            | Type::VOID => Self::Text,
            Type::CHAR => Self::Char,
            Type::JSON => Self::Json,
            Type::JSONB => Self::Jsonb,
            Type::UUID => Self::Uuid,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::Timestamptz,
            Type::INTERVAL => Self::Interval,
            Type::BYTEA => Self::Bytea,
            // The cast to text adds `/32`, which PostgreSQL otherwise does not show.
            Type::INET | Type::CIDR => Self::Inet,
            _ => match (kind.kind(), kind.name()) {
                (Kind::Array(element), _) => Self::Array(Box::new(Self::of(element)?)),
                (Kind::Domain(base), _) => Self::of(base)?,
                (Kind::Enum(_), _) | (Kind::Simple, "citext") => Self::Text,
                (Kind::Simple, "vector") => Self::Vector,
                (Kind::Simple, "halfvec") => Self::Halfvec,
                _ => return None,
            },
        })
    }

    /// What a column of a type without a codec is cast to, so that it can be read.
    pub(super) fn cast(kind: &Type) -> &'static str {
        match kind.kind() {
            Kind::Array(_) => "text[]",
            _ => "text",
        }
    }
}

/// The bytes of a column, whatever its type; `None` is NULL.
pub(in crate::postgres) struct Raw<'a>(pub(in crate::postgres) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
