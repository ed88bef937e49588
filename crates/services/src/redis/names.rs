//! Where a tenant's things are in Redis: the one place that knows.
//!
//! Every name of a tenant begins with `{slug}`. In a cluster the braces make it a hash tag: all that a tenant has lies in
//! one slot, so calls on many keys, scripts and batches work as on a single server. The price: one tenant has no more room
//! and no more speed than one node gives. Tenants are spread over the nodes, and there are many of them.
//!
//! A slug is 20 hexadecimal digits, and braces mean nothing in a glob, so a pattern that begins with `{slug}:` cannot
//! leave the tenant, whatever follows.

use std::io::Write;

use isa_server::Tenant;
use redis::{RedisWrite, ToRedisArgs};

/// What stands between the tenant and a name, by what the name is of. Only that of keys and channels is a colon, so
/// nothing else can be reached, listed or counted as a key.
const KEY: &str = ":";
const LOCK: &str = "/lock:";
const FENCE: &str = "/fence";
const SESSION: &str = "/session:";
const SESSIONS_BY_END: &str = "/sessions-by-end:";
const SESSIONS_BY_START: &str = "/sessions-by-start:";
const HEALTH: &str = "/health:";

/// A tenant's part of Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Space<'a>(&'a str);

/// A name as Redis has it. Written into a command without being put together first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(crate) space: Space<'a>,
    kind: &'static str,
    name: &'a str,
}

impl<'a> Space<'a> {
    pub(crate) fn of(tenant: &'a Tenant) -> Self {
        Self(tenant.slug())
    }

    /// Decides the slot in a cluster.
    pub(crate) fn slug(self) -> &'a str {
        self.0
    }

    /// A key, a channel, or a pattern of keys.
    pub(crate) fn key(self, name: &'a str) -> Name<'a> {
        self.name(KEY, name)
    }

    /// Who holds a lock; also the channel on which its end is told.
    pub(crate) fn lock(self, name: &'a str) -> Name<'a> {
        self.name(LOCK, name)
    }

    /// The last fencing number that was given out.
    pub(crate) fn fence(self) -> Name<'a> {
        self.name(FENCE, "")
    }

    pub(crate) fn session(self, id: &'a str) -> Name<'a> {
        self.name(SESSION, id)
    }

    /// Ids of a user's sessions, by when they end.
    pub(crate) fn sessions_by_end(self, user: &'a str) -> Name<'a> {
        self.name(SESSIONS_BY_END, user)
    }

    /// The same, by when they began.
    pub(crate) fn sessions_by_start(self, user: &'a str) -> Name<'a> {
        self.name(SESSIONS_BY_START, user)
    }

    /// A key of nobody's, to try whether Redis works.
    pub(crate) fn health(self, id: &'a str) -> Name<'a> {
        self.name(HEALTH, id)
    }

    fn name(self, kind: &'static str, name: &'a str) -> Name<'a> {
        Name {
            space: self,
            kind,
            name,
        }
    }
}

/// The part of a tenant that is known by its slug.
pub(crate) fn slug_space(slug: &str) -> Space<'_> {
    Space(slug)
}

/// The caller's own name of a key or channel.
pub(crate) fn own(full: &str) -> Option<&str> {
    full.strip_prefix('{')?.split_once('}')?.1.strip_prefix(KEY)
}

impl Name<'_> {
    pub(crate) fn len(&self) -> usize {
        self.space.0.len() + self.kind.len() + self.name.len() + 2
    }

    pub(crate) fn full(&self) -> String {
        format!("{{{}}}{}{}", self.space.0, self.kind, self.name)
    }
}

impl ToRedisArgs for Name<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut out = out.writer_for_next_arg();
        for part in ["{", self.space.0, "}", self.kind, self.name] {
            // It is memory: writing there does not fail.
            let _ = out.write_all(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::cluster_routing::Slot;

    use super::*;

    #[test]
    fn names_go_in_and_come_back() {
        let tenant = Tenant::organization("acme");
        let space = Space::of(&tenant);
        for name in ["a", "{b}c", "*", "}:", "ключ", ""] {
            let full = space.key(name).full();
            assert_eq!(own(&full), Some(name));
            assert_eq!(space.key(name).to_redis_args(), [full.as_bytes()]);
            assert_eq!(space.key(name).len(), full.len());
            assert_eq!(Slot::for_key(&full), Slot::for_key(tenant.slug()));
        }
    }

    #[test]
    fn nothing_else_is_a_key() {
        let tenant = Tenant::organization("acme");
        let space = Space::of(&tenant);
        let others = [
            space.lock("a"),
            space.fence(),
            space.session("a"),
            space.sessions_by_end("a"),
            space.sessions_by_start("a"),
        ];
        for name in others {
            assert_eq!(own(&name.full()), None, "{name:?}");
        }
    }
}
