//! The contract's methods: each converts, calls the service, and converts. A call for a database that another replica
//! holds is sent on first.

mod databases;
mod error;
mod files;
mod monitoring;
mod queries;
mod tables;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use isa_proto::duckdb::{self as pb, duck_db_service_client::DuckDbServiceClient};
use isa_server::{Call, Error, ErrorCode, Place, Remote, Replies, Requests, api::duckdb::DuckDbService};
use tonic::{Code, Status, transport::Channel};

use self::error::LOST;
use super::service::{self, Duck, Entered, Where};

/// Of an answer of another replica, as of any message.
const MAX_FORWARDED: usize = 100 << 20;

/// How often a lease is looked at that changes hands meanwhile.
const TRIES: u32 = 3;

pub(super) struct Service {
    duck: Duck,
    /// A task waits for the server to stop.
    watched: AtomicBool,
}

/// Where a call is answered.
enum Route<'a> {
    Here(Entered),
    There(Remote<'a>),
}

/// The database of the request; or the answer of the replica that holds it.
macro_rules! enter {
    ($self:ident, $call:ident, $request:ident, $method:ident) => {
        match $self.route(&$call, &$request.database_id).await? {
            Route::Here(entered) => entered,
            Route::There(replica) => {
                let mut client = other(&replica).await?;
                let sent = client.$method(replica.request($request)).await;
                return Ok(sent.map_err(sent_on)?.into_inner());
            }
        }
    };
}

/// The same for a stream of responses.
macro_rules! enter_stream {
    ($self:ident, $call:ident, $request:ident, $method:ident) => {
        match $self.route(&$call, &$request.database_id).await? {
            Route::Here(entered) => entered,
            Route::There(replica) => {
                let mut client = other(&replica).await?;
                let sent = client.$method(replica.request($request)).await;
                let replies = sent.map_err(sent_on)?.into_inner();
                return Ok(Box::pin(replies.map(|reply| reply.map_err(sent_on))));
            }
        }
    };
}

/// What the request names that is kept between calls, if it names it; or the answer of the replica that keeps it.
macro_rules! kept {
    ($call:ident, $request:ident, $field:ident, $method:ident) => {
        if $request.$field.is_empty() {
            None
        } else {
            match $call.locate(&$request.$field, stringify!($field))? {
                Place::Here(id) => Some(id),
                Place::There(replica) => {
                    let mut client = other(&replica).await?;
                    let sent = client.$method(replica.request($request)).await;
                    return Ok(sent.map_err(sent_on)?.into_inner());
                }
            }
        }
    };
}

/// The same for a stream of responses.
macro_rules! kept_stream {
    ($call:ident, $request:ident, $field:ident, $method:ident) => {
        if $request.$field.is_empty() {
            None
        } else {
            match $call.locate(&$request.$field, stringify!($field))? {
                Place::Here(id) => Some(id),
                Place::There(replica) => {
                    let mut client = other(&replica).await?;
                    let sent = client.$method(replica.request($request)).await;
                    let replies = sent.map_err(sent_on)?.into_inner();
                    return Ok(Box::pin(replies.map(|reply| reply.map_err(sent_on))));
                }
            }
        }
    };
}

use {enter, enter_stream, kept, kept_stream};

impl Service {
    pub(super) fn new(duck: Duck) -> Self {
        Self {
            duck,
            watched: AtomicBool::new(false),
        }
    }

    async fn route<'a>(&self, call: &'a Call, database: &str) -> Result<Route<'a>, Error> {
        self.watch(call);
        let mut gone = None;
        for _ in 0..TRIES {
            let holder = || call.new_id().to_string();
            match self.duck.enter(call.tenant(), database, gone, holder).await? {
                Where::Here(entered) => return Ok(Route::Here(entered)),
                Where::With(holder, stale) => match call.locate(&holder, "database_id") {
                    Ok(Place::There(replica)) => return Ok(Route::There(replica)),
                    // Ours, of this process or the one before it at this address: nobody else has it.
                    Ok(Place::Here(_)) => gone = Some(stale),
                    Err(lost) if lost.code() == ErrorCode::StateLost && !call.is_forwarded() => {
                        gone = Some(stale)
                    }
                    Err(_) => break,
                },
            }
        }
        Err(moving())
    }

    /// Before the process ends, its databases go to the other replicas.
    fn watch(&self, call: &Call) {
        if self.watched.swap(true, Relaxed) {
            return;
        }
        let duck = self.duck.clone();
        call.at_the_end(async move { duck.stop().await });
    }
}

/// A client of another replica.
async fn other(replica: &Remote<'_>) -> Result<DuckDbServiceClient<Channel>, Error> {
    let channel = replica.channel().await.map_err(|error| match error.code() {
        ErrorCode::StateLost => moving(),
        _ => error,
    })?;
    Ok(DuckDbServiceClient::new(channel).max_decoding_message_size(MAX_FORWARDED))
}

/// Why a call has no answer that was sent on.
fn sent_on(status: Status) -> Error {
    // The other replica says itself why it refused, or failed.
    if !status.details().is_empty() {
        return Error::from(status);
    }
    let told = format!("{status:?}");
    let never_sent = [
        "ConnectError",
        "operation was canceled",
        "GoAway(b\"\", NO_ERROR, Remote)",
    ];
    match status.code() {
        // The other one was not there, or took no more calls.
        Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown
            if never_sent.iter().any(|text| told.contains(text)) =>
        {
            moving()
        }
        Code::Unavailable | Code::Cancelled | Code::Internal | Code::Unknown => {
            Error::new(ErrorCode::EngineLost, LOST).caused_by(status)
        }
        _ => Error::from(status),
    }
}

fn moving() -> Error {
    service::Error::Elsewhere(
        "the replica that had the database is gone, and another takes it over within 15 s; try again",
    )
    .into()
}

macro_rules! methods {
    ($($name:ident($request:ident) -> $response:ty;)*) => {
        impl DuckDbService for Service {
            $(async fn $name(&self, call: Call, request: methods!(@ $request)) -> Result<$response, Error> {
                Box::pin(self.$name(call, request)).await
            })*

            async fn import_data(
                &self,
                call: Call,
                requests: Requests<pb::ImportDataRequest>,
            ) -> Result<pb::ImportDataResponse, Error> {
                Box::pin(self.import_data(call, requests)).await
            }
        }
    };
    (@ $request:ident) => { pb::$request };
}

methods! {
    create_database(CreateDatabaseRequest) -> pb::CreateDatabaseResponse;
    list_databases(ListDatabasesRequest) -> pb::ListDatabasesResponse;
    delete_database(DeleteDatabaseRequest) -> pb::DeleteDatabaseResponse;
    get_database_info(GetDatabaseInfoRequest) -> pb::GetDatabaseInfoResponse;
    backup_database(BackupDatabaseRequest) -> pb::BackupDatabaseResponse;
    restore_database(RestoreDatabaseRequest) -> pb::RestoreDatabaseResponse;
    execute_query(ExecuteQueryRequest) -> pb::ExecuteQueryResponse;
    execute_query_stream(ExecuteQueryRequest) -> Replies<pb::QueryResultChunk>;
    execute_query_arrow(ExecuteQueryRequest) -> Replies<pb::ArrowChunk>;
    execute_statement(ExecuteStatementRequest) -> pb::ExecuteStatementResponse;
    execute_batch(ExecuteBatchRequest) -> pb::ExecuteBatchResponse;
    prepare_statement(PrepareStatementRequest) -> pb::PrepareStatementResponse;
    begin_transaction(BeginTransactionRequest) -> pb::BeginTransactionResponse;
    commit_transaction(EndTransactionRequest) -> pb::EndTransactionResponse;
    rollback_transaction(EndTransactionRequest) -> pb::EndTransactionResponse;
    create_table(CreateTableRequest) -> pb::CreateTableResponse;
    list_tables(ListTablesRequest) -> pb::ListTablesResponse;
    drop_table(DropTableRequest) -> pb::DropTableResponse;
    get_table_schema(GetTableSchemaRequest) -> pb::GetTableSchemaResponse;
    get_table_stats(GetTableStatsRequest) -> pb::GetTableStatsResponse;
    create_view(CreateViewRequest) -> pb::CreateViewResponse;
    list_views(ListViewsRequest) -> pb::ListViewsResponse;
    drop_view(DropViewRequest) -> pb::DropViewResponse;
    import_from_min_io(ImportFromMinIoRequest) -> pb::ImportFromMinIoResponse;
    export_to_min_io(ExportToMinIoRequest) -> pb::ExportToMinIoResponse;
    query_min_io_file(QueryMinIoFileRequest) -> pb::QueryMinIoFileResponse;
    install_extension(InstallExtensionRequest) -> pb::InstallExtensionResponse;
    list_extensions(ListExtensionsRequest) -> pb::ListExtensionsResponse;
    create_function(CreateFunctionRequest) -> pb::CreateFunctionResponse;
    health_check(HealthCheckRequest) -> pb::HealthCheckResponse;
    get_metrics(GetMetricsRequest) -> pb::GetMetricsResponse;
}
