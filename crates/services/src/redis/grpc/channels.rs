//! The stream of a subscription.

use futures::stream;
use isa_proto::redis as pb;
use isa_server::{Call, Error, ErrorCode, Replies, Upstream};

use super::convert;
use crate::redis::service::{Ended, Message, Subscription};

struct Listening {
    call: Call,
    subscription: Subscription,
    upstream: Upstream,
}

/// Ends with the caller, an Unsubscribe, the server, or Redis.
pub(super) fn messages(
    call: Call,
    subscription: Subscription,
    upstream: Upstream,
) -> Replies<pb::MessageResponse> {
    let listening = Listening {
        call,
        subscription,
        upstream,
    };
    Box::pin(stream::unfold(Some(listening), |state| async move {
        let mut state = state?;
        match state.next().await {
            Ok(Some(message)) => Some((Ok(convert::message(&message)), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

impl Listening {
    async fn next(&mut self) -> Result<Option<Message>, Error> {
        let ended = tokio::select! {
            message = self.subscription.next() => message,
            () = self.call.stopping() => {
                return Err(Error::new(ErrorCode::Stopping, "the server stops; subscribe again"));
            }
        };
        ended.map_err(|why| match why {
            Ended::TooSlow => Error::new(
                ErrorCode::SlowConsumer,
                "too many messages waited for the caller to read them; those after them are missed",
            ),
            Ended::NotText => Error::new(
                ErrorCode::FailedPrecondition,
                "a message is not UTF-8: another client published it, and only such can read it",
            ),
            Ended::Lost | Ended::Unsubscribed => self.upstream.failed("the connection of the channels broke"),
        })
    }
}
