use std::{future::pending, time::Instant};

use futures::stream;
use isa_proto::{Bytes, duckdb as pb};
use isa_server::{Call, Error, Remote, Requests};
use tokio::sync::oneshot;

use super::{Route, Service, enter, other, sent_on};
use crate::duckdb::{
    convert::{int, long, milliseconds, rows},
    service::{Format, Object, invalid},
};

impl Service {
    pub(super) async fn import_from_min_io(
        &self,
        call: Call,
        request: pb::ImportFromMinIoRequest,
    ) -> Result<pb::ImportFromMinIoResponse, Error> {
        let entered = enter!(self, call, request, import_from_min_io);
        call.note(format!("{}/{}", request.database_id, request.table_name));
        let began = Instant::now();
        let object = Object::of(call.tenant(), &request.bucket_name, &request.object_key)?;
        let format = Format::of(&request.format, &request.object_key)?;
        let (table, options) = (&request.table_name, &request.options);
        let import = self
            .duck
            .import(&entered, &object, table, format, options, request.truncate);
        Ok(pb::ImportFromMinIoResponse {
            success: true,
            message: "imported".into(),
            rows_imported: int(import.await?),
            execution_time_ms: milliseconds(began.elapsed()),
            error: String::new(),
        })
    }

    pub(super) async fn export_to_min_io(
        &self,
        call: Call,
        request: pb::ExportToMinIoRequest,
    ) -> Result<pb::ExportToMinIoResponse, Error> {
        let entered = enter!(self, call, request, export_to_min_io);
        call.note(format!("{}/{}", request.bucket_name, request.object_key));
        let began = Instant::now();
        let object = Object::of(call.tenant(), &request.bucket_name, &request.object_key)?;
        let format = Format::of(&request.format, &request.object_key)?;
        let (query, options) = (&request.query, &request.options);
        let export = self
            .duck
            .export(&entered, query, &object, format, options, request.overwrite);
        let (rows, bytes) = export.await?;
        Ok(pb::ExportToMinIoResponse {
            success: true,
            message: "exported".into(),
            rows_exported: int(rows),
            file_size: long(bytes),
            execution_time_ms: milliseconds(began.elapsed()),
            error: String::new(),
        })
    }

    pub(super) async fn query_min_io_file(
        &self,
        call: Call,
        request: pb::QueryMinIoFileRequest,
    ) -> Result<pb::QueryMinIoFileResponse, Error> {
        let entered = enter!(self, call, request, query_min_io_file);
        let object = Object::of(call.tenant(), &request.bucket_name, &request.object_key)?;
        let format = Format::of(&request.format, &request.object_key)?;
        let found = self
            .duck
            .query_file(&entered, &object, format, &request.options, &request.query)
            .await?;
        call.keep(found.held);
        Ok(pb::QueryMinIoFileResponse {
            success: true,
            row_count: int(found.rows.len() as u64),
            columns: found.head.names,
            rows: rows(found.rows),
            execution_time_ms: milliseconds(found.time),
            error: String::new(),
        })
    }

    pub(super) async fn import_data(
        &self,
        call: Call,
        mut requests: Requests<pb::ImportDataRequest>,
    ) -> Result<pb::ImportDataResponse, Error> {
        use pb::import_data_request::Data;
        let Some(Data::Metadata(about)) = requests.next().await?.and_then(|first| first.data) else {
            return Err(out_of_order());
        };
        let entered = match self.route(&call, &about.database_id).await? {
            Route::Here(entered) => entered,
            Route::There(replica) => return send_on(&replica, about, requests).await,
        };
        call.note(format!("{}/{}", about.database_id, about.table_name));
        let began = Instant::now();
        if about.format.is_empty() {
            return Err(invalid("format", "is empty").into());
        }
        let format = Format::of(&about.format, "")?;
        let announced =
            u64::try_from(about.total_size).map_err(|_| invalid("total_size", "must be 0 or more"))?;
        let (table, options) = (&about.table_name, &about.options);
        let mut upload = self
            .duck
            .receive(&entered, table, format, options, announced)
            .await?;
        while let Some(message) = requests.next().await? {
            upload.put(chunk(message)?).await?;
        }
        Ok(pb::ImportDataResponse {
            success: true,
            message: "imported".into(),
            rows_imported: int(upload.finish().await?),
            execution_time_ms: milliseconds(began.elapsed()),
            error: String::new(),
        })
    }
}

/// Sends an upload on to another replica. If the caller's stream breaks off, so does this one: it must not end as if it
/// were whole.
async fn send_on(
    replica: &Remote<'_>,
    about: pb::ImportDataMetadata,
    requests: Requests<pb::ImportDataRequest>,
) -> Result<pb::ImportDataResponse, Error> {
    use pb::import_data_request::Data;
    let (broke, broken) = oneshot::channel();
    let first = pb::ImportDataRequest {
        data: Some(Data::Metadata(about)),
    };
    let messages = stream::unfold(
        (Some(first), requests, Some(broke)),
        |(first, mut requests, mut broke)| async move {
            if let Some(first) = first {
                return Some((first, (None, requests, broke)));
            }
            match requests.next().await {
                Ok(Some(message)) => Some((message, (None, requests, broke))),
                Ok(None) => None,
                Err(error) => {
                    if let Some(broke) = broke.take() {
                        let _ = broke.send(error);
                    }
                    pending().await
                }
            }
        },
    );
    let mut client = other(replica).await?;
    let sent = client.import_data(replica.request(messages));
    tokio::select! {
        answer = sent => Ok(answer.map_err(sent_on)?.into_inner()),
        Ok(error) = broken => Err(error),
    }
}

fn chunk(message: pb::ImportDataRequest) -> Result<Bytes, Error> {
    match message.data {
        Some(pb::import_data_request::Data::Chunk(chunk)) => Ok(chunk),
        _ => Err(out_of_order()),
    }
}

fn out_of_order() -> Error {
    Error::invalid(
        "data",
        "must be `metadata` in the first message, and `chunk` in all others",
    )
}
