//! What the administrator looks up for a tenant, who may not read the catalog itself: its tables, and figures.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant, SystemTime},
};

use tokio_postgres::Row;

use super::{Database, Error};
use crate::postgres::names;

/// Most names that are listed.
const MAX_TABLES: i64 = 100_000;

/// What counts as a table or view.
const KINDS: &str = "('r', 'p', 'v', 'm', 'f')";

/// A table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Table {
    pub(in crate::postgres) columns: Vec<Column>,
    pub(in crate::postgres) primary_key: Vec<String>,
    /// -1 if nobody has counted yet.
    pub(in crate::postgres) rows: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Column {
    pub(in crate::postgres) name: String,
    pub(in crate::postgres) kind: String,
    pub(in crate::postgres) nullable: bool,
    /// An expression, or empty.
    pub(in crate::postgres) default: String,
}

/// Figures of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::postgres) struct Figures {
    pub(in crate::postgres) version: String,
    pub(in crate::postgres) bytes: i64,
    pub(in crate::postgres) tables: i64,
    pub(in crate::postgres) connections: i64,
    pub(in crate::postgres) since: SystemTime,
}

/// Figures of this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::postgres) struct Connections {
    pub(in crate::postgres) open: usize,
    pub(in crate::postgres) idle: usize,
    pub(in crate::postgres) queries: u64,
}

impl Database {
    /// The server's version, such as `17.5`, and how long it took to answer.
    pub(in crate::postgres) async fn version(&self) -> Result<(String, Duration), Error> {
        let mut administrator = self.pools.asking().await?;
        let began = Instant::now();
        let sql = "SELECT pg_catalog.current_setting('server_version')";
        let rows = administrator.rows(sql, &[]).await?;
        let took = began.elapsed();
        let text: String = first(&rows)?.try_get(0)?;
        Ok((shorten(&text), took))
    }

    pub(in crate::postgres) fn connections(&self) -> Connections {
        let (open, idle) = self.pools.connections();
        Connections {
            open,
            idle,
            queries: self.pools.counters.queries.load(Relaxed),
        }
    }

    /// The tenant's tables and views, sorted.
    pub(in crate::postgres) async fn tables(&self, slug: &str) -> Result<Vec<String>, Error> {
        let mut administrator = self.pools.describing().await?;
        let sql = format!(
            "SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relkind IN {KINDS} ORDER BY c.relname COLLATE \"C\" LIMIT {MAX_TABLES}"
        );
        let rows = administrator.rows(&sql, &[&names::role(slug)]).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The tenant's table or view of this name.
    pub(in crate::postgres) async fn table(&self, slug: &str, name: &str) -> Result<Option<Table>, Error> {
        let mut administrator = self.pools.describing().await?;
        // A row for each column; one without a name if there are none.
        let sql = format!(
            "SELECT c.reltuples::int8, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, \
                 COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), ''), \
                 pg_catalog.array_position(i.indkey::int2[], a.attnum) \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
             LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN {KINDS} ORDER BY a.attnum"
        );
        let role = names::role(slug);
        let rows = administrator.rows(&sql, &[&role, &name]).await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut table = Table {
            columns: Vec::with_capacity(rows.len()),
            primary_key: Vec::new(),
            rows: first.try_get(0)?,
        };
        let mut key: Vec<(i32, String)> = Vec::new();
        for row in &rows {
            let Some(name) = row.try_get::<_, Option<String>>(1)? else {
                continue;
            };
            if let Some(position) = row.try_get(5)? {
                key.push((position, name.clone()));
            }
            table.columns.push(Column {
                name,
                kind: own(row.try_get(2)?, &role),
                nullable: row.try_get(3)?,
                default: own(row.try_get(4)?, &role),
            });
        }
        key.sort_unstable();
        table.primary_key = key.into_iter().map(|(_, name)| name).collect();
        Ok(Some(table))
    }

    pub(in crate::postgres) async fn exists(&self, slug: &str, name: &str) -> Result<bool, Error> {
        let mut administrator = self.pools.describing().await?;
        let sql = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN {KINDS})"
        );
        let rows = administrator.rows(&sql, &[&names::role(slug), &name]).await?;
        Ok(first(&rows)?.try_get(0)?)
    }

    pub(in crate::postgres) async fn figures(&self, slug: &str) -> Result<Figures, Error> {
        let mut administrator = self.pools.describing().await?;
        let sql = format!(
            "SELECT pg_catalog.current_setting('server_version'), \
                 COALESCE(SUM(pg_catalog.pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm')), 0)::int8, \
                 COUNT(c.oid), \
                 (SELECT COUNT(*) FROM pg_catalog.pg_stat_activity WHERE usename = $1), \
                 pg_catalog.pg_postmaster_start_time() \
             FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c \
                 ON c.relnamespace = n.oid AND c.relkind IN {KINDS} WHERE n.nspname = $1"
        );
        let rows = administrator.rows(&sql, &[&names::role(slug)]).await?;
        let row = first(&rows)?;
        let version: String = row.try_get(0)?;
        Ok(Figures {
            version: shorten(&version),
            bytes: row.try_get(1)?,
            tables: row.try_get(2)?,
            connections: row.try_get(3)?,
            since: row.try_get(4)?,
        })
    }
}

fn first(rows: &[Row]) -> Result<&Row, Error> {
    rows.first()
        .ok_or_else(|| Error::Internal("an answer without a row".into()))
}

/// Distributions add their own: "15.13 (Debian 15.13-0+deb12u1)".
fn shorten(version: &str) -> String {
    version.split(' ').next().unwrap_or_default().to_owned()
}

/// As the tenant would see it, to whom its own schema goes without saying.
fn own(text: &str, role: &str) -> String {
    text.replace(&format!("{role}."), "")
}
