//! The contract's service: converts, calls, converts.

mod error;
mod messages;
mod registry;
mod replies;

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use isa_proto::mqtt::{self as pb, mqtt_service_client::MqttServiceClient};
use isa_server::{Call, Error, Place, Replies, StatefulId, Upstream, api::mqtt::MqttService};

use super::{
    convert,
    names::Names,
    service::{self, Connecting, Mqtt, Session, Will, within},
};

/// Longest that the broker may take for a call that has no deadline of its own.
const BOUND: Duration = Duration::from_secs(30);

/// How long the broker may take to say that it is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Largest message of another replica: a message of the broker's with what stands around it.
const MAX_FORWARDED: usize = 16 << 20;

/// `isa.mqtt.MQTTService`.
pub(super) struct Service {
    mqtt: Arc<Mqtt>,
    upstream: Upstream,
}

fn bound(call: &Call) -> Duration {
    call.time_left(BOUND)
}

/// Names what the call changes; what is too long to be a name is none.
fn note(call: &Call, kind: &str, name: &str) {
    if name.len() <= 255 {
        call.note(format!("{kind}/{name}"));
    }
}

/// The call's session. A call whose session is at another replica is sent there, and its answer returned.
macro_rules! session {
    ($self:ident, $call:ident, $request:ident, $method:ident, $answer:expr) => {
        match $call.locate(&$request.session_id, "session_id")? {
            Place::Here(id) => $self.session(&$call, id)?,
            Place::There(replica) => {
                let client = MqttServiceClient::new(replica.channel().await?);
                let mut client = client.max_decoding_message_size(MAX_FORWARDED);
                let request = replica.request($request);
                return Ok($answer(client.$method(request).await?.into_inner()));
            }
        }
    };
    ($self:ident, $call:ident, $request:ident, $method:ident) => {
        session!($self, $call, $request, $method, std::convert::identity)
    };
}

/// The stream of another replica.
fn passed_on<T: 'static, E>(replies: impl Stream<Item = Result<T, E>> + Send + 'static) -> Replies<T>
where
    Error: From<E>,
{
    Box::pin(replies.map(|reply| reply.map_err(Error::from)))
}

impl Service {
    pub(super) fn new(mqtt: Arc<Mqtt>, upstream: Upstream) -> Self {
        Self { mqtt, upstream }
    }

    /// The names of whoever calls.
    fn names<'a>(&self, call: &'a Call) -> Names<'a> {
        self.mqtt.learn(call.caller().open);
        Names::of(call.tenant().slug())
    }

    fn tell<T>(&self, result: Result<T, service::Error>) -> Result<T, Error> {
        result.map_err(|error| error::told(&self.upstream, error))
    }

    fn session(&self, call: &Call, id: StatefulId) -> Result<Arc<Session>, Error> {
        let names = self.names(call);
        self.tell(self.mqtt.session(id, names, &call.caller().subject))
    }

    async fn health(&self, deep: bool) -> Result<(), String> {
        let well = if deep {
            self.mqtt.check(PATIENCE).await
        } else {
            self.mqtt.ping(PATIENCE).await
        };
        well.map_err(|error| {
            tracing::warn!(%error, "the broker is not well");
            "the broker does not answer".to_owned()
        })
    }
}

impl MqttService for Service {
    async fn connect(&self, call: Call, request: pb::ConnectRequest) -> Result<pb::ConnectResponse, Error> {
        note(&call, "session", &request.client_id);
        let will = if request.will_topic.is_empty() {
            None
        } else {
            Some(Will {
                topic: &request.will_topic,
                payload: request.will_payload,
                qos: self.tell(convert::qos("will_qos", request.will_qos))?,
                retained: request.will_retain,
            })
        };
        let how = Connecting {
            client_id: &request.client_id,
            clean: request.clean_session,
            keep_alive: request.keep_alive,
            will,
        };
        let id = call.new_id();
        let connected = self
            .mqtt
            .connect(id, self.names(&call), &call.caller().subject, how);
        let session_present = self.tell(within(bound(&call), connected).await)?;
        Ok(pb::ConnectResponse {
            success: true,
            session_id: id.to_string(),
            message: "OK".to_owned(),
            session_present,
        })
    }

    async fn disconnect(
        &self,
        call: Call,
        request: pb::DisconnectRequest,
    ) -> Result<pb::DisconnectResponse, Error> {
        let session = session!(self, call, request, disconnect);
        self.mqtt.disconnect(&session);
        Ok(pb::DisconnectResponse {
            success: true,
            message: "OK".to_owned(),
        })
    }

    async fn get_connection_status(
        &self,
        call: Call,
        request: pb::ConnectionStatusRequest,
    ) -> Result<pb::ConnectionStatusResponse, Error> {
        let session = session!(self, call, request, get_connection_status);
        let standing = session.standing();
        Ok(pb::ConnectionStatusResponse {
            connected: standing.connected,
            connected_at: standing.since.map(Into::into),
            messages_sent: convert::signed(standing.sent),
            messages_received: convert::signed(standing.received),
        })
    }

    async fn publish(&self, call: Call, request: pb::PublishRequest) -> Result<pb::PublishResponse, Error> {
        note(&call, "topic", &request.topic);
        let session = session!(self, call, request, publish);
        self.tell(within(bound(&call), messages::publish(&session, &request)).await)
    }

    async fn publish_batch(
        &self,
        call: Call,
        request: pb::PublishBatchRequest,
    ) -> Result<pb::PublishBatchResponse, Error> {
        self.tell(messages::check_batch(&call, &request))?;
        let session = session!(self, call, request, publish_batch);
        let why = |error| error::told(&self.upstream, error);
        let published = messages::publish_batch(&session, &request, why);
        self.tell(within(bound(&call), published).await)
    }

    async fn publish_json(
        &self,
        call: Call,
        request: pb::PublishJsonRequest,
    ) -> Result<pb::PublishResponse, Error> {
        note(&call, "topic", &request.topic);
        let session = session!(self, call, request, publish_json);
        self.tell(within(bound(&call), messages::publish_json(&session, request)).await)
    }

    async fn subscribe(
        &self,
        call: Call,
        request: pb::SubscribeRequest,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        let session = session!(self, call, request, subscribe, passed_on);
        let filters = vec![(request.topic_filter, request.qos)];
        self.listen(call, session, filters, ["topic_filter", "qos"]).await
    }

    async fn subscribe_multiple(
        &self,
        call: Call,
        request: pb::SubscribeMultipleRequest,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        let session = session!(self, call, request, subscribe_multiple, passed_on);
        let filters = request.subscriptions.into_iter();
        let filters = filters.map(|it| (it.topic_filter, it.qos)).collect();
        let fields = ["subscriptions.topic_filter", "subscriptions.qos"];
        self.listen(call, session, filters, fields).await
    }

    async fn unsubscribe(
        &self,
        call: Call,
        request: pb::UnsubscribeRequest,
    ) -> Result<pb::UnsubscribeResponse, Error> {
        let session = session!(self, call, request, unsubscribe);
        let left = within(bound(&call), session.leave(&request.topic_filters)).await;
        Ok(pb::UnsubscribeResponse {
            success: true,
            unsubscribed_count: convert::small(self.tell(left)?),
            message: "OK".to_owned(),
        })
    }

    async fn list_subscriptions(
        &self,
        call: Call,
        request: pb::ListSubscriptionsRequest,
    ) -> Result<pb::ListSubscriptionsResponse, Error> {
        let session = session!(self, call, request, list_subscriptions);
        let subscriptions = session.subscriptions().into_iter();
        Ok(pb::ListSubscriptionsResponse {
            subscriptions: subscriptions
                .map(|it| pb::TopicSubscription {
                    topic_filter: it.filter,
                    qos: convert::level(it.qos),
                })
                .collect(),
        })
    }

    async fn register_device(
        &self,
        call: Call,
        request: pb::RegisterDeviceRequest,
    ) -> Result<pb::RegisterDeviceResponse, Error> {
        note(&call, "device", &request.device_id);
        self.tell(self.registered(&call, request).await)
    }

    async fn unregister_device(
        &self,
        call: Call,
        request: pb::UnregisterDeviceRequest,
    ) -> Result<pb::UnregisterDeviceResponse, Error> {
        note(&call, "device", &request.device_id);
        let removed = self.mqtt.unregister_device(self.names(&call), &request.device_id);
        self.tell(within(bound(&call), removed).await)?;
        Ok(pb::UnregisterDeviceResponse {
            success: true,
            message: "OK".to_owned(),
        })
    }

    async fn list_devices(
        &self,
        call: Call,
        request: pb::ListDevicesRequest,
    ) -> Result<pb::ListDevicesResponse, Error> {
        self.tell(self.listed_devices(&call, request).await)
    }

    async fn get_device_info(
        &self,
        call: Call,
        request: pb::GetDeviceInfoRequest,
    ) -> Result<pb::GetDeviceInfoResponse, Error> {
        self.tell(self.described_device(&call, request).await)
    }

    async fn update_device_status(
        &self,
        call: Call,
        request: pb::UpdateDeviceStatusRequest,
    ) -> Result<pb::UpdateDeviceStatusResponse, Error> {
        note(&call, "device", &request.device_id);
        self.tell(self.updated_device(&call, request).await)
    }

    async fn get_topic_info(
        &self,
        call: Call,
        request: pb::GetTopicInfoRequest,
    ) -> Result<pb::GetTopicInfoResponse, Error> {
        self.tell(self.described_topic(&call, request))
    }

    async fn list_topics(
        &self,
        call: Call,
        request: pb::ListTopicsRequest,
    ) -> Result<pb::ListTopicsResponse, Error> {
        self.tell(self.listed_topics(&call, &request))
    }

    async fn validate_topic(
        &self,
        _: Call,
        request: pb::ValidateTopicRequest,
    ) -> Result<pb::ValidateTopicResponse, Error> {
        Ok(registry::validated(&request))
    }

    async fn set_retained_message(
        &self,
        call: Call,
        request: pb::SetRetainedMessageRequest,
    ) -> Result<pb::SetRetainedMessageResponse, Error> {
        note(&call, "topic", &request.topic);
        let qos = self.tell(convert::qos("qos", request.qos))?;
        let set = self
            .mqtt
            .set_retained(self.names(&call), &request.topic, request.payload, qos);
        self.tell(within(bound(&call), set).await)?;
        Ok(pb::SetRetainedMessageResponse {
            success: true,
            message: "OK".to_owned(),
        })
    }

    async fn get_retained_message(
        &self,
        call: Call,
        request: pb::GetRetainedMessageRequest,
    ) -> Result<pb::GetRetainedMessageResponse, Error> {
        let found = self.mqtt.retained(self.names(&call), &request.topic);
        let found = self.tell(within(bound(&call), found).await)?;
        Ok(pb::GetRetainedMessageResponse {
            found: found.is_some(),
            message: found.map(convert::retained),
        })
    }

    async fn delete_retained_message(
        &self,
        call: Call,
        request: pb::DeleteRetainedMessageRequest,
    ) -> Result<pb::DeleteRetainedMessageResponse, Error> {
        note(&call, "topic", &request.topic);
        let deleted = self.mqtt.delete_retained(self.names(&call), &request.topic);
        self.tell(within(bound(&call), deleted).await)?;
        Ok(pb::DeleteRetainedMessageResponse {
            success: true,
            message: "OK".to_owned(),
        })
    }

    async fn get_statistics(
        &self,
        call: Call,
        _: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        self.tell(self.statistics(&call).await)
    }

    async fn get_device_metrics(
        &self,
        call: Call,
        request: pb::GetDeviceMetricsRequest,
    ) -> Result<pb::GetDeviceMetricsResponse, Error> {
        self.tell(self.measured_device(&call, request).await)
    }

    async fn health_check(
        &self,
        call: Call,
        request: pb::MqttHealthCheckRequest,
    ) -> Result<pb::MqttHealthCheckResponse, Error> {
        self.mqtt.learn(call.caller().open);
        let health = self.health(request.deep_check).await;
        Ok(pb::MqttHealthCheckResponse {
            healthy: health.is_ok(),
            broker_status: if health.is_ok() {
                "connected"
            } else {
                "disconnected"
            }
            .to_owned(),
            active_connections: convert::signed(self.mqtt.session_count() as u64),
            checked_at: Some(convert::now()),
            message: health.err().unwrap_or_default(),
        })
    }

    async fn subscribe_device_messages(
        &self,
        call: Call,
        request: pb::SubscribeDeviceMessagesRequest,
    ) -> Result<Replies<pb::DeviceMessage>, Error> {
        self.overhear(call, request).await
    }

    async fn register_webhook(
        &self,
        call: Call,
        request: pb::RegisterWebhookRequest,
    ) -> Result<pb::RegisterWebhookResponse, Error> {
        self.tell(self.hooked(&call, request).await)
    }

    async fn unregister_webhook(
        &self,
        call: Call,
        request: pb::UnregisterWebhookRequest,
    ) -> Result<pb::UnregisterWebhookResponse, Error> {
        note(&call, "webhook", &request.webhook_id);
        let removed = self
            .mqtt
            .unregister_webhook(self.names(&call), &request.webhook_id);
        self.tell(within(bound(&call), removed).await)?;
        Ok(pb::UnregisterWebhookResponse {
            success: true,
            message: "OK".to_owned(),
        })
    }

    async fn list_webhooks(
        &self,
        call: Call,
        request: pb::ListWebhooksRequest,
    ) -> Result<pb::ListWebhooksResponse, Error> {
        self.tell(self.listed_webhooks(&call, &request).await)
    }
}
