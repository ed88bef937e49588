//! Exports.

use futures::stream;
use isa_proto::loki::{self as pb, loki_service_client::LokiServiceClient};
use isa_server::{Call, Error, ErrorCode, Place, Replies};

use super::{Service, error::told, names_for};
use crate::loki::{
    convert::{self, HOUR, Window},
    service::{self, Format, Order, Piece, Progress, State},
};

/// Entries of a response: where the caller does not say how many, and at most.
const CHUNK: (u32, u32) = (1000, 10_000);

impl Service {
    pub(super) async fn export(
        &self,
        call: Call,
        request: pb::ExportLogsRequest,
    ) -> Result<Replies<pb::ExportLogsResponse>, Error> {
        let order = self.tell(order(&request))?;
        let names = self.tell(names_for(&call, &request.tenant_id))?;
        let id = call.new_id().to_string();
        let pieces = self.tell(self.loki.export(names, &id, order).await)?;
        let upstream = self.upstream.clone();
        let responses = stream::unfold(Some(pieces), move |pieces| {
            let (id, upstream) = (id.clone(), upstream.clone());
            async move {
                let mut pieces = pieces?;
                Some(match pieces.recv().await? {
                    Ok(piece) if piece.is_last => (Ok(response(id, piece)), None),
                    Ok(piece) => (Ok(response(id, piece)), Some(pieces)),
                    Err(error) => (Err(told(&upstream, error)), None),
                })
            }
        });
        Ok(Box::pin(responses))
    }

    pub(super) async fn export_status(
        &self,
        call: Call,
        request: pb::GetExportStatusRequest,
    ) -> Result<pb::GetExportStatusResponse, Error> {
        let absent = || Error::not_found("the export");
        let lost = |error: Error| match error.code() {
            // Nothing of it is kept: it is as if it had never been.
            ErrorCode::StateLost => absent(),
            _ => error,
        };
        let id = match call.locate(&request.export_id, "export_id").map_err(lost)? {
            Place::Here(id) => id.to_string(),
            Place::There(replica) => {
                let mut client = LokiServiceClient::new(replica.channel().await.map_err(lost)?);
                let answer = client.get_export_status(replica.request(request)).await;
                return match answer {
                    Ok(answer) => Ok(answer.into_inner()),
                    Err(status) => Err(lost(status.into())),
                };
            }
        };
        let (scope, progress) = self.loki.export_progress(&id).ok_or_else(absent)?;
        if !call.caller().may_see(&scope) {
            return Err(absent());
        }
        Ok(status(id, progress))
    }
}

fn order(request: &pb::ExportLogsRequest) -> Result<Order, service::Error> {
    use pb::ExportFormat as Given;
    let format = match Given::try_from(request.format) {
        Ok(Given::ExportJson) => Format::Json,
        Ok(Given::ExportJsonl) => Format::JsonLines,
        Ok(Given::ExportCsv) => Format::Csv,
        Ok(Given::ExportText) => Format::Text,
        Err(_) => return Err(service::Error::invalid("format", "is none of the contract's")),
    };
    Ok(Order {
        query: request.query.clone(),
        window: Window::of(request.start, request.end, HOUR)?,
        format,
        chunk: convert::count("chunk_size", request.chunk_size, CHUNK.0, CHUNK.1)? as usize,
    })
}

fn response(export_id: String, piece: Piece) -> pb::ExportLogsResponse {
    pb::ExportLogsResponse {
        export_id,
        data: piece.data.into(),
        total_entries: convert::signed(piece.total),
        processed_entries: convert::signed(piece.exported),
        complete: piece.is_last,
    }
}

fn status(export_id: String, progress: Progress) -> pb::GetExportStatusResponse {
    pb::GetExportStatusResponse {
        export_id,
        status: match progress.state {
            State::Running => "running",
            State::Completed => "completed",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
        }
        .to_owned(),
        total_entries: convert::signed(progress.total),
        exported_entries: convert::signed(progress.exported),
        progress_percentage: progress.percent,
        created_at: Some(convert::timestamp(progress.created)),
        completed_at: progress.ended.map(convert::timestamp),
        error_message: progress.error,
    }
}
