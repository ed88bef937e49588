//! Lists.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, space};
use crate::redis::service::End;

impl Redis {
    pub(super) async fn push_first(
        &self,
        call: &Call,
        request: pb::LPushRequest,
    ) -> Result<pb::LPushResponse, Error> {
        let done = self
            .store
            .push(space(call), End::First, &request.key, &request.values)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::LPushResponse { length: done })
    }

    pub(super) async fn push_last(
        &self,
        call: &Call,
        request: pb::RPushRequest,
    ) -> Result<pb::RPushResponse, Error> {
        let done = self
            .store
            .push(space(call), End::Last, &request.key, &request.values)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::RPushResponse { length: done })
    }

    pub(super) async fn pop_first(
        &self,
        call: &Call,
        request: pb::LPopRequest,
    ) -> Result<pb::LPopResponse, Error> {
        let done = self.store.pop(space(call), End::First, &request.key).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::LPopResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    pub(super) async fn pop_last(
        &self,
        call: &Call,
        request: pb::RPopRequest,
    ) -> Result<pb::RPopResponse, Error> {
        let done = self.store.pop(space(call), End::Last, &request.key).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::RPopResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    pub(super) async fn list_range(
        &self,
        call: &Call,
        request: pb::LRangeRequest,
    ) -> Result<pb::LRangeResponse, Error> {
        let done = self.told(
            self.store
                .range(space(call), &request.key, request.start, request.stop)
                .await,
        )?;
        Ok(pb::LRangeResponse { values: done })
    }

    pub(super) async fn list_length(
        &self,
        call: &Call,
        request: pb::LLenRequest,
    ) -> Result<pb::LLenResponse, Error> {
        let done = self.told(self.store.length(space(call), &request.key).await)?;
        Ok(pb::LLenResponse { length: done })
    }

    pub(super) async fn list_index(
        &self,
        call: &Call,
        request: pb::LIndexRequest,
    ) -> Result<pb::LIndexResponse, Error> {
        let done = self.told(self.store.index(space(call), &request.key, request.index).await)?;
        Ok(pb::LIndexResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    pub(super) async fn list_trim(
        &self,
        call: &Call,
        request: pb::LTrimRequest,
    ) -> Result<pb::LTrimResponse, Error> {
        let done = self
            .store
            .trim(space(call), &request.key, request.start, request.stop)
            .await;
        call.note(request.key);
        self.told(done)?;
        Ok(pb::LTrimResponse { success: true })
    }
}
