//! Messages that are sent and not kept.

use std::time::Duration;

use isa_proto::nats as pb;
use isa_server::Call;

use super::{bound, names, note};
use crate::nats::{
    convert,
    service::{Error, Nats, Outgoing},
};

/// How long a request waits for its reply, unless it says otherwise, and at most.
const REQUEST_TIMEOUT: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Messages of a batch.
const MAX_BATCH: usize = 10_000;

pub(super) async fn publish(
    nats: &Nats,
    call: &Call,
    request: pb::PublishRequest,
) -> Result<pb::PublishResponse, Error> {
    note(call, "subject", &request.subject);
    let message = Outgoing {
        subject: &request.subject,
        data: request.data,
        headers: &request.headers,
        reply_to: &request.reply_to,
    };
    nats.publish(names(call), message, bound(call)).await?;
    Ok(pb::PublishResponse {
        success: true,
        message: "OK".to_owned(),
    })
}

pub(super) async fn publish_batch(
    nats: &Nats,
    call: &Call,
    request: pb::PublishBatchRequest,
) -> Result<pb::PublishBatchResponse, Error> {
    let count = request.messages.len();
    if count == 0 || count > MAX_BATCH {
        return Err(Error::invalid(
            "messages",
            format!("has {count} entries, and must have 1 to {MAX_BATCH}"),
        ));
    }
    let messages = request.messages.iter().map(convert::outgoing).collect();
    let failed = nats.publish_batch(names(call), messages, bound(call)).await?;
    Ok(pb::PublishBatchResponse {
        success: failed.is_empty(),
        published_count: i32::try_from(count - failed.len()).unwrap_or(i32::MAX),
        errors: failed
            .into_iter()
            .map(|(index, error)| format!("{index}: {error}"))
            .collect(),
    })
}

pub(super) async fn unsubscribe(
    nats: &Nats,
    call: &Call,
    request: pb::UnsubscribeRequest,
) -> Result<pb::UnsubscribeResponse, Error> {
    nats.unsubscribe(names(call), &call.caller().subject, &request.subject, bound(call))
        .await?;
    Ok(pb::UnsubscribeResponse { success: true })
}

pub(super) async fn request(
    nats: &Nats,
    call: &Call,
    request: pb::RequestRequest,
) -> Result<pb::RequestResponse, Error> {
    note(call, "subject", &request.subject);
    let (default, most) = REQUEST_TIMEOUT;
    let timeout = convert::duration("timeout", request.timeout)?;
    let timeout = timeout.unwrap_or(default);
    if timeout.is_zero() || timeout > most {
        return Err(Error::invalid(
            "timeout",
            "must be more than zero and at most 5 min",
        ));
    }
    let reply = nats
        .request(
            names(call),
            &request.subject,
            request.data,
            call.time_left(timeout),
        )
        .await?;
    Ok(pb::RequestResponse {
        success: true,
        data: reply.payload,
        error_message: String::new(),
    })
}
