use std::{borrow::Cow, error::Error};

use tokio_postgres::types::{Format, IsNull, ToSql, Type, private::BytesMut};

use super::builder::Invalid;

/// A parameter as text, which PostgreSQL reads as whatever type the parameter has; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Param<'a>(pub(in crate::postgres) Option<Cow<'a, str>>);

impl ToSql for Param<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(kind, out)
    }
}

/// The values of a statement, which become parameters once their types are known.
pub(in crate::postgres) trait Values: Send + Sync {
    fn count(&self) -> usize;

    /// One parameter for each type, of which there are as many as values.
    fn bind(&self, types: &[Type]) -> Result<Vec<Param<'_>>, Invalid>;
}

/// No values.
pub(in crate::postgres) struct Nothing;

impl Values for Nothing {
    fn count(&self) -> usize {
        0
    }

    fn bind(&self, _: &[Type]) -> Result<Vec<Param<'_>>, Invalid> {
        Ok(Vec::new())
    }
}
