use isa_proto::duckdb as pb;
use isa_server::{Call, Error};

use super::{Route, Service, enter, other, sent_on};
use crate::duckdb::{
    convert::{database, int, long, moment},
    service::{NewDatabase, Where, invalid},
};

/// Databases of a page.
const PAGE: i32 = 1000;

impl Service {
    pub(super) async fn create_database(
        &self,
        call: Call,
        request: pb::CreateDatabaseRequest,
    ) -> Result<pb::CreateDatabaseResponse, Error> {
        call.note(request.database_name.as_str());
        let new = NewDatabase {
            name: request.database_name,
            user: call.caller().subject.clone(),
            organization: request.organization_id,
            bucket: request.minio_bucket,
            notes: request.metadata,
            settings: request.config,
        };
        let id = self.duck.create(call.tenant(), new).await?;
        Ok(pb::CreateDatabaseResponse {
            success: true,
            message: "created".into(),
            database_info: Some(self.new_database(&call, &id).await?),
            error: String::new(),
        })
    }

    /// A database that was just made is opened here.
    async fn new_database(&self, call: &Call, id: &str) -> Result<pb::DatabaseInfo, Error> {
        self.watch(call);
        let holder = || call.new_id().to_string();
        let Where::Here(entered) = self.duck.enter(call.tenant(), id, None, holder).await? else {
            return Err(super::moving());
        };
        let found = self.duck.describe(&entered).await?;
        Ok(database(found, self.duck.version().await?))
    }

    pub(super) async fn list_databases(
        &self,
        call: Call,
        request: pb::ListDatabasesRequest,
    ) -> Result<pb::ListDatabasesResponse, Error> {
        let page = match request.page {
            0 => 1,
            page @ 1.. => page,
            _ => return Err(invalid("page", "must be 1 or more").into()),
        };
        let size = match request.page_size {
            0 => PAGE,
            size @ 1..=PAGE => size,
            _ => return Err(invalid("page_size", format_args!("must be 1 to {PAGE}")).into()),
        };
        let first = (i64::from(page) - 1) * i64::from(size);
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let most = usize::try_from(size).unwrap_or_default();
        let listed = self
            .duck
            .list(call.tenant(), &request.name_filter, first, most)
            .await?;
        let (found, count) = listed;
        let version = self.duck.version().await?;
        Ok(pb::ListDatabasesResponse {
            success: true,
            databases: found.into_iter().map(|it| database(it, version)).collect(),
            total_count: int(count as u64),
            page,
            page_size: size,
            error: String::new(),
        })
    }

    pub(super) async fn delete_database(
        &self,
        call: Call,
        request: pb::DeleteDatabaseRequest,
    ) -> Result<pb::DeleteDatabaseResponse, Error> {
        let entered = enter!(self, call, request, delete_database);
        call.note(request.database_id.as_str());
        let (copies, force) = (request.delete_from_minio, request.force);
        self.duck.delete(entered, copies, force).await?;
        Ok(pb::DeleteDatabaseResponse {
            success: true,
            message: "deleted".into(),
            error: String::new(),
        })
    }

    pub(super) async fn get_database_info(
        &self,
        call: Call,
        request: pb::GetDatabaseInfoRequest,
    ) -> Result<pb::GetDatabaseInfoResponse, Error> {
        let entered = enter!(self, call, request, get_database_info);
        let found = self.duck.describe(&entered).await?;
        Ok(pb::GetDatabaseInfoResponse {
            success: true,
            database_info: Some(database(found, self.duck.version().await?)),
            error: String::new(),
        })
    }

    pub(super) async fn backup_database(
        &self,
        call: Call,
        request: pb::BackupDatabaseRequest,
    ) -> Result<pb::BackupDatabaseResponse, Error> {
        let entered = enter!(self, call, request, backup_database);
        call.note(request.database_id.as_str());
        if request.incremental {
            let why = "every backup is whole: DuckDB's file has no increments; leave `incremental` out";
            return Err(crate::duckdb::service::Error::Unsupported(why.into()).into());
        }
        let backup = self.duck.backup(&entered, &request.backup_name).await?;
        Ok(pb::BackupDatabaseResponse {
            success: true,
            message: "backed up".into(),
            backup_path: backup.path,
            backup_size: long(backup.bytes),
            backup_time: Some(moment(backup.at)),
            error: String::new(),
        })
    }

    pub(super) async fn restore_database(
        &self,
        call: Call,
        request: pb::RestoreDatabaseRequest,
    ) -> Result<pb::RestoreDatabaseResponse, Error> {
        call.note(request.new_database_name.as_str());
        let new = NewDatabase {
            name: request.new_database_name,
            user: call.caller().subject.clone(),
            ..NewDatabase::default()
        };
        let id = self
            .duck
            .restore(call.tenant(), &request.backup_path, new)
            .await?;
        Ok(pb::RestoreDatabaseResponse {
            success: true,
            message: "restored".into(),
            database_info: Some(self.new_database(&call, &id).await?),
            error: String::new(),
        })
    }
}
