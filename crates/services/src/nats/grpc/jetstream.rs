//! Streams, consumers, and the messages in them.

use std::time::Duration;

use isa_proto::nats as pb;
use isa_server::Call;

use super::{BOUND, bound, names, note};
use crate::nats::{
    convert,
    service::{Error, Nats, Outgoing, Settlement},
};

/// Longest that a pull waits for messages.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Messages of a pull, unless it says otherwise, and at most.
const PULL: (usize, usize) = (10, 1000);

/// Longest that a message which was given back stays away.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn create_stream(
    nats: &Nats,
    call: &Call,
    request: pb::CreateStreamRequest,
) -> Result<pb::CreateStreamResponse, Error> {
    let settings = convert::stream_settings(request.config)?;
    note(call, "stream", &settings.name);
    let stream = nats.create_stream(names(call), &settings, bound(call)).await?;
    Ok(pb::CreateStreamResponse {
        success: true,
        stream: Some(convert::stream(stream)),
        message: "OK".to_owned(),
    })
}

pub(super) async fn delete_stream(
    nats: &Nats,
    call: &Call,
    request: pb::DeleteStreamRequest,
) -> Result<pb::DeleteStreamResponse, Error> {
    note(call, "stream", &request.stream_name);
    nats.delete_stream(names(call), &request.stream_name, bound(call))
        .await?;
    Ok(pb::DeleteStreamResponse { success: true })
}

pub(super) async fn get_stream_info(
    nats: &Nats,
    call: &Call,
    request: pb::GetStreamInfoRequest,
) -> Result<pb::GetStreamInfoResponse, Error> {
    let stream = nats
        .stream(names(call), &request.stream_name, bound(call))
        .await?;
    Ok(pb::GetStreamInfoResponse {
        stream: Some(convert::stream(stream)),
    })
}

pub(super) async fn list_streams(
    nats: &Nats,
    call: &Call,
    _: pb::ListStreamsRequest,
) -> Result<pb::ListStreamsResponse, Error> {
    let streams = nats.streams(names(call), bound(call)).await?;
    Ok(pb::ListStreamsResponse {
        streams: streams.into_iter().map(convert::stream).collect(),
    })
}

pub(super) async fn update_stream(
    nats: &Nats,
    call: &Call,
    request: pb::UpdateStreamRequest,
) -> Result<pb::UpdateStreamResponse, Error> {
    note(call, "stream", &request.stream_name);
    names(call).stream("stream_name", &request.stream_name)?;
    let mut settings = convert::stream_settings(request.config)?;
    if settings.name.is_empty() {
        settings.name = request.stream_name;
    } else if settings.name != request.stream_name {
        return Err(Error::invalid(
            "config.name",
            "differs from stream_name: a stream keeps its name",
        ));
    }
    let stream = nats.update_stream(names(call), &settings, bound(call)).await?;
    Ok(pb::UpdateStreamResponse {
        success: true,
        stream: Some(convert::stream(stream)),
    })
}

pub(super) async fn purge_stream(
    nats: &Nats,
    call: &Call,
    request: pb::PurgeStreamRequest,
) -> Result<pb::PurgeStreamResponse, Error> {
    note(call, "stream", &request.stream_name);
    let purged = nats
        .purge_stream(names(call), &request.stream_name, &request.subject, bound(call))
        .await?;
    Ok(pb::PurgeStreamResponse {
        success: true,
        purged_count: convert::signed(purged),
    })
}

pub(super) async fn create_consumer(
    nats: &Nats,
    call: &Call,
    request: pb::CreateConsumerRequest,
) -> Result<pb::CreateConsumerResponse, Error> {
    note(call, "stream", &request.stream_name);
    let settings = convert::consumer_settings(request.config)?;
    let consumer = nats
        .create_consumer(names(call), &request.stream_name, &settings, bound(call))
        .await?;
    Ok(pb::CreateConsumerResponse {
        success: true,
        consumer: Some(convert::consumer(consumer)),
        message: "OK".to_owned(),
    })
}

pub(super) async fn delete_consumer(
    nats: &Nats,
    call: &Call,
    request: pb::DeleteConsumerRequest,
) -> Result<pb::DeleteConsumerResponse, Error> {
    note(call, "stream", &request.stream_name);
    nats.delete_consumer(
        names(call),
        &request.stream_name,
        &request.consumer_name,
        bound(call),
    )
    .await?;
    Ok(pb::DeleteConsumerResponse { success: true })
}

pub(super) async fn get_consumer_info(
    nats: &Nats,
    call: &Call,
    request: pb::GetConsumerInfoRequest,
) -> Result<pb::GetConsumerInfoResponse, Error> {
    let consumer = nats
        .consumer(
            names(call),
            &request.stream_name,
            &request.consumer_name,
            bound(call),
        )
        .await?;
    Ok(pb::GetConsumerInfoResponse {
        consumer: Some(convert::consumer(consumer)),
    })
}

pub(super) async fn list_consumers(
    nats: &Nats,
    call: &Call,
    request: pb::ListConsumersRequest,
) -> Result<pb::ListConsumersResponse, Error> {
    let consumers = nats
        .consumers(names(call), &request.stream_name, bound(call))
        .await?;
    Ok(pb::ListConsumersResponse {
        consumers: consumers.into_iter().map(convert::consumer).collect(),
    })
}

pub(super) async fn publish_to_stream(
    nats: &Nats,
    call: &Call,
    request: pb::PublishToStreamRequest,
) -> Result<pb::PublishToStreamResponse, Error> {
    note(call, "stream", &request.stream_name);
    let message = Outgoing {
        subject: &request.subject,
        data: request.data,
        headers: &request.headers,
        reply_to: "",
    };
    let stored = nats
        .publish_to_stream(
            names(call),
            &request.stream_name,
            message,
            &request.message_id,
            bound(call),
        )
        .await?;
    Ok(pb::PublishToStreamResponse {
        success: true,
        sequence: convert::signed(stored.sequence),
        timestamp: Some(convert::now()),
        message: "OK".to_owned(),
        duplicate: stored.duplicate,
    })
}

pub(super) async fn pull_messages(
    nats: &Nats,
    call: &Call,
    request: pb::PullMessagesRequest,
) -> Result<pb::PullMessagesResponse, Error> {
    note(call, "stream", &request.stream_name);
    let (default, most) = PULL;
    let batch = match usize::try_from(request.batch_size) {
        Ok(0) => default,
        Ok(batch) if batch <= most => batch,
        _ => {
            return Err(Error::invalid("batch_size", "must be 1 to 1000, or 0 for 10"));
        }
    };
    let wait = convert::duration("max_wait", request.max_wait)?;
    if wait.is_some_and(|wait| wait > MAX_WAIT) {
        return Err(Error::invalid("max_wait", "is more than 1 min"));
    }
    let due = nats
        .pull(
            names(call),
            &request.stream_name,
            &request.consumer_name,
            batch,
            wait,
            call.time_left(BOUND + MAX_WAIT),
        )
        .await?;
    Ok(pb::PullMessagesResponse {
        messages: due.into_iter().map(convert::due).collect(),
    })
}

pub(super) async fn ack_message(
    nats: &Nats,
    call: &Call,
    request: pb::AckMessageRequest,
) -> Result<pb::AckMessageResponse, Error> {
    let (stream, consumer) = (&request.stream_name, &request.consumer_name);
    let success = settle(nats, call, stream, consumer, request.sequence, Settlement::Ack).await?;
    Ok(pb::AckMessageResponse { success })
}

pub(super) async fn nak_message(
    nats: &Nats,
    call: &Call,
    request: pb::NakMessageRequest,
) -> Result<pb::NakMessageResponse, Error> {
    let delay = convert::duration("delay", request.delay)?;
    let delay = delay.unwrap_or_default();
    if delay > MAX_DELAY {
        return Err(Error::invalid("delay", "is more than 24 h"));
    }
    let (stream, consumer) = (&request.stream_name, &request.consumer_name);
    let success = settle(
        nats,
        call,
        stream,
        consumer,
        request.sequence,
        Settlement::Nak { delay },
    )
    .await?;
    Ok(pb::NakMessageResponse { success })
}

pub(super) async fn term_message(
    nats: &Nats,
    call: &Call,
    request: pb::TermMessageRequest,
) -> Result<pb::TermMessageResponse, Error> {
    let (stream, consumer) = (&request.stream_name, &request.consumer_name);
    let success = settle(nats, call, stream, consumer, request.sequence, Settlement::Term).await?;
    Ok(pb::TermMessageResponse { success })
}

pub(super) async fn in_progress_message(
    nats: &Nats,
    call: &Call,
    request: pb::InProgressMessageRequest,
) -> Result<pb::InProgressMessageResponse, Error> {
    let (stream, consumer) = (&request.stream_name, &request.consumer_name);
    let success = settle(
        nats,
        call,
        stream,
        consumer,
        request.sequence,
        Settlement::InProgress,
    )
    .await?;
    Ok(pb::InProgressMessageResponse { success })
}

/// Of AckMessage and its kin.
async fn settle(
    nats: &Nats,
    call: &Call,
    stream: &str,
    consumer: &str,
    sequence: i64,
    settlement: Settlement,
) -> Result<bool, Error> {
    note(call, "stream", stream);
    let Ok(sequence @ 1..) = u64::try_from(sequence) else {
        return Err(Error::invalid("sequence", "must be 1 or more"));
    };
    nats.settle(names(call), stream, consumer, sequence, settlement, bound(call))
        .await
}
