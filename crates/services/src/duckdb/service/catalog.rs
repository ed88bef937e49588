//! Tables and views: made, listed, described, measured, removed.

use std::collections::{BTreeMap, BTreeSet};

use duckdb::{Connection, Row};

use super::{
    Duck,
    entered::Entered,
    error::{Error, invalid},
    limits::{COLUMNS, LISTED, MAX_TIME, TIME},
    param::Params,
    queries::{gather, in_transaction},
    results::Results,
    rows::Cell,
    run::{On, run},
    sql::{self, Statement},
};
use crate::duckdb::names::{TableName, check_identifier, literal, quoted};

/// Of a block of a database's file, in bytes.
const BLOCK: u64 = 262_144;

/// Columns whose figures come of one scan.
const AT_ONCE: usize = 100;

/// A table.
#[derive(Debug, Clone, Default)]
pub(in crate::duckdb) struct Table {
    pub(in crate::duckdb) schema: String,
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) columns: Vec<Column>,
    pub(in crate::duckdb) rows: u64,
    pub(in crate::duckdb) bytes: u64,
    pub(in crate::duckdb) comment: String,
}

/// A column.
#[derive(Debug, Clone, Default)]
pub(in crate::duckdb) struct Column {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) kind: String,
    pub(in crate::duckdb) nullable: bool,
    pub(in crate::duckdb) default: String,
    pub(in crate::duckdb) primary: bool,
    pub(in crate::duckdb) unique: bool,
    pub(in crate::duckdb) comment: String,
}

pub(in crate::duckdb) type NewColumn = Column;

/// A table to make.
#[derive(Debug, Clone)]
pub(in crate::duckdb) struct NewTable {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) columns: Vec<NewColumn>,
    pub(in crate::duckdb) primary: Vec<String>,
    pub(in crate::duckdb) if_absent: bool,
    pub(in crate::duckdb) comment: String,
}

/// Figures of a table.
#[derive(Debug, Default)]
pub(in crate::duckdb) struct Stats {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) rows: u64,
    pub(in crate::duckdb) bytes: u64,
    pub(in crate::duckdb) columns: Vec<ColumnStats>,
}

/// Figures of a column.
#[derive(Debug)]
pub(in crate::duckdb) struct ColumnStats {
    pub(in crate::duckdb) name: String,
    pub(in crate::duckdb) distinct: u64,
    pub(in crate::duckdb) least: Cell,
    pub(in crate::duckdb) greatest: Cell,
    pub(in crate::duckdb) nulls: u64,
}

impl Duck {
    pub(in crate::duckdb) async fn create_table(
        &self,
        entered: &Entered,
        new: NewTable,
    ) -> Result<Table, Error> {
        let table = TableName::of("table_name", &new.name)?;
        check_columns(&new)?;
        entered.open().check_room()?;
        let made = run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            for (index, column) in new.columns.iter().enumerate() {
                check_type(connection, index, column)?;
            }
            in_transaction(connection, || {
                connection.execute_batch(&create(&table, &new))?;
                comment(connection, &table, &new)?;
                describe(connection, &table)
            })
        })
        .await;
        entered.open().wrote();
        made
    }

    /// All tables, or those of a schema, whose name contains `filter`.
    pub(in crate::duckdb) async fn tables(
        &self,
        entered: &Entered,
        schema: String,
        filter: &str,
    ) -> Result<Vec<Table>, Error> {
        let filter = filter.to_lowercase();
        run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            let mut tables = tables(connection, "")?;
            tables.retain(|table| {
                (schema.is_empty() || table.schema == schema) && table.name.to_lowercase().contains(&filter)
            });
            if tables.len() > LISTED {
                return Err(Error::TooLarge);
            }
            fill(connection, &mut tables)?;
            Ok(tables)
        })
        .await
    }

    pub(in crate::duckdb) async fn table(&self, entered: &Entered, name: &str) -> Result<Table, Error> {
        let table = TableName::of("table_name", name)?;
        run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            describe(connection, &table)
        })
        .await
    }

    pub(in crate::duckdb) async fn drop_table(
        &self,
        entered: &Entered,
        name: &str,
        if_there: bool,
        cascade: bool,
    ) -> Result<(), Error> {
        let table = TableName::of("table_name", name)?;
        let dropped = run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            let sql = format!(
                "DROP TABLE {}{}{}",
                if if_there { "IF EXISTS " } else { "" },
                table.sql(),
                if cascade { " CASCADE" } else { "" }
            );
            Ok(connection.execute_batch(&sql)?)
        })
        .await;
        entered.open().wrote();
        dropped
    }

    /// Figures of a table, of its columns too if asked.
    pub(in crate::duckdb) async fn stats(
        &self,
        entered: &Entered,
        name: &str,
        columns: bool,
    ) -> Result<Stats, Error> {
        let table = TableName::of("table_name", name)?;
        let results = self.0.threads.results.clone();
        run(&self.0.threads, entered, On::Own, MAX_TIME, move |connection| {
            let found = describe(connection, &table)?;
            let mut stats = Stats {
                name: found.name.clone(),
                rows: found.rows,
                bytes: found.bytes,
                columns: Vec::new(),
            };
            if columns {
                for some in found.columns.chunks(AT_ONCE) {
                    stats.rows = column_stats(connection, &table, some, &results, &mut stats.columns)?;
                }
            }
            Ok(stats)
        })
        .await
    }

    pub(in crate::duckdb) async fn create_view(
        &self,
        entered: &Entered,
        name: &str,
        query: &str,
        replace: bool,
    ) -> Result<(), Error> {
        let view = TableName::of("view_name", name)?;
        let query = Statement::query("query", query)?;
        let made =
            run(&self.0.threads, entered, On::Own, TIME, move |connection| {
                let replace = if replace { "OR REPLACE " } else { "" };
                Ok(connection.execute_batch(&format!(
                    "CREATE {replace}VIEW {} AS {}",
                    view.sql(),
                    query.text
                ))?)
            })
            .await;
        entered.open().wrote();
        made
    }

    pub(in crate::duckdb) async fn views(&self, entered: &Entered) -> Result<Vec<String>, Error> {
        run(&self.0.threads, entered, On::Own, TIME, |connection| {
            let sql = "SELECT CASE schema_name WHEN 'main' THEN view_name ELSE schema_name || '.' || view_name END v
                FROM duckdb_views() WHERE NOT internal AND database_name = current_database() ORDER BY v";
            let views = many(connection, sql, |row| row.get(0))?;
            if views.len() > LISTED {
                return Err(Error::TooLarge);
            }
            Ok(views)
        })
        .await
    }

    pub(in crate::duckdb) async fn drop_view(&self, entered: &Entered, name: &str) -> Result<(), Error> {
        let view = TableName::of("view_name", name)?;
        let dropped = run(&self.0.threads, entered, On::Own, TIME, move |connection| {
            Ok(connection.execute_batch(&format!("DROP VIEW {}", view.sql()))?)
        })
        .await;
        entered.open().wrote();
        dropped
    }
}

fn check_columns(new: &NewTable) -> Result<(), Error> {
    if new.columns.is_empty() || new.columns.len() > COLUMNS {
        return Err(invalid(
            "columns",
            format_args!("are {}, and must be 1 to {COLUMNS}", new.columns.len()),
        ));
    }
    let mut names = BTreeSet::new();
    for (index, column) in new.columns.iter().enumerate() {
        check_identifier("columns.name", &column.name)?;
        if !names.insert(column.name.to_lowercase()) {
            return Err(invalid(
                format!("columns.{index}.name"),
                "is that of another column",
            ));
        }
    }
    for name in &new.primary {
        if !names.contains(&name.to_lowercase()) {
            return Err(invalid(
                "primary_keys",
                format_args!("name {name:?}, which is no column"),
            ));
        }
    }
    Ok(())
}

/// A type or a default that is more than that would be SQL of another kind.
fn check_type(connection: &Connection, index: usize, column: &NewColumn) -> Result<(), Error> {
    let wrong = |part: &str, error: Error| match error {
        Error::Sql(why) | Error::Missing(why) | Error::Invalid { why, .. } | Error::Unsupported(why) => {
            invalid(format!("columns.{index}.{part}"), why)
        }
        other => other,
    };
    let kind = &column.kind;
    // Parsed as a type: alone in a cast.
    sql::expression("data_type", kind)
        .and_then(|()| {
            let cast = format!("SELECT CAST(NULL AS {kind}\n)");
            connection.prepare(&cast).map(drop).map_err(Error::from)
        })
        .map_err(|error| wrong("data_type", error))?;
    if !column.default.is_empty() {
        sql::expression("default_value", &column.default)
            .and_then(|()| {
                let select = format!("SELECT (\n{}\n)", column.default);
                connection.prepare(&select).map(drop).map_err(Error::from)
            })
            .map_err(|error| wrong("default_value", error))?;
    }
    Ok(())
}

fn create(table: &TableName, new: &NewTable) -> String {
    let primary: Vec<&str> = if new.primary.is_empty() {
        new.columns
            .iter()
            .filter(|column| column.primary)
            .map(|column| column.name.as_str())
            .collect()
    } else {
        new.primary.iter().map(String::as_str).collect()
    };
    let mut parts: Vec<String> = Vec::new();
    for column in &new.columns {
        let default = if column.default.is_empty() {
            String::new()
        } else {
            format!(" DEFAULT (\n{}\n)", column.default)
        };
        let unique = if column.unique && !column.primary {
            " UNIQUE"
        } else {
            ""
        };
        parts.push(format!(
            "{} {}\n{default}{unique}",
            quoted(&column.name),
            column.kind
        ));
    }
    if !primary.is_empty() {
        let names: Vec<_> = primary.into_iter().map(quoted).collect();
        parts.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    let if_absent = if new.if_absent { "IF NOT EXISTS " } else { "" };
    format!(
        "CREATE TABLE {if_absent}{} (\n{}\n)",
        table.sql(),
        parts.join(",\n")
    )
}

fn comment(connection: &Connection, table: &TableName, new: &NewTable) -> Result<(), Error> {
    if !new.comment.is_empty() {
        connection.execute_batch(&format!(
            "COMMENT ON TABLE {} IS {}",
            table.sql(),
            literal(&new.comment)
        ))?;
    }
    for column in new.columns.iter().filter(|column| !column.comment.is_empty()) {
        connection.execute_batch(&format!(
            "COMMENT ON COLUMN {}.{} IS {}",
            table.sql(),
            quoted(&column.name),
            literal(&column.comment)
        ))?;
    }
    Ok(())
}

fn describe(connection: &Connection, table: &TableName) -> Result<Table, Error> {
    let only = format!(
        "AND lower(schema_name) = lower({}) AND lower(table_name) = lower({})",
        literal(&table.schema),
        literal(&table.name)
    );
    let mut found = tables(connection, &only)?;
    fill(connection, &mut found)?;
    found
        .pop()
        .ok_or_else(|| Error::Missing(format!("table {:?}", table.name)))
}

fn tables(connection: &Connection, only: &str) -> Result<Vec<Table>, Error> {
    let sql = format!(
        "SELECT schema_name, table_name, estimated_size::UBIGINT, coalesce(comment::VARCHAR, '')
         FROM duckdb_tables() WHERE NOT internal AND database_name = current_database() {only}
         ORDER BY table_name, schema_name"
    );
    many(connection, &sql, |row| {
        Ok(Table {
            schema: row.get(0)?,
            name: row.get(1)?,
            rows: row.get(2)?,
            comment: row.get(3)?,
            ..Table::default()
        })
    })
}

/// The columns, and the bytes on disk.
fn fill(connection: &Connection, tables: &mut [Table]) -> Result<(), Error> {
    let only = match &*tables {
        [one] => format!("AND table_name = {}", literal(&one.name)),
        _ => String::new(),
    };
    let sql = format!(
        "SELECT schema_name, table_name, column_name, data_type, is_nullable, coalesce(column_default, ''),
            coalesce(comment::VARCHAR, '')
         FROM duckdb_columns() WHERE NOT internal AND database_name = current_database() {only} ORDER BY column_index"
    );
    let mut columns: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
    for (schema, table, column) in many(connection, &sql, |row| {
        let column = Column {
            name: row.get(2)?,
            kind: row.get(3)?,
            nullable: row.get(4)?,
            default: row.get(5)?,
            comment: row.get(6)?,
            ..Column::default()
        };
        Ok((row.get(0)?, row.get(1)?, column))
    })? {
        columns.entry((schema, table)).or_default().push(column);
    }
    let sql = format!(
        "SELECT schema_name, table_name, constraint_type, len(constraint_column_names)::UBIGINT,
            unnest(constraint_column_names)
         FROM duckdb_constraints() WHERE database_name = current_database() {only}
            AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')"
    );
    let constraints: Vec<(String, String, String, u64, String)> = many(connection, &sql, |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    for table in tables {
        table.columns = columns
            .remove(&(table.schema.clone(), table.name.clone()))
            .unwrap_or_default();
        for (schema, name, kind, count, column) in &constraints {
            if *schema != table.schema || *name != table.name {
                continue;
            }
            for own in table.columns.iter_mut().filter(|own| own.name == *column) {
                own.primary |= kind == "PRIMARY KEY";
                own.unique |= kind == "UNIQUE" && *count == 1;
            }
        }
        let own = TableName {
            schema: table.schema.clone(),
            name: table.name.clone(),
        };
        table.bytes = blocks(connection, &own)? * BLOCK;
    }
    Ok(())
}

/// How many blocks of the file a table has; 0 for one that was just dropped.
fn blocks(connection: &Connection, table: &TableName) -> Result<u64, Error> {
    // DuckDB drops the quotes that are part of a name it reads from a text: it would find another table.
    if table.schema.contains('"') || table.name.contains('"') {
        return Ok(0);
    }
    let sql = format!(
        "SELECT count(DISTINCT block_id)::UBIGINT FROM pragma_storage_info({}) WHERE persistent",
        literal(&table.sql())
    );
    match connection
        .query_row(&sql, [], |row| row.get(0))
        .map_err(Error::from)
    {
        Err(Error::Missing(_)) => Ok(0),
        found => found,
    }
}

/// How many rows there are, exactly.
fn column_stats(
    connection: &Connection,
    table: &TableName,
    columns: &[Column],
    results: &Results,
    stats: &mut Vec<ColumnStats>,
) -> Result<u64, Error> {
    let mut parts = vec!["count(*)".to_owned()];
    for column in columns {
        let name = quoted(&column.name);
        parts.push(format!("approx_count_distinct({name})"));
        parts.push(format!("count(*) - count({name})"));
        for function in ["min", "max"] {
            parts.push(if is_ordered(&column.kind) {
                format!("{function}({name})")
            } else {
                "NULL".to_owned()
            });
        }
    }
    let sql = format!("SELECT {} FROM {}", parts.join(", "), table.sql());
    let row = gather(connection, &sql, &Params::new(), 1, results)?
        .rows
        .pop()
        .unwrap_or_default();
    let mut cells = row.into_iter();
    let number = |cells: &mut std::vec::IntoIter<Cell>| match cells.next() {
        Some(Cell::Int(number)) => u64::try_from(number).unwrap_or_default(),
        _ => 0,
    };
    let rows = number(&mut cells);
    for column in columns {
        let (distinct, nulls) = (number(&mut cells), number(&mut cells));
        let mut next = || cells.next().unwrap_or(Cell::Null);
        stats.push(ColumnStats {
            name: column.name.clone(),
            distinct,
            nulls,
            least: next(),
            greatest: next(),
        });
    }
    Ok(rows)
}

/// Whether a column has a least value that can be sent.
fn is_ordered(kind: &str) -> bool {
    let nested = [
        "STRUCT",
        "MAP",
        "UNION",
        "VARIANT",
        "GEOMETRY",
        "BIGNUM",
        "TIME WITH",
    ];
    !kind.ends_with(']') && !nested.iter().any(|begin| kind.starts_with(begin))
}

fn many<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> duckdb::Result<T>,
) -> Result<Vec<T>, Error> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?)
}
