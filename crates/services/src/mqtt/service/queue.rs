//! What waits for one reader: bounded in number and bytes. Who reads too slowly is cut off.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::mpsc;

use super::Error;

/// Messages that may wait for one reader.
pub(super) const MAX_WAITING: usize = 1024;

/// Their bytes.
pub(super) const MAX_WAITING_BYTES: usize = 64 << 20;

#[derive(Default)]
struct Fate {
    bytes: AtomicUsize,
    is_slow: AtomicBool,
    is_taken_over: AtomicBool,
}

/// Where messages are put. Dropped, the reader ends with what is there.
pub(super) struct Inlet<T> {
    sender: mpsc::Sender<(T, usize)>,
    fate: Arc<Fate>,
}

/// Where they are read.
pub(super) struct Outlet<T> {
    receiver: mpsc::Receiver<(T, usize)>,
    fate: Arc<Fate>,
}

pub(super) fn queue<T>() -> (Inlet<T>, Outlet<T>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let fate = Arc::new(Fate::default());
    let inlet = Inlet {
        sender,
        fate: Arc::clone(&fate),
    };
    (inlet, Outlet { receiver, fate })
}

impl<T> Inlet<T> {
    /// False if the reader is too slow, or gone: put nothing more.
    pub(super) fn put(&self, item: T, size: usize) -> bool {
        let waiting = self.fate.bytes.fetch_add(size, Relaxed);
        // One message alone always has room.
        let fits = waiting == 0 || waiting + size <= MAX_WAITING_BYTES;
        if fits && self.sender.try_send((item, size)).is_ok() {
            return true;
        }
        self.fate.is_slow.store(true, Relaxed);
        false
    }

    /// The reader is told that another took its place.
    pub(super) fn taken_over(self) {
        self.fate.is_taken_over.store(true, Relaxed);
    }
}

impl<T> Outlet<T> {
    /// The next; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<T, Error>> {
        if let Some((item, size)) = self.receiver.recv().await {
            self.fate.bytes.fetch_sub(size, Relaxed);
            return Some(Ok(item));
        }
        // Once.
        if self.fate.is_slow.swap(false, Relaxed) {
            return Some(Err(Error::SlowConsumer));
        }
        if self.fate.is_taken_over.swap(false, Relaxed) {
            return Some(Err(Error::Conflict(
                "another connection with this client_id took over the session".into(),
            )));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_what_waits_and_then_the_error() {
        let (inlet, mut outlet) = queue();
        for n in 0..MAX_WAITING {
            assert!(inlet.put(n, 1));
        }
        assert!(!inlet.put(0, 1));
        drop(inlet);
        for n in 0..MAX_WAITING {
            assert_eq!(outlet.next().await.unwrap().unwrap(), n);
        }
        assert!(matches!(outlet.next().await, Some(Err(Error::SlowConsumer))));
        assert!(outlet.next().await.is_none());
    }

    #[tokio::test]
    async fn bytes_are_bounded_but_one_message_always_fits() {
        let (inlet, mut outlet) = queue();
        assert!(inlet.put("large", MAX_WAITING_BYTES * 2));
        assert!(!inlet.put("small", 1));
        drop(inlet);
        assert_eq!(outlet.next().await.unwrap().unwrap(), "large");
        assert!(outlet.next().await.unwrap().is_err());
    }
}
