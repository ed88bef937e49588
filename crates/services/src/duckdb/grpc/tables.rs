use isa_proto::duckdb as pb;
use isa_server::{Call, Error};

use super::{Route, Service, enter, other, sent_on};
use crate::duckdb::{
    convert::{column_stats, int, long, new_column, table},
    service::{EXTENSIONS, NewFunction, NewTable, check_extension},
};

impl Service {
    pub(super) async fn create_table(
        &self,
        call: Call,
        request: pb::CreateTableRequest,
    ) -> Result<pb::CreateTableResponse, Error> {
        let entered = enter!(self, call, request, create_table);
        call.note(format!("{}/{}", request.database_id, request.table_name));
        let new = NewTable {
            name: request.table_name,
            columns: request.columns.into_iter().map(new_column).collect(),
            primary: request.primary_keys,
            if_absent: request.if_not_exists,
            comment: request.comment,
        };
        let made = self.duck.create_table(&entered, new).await?;
        Ok(pb::CreateTableResponse {
            success: true,
            message: "created".into(),
            table_info: Some(table(made)),
            error: String::new(),
        })
    }

    pub(super) async fn list_tables(
        &self,
        call: Call,
        request: pb::ListTablesRequest,
    ) -> Result<pb::ListTablesResponse, Error> {
        let entered = enter!(self, call, request, list_tables);
        let found = self
            .duck
            .tables(&entered, request.schema_name, &request.name_filter)
            .await?;
        Ok(pb::ListTablesResponse {
            success: true,
            total_count: int(found.len() as u64),
            tables: found.into_iter().map(table).collect(),
            error: String::new(),
        })
    }

    pub(super) async fn drop_table(
        &self,
        call: Call,
        request: pb::DropTableRequest,
    ) -> Result<pb::DropTableResponse, Error> {
        let entered = enter!(self, call, request, drop_table);
        call.note(format!("{}/{}", request.database_id, request.table_name));
        let (if_there, cascade) = (request.if_exists, request.cascade);
        self.duck
            .drop_table(&entered, &request.table_name, if_there, cascade)
            .await?;
        Ok(pb::DropTableResponse {
            success: true,
            message: "dropped".into(),
            error: String::new(),
        })
    }

    pub(super) async fn get_table_schema(
        &self,
        call: Call,
        request: pb::GetTableSchemaRequest,
    ) -> Result<pb::GetTableSchemaResponse, Error> {
        let entered = enter!(self, call, request, get_table_schema);
        let found = self.duck.table(&entered, &request.table_name).await?;
        Ok(pb::GetTableSchemaResponse {
            success: true,
            table_info: Some(table(found)),
            error: String::new(),
        })
    }

    pub(super) async fn get_table_stats(
        &self,
        call: Call,
        request: pb::GetTableStatsRequest,
    ) -> Result<pb::GetTableStatsResponse, Error> {
        let entered = enter!(self, call, request, get_table_stats);
        let columns = request.include_columns;
        let stats = self.duck.stats(&entered, &request.table_name, columns).await?;
        let stats = pb::TableStats {
            table_name: stats.name,
            row_count: long(stats.rows),
            size_bytes: long(stats.bytes),
            column_stats: stats.columns.into_iter().map(column_stats).collect(),
        };
        Ok(pb::GetTableStatsResponse {
            success: true,
            stats: Some(stats),
            error: String::new(),
        })
    }

    pub(super) async fn create_view(
        &self,
        call: Call,
        request: pb::CreateViewRequest,
    ) -> Result<pb::CreateViewResponse, Error> {
        let entered = enter!(self, call, request, create_view);
        call.note(format!("{}/{}", request.database_id, request.view_name));
        let (name, query, replace) = (&request.view_name, &request.query, request.replace);
        self.duck.create_view(&entered, name, query, replace).await?;
        Ok(pb::CreateViewResponse {
            success: true,
            message: "created".into(),
            error: String::new(),
        })
    }

    pub(super) async fn list_views(
        &self,
        call: Call,
        request: pb::ListViewsRequest,
    ) -> Result<pb::ListViewsResponse, Error> {
        let entered = enter!(self, call, request, list_views);
        Ok(pb::ListViewsResponse {
            success: true,
            views: self.duck.views(&entered).await?,
            error: String::new(),
        })
    }

    pub(super) async fn drop_view(
        &self,
        call: Call,
        request: pb::DropViewRequest,
    ) -> Result<pb::DropViewResponse, Error> {
        let entered = enter!(self, call, request, drop_view);
        call.note(format!("{}/{}", request.database_id, request.view_name));
        self.duck.drop_view(&entered, &request.view_name).await?;
        Ok(pb::DropViewResponse {
            success: true,
            message: "dropped".into(),
            error: String::new(),
        })
    }

    pub(super) async fn install_extension(
        &self,
        call: Call,
        request: pb::InstallExtensionRequest,
    ) -> Result<pb::InstallExtensionResponse, Error> {
        let _entered = enter!(self, call, request, install_extension);
        check_extension(&request.extension_name)?;
        Ok(pb::InstallExtensionResponse {
            success: true,
            message: "loaded".into(),
            error: String::new(),
        })
    }

    pub(super) async fn list_extensions(
        &self,
        call: Call,
        request: pb::ListExtensionsRequest,
    ) -> Result<pb::ListExtensionsResponse, Error> {
        let _entered = enter!(self, call, request, list_extensions);
        let version = self.duck.version().await?;
        let info = |(name, description): (&str, &str)| pb::ExtensionInfo {
            name: name.to_owned(),
            version: version.to_owned(),
            installed: true,
            loaded: true,
            description: description.to_owned(),
        };
        Ok(pb::ListExtensionsResponse {
            success: true,
            extensions: EXTENSIONS.into_iter().map(info).collect(),
            error: String::new(),
        })
    }

    pub(super) async fn create_function(
        &self,
        call: Call,
        request: pb::CreateFunctionRequest,
    ) -> Result<pb::CreateFunctionResponse, Error> {
        let entered = enter!(self, call, request, create_function);
        call.note(format!("{}/{}", request.database_id, request.function_name));
        let new = NewFunction {
            name: request.function_name,
            body: request.function_body,
            parameters: request.parameters,
            table: request.return_type.eq_ignore_ascii_case("TABLE"),
        };
        self.duck.create_function(&entered, new).await?;
        Ok(pb::CreateFunctionResponse {
            success: true,
            message: "created".into(),
            error: String::new(),
        })
    }
}
