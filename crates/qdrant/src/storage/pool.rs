//! The shards that are open. Each costs threads, mappings and memory, so their number is bounded: the one that was
//! not used for longest is flushed and closed to make room for another.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use uuid::Uuid;

use super::shard::Shard;
use crate::service::Failure;

/// How long a request waits for a place when every open shard is in use.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    max: usize,
}

#[derive(Default)]
struct State {
    entries: HashMap<Uuid, Entry>,
    clock: u64,
}

enum Entry {
    /// Being opened or closed by somebody.
    Busy,
    Open {
        shard: Arc<Shard>,
        users: usize,
        used: u64,
        /// Somebody waits for it to be closed: those who come now wait until it was, or users that overlap would
        /// keep it open for ever.
        leaving: bool,
    },
}

/// An open shard in use; it is not closed before this is dropped.
pub(crate) struct InUse<'a> {
    pool: &'a Pool,
    id: Uuid,
    /// There until dropped.
    shard: Option<Arc<Shard>>,
}

impl Deref for InUse<'_> {
    type Target = Shard;

    #[allow(clippy::expect_used)] // only `drop` takes it
    fn deref(&self) -> &Shard {
        self.shard.as_ref().expect("a shard in use")
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        // Before the count says that nobody has it any more: who closes it must hold the last reference.
        self.shard = None;
        if let Some(Entry::Open { users, .. }) = self.pool.state.lock().entries.get_mut(&self.id) {
            *users -= 1;
        }
        self.pool.changed.notify_all();
    }
}

/// A shard that stays closed until this is dropped.
pub(super) struct Closed<'a> {
    pool: &'a Pool,
    id: Uuid,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.pool.state.lock().entries.remove(&self.id);
        self.pool.changed.notify_all();
    }
}

/// What a look at the pool says to do next.
enum Step {
    Take(Arc<Shard>),
    Open,
    Close(Uuid, Arc<Shard>),
    Wait,
}

impl Pool {
    pub(super) fn new(max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            max: max.max(1),
        }
    }

    /// The shard of collection `id`, opened by `open` if need be. Blocks while it is being opened, and while there
    /// is no room for it.
    pub(super) fn acquire(
        &self,
        id: Uuid,
        open: impl Fn() -> Result<Shard, Failure>,
    ) -> Result<InUse<'_>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            match state.next_step(id, self.max) {
                Step::Take(shard) => {
                    return Ok(InUse {
                        pool: self,
                        id,
                        shard: Some(shard),
                    });
                }
                Step::Wait => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        let text = format!("all {} open collections are in use, try again later", self.max);
                        return Err(Failure::Busy(text));
                    }
                }
                Step::Close(victim, shard) => {
                    drop(state);
                    close(shard);
                    state = self.state.lock();
                    state.entries.remove(&victim);
                    self.changed.notify_all();
                }
                Step::Open => {
                    drop(state);
                    let opened = open();
                    state = self.state.lock();
                    self.changed.notify_all();
                    match opened {
                        Ok(shard) => {
                            let shard = Arc::new(shard);
                            let used = state.tick();
                            state.entries.insert(
                                id,
                                Entry::Open {
                                    shard: Arc::clone(&shard),
                                    users: 1,
                                    used,
                                    leaving: false,
                                },
                            );
                            return Ok(InUse {
                                pool: self,
                                id,
                                shard: Some(shard),
                            });
                        }
                        Err(failure) => {
                            state.entries.remove(&id);
                            return Err(failure);
                        }
                    }
                }
            }
        }
    }

    /// The shard of a collection if it is open. Does not count as use: the maintenance asks.
    pub(super) fn peek(&self, id: Uuid) -> Option<InUse<'_>> {
        match self.state.lock().entries.get_mut(&id) {
            Some(Entry::Open {
                shard,
                users,
                leaving: false,
                ..
            }) if !shard.has_failed() => {
                *users += 1;
                Some(InUse {
                    pool: self,
                    id,
                    shard: Some(Arc::clone(shard)),
                })
            }
            _ => None,
        }
    }

    pub(super) fn open_ids(&self) -> Vec<Uuid> {
        self.state.lock().entries.keys().copied().collect()
    }

    /// Closes the shard of a collection once nobody uses it, and keeps it closed until the guard is dropped. Nothing
    /// if it is still in use at the deadline.
    pub(super) fn keep_closed(&self, id: Uuid, deadline: Instant) -> Option<Closed<'_>> {
        let mut state = self.state.lock();
        loop {
            match state.entries.get_mut(&id) {
                None => {
                    state.entries.insert(id, Entry::Busy);
                    return Some(Closed { pool: self, id });
                }
                Some(Entry::Open { users: 0, .. }) => {
                    let step = state.start_closing(id);
                    drop(state);
                    if let Step::Close(_, shard) = step {
                        close(shard);
                    }
                    return Some(Closed { pool: self, id });
                }
                Some(entry) => {
                    entry.set_leaving(true);
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        if let Some(entry) = state.entries.get_mut(&id) {
                            entry.set_leaving(false);
                        }
                        self.changed.notify_all();
                        return None;
                    }
                }
            }
        }
    }

    /// Closes every shard that gets idle before the deadline. Those still in use keep their journal, as do those
    /// whose optimizer runs, which nothing stops: they are not waited for.
    pub(super) fn close_all(&self, deadline: Instant) {
        let mut state = self.state.lock();
        loop {
            let idle = state.entries.iter().find_map(|(id, entry)| match entry {
                Entry::Open { users: 0, .. } => Some(*id),
                _ => None,
            });
            if let Some(id) = idle {
                if let Some(Entry::Open { shard, .. }) = state.entries.insert(id, Entry::Busy) {
                    drop(state);
                    close(shard);
                    state = self.state.lock();
                }
                state.entries.remove(&id);
            } else if state.entries.values().all(Entry::is_optimizing) {
                return;
            } else if self.changed.wait_until(&mut state, deadline).timed_out() {
                tracing::warn!(
                    shards = state.entries.len(),
                    "stopped with shards in use; their journals have the rest"
                );
                return;
            }
        }
    }
}

impl Entry {
    fn set_leaving(&mut self, value: bool) {
        if let Self::Open { leaving, .. } = self {
            *leaving = value;
        }
    }

    fn is_optimizing(&self) -> bool {
        matches!(self, Self::Open { shard, .. } if shard.optimizer_runs())
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn next_step(&mut self, id: Uuid, max: usize) -> Step {
        let now = self.tick();
        if let Some(Entry::Open {
            shard,
            users,
            used,
            leaving,
        }) = self.entries.get_mut(&id)
        {
            if *leaving {
                return Step::Wait;
            }
            if !shard.has_failed() {
                *users += 1;
                *used = now;
                return Step::Take(Arc::clone(shard));
            }
            // To be loaded again, once nobody uses it.
            return if *users == 0 {
                self.start_closing(id)
            } else {
                Step::Wait
            };
        }
        if self.entries.contains_key(&id) {
            return Step::Wait;
        }
        if self.entries.len() < max {
            self.entries.insert(id, Entry::Busy);
            return Step::Open;
        }
        let victim = self
            .entries
            .iter()
            .filter_map(|(id, entry)| match entry {
                Entry::Open { users: 0, used, .. } => Some((*used, *id)),
                _ => None,
            })
            .min();
        victim.map_or(Step::Wait, |(_, id)| self.start_closing(id))
    }

    fn start_closing(&mut self, id: Uuid) -> Step {
        match self.entries.insert(id, Entry::Busy) {
            Some(Entry::Open { shard, .. }) => Step::Close(id, shard),
            _ => Step::Wait,
        }
    }
}

/// The caller took the entry out of the pool while it had no users, so this is the last reference.
fn close(shard: Arc<Shard>) {
    if let Some(shard) = Arc::into_inner(shard) {
        shard.close();
    }
}
