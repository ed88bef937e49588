//! Hashes.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, convert, space};

impl Redis {
    pub(super) async fn hash_set(
        &self,
        call: &Call,
        request: pb::HSetRequest,
    ) -> Result<pb::HSetResponse, Error> {
        let fields = convert::pairs(request.fields);
        let done = self.store.hash_set(space(call), &request.key, &fields).await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HSetResponse {
            success: true,
            fields_set: done,
        })
    }

    pub(super) async fn hash_get(
        &self,
        call: &Call,
        request: pb::HGetRequest,
    ) -> Result<pb::HGetResponse, Error> {
        let done = self.told(
            self.store
                .hash_get(space(call), &request.key, &request.field)
                .await,
        )?;
        Ok(pb::HGetResponse {
            found: done.is_some(),
            value: done.unwrap_or_default(),
        })
    }

    pub(super) async fn hash_all(
        &self,
        call: &Call,
        request: pb::HGetAllRequest,
    ) -> Result<pb::HGetAllResponse, Error> {
        let done = self.told(self.store.hash_all(space(call), &request.key).await)?;
        Ok(pb::HGetAllResponse {
            fields: convert::fields(done),
        })
    }

    pub(super) async fn hash_delete(
        &self,
        call: &Call,
        request: pb::HDeleteRequest,
    ) -> Result<pb::HDeleteResponse, Error> {
        let done = self
            .store
            .hash_delete(space(call), &request.key, &request.fields)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HDeleteResponse {
            success: true,
            deleted_count: done,
        })
    }

    pub(super) async fn hash_exists(
        &self,
        call: &Call,
        request: pb::HExistsRequest,
    ) -> Result<pb::HExistsResponse, Error> {
        let done = self.told(
            self.store
                .hash_exists(space(call), &request.key, &request.field)
                .await,
        )?;
        Ok(pb::HExistsResponse { exists: done })
    }

    pub(super) async fn hash_fields(
        &self,
        call: &Call,
        request: pb::HKeysRequest,
    ) -> Result<pb::HKeysResponse, Error> {
        let done = self.told(self.store.hash_fields(space(call), &request.key).await)?;
        Ok(pb::HKeysResponse { fields: done })
    }

    pub(super) async fn hash_values(
        &self,
        call: &Call,
        request: pb::HValuesRequest,
    ) -> Result<pb::HValuesResponse, Error> {
        let done = self.told(self.store.hash_values(space(call), &request.key).await)?;
        Ok(pb::HValuesResponse { values: done })
    }

    pub(super) async fn hash_increment(
        &self,
        call: &Call,
        request: pb::HIncrementRequest,
    ) -> Result<pb::HIncrementResponse, Error> {
        let done = self
            .store
            .hash_increment(space(call), &request.key, &request.field, request.delta)
            .await;
        call.note(request.key);
        let done = self.told(done)?;
        Ok(pb::HIncrementResponse { value: done })
    }
}
