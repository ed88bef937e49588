//! What is known of Redis, of a tenant's keys, and of one key.

use std::time::SystemTime;

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, convert, space};

impl Redis {
    pub(super) async fn statistics(&self, call: &Call) -> Result<pb::GetStatisticsResponse, Error> {
        let found = self.told(self.store.statistics(space(call)).await)?;
        Ok(convert::statistics(found))
    }

    pub(super) async fn key_info(
        &self,
        call: &Call,
        request: pb::GetKeyInfoRequest,
    ) -> Result<pb::GetKeyInfoResponse, Error> {
        let done = self.told(self.store.key_info(space(call), &request.key).await)?;
        Ok(convert::key_info(done))
    }

    pub(super) async fn health(
        &self,
        call: &Call,
        request: pb::RedisHealthCheckRequest,
    ) -> Result<pb::RedisHealthCheckResponse, Error> {
        let seen = if self.upstream.is_up() {
            self.store.health(space(call), request.deep_check).await
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
