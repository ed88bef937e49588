//! Readiness as a latch: ready when nobody holds it any more. It cannot be forgotten to be set.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Whether a server answers calls. Clones are the same one.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Default)]
struct Inner {
    holds: Mutex<Vec<(u64, String)>>,
    count: watch::Sender<u64>,
    next: Mutex<u64>,
}

/// Keeps a server from being ready until it is dropped.
#[must_use = "the server is ready as soon as this is dropped"]
pub struct Hold {
    inner: Arc<Inner>,
    id: u64,
}

impl Readiness {
    /// Not ready until what is returned is dropped. `what` says to operators what is waited for.
    pub fn hold(&self, what: impl Into<String>) -> Hold {
        let id = {
            let mut next = self.0.next.lock();
            *next += 1;
            *next
        };
        self.0.holds.lock().push((id, what.into()));
        self.0.count.send_modify(|count| *count += 1);
        Hold {
            inner: Arc::clone(&self.0),
            id,
        }
    }

    pub fn is_ready(&self) -> bool {
        *self.0.count.borrow() == 0
    }

    /// Completes when it is ready.
    pub async fn ready(&self) {
        // The sender is in `self`.
        let _ = self.0.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// What is waited for.
    pub fn pending(&self) -> Vec<String> {
        self.0.holds.lock().iter().map(|(_, what)| what.clone()).collect()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.count.subscribe()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.inner.holds.lock().retain(|(id, _)| *id != self.id);
        self.inner.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_when_the_last_hold_is_dropped() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let (first, second) = (readiness.hold("a"), readiness.hold("b"));
        drop(first);
        assert_eq!(
            (readiness.is_ready(), readiness.pending()),
            (false, vec!["b".to_owned()])
        );
        drop(second);
        readiness.ready().await;
    }
}
