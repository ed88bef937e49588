//! Entries that are written.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display, time::Duration};

use futures::{StreamExt, stream};

use super::{
    Error, Loki,
    lanes::{Lanes, MAX_REQUEST, Reason},
    logql,
    wire::Line,
    within,
};
use crate::loki::names::{Labels, Names};

/// Longest line, in bytes: Loki's own bound.
pub(crate) const MAX_LINE: usize = 256 << 10;

/// Streams of one call that are written to at once.
const AT_ONCE: usize = 8;

/// Refusals that are told of one by one.
const MAX_ERRORS: usize = 100;

/// An entry that was checked.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) line: String,
    pub(crate) labels: Labels,
}

impl Entry {
    /// What it takes, in bytes.
    pub(crate) fn size(&self) -> usize {
        let labels: usize = self
            .labels
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.line.len() + labels
    }
}

/// How a batch went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    /// Of the first hundred, with the index of each.
    pub(crate) errors: Vec<String>,
    /// Entries that were not written for a reason that is not theirs, and the first such.
    failed: u64,
    failure: Option<Error>,
}

impl Report {
    /// An entry that cannot be right.
    pub(crate) fn reject(&mut self, index: u64, why: impl Display) {
        self.rejected += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(format!("{index}: {why}"));
        }
    }

    fn fail(&mut self, indexes: impl Iterator<Item = u64>, error: &Error) {
        let why = brief(error);
        for index in indexes {
            self.reject(index, &why);
            self.failed += 1;
        }
        self.failure.get_or_insert_with(|| error.clone());
    }

    /// Why nothing at all was written, if no entry is to blame for it: then the whole call has failed.
    pub(crate) fn failure(&mut self) -> Option<Error> {
        if self.accepted == 0 && self.failed == self.rejected {
            self.failure.take()
        } else {
            None
        }
    }
}

/// An error as it stands beside others, in our words alone.
fn brief(error: &Error) -> Cow<'static, str> {
    match error {
        Error::Down(_) | Error::Unexpected(_) | Error::TimedOut => {
            "Loki did not answer; write it again: two alike are one".into()
        }
        Error::RateLimited => "the tenant writes more than Loki takes for now; try again later".into(),
        other => other.to_string().into(),
    }
}

impl Loki {
    /// Answers, with the id of the entry's stream, when Loki has the entry. Fields in refusals are those of an entry.
    pub(crate) async fn push(
        &self,
        names: Names<'_>,
        entry: Entry,
        limit: Duration,
    ) -> Result<String, Error> {
        let labels = logql::stream(&entry.labels);
        self.admit(names, &labels, limit).await?;
        let line = Line {
            at: entry.at,
            text: entry.line,
        };
        let refused = within(limit, Lanes::push(&self.lanes, names, &labels, vec![line])).await?;
        match refused.first() {
            None => Ok(names.stream_id(&entry.labels)),
            Some((_, Reason { field, why })) => Err(Error::invalid(*field, *why)),
        }
    }

    /// Writes what can be written, and says of each other entry, by its index, why not.
    pub(crate) async fn push_batch(
        &self,
        names: Names<'_>,
        entries: Vec<(u64, Entry)>,
        report: &mut Report,
        limit: Duration,
    ) -> Result<(), Error> {
        let mut streams: BTreeMap<Labels, Vec<(u64, Line)>> = BTreeMap::new();
        for (index, entry) in entries {
            let line = Line {
                at: entry.at,
                text: entry.line,
            };
            streams.entry(entry.labels).or_default().push((index, line));
        }
        let mut parts = stream::iter(streams)
            .map(|(labels, lines)| self.push_stream(names, labels, lines, limit))
            .buffer_unordered(AT_ONCE);
        within(limit, async {
            while let Some(part) = parts.next().await {
                report.accepted += part.accepted;
                for (index, reason) in part.refused {
                    report.reject(index, reason);
                }
                if let Some(error) = part.failure {
                    report.fail(part.unwritten.into_iter(), &error);
                }
            }
            Ok(())
        })
        .await
    }

    async fn push_stream(
        &self,
        names: Names<'_>,
        labels: Labels,
        mut lines: Vec<(u64, Line)>,
        limit: Duration,
    ) -> Part {
        let labels = logql::stream(&labels);
        // The oldest first, over all requests: a later one must not find itself behind an earlier.
        lines.sort_by_key(|(_, line)| line.at);
        let mut part = Part::default();
        if let Err(error) = self.admit(names, &labels, limit).await {
            part.fail(lines.into_iter().map(|(index, _)| index), error);
            return part;
        }
        let mut rest = lines.into_iter().peekable();
        while rest.peek().is_some() {
            let (mut indexes, mut request, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some((index, line)) =
                rest.next_if(|(_, line)| bytes == 0 || bytes + line.size() <= MAX_REQUEST)
            {
                bytes += line.size();
                indexes.push(index);
                request.push(line);
            }
            match Lanes::push(&self.lanes, names, &labels, request).await {
                Ok(refused) => {
                    part.accepted += (indexes.len() - refused.len()) as u64;
                    let refused = refused
                        .into_iter()
                        .filter_map(|(place, reason)| Some((*indexes.get(place)?, reason)));
                    part.refused.extend(refused);
                }
                Err(error) => {
                    part.fail(indexes.into_iter().chain(rest.map(|(index, _)| index)), error);
                    return part;
                }
            }
        }
        part
    }
}

/// How the entries of one stream went.
#[derive(Default)]
struct Part {
    accepted: u64,
    refused: Vec<(u64, Reason)>,
    unwritten: Vec<u64>,
    failure: Option<Error>,
}

impl Part {
    fn fail(&mut self, indexes: impl Iterator<Item = u64>, error: Error) {
        self.unwritten.extend(indexes);
        self.failure = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_fails_as_a_whole_only_if_nothing_was_written() {
        let down = Error::down("reset by peer");
        let mut report = Report::default();
        report.fail(0..3, &down);
        assert!(matches!(report.failure(), Some(Error::Down(_))));

        let mut report = Report {
            accepted: 1,
            ..Report::default()
        };
        report.fail(1..300, &down);
        assert!(report.failure().is_none());
        assert_eq!((report.rejected, report.errors.len()), (299, MAX_ERRORS));
        assert!(!report.errors[0].contains("peer"), "{}", report.errors[0]);

        let mut report = Report::default();
        report.reject(0, "line: is too long");
        report.fail(1..2, &down);
        assert!(report.failure().is_none());
        assert_eq!(report.errors[0], "0: line: is too long");
    }
}
