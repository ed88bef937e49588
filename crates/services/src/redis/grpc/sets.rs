//! Sets.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, space};
use crate::redis::service::Together;

impl Redis {
    pub(super) async fn set_add(
        &self,
        call: &Call,
        request: pb::SAddRequest,
    ) -> Result<pb::SAddResponse, Error> {
        let done = self
            .store
            .set_add(space(call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::SAddResponse { added_count: done })
    }

    pub(super) async fn set_remove(
        &self,
        call: &Call,
        request: pb::SRemoveRequest,
    ) -> Result<pb::SRemoveResponse, Error> {
        let done = self
            .store
            .set_remove(space(call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::SRemoveResponse { removed_count: done })
    }

    pub(super) async fn set_members(
        &self,
        call: &Call,
        request: pb::SMembersRequest,
    ) -> Result<pb::SMembersResponse, Error> {
        let done = self.told(self.store.set_members(space(call), &request.key).await)?;
        Ok(pb::SMembersResponse { members: done })
    }

    pub(super) async fn set_has(
        &self,
        call: &Call,
        request: pb::SIsMemberRequest,
    ) -> Result<pb::SIsMemberResponse, Error> {
        let done = self.told(
            self.store
                .set_has(space(call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::SIsMemberResponse { is_member: done })
    }

    pub(super) async fn set_count(
        &self,
        call: &Call,
        request: pb::SCardRequest,
    ) -> Result<pb::SCardResponse, Error> {
        let done = self.told(self.store.set_count(space(call), &request.key).await)?;
        Ok(pb::SCardResponse { count: done })
    }

    pub(super) async fn union(
        &self,
        call: &Call,
        request: pb::SUnionRequest,
    ) -> Result<pb::SUnionResponse, Error> {
        let done = self.told(self.store.sets(space(call), Together::Union, &request.keys).await)?;
        Ok(pb::SUnionResponse { members: done })
    }

    pub(super) async fn intersection(
        &self,
        call: &Call,
        request: pb::SInterRequest,
    ) -> Result<pb::SInterResponse, Error> {
        let done = self.told(
            self.store
                .sets(space(call), Together::Intersection, &request.keys)
                .await,
        )?;
        Ok(pb::SInterResponse { members: done })
    }

    pub(super) async fn difference(
        &self,
        call: &Call,
        request: pb::SDiffRequest,
    ) -> Result<pb::SDiffResponse, Error> {
        let done = self.told(
            self.store
                .sets(space(call), Together::Difference, &request.keys)
                .await,
        )?;
        Ok(pb::SDiffResponse { members: done })
    }
}
