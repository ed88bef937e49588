//! Every method of the contract, in its order.

use std::time::{Duration, SystemTime};

use isa_proto::redis as pb;
use isa_server::{Call, Error, ErrorCode, Replies, api::redis::RedisService};

use super::{Redis, channels, convert, space};
use crate::redis::service::{CREATED_LIFE_MS, End, Together};

/// Longer than anybody may wait for a lock.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What is left of a caller's time for the answer to reach it.
const ON_THE_WAY: Duration = Duration::from_millis(100);

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
        let fields = convert::pairs(request.fields);
        let done = self.store.hash_set(space(&call), &request.key, &fields).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HSetResponse {
            success: true,
            fields_set: done,
        })
    }

    async fn h_get(&self, call: Call, request: pb::HGetRequest) -> Result<pb::HGetResponse, Error> {
        let done = self.told(
            self.store
                .hash_get(space(&call), &request.key, &request.field)
                .await,
        )?;
        Ok(pb::HGetResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    async fn h_get_all(&self, call: Call, request: pb::HGetAllRequest) -> Result<pb::HGetAllResponse, Error> {
        let done = self.told(self.store.hash_all(space(&call), &request.key).await)?;
        Ok(pb::HGetAllResponse {
            fields: convert::fields(done),
        })
    }

    async fn h_delete(&self, call: Call, request: pb::HDeleteRequest) -> Result<pb::HDeleteResponse, Error> {
        let done = self
            .store
            .hash_delete(space(&call), &request.key, &request.fields)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HDeleteResponse {
            success: true,
            deleted_count: done,
        })
    }

    async fn h_exists(&self, call: Call, request: pb::HExistsRequest) -> Result<pb::HExistsResponse, Error> {
        let done = self.told(
            self.store
                .hash_exists(space(&call), &request.key, &request.field)
                .await,
        )?;
        Ok(pb::HExistsResponse { exists: done })
    }

    async fn h_keys(&self, call: Call, request: pb::HKeysRequest) -> Result<pb::HKeysResponse, Error> {
        let done = self.told(self.store.hash_fields(space(&call), &request.key).await)?;
        Ok(pb::HKeysResponse { fields: done })
    }

    async fn h_values(&self, call: Call, request: pb::HValuesRequest) -> Result<pb::HValuesResponse, Error> {
        let done = self.told(self.store.hash_values(space(&call), &request.key).await)?;
        Ok(pb::HValuesResponse { values: done })
    }

    async fn h_increment(
        &self,
        call: Call,
        request: pb::HIncrementRequest,
    ) -> Result<pb::HIncrementResponse, Error> {
        let done = self
            .store
            .hash_increment(space(&call), &request.key, &request.field, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HIncrementResponse { value: done })
    }

    async fn l_push(&self, call: Call, request: pb::LPushRequest) -> Result<pb::LPushResponse, Error> {
        let done = self
            .store
            .push(space(&call), End::First, &request.key, &request.values)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::LPushResponse { length: done })
    }

    async fn r_push(&self, call: Call, request: pb::RPushRequest) -> Result<pb::RPushResponse, Error> {
        let done = self
            .store
            .push(space(&call), End::Last, &request.key, &request.values)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::RPushResponse { length: done })
    }

    async fn l_pop(&self, call: Call, request: pb::LPopRequest) -> Result<pb::LPopResponse, Error> {
        let done = self.store.pop(space(&call), End::First, &request.key).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::LPopResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    async fn r_pop(&self, call: Call, request: pb::RPopRequest) -> Result<pb::RPopResponse, Error> {
        let done = self.store.pop(space(&call), End::Last, &request.key).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::RPopResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    async fn l_range(&self, call: Call, request: pb::LRangeRequest) -> Result<pb::LRangeResponse, Error> {
        let done = self.told(
            self.store
                .range(space(&call), &request.key, request.start, request.stop)
                .await,
        )?;
        Ok(pb::LRangeResponse { values: done })
    }

    async fn l_len(&self, call: Call, request: pb::LLenRequest) -> Result<pb::LLenResponse, Error> {
        let done = self.told(self.store.length(space(&call), &request.key).await)?;
        Ok(pb::LLenResponse { length: done })
    }

    async fn l_index(&self, call: Call, request: pb::LIndexRequest) -> Result<pb::LIndexResponse, Error> {
        let done = self.told(self.store.index(space(&call), &request.key, request.index).await)?;
        Ok(pb::LIndexResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    async fn l_trim(&self, call: Call, request: pb::LTrimRequest) -> Result<pb::LTrimResponse, Error> {
        let done = self
            .store
            .trim(space(&call), &request.key, request.start, request.stop)
            .await;
        call.note(request.key);
        self.told(done)?;
        Ok(pb::LTrimResponse { success: true })
    }

    async fn s_add(&self, call: Call, request: pb::SAddRequest) -> Result<pb::SAddResponse, Error> {
        let done = self
            .store
            .set_add(space(&call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::SAddResponse { added_count: done })
    }

    async fn s_remove(&self, call: Call, request: pb::SRemoveRequest) -> Result<pb::SRemoveResponse, Error> {
        let done = self
            .store
            .set_remove(space(&call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::SRemoveResponse { removed_count: done })
    }

    async fn s_members(
        &self,
        call: Call,
        request: pb::SMembersRequest,
    ) -> Result<pb::SMembersResponse, Error> {
        let done = self.told(self.store.set_members(space(&call), &request.key).await)?;
        Ok(pb::SMembersResponse { members: done })
    }

    async fn s_is_member(
        &self,
        call: Call,
        request: pb::SIsMemberRequest,
    ) -> Result<pb::SIsMemberResponse, Error> {
        let done = self.told(
            self.store
                .set_has(space(&call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::SIsMemberResponse { is_member: done })
    }

    async fn s_card(&self, call: Call, request: pb::SCardRequest) -> Result<pb::SCardResponse, Error> {
        let done = self.told(self.store.set_count(space(&call), &request.key).await)?;
        Ok(pb::SCardResponse { count: done })
    }

    async fn s_union(&self, call: Call, request: pb::SUnionRequest) -> Result<pb::SUnionResponse, Error> {
        let done = self.told(
            self.store
                .sets(space(&call), Together::Union, &request.keys)
                .await,
        )?;
        Ok(pb::SUnionResponse { members: done })
    }

    async fn s_inter(&self, call: Call, request: pb::SInterRequest) -> Result<pb::SInterResponse, Error> {
        let done = self.told(
            self.store
                .sets(space(&call), Together::Intersection, &request.keys)
                .await,
        )?;
        Ok(pb::SInterResponse { members: done })
    }

    async fn s_diff(&self, call: Call, request: pb::SDiffRequest) -> Result<pb::SDiffResponse, Error> {
        let done = self.told(
            self.store
                .sets(space(&call), Together::Difference, &request.keys)
                .await,
        )?;
        Ok(pb::SDiffResponse { members: done })
    }

    async fn z_add(&self, call: Call, request: pb::ZAddRequest) -> Result<pb::ZAddResponse, Error> {
        let members: Vec<_> = request
            .members
            .into_iter()
            .map(|it| (it.member, it.score))
            .collect();
        let done = self.store.sorted_add(space(&call), &request.key, &members).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZAddResponse { added_count: done })
    }

    async fn z_remove(&self, call: Call, request: pb::ZRemoveRequest) -> Result<pb::ZRemoveResponse, Error> {
        let done = self
            .store
            .sorted_remove(space(&call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZRemoveResponse { removed_count: done })
    }

    async fn z_range(&self, call: Call, request: pb::ZRangeRequest) -> Result<pb::ZRangeResponse, Error> {
        let done = self.told(
            self.store
                .sorted_range(
                    space(&call),
                    &request.key,
                    request.start,
                    request.stop,
                    request.with_scores,
                )
                .await,
        )?;
        Ok(pb::ZRangeResponse {
            members: convert::members(done),
        })
    }

    async fn z_range_by_score(
        &self,
        call: Call,
        request: pb::ZRangeByScoreRequest,
    ) -> Result<pb::ZRangeByScoreResponse, Error> {
        let done = self.told(
            self.store
                .sorted_by_score(
                    space(&call),
                    &request.key,
                    (request.min_score, request.max_score),
                    request.offset,
                    request.count,
                )
                .await,
        )?;
        Ok(pb::ZRangeByScoreResponse {
            members: convert::members(done),
        })
    }

    async fn z_rank(&self, call: Call, request: pb::ZRankRequest) -> Result<pb::ZRankResponse, Error> {
        let done = self.told(
            self.store
                .sorted_rank(space(&call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::ZRankResponse {
            found: done.is_some(),
            rank: done.unwrap_or_default(),
        })
    }

    async fn z_score(&self, call: Call, request: pb::ZScoreRequest) -> Result<pb::ZScoreResponse, Error> {
        let done = self.told(
            self.store
                .sorted_score(space(&call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::ZScoreResponse {
            found: done.is_some(),
            score: done.unwrap_or_default(),
        })
    }

    async fn z_card(&self, call: Call, request: pb::ZCardRequest) -> Result<pb::ZCardResponse, Error> {
        let done = self.told(self.store.sorted_count(space(&call), &request.key).await)?;
        Ok(pb::ZCardResponse { count: done })
    }

    async fn z_increment(
        &self,
        call: Call,
        request: pb::ZIncrementRequest,
    ) -> Result<pb::ZIncrementResponse, Error> {
        let done = self
            .store
            .sorted_increment(space(&call), &request.key, &request.member, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZIncrementResponse { score: done })
    }

    async fn acquire_lock(
        &self,
        call: Call,
        request: pb::AcquireLockRequest,
    ) -> Result<pb::AcquireLockResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?;
        let wait = convert::milliseconds("wait_timeout", request.wait_timeout)?;
        // The answer must still reach the caller.
        let bound = call.time_left(LONGEST_WAIT).saturating_sub(ON_THE_WAY);
        let taken = tokio::select! {
            taken = self.store.acquire(space(&call), &request.lock_key, life, wait, bound) => taken,
            () = call.stopping() => return Err(Error::new(ErrorCode::Stopping, "the server stops; try again")),
        };
        call.note(request.lock_key);
        Ok(match self.told(taken)? {
            Some(lock) => pb::AcquireLockResponse {
                acquired: true,
                lock_id: lock.id,
                expires_at: Some(convert::timestamp(lock.ends)),
                fencing_token: lock.fence,
            },
            None => pb::AcquireLockResponse::default(),
        })
    }

    async fn release_lock(
        &self,
        call: Call,
        request: pb::ReleaseLockRequest,
    ) -> Result<pb::ReleaseLockResponse, Error> {
        let done = self
            .store
            .release(space(&call), &request.lock_key, &request.lock_id)
            .await;
        call.note(request.lock_key);
        let done = self.told(done)?;
        Ok(pb::ReleaseLockResponse { released: done })
    }

    async fn renew_lock(
        &self,
        call: Call,
        request: pb::RenewLockRequest,
    ) -> Result<pb::RenewLockResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?;
        let done = self
            .store
            .renew(space(&call), &request.lock_key, &request.lock_id, life)
            .await;
        call.note(request.lock_key);
        let done = self.told(done)?;
        Ok(pb::RenewLockResponse {
            renewed: done.is_some(),
            expires_at: done.map(convert::timestamp),
        })
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
        let commands = request.commands.into_iter().enumerate();
        let commands = commands
            .map(|(index, command)| convert::command(index, command))
            .collect::<Result<Vec<_>, _>>()?;
        let outcomes = self.told(self.store.batch(space(&call), &commands).await)?;
        let mut errors = Vec::new();
        for (index, outcome) in outcomes.iter().enumerate() {
            if let Err(error) = outcome {
                errors.push(format!("{index}: {}: {error}", commands[index].operation));
            }
        }
        Ok(pb::RedisBatchResponse {
            success: errors.is_empty(),
            // At most 10000.
            executed_count: (outcomes.len() - errors.len()) as i32,
            errors,
        })
    }

    async fn create_session(
        &self,
        call: Call,
        request: pb::CreateSessionRequest,
    ) -> Result<pb::CreateSessionResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?.unwrap_or(CREATED_LIFE_MS);
        let user = &call.caller().subject;
        let (id, ends) = self.told(
            self.store
                .create_session(space(&call), user, &request.data, life)
                .await,
        )?;
        Ok(pb::CreateSessionResponse {
            session_id: id,
            expires_at: Some(convert::timestamp(ends)),
        })
    }

    async fn get_session(
        &self,
        call: Call,
        request: pb::GetSessionRequest,
    ) -> Result<pb::GetSessionResponse, Error> {
        let user = &call.caller().subject;
        let found = self.told(
            self.store
                .read_session(space(&call), user, &request.session_id)
                .await,
        )?;
        Ok(pb::GetSessionResponse {
            found: found.is_some(),
            session: found.map(|session| convert::session(session, user)),
        })
    }

    async fn update_session(
        &self,
        call: Call,
        request: pb::UpdateSessionRequest,
    ) -> Result<pb::UpdateSessionResponse, Error> {
        let (user, id) = (&call.caller().subject, &request.session_id);
        let updated = self
            .store
            .update_session(space(&call), user, id, &request.data, request.extend_ttl);
        let success = self.told(updated.await)?;
        Ok(pb::UpdateSessionResponse { success })
    }

    async fn delete_session(
        &self,
        call: Call,
        request: pb::DeleteSessionRequest,
    ) -> Result<pb::DeleteSessionResponse, Error> {
        let user = &call.caller().subject;
        let success = self.told(
            self.store
                .delete_session(space(&call), user, &request.session_id)
                .await,
        )?;
        Ok(pb::DeleteSessionResponse { success })
    }

    async fn list_sessions(
        &self,
        call: Call,
        _: pb::ListSessionsRequest,
    ) -> Result<pb::ListSessionsResponse, Error> {
        let user = &call.caller().subject;
        let sessions = self.told(self.store.list_sessions(space(&call), user).await)?;
        Ok(pb::ListSessionsResponse {
            sessions: sessions
                .into_iter()
                .map(|session| convert::session(session, user))
                .collect(),
        })
    }

    async fn get_statistics(
        &self,
        call: Call,
        _: pb::GetStatisticsRequest,
    ) -> Result<pb::GetStatisticsResponse, Error> {
        let found = self.told(self.store.statistics(space(&call)).await)?;
        Ok(convert::statistics(found))
    }

    async fn get_key_info(
        &self,
        call: Call,
        request: pb::GetKeyInfoRequest,
    ) -> Result<pb::GetKeyInfoResponse, Error> {
        let done = self.told(self.store.key_info(space(&call), &request.key).await)?;
        Ok(convert::key_info(done))
    }

    async fn health_check(
        &self,
        call: Call,
        request: pb::RedisHealthCheckRequest,
    ) -> Result<pb::RedisHealthCheckResponse, Error> {
        let seen = if self.upstream.is_up() {
            self.store.health(space(&call), request.deep_check).await
        } else {
            Err("Redis does not answer".to_owned())
        };
        let healthy = seen.is_ok();
        let message = seen.as_ref().err().cloned().unwrap_or_default();
        let figures = seen.unwrap_or_default();
        Ok(pb::RedisHealthCheckResponse {
            healthy,
            redis_status: if healthy { "connected" } else { "disconnected" }.to_owned(),
            connected_clients: figures.clients,
            used_memory_bytes: figures.memory,
            checked_at: Some(SystemTime::now().into()),
            message,
        })
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
