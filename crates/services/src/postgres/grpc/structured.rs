//! Calls that say by structure what others say in SQL.

use std::collections::BTreeMap;

use isa_proto::{
    postgres as pb,
    prost_types::{Struct, Value, value::Kind},
};
use isa_server::{Call, Error, StatefulId};
use tokio_postgres::Row;

use super::{Postgres, count, own_schema};
use crate::postgres::{
    convert::{self, Fields, Rows},
    names,
    service::{Each, Invalid, Prepared, Statement, Values, builder},
};

/// Rows of one InsertInto.
const MAX_ROWS: usize = 10_000;

impl Postgres {
    pub(super) async fn select(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: &pb::SelectFromRequest,
    ) -> Result<pb::SelectFromResponse, Error> {
        own_schema(&request.schema)?;
        let (limit, offset) = (bound("limit", request.limit)?, bound("offset", request.offset)?);
        let conditions = convert::conditions(&request.r#where).map_err(invalid)?;
        let selection = builder::Selection {
            columns: &request.columns,
            conditions: &conditions,
            order_by: &request.order_by,
            limit: limit.as_ref(),
            offset: offset.as_ref(),
        };
        let built = builder::select(&names::role(call.tenant().slug()), &request.table, selection);
        let built = built.map_err(invalid)?;
        let values = Fields(built.values);
        let rows = self.all_rows(call, transaction, &built.sql, &values).await?;
        Ok(pb::SelectFromResponse {
            metadata: None,
            row_count: count(&rows),
            rows,
        })
    }

    pub(super) async fn insert(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: pb::InsertIntoRequest,
    ) -> Result<pb::InsertIntoResponse, Error> {
        own_schema(&request.schema)?;
        call.note(request.table.clone());
        match request.rows.len() {
            0 => return Err(Error::invalid("rows", "is empty")),
            1..=MAX_ROWS => {}
            many => {
                let why = format!("has {many} rows, and may have {MAX_ROWS}");
                return Err(Error::invalid("rows", why));
            }
        }
        let rows = request.rows.into_iter().map(|row| row.fields).collect();
        let schema = names::role(call.tenant().slug());
        let built = builder::insert(&schema, &request.table, rows, request.returning);
        let built = built
            .map_err(invalid)?
            .into_iter()
            .map(|built| (built.sql, Fields(built.values)));
        let (changed, rows) = self
            .change(call, transaction, built.collect(), request.returning)
            .await?;
        Ok(pb::InsertIntoResponse {
            metadata: None,
            rows_inserted: changed,
            rows,
        })
    }

    pub(super) async fn update(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: &pb::UpdateTableRequest,
    ) -> Result<pb::UpdateTableResponse, Error> {
        own_schema(&request.schema)?;
        call.note(request.table.clone());
        let conditions = convert::conditions(&request.r#where).map_err(invalid)?;
        let fields = request.values.iter().flat_map(|values| &values.fields);
        let values: BTreeMap<String, &Value> = fields.map(|(name, value)| (name.clone(), value)).collect();
        let schema = names::role(call.tenant().slug());
        let built = builder::update(&schema, &request.table, values, &conditions, request.returning);
        let built = built.map_err(invalid)?;
        let statements = vec![(built.sql, Fields(built.values))];
        let (changed, rows) = self
            .change(call, transaction, statements, request.returning)
            .await?;
        Ok(pb::UpdateTableResponse {
            metadata: None,
            rows_updated: changed,
            rows,
        })
    }

    pub(super) async fn delete(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        request: &pb::DeleteFromRequest,
    ) -> Result<pb::DeleteFromResponse, Error> {
        own_schema(&request.schema)?;
        call.note(request.table.clone());
        let conditions = convert::conditions(&request.r#where).map_err(invalid)?;
        let schema = names::role(call.tenant().slug());
        let built = builder::delete(&schema, &request.table, &conditions, request.returning);
        let built = built.map_err(invalid)?;
        let statements = vec![(built.sql, Fields(built.values))];
        let (changed, rows) = self
            .change(call, transaction, statements, request.returning)
            .await?;
        Ok(pb::DeleteFromResponse {
            metadata: None,
            rows_deleted: changed,
            rows,
        })
    }

    /// Rows changed, and what they are or were, if asked for.
    async fn change<V>(
        &self,
        call: &Call,
        transaction: Option<StatefulId>,
        statements: Vec<(String, Fields<V>)>,
        returning: bool,
    ) -> Result<(i64, Vec<Struct>), Error>
    where
        Fields<V>: Values,
    {
        let scope = self.scope(call, transaction).await?;
        let statements: Vec<Statement<'_>> = statements
            .iter()
            .map(|(sql, values)| (sql.as_str(), values as _))
            .collect();
        let mut rows = Rows::default();
        let mut each = |prepared: &Prepared, row: &Row| rows.push(prepared, row);
        let each: Option<Each<'_>> = if returning { Some(&mut each) } else { None };
        let changed = self.database.change(scope, &statements, each).await;
        let changed = changed.map_err(|error| self.failed(call, error))?;
        Ok((changed.try_into().unwrap_or(i64::MAX), rows.rows))
    }

    pub(super) async fn table_info(
        &self,
        call: &Call,
        request: pb::GetTableInfoRequest,
    ) -> Result<pb::GetTableInfoResponse, Error> {
        own_schema(&request.schema)?;
        check_table(&request.table)?;
        let table = self.database.table(call.tenant().slug(), &request.table).await;
        let table = table.map_err(|error| self.failed(call, error))?;
        let table = table.ok_or_else(|| Error::not_found(format_args!("table {:?}", request.table)))?;
        let columns = table.columns.into_iter().map(|column| pb::ColumnInfo {
            column_name: column.name,
            data_type: column.kind,
            is_nullable: column.nullable,
            default_value: column.default,
        });
        Ok(pb::GetTableInfoResponse {
            metadata: None,
            table_info: Some(pb::TableInfo {
                table_name: request.table,
                schema: "public".into(),
                columns: columns.collect(),
                primary_keys: table.primary_key,
                row_count_estimate: table.rows,
            }),
        })
    }
}

/// A name that a table may have.
pub(super) fn check_table(name: &str) -> Result<(), Error> {
    builder::quote("table", name).map(drop).map_err(invalid)
}

fn invalid(invalid: Invalid) -> Error {
    Error::invalid(invalid.field, invalid.why)
}

/// `None` is all.
fn bound(field: &'static str, number: i32) -> Result<Option<Value>, Error> {
    match number {
        ..0 => Err(Error::invalid(field, "is negative")),
        0 => Ok(None),
        _ => Ok(Some(Value {
            kind: Some(Kind::NumberValue(number.into())),
        })),
    }
}
