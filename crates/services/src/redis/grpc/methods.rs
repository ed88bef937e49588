//! Every method of the contract, in its order. Those on strings, keys and channels are whole here, the others in the file
//! of their topic.

use isa_proto::redis as pb;
use isa_server::{Call, Error, Replies, api::redis::RedisService};

use super::{Redis, channels, convert, space};

impl RedisService for Redis {
    async fn set(&self, call: Call, request: pb::SetRequest) -> Result<pb::SetResponse, Error> {
        let done = self.store.set(space(&call), &request.key, &request.value).await;
        call.note(request.key);
        self.told(done)?;
        Ok(set())
    }

    async fn get(&self, call: Call, request: pb::GetRequest) -> Result<pb::GetResponse, Error> {
        let done = self.told(self.store.get(space(&call), &request.key).await)?;
        Ok(pb::GetResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    async fn get_multiple(
        &self,
        call: Call,
        request: pb::GetMultipleRequest,
    ) -> Result<pb::GetMultipleResponse, Error> {
        let done = self.told(self.store.get_multiple(space(&call), request.keys).await)?;
        Ok(pb::GetMultipleResponse {
            values: done
                .into_iter()
                .map(|(key, value)| pb::KeyValue { key, value })
                .collect(),
        })
    }

    async fn set_with_expiration(
        &self,
        call: Call,
        request: pb::SetWithExpirationRequest,
    ) -> Result<pb::SetResponse, Error> {
        let life = convert::milliseconds("expiration", request.expiration)?;
        let done = self
            .store
            .set_for(space(&call), &request.key, &request.value, life)
            .await;
        call.note(request.key);
        self.told(done)?;
        Ok(set())
    }

    async fn increment(
        &self,
        call: Call,
        request: pb::IncrementRequest,
    ) -> Result<pb::IncrementResponse, Error> {
        let done = self
            .store
            .increment(space(&call), &request.key, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::IncrementResponse { value: done })
    }

    async fn decrement(
        &self,
        call: Call,
        request: pb::DecrementRequest,
    ) -> Result<pb::DecrementResponse, Error> {
        let done = self
            .store
            .decrement(space(&call), &request.key, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::DecrementResponse { value: done })
    }

    async fn append(&self, call: Call, request: pb::AppendRequest) -> Result<pb::AppendResponse, Error> {
        let done = self
            .store
            .append(space(&call), &request.key, &request.value)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::AppendResponse { length: done })
    }

    async fn delete(&self, call: Call, request: pb::DeleteRequest) -> Result<pb::DeleteResponse, Error> {
        let done = self.store.delete(space(&call), &request.key).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(deleted(done))
    }

    async fn delete_multiple(
        &self,
        call: Call,
        request: pb::DeleteMultipleRequest,
    ) -> Result<pb::DeleteResponse, Error> {
        let done = self.told(self.store.delete_multiple(space(&call), &request.keys).await)?;
        Ok(deleted(done))
    }

    async fn exists(&self, call: Call, request: pb::ExistsRequest) -> Result<pb::ExistsResponse, Error> {
        let done = self.told(self.store.exists(space(&call), &request.key).await)?;
        Ok(pb::ExistsResponse { exists: done })
    }

    async fn expire(&self, call: Call, request: pb::ExpireRequest) -> Result<pb::ExpireResponse, Error> {
        let life = convert::milliseconds("expiration", request.expiration)?;
        let done = self.store.expire(space(&call), &request.key, life).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ExpireResponse { success: done })
    }

    async fn get_ttl(&self, call: Call, request: pb::GetTtlRequest) -> Result<pb::GetTtlResponse, Error> {
        let done = self.told(self.store.life(space(&call), &request.key).await)?;
        Ok(pb::GetTtlResponse { ttl_seconds: done })
    }

    async fn rename(&self, call: Call, request: pb::RenameRequest) -> Result<pb::RenameResponse, Error> {
        let done = self
            .store
            .rename(space(&call), &request.old_key, &request.new_key)
            .await;
        call.note(request.old_key);
        self.told(done)?;
        Ok(pb::RenameResponse { success: true })
    }

    async fn list_keys(
        &self,
        call: Call,
        request: pb::ListKeysRequest,
    ) -> Result<pb::ListKeysResponse, Error> {
        let done = self.told(
            self.store
                .list(space(&call), &request.pattern, request.limit)
                .await,
        )?;
        Ok(pb::ListKeysResponse {
            // At most 10000.
            total_count: done.len() as i32,
            keys: done,
        })
    }

    async fn h_set(&self, call: Call, request: pb::HSetRequest) -> Result<pb::HSetResponse, Error> {
        self.hash_set(&call, request).await
    }

    async fn h_get(&self, call: Call, request: pb::HGetRequest) -> Result<pb::HGetResponse, Error> {
        self.hash_get(&call, request).await
    }

    async fn h_get_all(&self, call: Call, request: pb::HGetAllRequest) -> Result<pb::HGetAllResponse, Error> {
        self.hash_all(&call, request).await
    }

    async fn h_delete(&self, call: Call, request: pb::HDeleteRequest) -> Result<pb::HDeleteResponse, Error> {
        self.hash_delete(&call, request).await
    }

    async fn h_exists(&self, call: Call, request: pb::HExistsRequest) -> Result<pb::HExistsResponse, Error> {
        self.hash_exists(&call, request).await
    }

    async fn h_keys(&self, call: Call, request: pb::HKeysRequest) -> Result<pb::HKeysResponse, Error> {
        self.hash_fields(&call, request).await
    }

    async fn h_values(&self, call: Call, request: pb::HValuesRequest) -> Result<pb::HValuesResponse, Error> {
        self.hash_values(&call, request).await
    }

    async fn h_increment(
        &self,
        call: Call,
        request: pb::HIncrementRequest,
    ) -> Result<pb::HIncrementResponse, Error> {
        self.hash_increment(&call, request).await
    }

    async fn l_push(&self, call: Call, request: pb::LPushRequest) -> Result<pb::LPushResponse, Error> {
        self.push_first(&call, request).await
    }

    async fn r_push(&self, call: Call, request: pb::RPushRequest) -> Result<pb::RPushResponse, Error> {
        self.push_last(&call, request).await
    }

    async fn l_pop(&self, call: Call, request: pb::LPopRequest) -> Result<pb::LPopResponse, Error> {
        self.pop_first(&call, request).await
    }

    async fn r_pop(&self, call: Call, request: pb::RPopRequest) -> Result<pb::RPopResponse, Error> {
        self.pop_last(&call, request).await
    }

    async fn l_range(&self, call: Call, request: pb::LRangeRequest) -> Result<pb::LRangeResponse, Error> {
        self.list_range(&call, request).await
    }

    async fn l_len(&self, call: Call, request: pb::LLenRequest) -> Result<pb::LLenResponse, Error> {
        self.list_length(&call, request).await
    }

    async fn l_index(&self, call: Call, request: pb::LIndexRequest) -> Result<pb::LIndexResponse, Error> {
        self.list_index(&call, request).await
    }

    async fn l_trim(&self, call: Call, request: pb::LTrimRequest) -> Result<pb::LTrimResponse, Error> {
        self.list_trim(&call, request).await
    }

    async fn s_add(&self, call: Call, request: pb::SAddRequest) -> Result<pb::SAddResponse, Error> {
        self.set_add(&call, request).await
    }

    async fn s_remove(&self, call: Call, request: pb::SRemoveRequest) -> Result<pb::SRemoveResponse, Error> {
        self.set_remove(&call, request).await
    }

    async fn s_members(
        &self,
        call: Call,
        request: pb::SMembersRequest,
    ) -> Result<pb::SMembersResponse, Error> {
        self.set_members(&call, request).await
    }

    async fn s_is_member(
        &self,
        call: Call,
        request: pb::SIsMemberRequest,
    ) -> Result<pb::SIsMemberResponse, Error> {
        self.set_has(&call, request).await
    }

    async fn s_card(&self, call: Call, request: pb::SCardRequest) -> Result<pb::SCardResponse, Error> {
        self.set_count(&call, request).await
    }

    async fn s_union(&self, call: Call, request: pb::SUnionRequest) -> Result<pb::SUnionResponse, Error> {
        self.union(&call, request).await
    }

    async fn s_inter(&self, call: Call, request: pb::SInterRequest) -> Result<pb::SInterResponse, Error> {
        self.intersection(&call, request).await
    }

    async fn s_diff(&self, call: Call, request: pb::SDiffRequest) -> Result<pb::SDiffResponse, Error> {
        self.difference(&call, request).await
    }

    async fn z_add(&self, call: Call, request: pb::ZAddRequest) -> Result<pb::ZAddResponse, Error> {
        self.sorted_add(&call, request).await
    }

    async fn z_remove(&self, call: Call, request: pb::ZRemoveRequest) -> Result<pb::ZRemoveResponse, Error> {
        self.sorted_remove(&call, request).await
    }

    async fn z_range(&self, call: Call, request: pb::ZRangeRequest) -> Result<pb::ZRangeResponse, Error> {
        self.sorted_range(&call, request).await
    }

    async fn z_range_by_score(
        &self,
        call: Call,
        request: pb::ZRangeByScoreRequest,
    ) -> Result<pb::ZRangeByScoreResponse, Error> {
        self.sorted_by_score(&call, request).await
    }

    async fn z_rank(&self, call: Call, request: pb::ZRankRequest) -> Result<pb::ZRankResponse, Error> {
        self.sorted_rank(&call, request).await
    }

    async fn z_score(&self, call: Call, request: pb::ZScoreRequest) -> Result<pb::ZScoreResponse, Error> {
        self.sorted_score(&call, request).await
    }

    async fn z_card(&self, call: Call, request: pb::ZCardRequest) -> Result<pb::ZCardResponse, Error> {
        self.sorted_count(&call, request).await
    }

    async fn z_increment(
        &self,
        call: Call,
        request: pb::ZIncrementRequest,
    ) -> Result<pb::ZIncrementResponse, Error> {
        self.sorted_increment(&call, request).await
    }

    async fn acquire_lock(
        &self,
        call: Call,
        request: pb::AcquireLockRequest,
    ) -> Result<pb::AcquireLockResponse, Error> {
        self.take_lock(&call, request).await
    }

    async fn release_lock(
        &self,
        call: Call,
        request: pb::ReleaseLockRequest,
    ) -> Result<pb::ReleaseLockResponse, Error> {
        self.give_back_lock(&call, request).await
    }

    async fn renew_lock(
        &self,
        call: Call,
        request: pb::RenewLockRequest,
    ) -> Result<pb::RenewLockResponse, Error> {
        self.prolong_lock(&call, request).await
    }

    async fn publish(&self, call: Call, request: pb::PublishRequest) -> Result<pb::PublishResponse, Error> {
        let done = self
            .store
            .publish(space(&call), &request.channel, &request.message)
            .await;
        call.note(request.channel);
        let done = self.told(done)?;
        Ok(pb::PublishResponse {
            subscriber_count: done,
        })
    }

    async fn subscribe(
        &self,
        call: Call,
        request: pb::SubscribeRequest,
    ) -> Result<Replies<pb::MessageResponse>, Error> {
        let user = &call.caller().subject;
        let subscription = self.told(self.store.subscribe(space(&call), user, &request.channels).await)?;
        Ok(channels::messages(call, subscription, self.upstream.clone()))
    }

    async fn unsubscribe(
        &self,
        call: Call,
        request: pb::UnsubscribeRequest,
    ) -> Result<pb::UnsubscribeResponse, Error> {
        let user = &call.caller().subject;
        self.told(
            self.store
                .unsubscribe(space(&call), user, &request.channels)
                .await,
        )?;
        Ok(pb::UnsubscribeResponse { success: true })
    }

    async fn execute_batch(
        &self,
        call: Call,
        request: pb::RedisBatchRequest,
    ) -> Result<pb::RedisBatchResponse, Error> {
        self.run_batch(&call, request).await
    }

    async fn create_session(
        &self,
        call: Call,
        request: pb::CreateSessionRequest,
    ) -> Result<pb::CreateSessionResponse, Error> {
        self.start_session(&call, request).await
    }

    async fn get_session(
        &self,
        call: Call,
        request: pb::GetSessionRequest,
    ) -> Result<pb::GetSessionResponse, Error> {
        self.read_session(&call, request).await
    }

    async fn update_session(
        &self,
        call: Call,
        request: pb::UpdateSessionRequest,
    ) -> Result<pb::UpdateSessionResponse, Error> {
        self.write_session(&call, request).await
    }

    async fn delete_session(
        &self,
        call: Call,
        request: pb::DeleteSessionRequest,
    ) -> Result<pb::DeleteSessionResponse, Error> {
        self.end_session(&call, request).await
    }

    async fn list_sessions(
        &self,
        call: Call,
        _: pb::ListSessionsRequest,
    ) -> Result<pb::ListSessionsResponse, Error> {
        self.sessions(&call).await
    }

    async fn get_statistics(
        &self,
        call: Call,
        _: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        self.statistics(&call).await
    }

    async fn get_key_info(
        &self,
        call: Call,
        request: pb::GetKeyInfoRequest,
    ) -> Result<pb::GetKeyInfoResponse, Error> {
        self.key_info(&call, request).await
    }

    async fn health_check(
        &self,
        call: Call,
        request: pb::RedisHealthCheckRequest,
    ) -> Result<pb::RedisHealthCheckResponse, Error> {
        self.health(&call, request).await
    }
}

fn set() -> pb::SetResponse {
    pb::SetResponse {
        success: true,
        message: "OK".to_owned(),
    }
}

fn deleted(count: i32) -> pb::DeleteResponse {
    pb::DeleteResponse {
        success: true,
        deleted_count: count,
    }
}
