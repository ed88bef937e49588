//! Answers that go on: subscriptions and watches.

use futures::{StreamExt, stream};
use isa_proto::nats as pb;
use isa_server::{Call, Error, Replies};

use super::{Service, bound, names};
use crate::nats::{
    convert,
    service::{Seen, WatchFrom},
};

impl Service {
    /// Until the caller cancels, leaves by `Unsubscribe`, or the server stops.
    pub(super) async fn listen(
        &self,
        call: Call,
        subject: &str,
        group: &str,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        let subscribed = self
            .nats
            .subscribe(names(&call), &call.caller().subject, subject, group, bound(&call))
            .await;
        let subscription = subscribed.map_err(|error| self.told(error))?;
        let upstream = self.upstream.clone();
        let messages = stream::unfold(Some((subscription, 1)), move |state| {
            let upstream = upstream.clone();
            async move {
                let (mut subscription, sequence) = state?;
                Some(match subscription.next().await? {
                    Ok(received) => (
                        Ok(convert::message(received, sequence)),
                        Some((subscription, sequence + 1)),
                    ),
                    Err(error) => (Err(super::error::told(&upstream, error)), None),
                })
            }
        });
        Ok(until_stopped(call, messages))
    }

    pub(super) async fn watch(
        &self,
        call: Call,
        request: pb::KvWatchRequest,
    ) -> Result<Replies<pb::KvEntry>, Error> {
        let from = match (request.from_revision, request.updates_only) {
            (0, false) => WatchFrom::Now,
            (0, true) => WatchFrom::Updates,
            (_, true) => {
                return Err(Error::invalid(
                    "updates_only",
                    "cannot be together with from_revision",
                ));
            }
            (revision, false) => WatchFrom::Revision(
                convert::unsigned("from_revision", revision).map_err(|error| self.told(error))?,
            ),
        };
        let watching = self
            .nats
            .kv_watch(
                names(&call),
                &request.bucket,
                &request.key_filter,
                from,
                bound(&call),
            )
            .await;
        let watching = watching.map_err(|error| self.told(error))?;
        let upstream = self.upstream.clone();
        let entries = stream::unfold(Some(watching), move |state| {
            let upstream = upstream.clone();
            async move {
                let mut watching = state?;
                Some(match watching.next().await? {
                    Ok(Seen::Entry(entry)) => (Ok(convert::entry(entry)), Some(watching)),
                    Ok(Seen::CaughtUp) => {
                        let caught_up = pb::KvEntry {
                            caught_up: true,
                            ..Default::default()
                        };
                        (Ok(caught_up), Some(watching))
                    }
                    Err(error) => (Err(super::error::told(&upstream, error)), None),
                })
            }
        });
        Ok(until_stopped(call, entries))
    }
}

/// Ends with OK when the server stops.
fn until_stopped<T: 'static>(
    call: Call,
    replies: impl futures::Stream<Item = Result<T, Error>> + Send + 'static,
) -> Replies<T> {
    Box::pin(replies.take_until(async move { call.stopping().await }))
}
