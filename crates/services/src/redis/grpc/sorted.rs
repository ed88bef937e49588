//! Sorted sets.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, convert, space};

impl Redis {
    pub(super) async fn sorted_add(
        &self,
        call: &Call,
        request: pb::ZAddRequest,
    ) -> Result<pb::ZAddResponse, Error> {
        let members: Vec<_> = request
            .members
            .into_iter()
            .map(|it| (it.member, it.score))
            .collect();
        let done = self.store.sorted_add(space(call), &request.key, &members).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZAddResponse { added_count: done })
    }

    pub(super) async fn sorted_remove(
        &self,
        call: &Call,
        request: pb::ZRemoveRequest,
    ) -> Result<pb::ZRemoveResponse, Error> {
        let done = self
            .store
            .sorted_remove(space(call), &request.key, &request.members)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZRemoveResponse { removed_count: done })
    }

    pub(super) async fn sorted_range(
        &self,
        call: &Call,
        request: pb::ZRangeRequest,
    ) -> Result<pb::ZRangeResponse, Error> {
        let done = self.told(
            self.store
                .sorted_range(
                    space(call),
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

    pub(super) async fn sorted_by_score(
        &self,
        call: &Call,
        request: pb::ZRangeByScoreRequest,
    ) -> Result<pb::ZRangeByScoreResponse, Error> {
        let done = self.told(
            self.store
                .sorted_by_score(
                    space(call),
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

    pub(super) async fn sorted_rank(
        &self,
        call: &Call,
        request: pb::ZRankRequest,
    ) -> Result<pb::ZRankResponse, Error> {
        let done = self.told(
            self.store
                .sorted_rank(space(call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::ZRankResponse {
            found: done.is_some(),
            rank: done.unwrap_or_default(),
        })
    }

    pub(super) async fn sorted_score(
        &self,
        call: &Call,
        request: pb::ZScoreRequest,
    ) -> Result<pb::ZScoreResponse, Error> {
        let done = self.told(
            self.store
                .sorted_score(space(call), &request.key, &request.member)
                .await,
        )?;
        Ok(pb::ZScoreResponse {
            found: done.is_some(),
            score: done.unwrap_or_default(),
        })
    }

    pub(super) async fn sorted_count(
        &self,
        call: &Call,
        request: pb::ZCardRequest,
    ) -> Result<pb::ZCardResponse, Error> {
        let done = self.told(self.store.sorted_count(space(call), &request.key).await)?;
        Ok(pb::ZCardResponse { count: done })
    }

    pub(super) async fn sorted_increment(
        &self,
        call: &Call,
        request: pb::ZIncrementRequest,
    ) -> Result<pb::ZIncrementResponse, Error> {
        let done = self
            .store
            .sorted_increment(space(call), &request.key, &request.member, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::ZIncrementResponse { score: done })
    }
}
