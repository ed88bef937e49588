//! Answers that go on: subscriptions and device messages.

use futures::stream;
use isa_proto::mqtt as pb;
use isa_server::{Call, Error, Replies};

use super::Service;
use crate::mqtt::{
    convert,
    service::{self, Session, Subscribed, within},
};

/// Filters of one call.
const MAX_FILTERS: usize = 256;

impl Service {
    /// Until the caller cancels, the session leaves, or the server stops.
    pub(super) async fn listen(
        &self,
        call: Call,
        session: std::sync::Arc<Session>,
        filters: Vec<(String, i32)>,
        fields: [&'static str; 2],
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        if filters.is_empty() {
            return Err(Error::invalid("subscriptions", "is empty"));
        }
        if filters.len() > MAX_FILTERS {
            return Err(Error::invalid("subscriptions", "has more than 256 entries"));
        }
        let filters: Result<Vec<_>, service::Error> = filters
            .into_iter()
            .map(|(filter, qos)| {
                let qos = convert::qos(fields[1], qos)?;
                Ok(Subscribed { filter, qos })
            })
            .collect();
        let filters = self.tell(filters)?;
        let listening = within(super::bound(&call), session.listen(&filters, fields[0])).await;
        let listening = self.tell(listening)?;
        let upstream = self.upstream.clone();
        let messages = stream::unfold(Some(listening), move |listening| {
            let upstream = upstream.clone();
            async move {
                let mut listening = listening?;
                Some(match listening.next().await? {
                    Ok(received) => (Ok(convert::response(received)), Some(listening)),
                    Err(error) => (Err(super::error::told(&upstream, error)), None),
                })
            }
        });
        Ok(until_stopped(call, messages))
    }

    pub(super) async fn overhear(
        &self,
        call: Call,
        request: pb::SubscribeDeviceMessagesRequest,
    ) -> Result<Replies<pb::DeviceMessage>, Error> {
        let selection =
            convert::selection(&request.message_types, request.device_ids, request.topic_patterns);
        let selection = self.tell(selection)?;
        let overhearing = self.mqtt.listen_to_devices(self.names(&call), selection);
        let overhearing = self.tell(within(super::bound(&call), overhearing).await)?;
        let upstream = self.upstream.clone();
        let messages = stream::unfold(Some(overhearing), move |overhearing| {
            let upstream = upstream.clone();
            async move {
                let mut overhearing = overhearing?;
                Some(match overhearing.next().await? {
                    Ok(spoken) => (Ok(convert::spoken(spoken)), Some(overhearing)),
                    Err(error) => (Err(super::error::told(&upstream, error)), None),
                })
            }
        });
        Ok(until_stopped(call, messages))
    }
}

/// Ends with OK when the server stops.
fn until_stopped<T: 'static>(
    call: Call,
    replies: impl futures::Stream<Item = Result<T, Error>> + Send + 'static,
) -> Replies<T> {
    use futures::StreamExt;
    Box::pin(replies.take_until(async move { call.stopping().await }))
}
