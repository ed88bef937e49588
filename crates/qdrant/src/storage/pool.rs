//! The shards that are open. Each costs threads, mappings and memory, so their number is bounded: the one that was
//! not used for longest is flushed and closed to make room for another.

use std::{
    collections::HashMap,
    ops::Deref,
    path::{Path, PathBuf},
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
    },
}

/// An open shard in use; it is not closed before this is dropped.
pub(crate) struct InUse<'a> {
    pool: &'a Pool,
    id: Uuid,
    shard: Arc<Shard>,
}

impl Deref for InUse<'_> {
    type Target = Shard;

    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if let Some(Entry::Open { users, .. }) = self.pool.state.lock().entries.get_mut(&self.id) {
            *users -= 1;
        }
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

    /// The shard of collection `id`, opened from `dir` if need be. Blocks while it is being opened, and while there
    /// is no room for it.
    pub(super) fn acquire(&self, id: Uuid, dir: &Path) -> Result<InUse<'_>, Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            match state.next_step(id, self.max) {
                Step::Take(shard) => {
                    return Ok(InUse {
                        pool: self,
                        id,
                        shard,
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
                    let opened = Shard::open(dir);
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
                                },
                            );
                            return Ok(InUse {
                                pool: self,
                                id,
                                shard,
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
            Some(Entry::Open { shard, users, .. }) if !shard.has_failed() => {
                *users += 1;
                Some(InUse {
                    pool: self,
                    id,
                    shard: Arc::clone(shard),
                })
            }
            _ => None,
        }
    }

    pub(super) fn open_ids(&self) -> Vec<Uuid> {
        self.state.lock().entries.keys().copied().collect()
    }

    /// Closes the shard of a collection once nobody uses it, then deletes its files, which were moved to `dir`.
    /// Leaves them to the next start if that takes too long.
    pub(super) fn discard(&self, id: Uuid, dir: PathBuf) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock();
        loop {
            match state.entries.get(&id) {
                None => break,
                Some(Entry::Open { users: 0, .. }) => {
                    if let Some(Entry::Open { shard, .. }) = state.entries.insert(id, Entry::Busy) {
                        drop(state);
                        close(shard);
                        state = self.state.lock();
                    }
                    state.entries.remove(&id);
                    self.changed.notify_all();
                    break;
                }
                Some(_) => {
                    if self.changed.wait_until(&mut state, deadline).timed_out() {
                        return;
                    }
                }
            }
        }
        drop(state);
        if let Err(error) = std::fs::remove_dir_all(&dir) {
            tracing::warn!(dir = %dir.display(), %error, "the files of a deleted collection go at the next start");
        }
    }

    /// Closes every shard that gets idle before the deadline. Those still in use keep their journal.
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
            } else if state.entries.is_empty() {
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

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn next_step(&mut self, id: Uuid, max: usize) -> Step {
        let now = self.tick();
        if let Some(Entry::Open { shard, users, used }) = self.entries.get_mut(&id) {
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
