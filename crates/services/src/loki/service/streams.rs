//! Streams: which there are, what is in them, and their end.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, SecondsFormat};
use reqwest::Method;

use super::{
    Error, Loki,
    figures::{Over, label_names, total, whole},
    http::{Asked, Refusal},
    labels::check,
    logql::{Comparison, Figure, Selector},
};
use crate::loki::{
    convert::{self, DAY, FIRST, MAX_WINDOW, Window},
    names::{Labels, Names},
};

/// A stream, and what is in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    pub(crate) id: String,
    pub(crate) labels: Labels,
    pub(crate) entries: u64,
    /// Of lines.
    pub(crate) bytes: u64,
    /// Times of entries in nanoseconds, to the millisecond.
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

/// What each stream of a time has, by its labels.
type ByStream = BTreeMap<Labels, f64>;

impl Loki {
    /// A page of the streams of the last day that have these labels, sorted, and how many there are.
    pub(crate) async fn streams(
        &self,
        names: Names<'_>,
        filter: &Labels,
        page: usize,
        size: usize,
        limit: Duration,
    ) -> Result<(Vec<Stream>, usize), Error> {
        check(filter).map_err(|why| Error::invalid("label_filter", why))?;
        let window = Window::last(DAY);
        let selector = Selector::with(filter);
        let over = Over {
            selector: &selector,
            window,
            asked: Asked::Built,
        };
        let series = self.series(names, over, limit).await?;
        let count = series.len();
        let begin = page.saturating_sub(1).saturating_mul(size).min(count);
        let wanted = &series[begin..count.min(begin + size)];
        if wanted.is_empty() {
            return Ok((Vec::new(), count));
        }
        let by = label_names(&series);
        let by: Vec<&str> = by.into_iter().collect();
        let figures = async |figure| -> Result<ByStream, Error> {
            let found = self.figure(names, figure, over, &by, limit).await?;
            Ok(found.into_iter().collect())
        };
        let (entries, bytes, first, last) = tokio::try_join!(
            figures(Figure::Entries),
            figures(Figure::Bytes),
            figures(Figure::First),
            figures(Figure::Last),
        )?;
        let streams = wanted.iter().map(|labels| Stream {
            id: names.stream_id(labels),
            labels: labels.clone(),
            entries: entries.get(labels).map_or(0, |count| whole(*count)),
            bytes: bytes.get(labels).map_or(0, |count| whole(*count)),
            first: first.get(labels).map(|at| milliseconds(*at)),
            last: last.get(labels).map(|at| milliseconds(*at)),
        });
        Ok((streams.collect(), count))
    }

    /// A stream, and what was written to it within 30 days.
    pub(crate) async fn stream(
        &self,
        names: Names<'_>,
        labels: &Labels,
        limit: Duration,
    ) -> Result<Stream, Error> {
        let month = Window::last(MAX_WINDOW);
        let (selector, window) = self.this_stream(names, labels, month, limit).await?;
        let over = Over {
            selector: &selector,
            window,
            asked: Asked::Built,
        };
        let figures = async |figure| self.figure(names, figure, over, &[], limit).await;
        let (entries, bytes, first, last) = tokio::try_join!(
            figures(Figure::Entries),
            figures(Figure::Bytes),
            figures(Figure::First),
            figures(Figure::Last),
        )?;
        let time = |found: &[(Labels, f64)]| found.first().map(|(_, at)| milliseconds(*at));
        Ok(Stream {
            id: names.stream_id(labels),
            labels: labels.clone(),
            entries: total(&entries),
            bytes: total(&bytes),
            first: time(&first),
            last: time(&last),
        })
    }

    /// Asks Loki to delete what a stream has of a time. Says how many entries that are.
    pub(crate) async fn delete(
        &self,
        names: Names<'_>,
        labels: &Labels,
        window: Window,
        limit: Duration,
    ) -> Result<u64, Error> {
        let (selector, counted) = self.this_stream(names, labels, window.clipped(), limit).await?;
        let over = Over {
            selector: &selector,
            window: counted,
            asked: Asked::Built,
        };
        let entries = self.figure(names, Figure::Entries, over, &[], limit).await?;
        let query = selector.to_string();
        let parameters = [
            ("query", query.as_str()),
            ("start", &rfc3339(window.start)),
            ("end", &rfc3339(window.end)),
        ];
        let mut answer = self
            .http
            .request(Method::POST, names, "/loki/api/v1/delete")
            .query(&parameters)
            .timeout(limit)
            .send()
            .await?;
        if answer.status().is_success() {
            return Ok(total(&entries));
        }
        let refusal = Refusal::read(&mut answer).await?;
        let is_off = refusal.text.contains("etention is not enabled");
        if is_off || matches!(refusal.status.as_u16(), 403..=405) {
            return Err(Error::Unsupported(
                "this Loki does not delete: its compactor needs retention_enabled and delete_request_store, \
                 and its limits a deletion_mode other than disabled"
                    .into(),
            ));
        }
        Err(refusal.of_question(Asked::Built))
    }

    /// What matches this one stream and no other that has more labels, and the part of the time in which it has entries.
    /// Fails if nothing was written to it in that time.
    async fn this_stream(
        &self,
        names: Names<'_>,
        labels: &Labels,
        window: Window,
        limit: Duration,
    ) -> Result<(Selector, Window), Error> {
        let mut selector = Selector::with(labels);
        let window = self.narrowed(names, &selector, window, limit).await?;
        let over = Over {
            selector: &selector,
            window,
            asked: Asked::Built,
        };
        let series = self.series(names, over, limit).await?;
        if series.binary_search(labels).is_err() {
            return Err(Error::NotFound("the stream"));
        }
        for other in label_names(&series) {
            if !labels.contains_key(other) {
                selector = selector.and(other, Comparison::Equal, "");
            }
        }
        Ok((selector, window))
    }

    /// From the first entry to the last. Loki looks into each day of a time that is added up; these two it finds at once.
    async fn narrowed(
        &self,
        names: Names<'_>,
        selector: &Selector,
        window: Window,
        limit: Duration,
    ) -> Result<Window, Error> {
        let query = selector.to_string();
        let (start, end) = window.texts();
        let one = async |direction| -> Result<Option<i64>, Error> {
            let parameters = [
                ("query", query.as_str()),
                ("start", &start),
                ("end", &end),
                ("limit", "1"),
                ("direction", direction),
            ];
            let found = self.query_range(names, &parameters, Asked::Built, limit).await?;
            Ok(found.records(names).first().map(|record| record.at))
        };
        match tokio::try_join!(one("forward"), one("backward"))? {
            (Some(first), Some(last)) if first <= last => Ok(Window {
                start: first,
                end: last + 1,
            }),
            _ => Err(Error::NotFound("the stream")),
        }
    }
}

impl Window {
    /// As much of it as is asked about at once: its end.
    fn clipped(self) -> Self {
        Self {
            start: self.start.max(self.end - MAX_WINDOW),
            end: self.end,
        }
    }
}

/// As nanoseconds.
fn milliseconds(at: f64) -> i64 {
    (at as i64).saturating_mul(1_000_000)
}

/// Deletions have milliseconds.
fn rfc3339(at: i64) -> String {
    DateTime::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The time of a deletion: all that is kept if the caller names none. Loki deletes nothing of the future.
pub(crate) fn deletion(start: Option<i64>, end: Option<i64>) -> Result<Window, Error> {
    let now = convert::now();
    let window = Window {
        start: start.unwrap_or_default(),
        end: end.unwrap_or(now).min(now),
    };
    if window.end < FIRST {
        return Err(Error::invalid("end", "is before 1971"));
    }
    if window.end - window.start < 1_000_000 {
        return Err(Error::invalid(
            "end",
            "is not after the start, or both are to come",
        ));
    }
    Ok(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_covers_all_that_is_kept_unless_it_says_otherwise() {
        let all = deletion(None, None).unwrap();
        assert_eq!(all.start, 0);
        assert_eq!(all.clipped().length(), MAX_WINDOW);
        assert_eq!(
            deletion(Some(5), Some(FIRST)).unwrap(),
            Window { start: 5, end: FIRST }
        );
        assert!(deletion(Some(5), Some(FIRST - 1)).is_err());
        assert!(deletion(Some(FIRST), Some(FIRST)).is_err());
        assert!(deletion(Some(i64::MAX / 2), None).is_err());
        assert_eq!(rfc3339(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123Z");
    }
}
