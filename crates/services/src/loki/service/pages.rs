//! All entries of a query, the oldest first, page by page.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use super::{
    Error, Loki,
    answer::Record,
    query::{Logs, MAX_ENTRIES},
};
use crate::loki::{convert::Window, names::Names};

/// Bytes that a page should have: the next one asks for so many entries as had them before.
const PAGE_BYTES: usize = 4 << 20;

/// Entries of the first page: nothing is known of them yet.
const FIRST_PAGE: u32 = 1000;

/// How long Loki may take for a page.
const LIMIT: Duration = Duration::from_secs(60);

/// A query that goes on where its last page ended.
pub(super) struct Pages {
    loki: Arc<Loki>,
    scope: String,
    query: String,
    /// What is left. Entries of its very start may have been given.
    window: Window,
    /// These, by a hash: several entries may have the same time.
    given: HashSet<u64>,
    count: u32,
    ended: bool,
}

impl Pages {
    pub(super) fn new(loki: Arc<Loki>, names: Names<'_>, query: &str, window: Window) -> Self {
        Self {
            loki,
            scope: names.scope().to_owned(),
            query: query.to_owned(),
            window,
            given: HashSet::new(),
            count: FIRST_PAGE,
            ended: window.length() <= 0,
        }
    }

    /// The time up to which everything was given.
    pub(super) fn position(&self) -> i64 {
        if self.ended {
            self.window.end
        } else {
            self.window.start
        }
    }

    /// The next entries; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Record>>, Error> {
        while !self.ended {
            let count = self
                .count
                .saturating_add(u32::try_from(self.given.len()).unwrap_or(MAX_ENTRIES))
                .min(MAX_ENTRIES);
            let logs = Logs {
                query: &self.query,
                window: self.window,
                count,
                forward: true,
            };
            let loki = Arc::clone(&self.loki);
            let found = match loki.logs(Names::of(&self.scope), logs, LIMIT).await {
                Ok((found, _)) => found,
                // Long lines. One fits.
                Err(Error::TooLarge(_)) if self.count > 1 && self.given.len() < self.count as usize => {
                    self.count = (self.count / 4).max(1);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let fresh = self.turn(found, count)?;
            if !fresh.is_empty() {
                return Ok(Some(fresh));
            }
        }
        Ok(None)
    }

    /// Turns to the next page: what of this one is new.
    fn turn(&mut self, mut found: Vec<Record>, count: u32) -> Result<Vec<Record>, Error> {
        self.ended = found.len() < count as usize;
        let bytes: usize = found.iter().map(|record| record.line.len() + 64).sum();
        if !found.is_empty() {
            let fitting = PAGE_BYTES / (bytes / found.len()).max(1);
            self.count = u32::try_from(fitting)
                .unwrap_or(MAX_ENTRIES)
                .clamp(1, MAX_ENTRIES);
        }
        let begin = self.window.start;
        found.retain(|record| record.at != begin || !self.given.contains(&fingerprint(record)));
        let Some(last) = found.last().map(|record| record.at) else {
            if !self.ended && count >= MAX_ENTRIES {
                return Err(Error::Precondition(
                    format!("more than {MAX_ENTRIES} entries have the same time, which Loki does not give one after another; \
                         ask for fewer streams at once").into(),
                ));
            }
            // As many as were given before: more at once, and the rest is among them.
            self.count = MAX_ENTRIES;
            return Ok(found);
        };
        if last != begin {
            self.given.clear();
            self.window.start = last;
        }
        let at_last = found.iter().filter(|record| record.at == last);
        self.given.extend(at_last.map(fingerprint));
        Ok(found)
    }
}

/// The same for entries that are alike.
pub(super) fn fingerprint(record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    record.at.hash(&mut hasher);
    record.stream.id.hash(&mut hasher);
    record.line.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use isa_config::Endpoint;

    use super::*;
    use crate::loki::{names::Labels, service::Origin};

    fn record(at: i64, line: &str) -> Record {
        let labels = Arc::new(Labels::new());
        Record {
            at,
            line: line.to_owned(),
            labels: Arc::clone(&labels),
            stream: Arc::new(Origin {
                id: String::new(),
                labels,
            }),
        }
    }

    #[tokio::test]
    async fn a_page_begins_with_the_time_at_which_the_last_one_ended() {
        let loki = Arc::new(Loki::open(&Endpoint::new("http://127.0.0.1:1")).unwrap());
        let window = Window { start: 1, end: 100 };
        let mut pages = Pages::new(loki, Names::of("x"), "", window);
        let page = vec![record(1, "a"), record(5, "b"), record(5, "c")];
        assert_eq!(pages.turn(page, 3).unwrap().len(), 3);
        assert_eq!((pages.position(), pages.given.len()), (5, 2));
        let page = vec![record(5, "b"), record(5, "c"), record(5, "d"), record(6, "e")];
        let fresh = pages.turn(page, 4).unwrap();
        assert_eq!(fresh.len(), 2);
        assert_eq!(pages.position(), 6);
        // All of it at one time, and more to come.
        let page: Vec<_> = (0..4).map(|n| record(6, &n.to_string())).collect();
        assert_eq!(pages.turn(page.clone(), 4).unwrap().len(), 4);
        assert!(pages.turn(page.clone(), 4).unwrap().is_empty());
        assert_eq!(pages.count, MAX_ENTRIES);
        assert!(pages.turn(page.clone(), MAX_ENTRIES).unwrap().is_empty() && pages.ended);
        assert_eq!(pages.position(), 100);
    }
}
