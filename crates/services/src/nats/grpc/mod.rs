//! The contract's service: converts, calls, converts.

mod buckets;
mod error;
mod jetstream;
mod messages;
mod monitoring;
mod replies;

use std::{sync::Arc, time::Duration};

use isa_proto::nats as pb;
use isa_server::{Call, Error, Replies, Upstream, api::nats::NatsService};

use super::{
    convert,
    names::Names,
    service::{self, Nats},
};

/// Longest that NATS may take for a call that has no deadline of its own.
const BOUND: Duration = Duration::from_secs(30);

/// How long NATS may take to say that it is well.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// `isa.nats.NATSService`.
pub(super) struct Service {
    nats: Arc<Nats>,
    upstream: Upstream,
}

/// The names of whoever calls.
fn names(call: &Call) -> Names<'_> {
    Names::of(call.tenant().slug())
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

impl Service {
    pub(super) fn new(nats: Arc<Nats>, upstream: Upstream) -> Self {
        Self { nats, upstream }
    }

    fn told(&self, error: service::Error) -> Error {
        error::told(&self.upstream, error)
    }

    fn tell<T>(&self, result: Result<T, service::Error>) -> Result<T, Error> {
        result.map_err(|error| self.told(error))
    }

    async fn health(&self, deep: bool) -> Result<(), String> {
        if !self.upstream.is_up() {
            return Err("NATS does not answer".to_owned());
        }
        let said = |what: &str| {
            let what = what.to_owned();
            move |error: service::Error| {
                tracing::warn!(%error, "NATS is not well");
                what
            }
        };
        self.nats
            .ping(PATIENCE)
            .await
            .map_err(said("NATS does not answer"))?;
        if deep {
            self.nats
                .check_jetstream(PATIENCE)
                .await
                .map_err(said("JetStream does not write or read"))?;
        }
        Ok(())
    }
}

impl NatsService for Service {
    async fn publish(&self, call: Call, request: pb::PublishRequest) -> Result<pb::PublishResponse, Error> {
        self.tell(messages::publish(&self.nats, &call, request).await)
    }

    async fn publish_batch(
        &self,
        call: Call,
        request: pb::PublishBatchRequest,
    ) -> Result<pb::PublishBatchResponse, Error> {
        self.tell(messages::publish_batch(&self.nats, &call, request).await)
    }

    async fn subscribe(
        &self,
        call: Call,
        request: pb::SubscribeRequest,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        self.listen(call, &request.subject, &request.queue_group).await
    }

    async fn queue_subscribe(
        &self,
        call: Call,
        request: pb::QueueSubscribeRequest,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        if request.queue_group.is_empty() {
            return Err(Error::invalid("queue_group", "is empty"));
        }
        self.listen(call, &request.subject, &request.queue_group).await
    }

    async fn unsubscribe(
        &self,
        call: Call,
        request: pb::UnsubscribeRequest,
    ) -> Result<pb::UnsubscribeResponse, Error> {
        self.tell(messages::unsubscribe(&self.nats, &call, request).await)
    }

    async fn request(&self, call: Call, request: pb::RequestRequest) -> Result<pb::RequestResponse, Error> {
        self.tell(messages::request(&self.nats, &call, request).await)
    }

    async fn create_stream(
        &self,
        call: Call,
        request: pb::CreateStreamRequest,
    ) -> Result<pb::CreateStreamResponse, Error> {
        self.tell(jetstream::create_stream(&self.nats, &call, request).await)
    }

    async fn delete_stream(
        &self,
        call: Call,
        request: pb::DeleteStreamRequest,
    ) -> Result<pb::DeleteStreamResponse, Error> {
        self.tell(jetstream::delete_stream(&self.nats, &call, request).await)
    }

    async fn get_stream_info(
        &self,
        call: Call,
        request: pb::GetStreamInfoRequest,
    ) -> Result<pb::GetStreamInfoResponse, Error> {
        self.tell(jetstream::get_stream_info(&self.nats, &call, request).await)
    }

    async fn list_streams(
        &self,
        call: Call,
        request: pb::ListStreamsRequest,
    ) -> Result<pb::ListStreamsResponse, Error> {
        self.tell(jetstream::list_streams(&self.nats, &call, request).await)
    }

    async fn update_stream(
        &self,
        call: Call,
        request: pb::UpdateStreamRequest,
    ) -> Result<pb::UpdateStreamResponse, Error> {
        self.tell(jetstream::update_stream(&self.nats, &call, request).await)
    }

    async fn purge_stream(
        &self,
        call: Call,
        request: pb::PurgeStreamRequest,
    ) -> Result<pb::PurgeStreamResponse, Error> {
        self.tell(jetstream::purge_stream(&self.nats, &call, request).await)
    }

    async fn create_consumer(
        &self,
        call: Call,
        request: pb::CreateConsumerRequest,
    ) -> Result<pb::CreateConsumerResponse, Error> {
        self.tell(jetstream::create_consumer(&self.nats, &call, request).await)
    }

    async fn delete_consumer(
        &self,
        call: Call,
        request: pb::DeleteConsumerRequest,
    ) -> Result<pb::DeleteConsumerResponse, Error> {
        self.tell(jetstream::delete_consumer(&self.nats, &call, request).await)
    }

    async fn get_consumer_info(
        &self,
        call: Call,
        request: pb::GetConsumerInfoRequest,
    ) -> Result<pb::GetConsumerInfoResponse, Error> {
        self.tell(jetstream::get_consumer_info(&self.nats, &call, request).await)
    }

    async fn list_consumers(
        &self,
        call: Call,
        request: pb::ListConsumersRequest,
    ) -> Result<pb::ListConsumersResponse, Error> {
        self.tell(jetstream::list_consumers(&self.nats, &call, request).await)
    }

    async fn publish_to_stream(
        &self,
        call: Call,
        request: pb::PublishToStreamRequest,
    ) -> Result<pb::PublishToStreamResponse, Error> {
        self.tell(jetstream::publish_to_stream(&self.nats, &call, request).await)
    }

    async fn pull_messages(
        &self,
        call: Call,
        request: pb::PullMessagesRequest,
    ) -> Result<pb::PullMessagesResponse, Error> {
        self.tell(jetstream::pull_messages(&self.nats, &call, request).await)
    }

    async fn ack_message(
        &self,
        call: Call,
        request: pb::AckMessageRequest,
    ) -> Result<pb::AckMessageResponse, Error> {
        self.tell(jetstream::ack_message(&self.nats, &call, request).await)
    }

    async fn nak_message(
        &self,
        call: Call,
        request: pb::NakMessageRequest,
    ) -> Result<pb::NakMessageResponse, Error> {
        self.tell(jetstream::nak_message(&self.nats, &call, request).await)
    }

    async fn term_message(
        &self,
        call: Call,
        request: pb::TermMessageRequest,
    ) -> Result<pb::TermMessageResponse, Error> {
        self.tell(jetstream::term_message(&self.nats, &call, request).await)
    }

    async fn in_progress_message(
        &self,
        call: Call,
        request: pb::InProgressMessageRequest,
    ) -> Result<pb::InProgressMessageResponse, Error> {
        self.tell(jetstream::in_progress_message(&self.nats, &call, request).await)
    }

    async fn kv_create_bucket(
        &self,
        call: Call,
        request: pb::KvCreateBucketRequest,
    ) -> Result<pb::KvCreateBucketResponse, Error> {
        self.tell(buckets::kv_create_bucket(&self.nats, &call, request).await)
    }

    async fn kv_put(&self, call: Call, request: pb::KvPutRequest) -> Result<pb::KvPutResponse, Error> {
        self.tell(buckets::kv_put(&self.nats, &call, request).await)
    }

    async fn kv_get(&self, call: Call, request: pb::KvGetRequest) -> Result<pb::KvGetResponse, Error> {
        self.tell(buckets::kv_get(&self.nats, &call, request).await)
    }

    async fn kv_delete(
        &self,
        call: Call,
        request: pb::KvDeleteRequest,
    ) -> Result<pb::KvDeleteResponse, Error> {
        self.tell(buckets::kv_delete(&self.nats, &call, request).await)
    }

    async fn kv_keys(&self, call: Call, request: pb::KvKeysRequest) -> Result<pb::KvKeysResponse, Error> {
        self.tell(buckets::kv_keys(&self.nats, &call, request).await)
    }

    async fn kv_history(
        &self,
        call: Call,
        request: pb::KvHistoryRequest,
    ) -> Result<pb::KvHistoryResponse, Error> {
        self.tell(buckets::kv_history(&self.nats, &call, request).await)
    }

    async fn kv_watch(&self, call: Call, request: pb::KvWatchRequest) -> Result<Replies<pb::KvEntry>, Error> {
        self.watch(call, request).await
    }

    async fn object_put(
        &self,
        call: Call,
        request: pb::ObjectPutRequest,
    ) -> Result<pb::ObjectPutResponse, Error> {
        self.tell(buckets::object_put(&self.nats, &call, request).await)
    }

    async fn object_get(
        &self,
        call: Call,
        request: pb::ObjectGetRequest,
    ) -> Result<pb::ObjectGetResponse, Error> {
        self.tell(buckets::object_get(&self.nats, &call, request).await)
    }

    async fn object_delete(
        &self,
        call: Call,
        request: pb::ObjectDeleteRequest,
    ) -> Result<pb::ObjectDeleteResponse, Error> {
        self.tell(buckets::object_delete(&self.nats, &call, request).await)
    }

    async fn object_list(
        &self,
        call: Call,
        request: pb::ObjectListRequest,
    ) -> Result<pb::ObjectListResponse, Error> {
        self.tell(buckets::object_list(&self.nats, &call, request).await)
    }

    async fn get_statistics(
        &self,
        call: Call,
        request: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        self.tell(monitoring::get_statistics(&self.nats, &call, request).await)
    }

    async fn get_stream_stats(
        &self,
        call: Call,
        request: pb::GetStreamStatsRequest,
    ) -> Result<pb::GetStreamStatsResponse, Error> {
        self.tell(monitoring::get_stream_stats(&self.nats, &call, request).await)
    }

    async fn health_check(
        &self,
        _: Call,
        request: pb::NatsHealthCheckRequest,
    ) -> Result<pb::NatsHealthCheckResponse, Error> {
        let health = self.health(request.deep_check).await;
        let connections = self.nats.connections();
        let jetstream_enabled = health.is_ok() && self.nats.has_jetstream(PATIENCE).await;
        Ok(pb::NatsHealthCheckResponse {
            healthy: health.is_ok(),
            nats_status: if connections > 0 {
                "connected"
            } else {
                "disconnected"
            }
            .to_owned(),
            jetstream_enabled,
            connections,
            checked_at: Some(convert::now()),
            message: health.err().unwrap_or_default(),
        })
    }
}
