//! Locks.

use std::time::Duration;

use isa_proto::redis as pb;
use isa_server::{Call, Error, ErrorCode};

use super::{Redis, convert, space};

/// Longer than anybody may wait for a lock.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What is left of a caller's time for the answer to reach it.
const ON_THE_WAY: Duration = Duration::from_millis(100);

impl Redis {
    pub(super) async fn take_lock(
        &self,
        call: &Call,
        request: pb::AcquireLockRequest,
    ) -> Result<pb::AcquireLockResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?;
        let wait = convert::milliseconds("wait_timeout", request.wait_timeout)?;
        // The answer must still reach the caller.
        let bound = call.time_left(LONGEST_WAIT).saturating_sub(ON_THE_WAY);
        let taken = tokio::select! {
            taken = self.store.acquire(space(call), &request.lock_key, life, wait, bound) => taken,
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

    pub(super) async fn give_back_lock(
        &self,
        call: &Call,
        request: pb::ReleaseLockRequest,
    ) -> Result<pb::ReleaseLockResponse, Error> {
        let done = self
            .store
            .release(space(call), &request.lock_key, &request.lock_id)
            .await;
        call.note(request.lock_key);
        let done = self.told(done)?;
        Ok(pb::ReleaseLockResponse { released: done })
    }

    pub(super) async fn prolong_lock(
        &self,
        call: &Call,
        request: pb::RenewLockRequest,
    ) -> Result<pb::RenewLockResponse, Error> {
        let life = convert::milliseconds("ttl", request.ttl)?;
        let done = self
            .store
            .renew(space(call), &request.lock_key, &request.lock_id, life)
            .await;
        call.note(request.lock_key);
        let done = self.told(done)?;
        Ok(pb::RenewLockResponse {
            renewed: done.is_some(),
            expires_at: done.map(convert::timestamp),
        })
    }
}
