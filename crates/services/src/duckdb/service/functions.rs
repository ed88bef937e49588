//! Extensions and macros.

use super::{
    Duck,
    entered::Entered,
    error::{Error, invalid},
    limits::TIME,
    run::{On, run},
    sql::{self, Statement},
};
use crate::duckdb::names::{check_identifier, quoted};

/// Of a macro.
const PARAMETERS: usize = 100;

/// What is in the library already; nothing is ever downloaded.
pub(in crate::duckdb) const EXTENSIONS: [(&str, &str); 4] = [
    ("core_functions", "The functions of SQL"),
    ("icu", "Time zones and collations"),
    ("json", "JSON values and files"),
    ("parquet", "Parquet files"),
];

/// A macro to make.
#[derive(Debug, Clone)]
pub(in crate::duckdb) struct NewFunction {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) body: String,
    pub(in crate::duckdb) parameters: Vec<String>,
    /// Its body is a query, and it stands where a table may.
    pub(in crate::duckdb) table: bool,
}

impl Duck {
    pub(in crate::duckdb) async fn create_function(
        &self,
        entered: &Entered,
        new: NewFunction,
    ) -> Result<(), Error> {
        check_identifier("function_name", &new.name)?;
        if new.parameters.len() > PARAMETERS {
            return Err(invalid("parameters", format_args!("may be {PARAMETERS} at most")));
        }
        for parameter in &new.parameters {
            check_identifier("parameters", parameter)?;
        }
        let parameters: Vec<_> = new.parameters.iter().map(|name| quoted(name)).collect();
        let body = if new.table {
            format!("TABLE {}", Statement::query("function_body", &new.body)?.text)
        } else {
            sql::expression("function_body", &new.body)?;
            format!("({}\n)", new.body)
        };
        let sql = format!(
            "CREATE OR REPLACE MACRO {}({}) AS {body}",
            quoted(&new.name),
            parameters.join(", ")
        );
        entered.open().check_room()?;
        let made = run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            Ok(connection.execute_batch(&sql)?)
        })
        .await;
        entered.open().wrote();
        made
    }
}

/// Fails for what is not there already.
pub(in crate::duckdb) fn check_extension(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(invalid("extension_name", "is empty"));
    }
    if EXTENSIONS
        .iter()
        .any(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        return Ok(());
    }
    Err(Error::Denied(
        "extension_name: this extension is not shipped with the platform, and nothing is downloaded; ListExtensions has those that are".into(),
    ))
}
