//! Options of files, of which none is SQL of the caller's.

use std::collections::BTreeMap;

use super::error::{Error, invalid};
use crate::duckdb::names::literal;

/// Longest text of an option, in bytes.
const MAX_OPTION: usize = 64;

pub(in crate::duckdb) type Options = BTreeMap<String, String>;

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Number,
    Text,
    JsonFormat,
    Compression,
}

/// Names and SQL of the options that are given; refuses others than are known.
pub(super) fn read_options(
    known: &[(&'static str, Kind)],
    given: &Options,
) -> Result<Vec<(&'static str, String)>, Error> {
    let mut read = Vec::with_capacity(given.len());
    for (name, value) in given {
        let field = || format!("options.{name}");
        let Some((known, kind)) = known.iter().find(|(known, _)| *known == name.as_str()) else {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            return Err(invalid(
                field(),
                format_args!("is no option of this format, which takes [{}]", names.join(", ")),
            ));
        };
        let one_of = |all: &[&str]| {
            let found = all.iter().find(|one| one.eq_ignore_ascii_case(value));
            found
                .map(|one| literal(one))
                .ok_or_else(|| invalid(field(), format_args!("must be one of {}", all.join(", "))))
        };
        let sql = match kind {
            Kind::Bool => match value.to_ascii_lowercase().as_str() {
                "true" | "1" => "true".to_owned(),
                "false" | "0" => "false".to_owned(),
                _ => return Err(invalid(field(), "must be true or false")),
            },
            Kind::Number => match value.parse::<u32>() {
                Ok(number) => number.to_string(),
                Err(_) => return Err(invalid(field(), "must be a number from 0")),
            },
            Kind::Text if value.len() > MAX_OPTION || value.contains('\0') => {
                return Err(invalid(
                    field(),
                    format_args!("may have {MAX_OPTION} bytes, none of them NUL"),
                ));
            }
            Kind::Text => literal(value),
            Kind::JsonFormat => one_of(&["auto", "array", "newline_delimited", "unstructured"])?,
            Kind::Compression => one_of(&[
                "snappy",
                "zstd",
                "gzip",
                "lz4",
                "lz4_raw",
                "brotli",
                "uncompressed",
            ])?,
        };
        read.push((*known, sql));
    }
    Ok(read)
}
