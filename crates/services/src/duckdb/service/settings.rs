//! Settings that a tenant may choose for a database.

use std::collections::BTreeMap;

use super::{
    error::{Error, invalid},
    limits::{LEAST_MEMORY, MEMORY, THREADS},
};

pub(in crate::duckdb) type Settings = BTreeMap<String, String>;

/// Refuses settings that a tenant may not choose.
pub(in crate::duckdb) fn check_settings(settings: &Settings) -> Result<(), Error> {
    for (name, value) in settings {
        let field = || format!("config.{name}");
        let good = match name.as_str() {
            "memory_limit" => {
                memory(settings)?;
                true
            }
            "threads" => {
                threads(settings)?;
                true
            }
            "default_order" => matches!(value.to_ascii_uppercase().as_str(), "ASC" | "DESC"),
            "default_null_order" => matches!(
                value.to_ascii_uppercase().as_str(),
                "NULLS_FIRST"
                    | "NULLS_LAST"
                    | "NULLS_FIRST_ON_ASC_LAST_ON_DESC"
                    | "NULLS_LAST_ON_ASC_FIRST_ON_DESC"
            ),
            "TimeZone" => {
                let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_/+-".contains(&byte);
                (1..=64).contains(&value.len()) && value.bytes().all(letter)
            }
            _ => {
                return Err(invalid(
                    field(),
                    "is no setting that can be chosen; memory_limit, threads, default_order, default_null_order and TimeZone are",
                ));
            }
        };
        if !good {
            return Err(invalid(field(), "has a value that the setting does not take"));
        }
    }
    Ok(())
}

pub(super) fn threads(settings: &Settings) -> Result<u64, Error> {
    let Some(given) = settings.get("threads") else {
        return Ok(THREADS);
    };
    let threads = given
        .parse()
        .ok()
        .filter(|threads| (1..=THREADS).contains(threads));
    threads.ok_or_else(|| invalid("config.threads", format_args!("must be 1 to {THREADS}")))
}

pub(super) fn memory(settings: &Settings) -> Result<u64, Error> {
    let Some(given) = settings.get("memory_limit") else {
        return Ok(MEMORY);
    };
    let given = given.trim();
    let digits = given.find(|c: char| !c.is_ascii_digit()).unwrap_or(given.len());
    let unit: Option<u64> = match given[digits..].trim().to_ascii_lowercase().as_str() {
        "kb" => Some(1000),
        "kib" => Some(1 << 10),
        "mb" => Some(1_000_000),
        "mib" => Some(1 << 20),
        "" | "b" => Some(1),
        _ => None,
    };
    let bytes = given[..digits]
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    bytes
        .filter(|bytes| (LEAST_MEMORY..=MEMORY).contains(bytes))
        .ok_or_else(|| {
            invalid(
                "config.memory_limit",
                format_args!(
                    "must be {} to {}, such as `64MB`",
                    mebibytes(LEAST_MEMORY),
                    mebibytes(MEMORY)
                ),
            )
        })
}

fn mebibytes(bytes: u64) -> String {
    format!("{}MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(name: &str, value: &str) -> Settings {
        Settings::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn settings_are_few_and_bounded() {
        for (name, value) in [
            ("memory_limit", "64MB"),
            ("memory_limit", "128 MiB"),
            ("threads", "1"),
            ("default_order", "desc"),
            ("default_null_order", "nulls_first"),
            ("TimeZone", "Europe/Berlin"),
        ] {
            check_settings(&settings(name, value)).unwrap();
        }
        for (name, value) in [
            ("memory_limit", "10GB"),
            ("memory_limit", "1KB"),
            ("memory_limit", "80%"),
            ("threads", "0"),
            ("threads", "64"),
            ("threads", "x"),
            ("default_order", "'; drop"),
            ("TimeZone", "'"),
            ("enable_external_access", "true"),
            ("memory_Limit", "64MB"),
        ] {
            assert!(check_settings(&settings(name, value)).is_err(), "{name} {value}");
        }
    }
}
