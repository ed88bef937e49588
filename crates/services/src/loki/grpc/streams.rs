//! Streams.

use isa_proto::loki as pb;
use isa_server::Call;

use super::{bound, names_for, stream_of};
use crate::loki::{
    convert,
    names::Names,
    service::{self, Loki, deletion},
};

/// Streams of a page: where the caller does not say how many, and at most.
const PAGE: (u32, u32) = (50, 500);

/// Pages may be as many as streams.
const MAX_PAGE: u32 = i32::MAX.unsigned_abs();

/// The organization whose streams these are; empty if they are a user's.
fn organization(call: &Call) -> String {
    let name = call.tenant().name();
    name.strip_prefix("org:").unwrap_or_default().to_owned()
}

pub(super) async fn list_streams(
    loki: &Loki,
    call: &Call,
    request: pb::ListStreamsRequest,
) -> Result<pb::ListStreamsResponse, service::Error> {
    let names = names_for(call, &request.tenant_id)?;
    let page = convert::count("page", request.page, 1, MAX_PAGE)?;
    let size = convert::count("page_size", request.page_size, PAGE.0, PAGE.1)?;
    let (streams, count) = loki
        .streams(
            names,
            &request.label_filter,
            page as usize,
            size as usize,
            bound(call),
        )
        .await?;
    Ok(pb::ListStreamsResponse {
        streams: streams
            .into_iter()
            .map(|stream| convert::stream_info(stream, organization(call)))
            .collect(),
        total_count: convert::small(count),
        page: convert::small(page),
        page_size: convert::small(size),
    })
}

pub(super) async fn get_stream_info(
    loki: &Loki,
    call: &Call,
    request: pb::GetStreamInfoRequest,
) -> Result<pb::GetStreamInfoResponse, service::Error> {
    let id = stream_of(call, &request.stream_id)?;
    let labels = id.labels("stream_id")?;
    let stream = loki.stream(Names::of(id.slug()), &labels, bound(call)).await?;
    // An open server may believe the id and not know whose it is.
    let organization = if call.tenant().slug() == id.slug() {
        organization(call)
    } else {
        String::new()
    };
    Ok(pb::GetStreamInfoResponse {
        stream: Some(convert::stream_info(stream, organization)),
    })
}

pub(super) async fn delete_stream(
    loki: &Loki,
    call: &Call,
    request: pb::DeleteStreamRequest,
) -> Result<pb::DeleteStreamResponse, service::Error> {
    let id = stream_of(call, &request.stream_id)?;
    let labels = id.labels("stream_id")?;
    let start = request
        .start
        .map(|start| convert::nanoseconds("start", start))
        .transpose()?;
    let end = request
        .end
        .map(|end| convert::nanoseconds("end", end))
        .transpose()?;
    let window = deletion(start, end)?;
    if request.stream_id.len() <= 255 {
        call.note(format!("stream/{}", request.stream_id));
    }
    let entries = loki
        .delete(Names::of(id.slug()), &labels, window, bound(call))
        .await?;
    Ok(pb::DeleteStreamResponse {
        success: true,
        deleted_entries: convert::signed(entries),
        message: "Loki hides these entries soon, and removes them later".to_owned(),
    })
}
