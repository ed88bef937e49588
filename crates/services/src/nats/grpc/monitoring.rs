//! Figures.

use isa_proto::nats as pb;
use isa_server::Call;

use super::{bound, names};
use crate::nats::{
    convert,
    service::{Error, Nats},
};

pub(super) async fn get_statistics(
    nats: &Nats,
    call: &Call,
    _: pb::GetStatisticsRequest,
) -> Result<pb::GetStatisticsResponse, Error> {
    let totals = nats.totals(names(call), bound(call)).await?;
    Ok(pb::GetStatisticsResponse {
        total_streams: convert::signed(totals.streams),
        total_consumers: convert::signed(totals.consumers),
        total_messages: convert::signed(totals.messages),
        total_bytes: convert::signed(totals.bytes),
        connections: nats.connections(),
        in_msgs: convert::signed(totals.in_messages),
        out_msgs: convert::signed(totals.out_messages),
        in_bytes: convert::signed(totals.in_bytes),
        out_bytes: convert::signed(totals.out_bytes),
    })
}

pub(super) async fn get_stream_stats(
    nats: &Nats,
    call: &Call,
    request: pb::GetStreamStatsRequest,
) -> Result<pb::GetStreamStatsResponse, Error> {
    let (stream, rates) = nats
        .stream_rates(names(call), &request.stream_name, bound(call))
        .await?;
    let state = &stream.info.state;
    Ok(pb::GetStreamStatsResponse {
        stream_name: stream.settings.name,
        messages: convert::signed(state.messages),
        bytes: convert::signed(state.bytes),
        consumer_count: i32::try_from(state.consumer_count).unwrap_or(i32::MAX),
        message_rate: rates.messages,
        byte_rate: rates.bytes,
    })
}
