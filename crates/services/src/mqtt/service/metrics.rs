//! What devices send, by the minute, kept for 7 days.
//!
//! Each replica writes what it has counted itself, under its own name, in pieces of 6 hours; whoever asks adds them up.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Error, Mqtt, store::Store, traffic::now};
use crate::mqtt::names::{Names, check_device};

/// Minutes of one piece.
const PIECE: u64 = 6 * 60;

/// How long figures are kept, in minutes.
const KEPT: u64 = 7 * 24 * 60;

/// Pieces in memory: of devices that sent something lately.
const MAX_PIECES: usize = 50_000;

/// How often pieces are written.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(10);

/// The figures of a minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Minute {
    #[serde(rename = "s", default)]
    pub(crate) sent: u64,
    #[serde(rename = "r", default)]
    pub(crate) received: u64,
    #[serde(rename = "sb", default)]
    pub(crate) sent_bytes: u64,
    #[serde(rename = "rb", default)]
    pub(crate) received_bytes: u64,
    #[serde(rename = "e", default)]
    pub(crate) errors: u64,
}

impl Minute {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.sent_bytes += other.sent_bytes;
        self.received_bytes += other.received_bytes;
        self.errors += other.errors;
    }
}

/// By minute since 1970.
type Piece = BTreeMap<u64, Minute>;

/// What this replica has counted.
pub(super) struct Metrics {
    replica: String,
    /// By the device's key and the piece's number.
    pieces: Mutex<HashMap<(String, u64), Piece>>,
    unwritten: Mutex<HashSet<(String, u64)>>,
}

impl Metrics {
    pub(super) fn new(replica: &str) -> Self {
        Self {
            replica: replica.to_owned(),
            pieces: Mutex::default(),
            unwritten: Mutex::default(),
        }
    }

    pub(super) fn count(&self, names: Names<'_>, device: &str, figures: &Minute) {
        let minute = now() / 60_000;
        let place = (names.key(device), minute / PIECE);
        let mut pieces = self.pieces.lock();
        if pieces.len() >= MAX_PIECES && !pieces.contains_key(&place) {
            return;
        }
        pieces
            .entry(place.clone())
            .or_default()
            .entry(minute)
            .or_default()
            .add(figures);
        drop(pieces);
        self.unwritten.lock().insert(place);
    }

    /// Writes what has changed, and forgets pieces that are over.
    pub(super) async fn write(&self, store: &Store) {
        let unwritten = std::mem::take(&mut *self.unwritten.lock());
        for place in unwritten {
            let piece = self.pieces.lock().get(&place).cloned();
            let Some(piece) = piece else {
                continue;
            };
            let key = format!("{}.{}.{}", place.0, place.1, self.replica);
            if let Err(error) = store.put(&store.metrics, &key, &piece).await {
                tracing::debug!(%error, "figures of a device were not written");
                self.unwritten.lock().insert(place);
            }
        }
        let current = now() / 60_000 / PIECE;
        let unwritten = self.unwritten.lock();
        self.pieces
            .lock()
            .retain(|place, _| place.1 >= current || unwritten.contains(place));
    }
}

impl Mqtt {
    /// A device's figures by minute since 1970, from the first to the last.
    pub(crate) async fn device_metrics(
        &self,
        names: Names<'_>,
        device: &str,
        first: u64,
        last: u64,
    ) -> Result<BTreeMap<u64, Minute>, Error> {
        check_device("device_id", device)?;
        self.device(names, device).await?;
        let store = self.store()?;
        let key = names.key(device);
        let first = first.max((now() / 60_000).saturating_sub(KEPT));
        let own = format!(".{}", self.metrics.replica);
        let mut minutes: BTreeMap<u64, Minute> = BTreeMap::new();
        let mut add = |piece: &Piece| {
            for (minute, figures) in piece.range(first.min(last)..=last) {
                minutes.entry(*minute).or_default().add(figures);
            }
        };
        for (name, piece) in store.find::<Piece>(&store.metrics, &format!("{key}.*.*")).await? {
            let number = name
                .split('.')
                .nth(2)
                .and_then(|number| number.parse::<u64>().ok());
            let is_wanted = number.is_some_and(|it| it >= first / PIECE && it <= last / PIECE);
            // Ours is newer in memory.
            let is_here = number
                .is_some_and(|number| self.metrics.pieces.lock().contains_key(&(key.clone(), number)))
                && name.ends_with(&own);
            if is_wanted && !is_here {
                add(&piece);
            }
        }
        for ((device, _), piece) in &*self.metrics.pieces.lock() {
            if *device == key {
                add(piece);
            }
        }
        Ok(minutes)
    }
}
