//! Sessions.

use isa_proto::redis as pb;
use isa_server::{Call, Error};

use super::{Redis, convert, space};
use crate::redis::service::CREATED_LIFE_MS;

impl Redis {
    pub(super) async fn start_session(
        &self,
        call: &Call,
        request: pb::CreateSessionRequest,
    ) -> Result<pb::CreateSessionResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?.unwrap_or(CREATED_LIFE_MS);
        let user = &call.caller().subject;
        let (id, ends) = self.told(
            self.store
                .create_session(space(call), user, &request.data, life)
                .await,
        )?;
        Ok(pb::CreateSessionResponse {
            session_id: id,
            expires_at: Some(convert::timestamp(ends)),
        })
    }

    pub(super) async fn read_session(
        &self,
        call: &Call,
        request: pb::GetSessionRequest,
    ) -> Result<pb::GetSessionResponse, Error> {
        let user = &call.caller().subject;
        let found = self.told(
            self.store
                .read_session(space(call), user, &request.session_id)
                .await,
        )?;
        Ok(pb::GetSessionResponse {
            found: found.is_some(),
            session: found.map(|session| convert::session(session, user)),
        })
    }

    pub(super) async fn write_session(
        &self,
        call: &Call,
        request: pb::UpdateSessionRequest,
    ) -> Result<pb::UpdateSessionResponse, Error> {
        let (user, id) = (&call.caller().subject, &request.session_id);
        let updated = self
            .store
            .update_session(space(call), user, id, &request.data, request.extend_ttl);
        let success = self.told(updated.await)?;
        Ok(pb::UpdateSessionResponse { success })
    }

    pub(super) async fn end_session(
        &self,
        call: &Call,
        request: pb::DeleteSessionRequest,
    ) -> Result<pb::DeleteSessionResponse, Error> {
        let user = &call.caller().subject;
        let success = self.told(
            self.store
                .delete_session(space(call), user, &request.session_id)
                .await,
        )?;
        Ok(pb::DeleteSessionResponse { success })
    }

    pub(super) async fn sessions(&self, call: &Call) -> Result<pb::ListSessionsResponse, Error> {
        let user = &call.caller().subject;
        let sessions = self.told(self.store.list_sessions(space(call), user).await)?;
        Ok(pb::ListSessionsResponse {
            sessions: sessions
                .into_iter()
                .map(|session| convert::session(session, user))
                .collect(),
        })
    }
}
