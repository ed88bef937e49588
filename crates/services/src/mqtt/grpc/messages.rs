//! Messages: published one by one and in batches.

use std::sync::Arc;

use isa_proto::{Bytes, mqtt as pb};
use isa_server::{Call, DEFAULT_USER};

use crate::mqtt::{
    convert,
    service::{Error, Outgoing, Session},
};

/// Messages of one batch.
const MAX_BATCH: usize = 10_000;

pub(super) fn published() -> pb::PublishResponse {
    pb::PublishResponse {
        success: true,
        message_id: convert::message_id(),
        message: "OK".to_owned(),
        published_at: Some(convert::now()),
    }
}

fn outgoing(request: &pb::PublishRequest) -> Result<Outgoing<'_>, Error> {
    Ok(Outgoing {
        topic: &request.topic,
        payload: request.payload.clone(),
        qos: convert::qos("qos", request.qos)?,
        retained: request.retained,
        properties: &request.properties,
    })
}

pub(super) async fn publish(
    session: &Session,
    request: &pb::PublishRequest,
) -> Result<pb::PublishResponse, Error> {
    session.send(outgoing(request)?).await?.settled().await?;
    Ok(published())
}

pub(super) async fn publish_json(
    session: &Session,
    request: pb::PublishJsonRequest,
) -> Result<pb::PublishResponse, Error> {
    let message = Outgoing {
        topic: &request.topic,
        payload: Bytes::from(convert::json(request.data)?),
        qos: convert::qos("qos", request.qos)?,
        retained: request.retained,
        properties: &Default::default(),
    };
    session.send(message).await?.settled().await?;
    Ok(published())
}

/// What is wrong with a batch as a whole.
pub(super) fn check_batch(call: &Call, request: &pb::PublishBatchRequest) -> Result<(), Error> {
    match request.messages.len() {
        0 => return Err(Error::invalid("messages", "is empty")),
        1..=MAX_BATCH => {}
        count => {
            return Err(Error::invalid(
                "messages",
                format!("has {count} entries, and may have {MAX_BATCH}"),
            ));
        }
    }
    let caller = call.caller().subject.as_str();
    for message in &request.messages {
        let user = message.user_id.as_str();
        if !user.is_empty() && user != DEFAULT_USER && user != caller {
            return Err(Error::invalid("messages.user_id", "is not that of the batch"));
        }
        if !message.session_id.is_empty() && message.session_id != request.session_id {
            return Err(Error::invalid("messages.session_id", "is not that of the batch"));
        }
    }
    Ok(())
}

pub(super) async fn publish_batch(
    session: &Arc<Session>,
    request: &pb::PublishBatchRequest,
    why: impl Fn(Error) -> isa_server::Error,
) -> Result<pb::PublishBatchResponse, Error> {
    let mut sent = Vec::with_capacity(request.messages.len());
    for message in &request.messages {
        sent.push(match outgoing(message) {
            Ok(message) => session.send(message).await,
            Err(error) => Err(error),
        });
    }
    let mut response = pb::PublishBatchResponse::default();
    let mut down = None;
    for (index, sent) in sent.into_iter().enumerate() {
        let result = match sent {
            Ok(sent) => sent.settled().await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => {
                response.published_count += 1;
                response.message_ids.push(convert::message_id());
            }
            Err(error) => {
                response.failed_count += 1;
                response.message_ids.push(String::new());
                let is_down = matches!(error, Error::Down(_));
                if is_down && down.is_none() && response.published_count == 0 {
                    down = Some(error);
                    response
                        .errors
                        .push(format!("{index}: the broker does not answer"));
                } else {
                    response.errors.push(format!("{index}: {}", why(error).message()));
                }
            }
        }
    }
    // With nothing sent it is the call that failed, and it may be tried again as a whole.
    if let (0, Some(error)) = (response.published_count, down) {
        return Err(error);
    }
    response.success = response.failed_count == 0;
    Ok(response)
}
