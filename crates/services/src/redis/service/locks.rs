use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, timeout};

use super::{Error, Store, hub::Subscription, limits, reply, scripts};
use crate::redis::names::{Space, slug_space};

/// How long a lock may be taken for, in milliseconds.
const LIFE_MS: (i64, i64) = (10, 24 * 3600 * 1000);

/// How long one may wait for a lock, in milliseconds.
const WAIT_MS: i64 = 5 * 60 * 1000;

/// How often a waiter looks whom nobody wakes: at first, and at most. The second is for those too who would be woken.
const LOOK: (Duration, Duration) = (Duration::from_millis(25), Duration::from_secs(1));

/// A lock that was taken.
#[derive(Debug)]
pub(crate) struct Lock {
    pub(crate) id: String,
    pub(crate) fence: i64,
    /// Milliseconds since 1970.
    pub(crate) ends: i64,
}

/// What came of one attempt.
enum Attempt {
    Taken {
        fence: i64,
        now: i64,
    },
    /// By another, for so many milliseconds.
    Held(i64),
}

/// A holding that its caller may never hear of, because it went away meanwhile: given back then.
struct Unheard {
    store: Store,
    slug: String,
    name: String,
    id: String,
    heard: bool,
}

impl Store {
    /// `None` if another still held it after `wait` milliseconds or `bound`, whichever ended first.
    pub(crate) async fn acquire(
        &self,
        space: Space<'_>,
        name: &str,
        life: Option<i64>,
        wait: Option<i64>,
        bound: Duration,
    ) -> Result<Option<Lock>, Error> {
        limits::name("lock_key", name)?;
        let life = limits::life_within("ttl", life, LIFE_MS.0, LIFE_MS.1)?;
        let wait = limits::life_within("wait_timeout", Some(wait.unwrap_or_default()), 0, WAIT_MS)?;
        let wait = Duration::from_millis(wait.unsigned_abs()).min(bound);
        let id = format!("{:032x}", rand::random::<u128>());
        let mut unheard = Unheard {
            store: self.clone(),
            slug: space.slug().to_owned(),
            name: name.to_owned(),
            id: id.clone(),
            heard: false,
        };
        let taken = self.wait_for(space, name, &id, life, wait).await?;
        unheard.heard = true;
        Ok(taken.map(|(fence, now)| Lock {
            id,
            fence,
            ends: now.saturating_add(life),
        }))
    }

    async fn wait_for(
        &self,
        space: Space<'_>,
        name: &str,
        id: &str,
        life: i64,
        wait: Duration,
    ) -> Result<Option<(i64, i64)>, Error> {
        let end = Instant::now() + wait;
        let mut bell = Bell::Silent;
        let mut pause = LOOK.0;
        loop {
            let left = match self.attempt(space, name, id, life).await? {
                Attempt::Taken { fence, now } => return Ok(Some((fence, now))),
                Attempt::Held(left) => left,
            };
            let now = Instant::now();
            if now >= end {
                return Ok(None);
            }
            if let Bell::Silent = bell {
                // What happened before it rings is seen by looking once more.
                bell = match self.hub.listen(space.lock(name).full()).await {
                    Ok(subscription) => Bell::Rings(subscription),
                    Err(_) => Bell::Broken,
                };
                continue;
            }
            let own_end = u64::try_from(left).map_or(LOOK.1, |left| Duration::from_millis(left + 1));
            pause = match bell {
                Bell::Rings(_) => LOOK.1,
                Bell::Silent | Bell::Broken => (pause * 2).min(LOOK.1),
            };
            bell.wait(pause.min(own_end).min(end - now)).await;
        }
    }

    async fn attempt(&self, space: Space<'_>, name: &str, id: &str, life: i64) -> Result<Attempt, Error> {
        let keys = [space.lock(name), space.fence()];
        let answer = self
            .script(&scripts::ACQUIRE, &keys, &[id, &life.to_string()])
            .await?;
        let numbers = reply::list(answer)?
            .into_iter()
            .map(reply::int)
            .collect::<Result<Vec<_>, _>>()?;
        match numbers[..] {
            [1, fence, now] => Ok(Attempt::Taken { fence, now }),
            [0, left] => Ok(Attempt::Held(left)),
            _ => Err(Error::shape(&Value::Nil)),
        }
    }

    /// Whether this id held it.
    pub(crate) async fn release(&self, space: Space<'_>, name: &str, id: &str) -> Result<bool, Error> {
        limits::name("lock_key", name)?;
        limits::name("lock_id", id)?;
        let lock = space.lock(name);
        let answer = self
            .script(&scripts::RELEASE, &[lock], &[id, &lock.full()])
            .await?;
        reply::flag(answer)
    }

    /// When it ends now, in milliseconds since 1970; `None` if this id does not hold it.
    pub(crate) async fn renew(
        &self,
        space: Space<'_>,
        name: &str,
        id: &str,
        life: Option<i64>,
    ) -> Result<Option<i64>, Error> {
        limits::name("lock_key", name)?;
        limits::name("lock_id", id)?;
        let life = limits::life_within("ttl", life, LIFE_MS.0, LIFE_MS.1)?;
        let arguments = [id, &life.to_string()];
        let answer = self
            .script(&scripts::RENEW, &[space.lock(name)], &arguments)
            .await?;
        let now = reply::int(answer)?;
        Ok((now != 0).then(|| now.saturating_add(life)))
    }
}

/// What tells a waiter that the lock was released.
enum Bell {
    /// Not asked for yet.
    Silent,
    Rings(Subscription),
    /// Only looking helps.
    Broken,
}

impl Bell {
    async fn wait(&mut self, limit: Duration) {
        let Self::Rings(subscription) = self else {
            return tokio::time::sleep(limit).await;
        };
        if let Ok(Err(_) | Ok(None)) = timeout(limit, subscription.next()).await {
            *self = Self::Broken;
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if self.heard {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, slug) = (self.store.clone(), std::mem::take(&mut self.slug));
        let (name, id) = (std::mem::take(&mut self.name), std::mem::take(&mut self.id));
        // Behind the attempt on the same connection. If Redis is gone, the lock ends by itself.
        runtime.spawn(async move {
            let _ = store.release(slug_space(&slug), &name, &id).await;
        });
    }
}
