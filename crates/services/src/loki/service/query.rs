//! Reading: entries, figures over time, labels.

use std::time::Duration;

use super::{
    Error, Loki,
    answer::{Figures, Found, Kind, Record, Summary, Wrapped, given},
    figures::Over,
    http::Asked,
    logql::Selector,
};
use crate::loki::{
    convert::{SECOND, Window},
    names::{EVERY_STREAM, Labels, Names, is_name},
};

/// Longest LogQL of a caller, in bytes. Loki takes twice as much.
const MAX_QUERY: usize = 64 << 10;

/// Entries of one answer, at most: Loki's own bound.
pub(crate) const MAX_ENTRIES: u32 = 5000;

/// Figures of one series, at most: Loki's own bound.
const MAX_POINTS: i64 = 11_000;

/// Figures of one series where the caller does not say how many.
const POINTS: i64 = 250;

/// Values of a label that are given.
const MAX_VALUES: usize = 10_000;

/// Which entries are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Logs<'a> {
    /// LogQL of the caller's; empty for all entries.
    pub(crate) query: &'a str,
    pub(crate) window: Window,
    pub(crate) count: u32,
    /// The oldest first.
    pub(crate) forward: bool,
}

/// What a query over time gave.
#[derive(Debug)]
pub(crate) enum Ranged {
    Matrix(Vec<Figures>),
    /// Entries, those of each stream together.
    Streams(Vec<Vec<Record>>),
}

/// Fails if it is longer than any sensible query.
pub(super) fn check_query(query: &str) -> Result<(), Error> {
    if query.len() > MAX_QUERY {
        return Err(Error::invalid(
            "query",
            format!("has {} bytes, and may have {MAX_QUERY}", query.len()),
        ));
    }
    Ok(())
}

impl Loki {
    /// Entries, in the order that was asked for, and what it took Loki.
    pub(crate) async fn logs(
        &self,
        names: Names<'_>,
        logs: Logs<'_>,
        limit: Duration,
    ) -> Result<(Vec<Record>, Summary), Error> {
        check_query(logs.query)?;
        let everything;
        let (query, asked) = if logs.query.is_empty() {
            everything = Selector::all().to_string();
            (everything.as_str(), Asked::Built)
        } else {
            (logs.query, Asked::By("query"))
        };
        let (start, end) = logs.window.texts();
        let count = logs.count.to_string();
        let parameters = [
            ("query", query),
            ("start", &start),
            ("end", &end),
            ("limit", &count),
            ("direction", if logs.forward { "forward" } else { "backward" }),
        ];
        let mut found = self.query_range(names, &parameters, asked, limit).await?;
        if found.kind != Kind::Streams {
            return Err(Error::invalid(
                "query",
                "gives figures and no entries; ask QueryRange for them",
            ));
        }
        let summary = std::mem::take(&mut found.stats.summary);
        let mut records = found.records(names);
        if logs.forward {
            records.sort_by_key(|record| record.at);
        } else {
            records.sort_by_key(|record| std::cmp::Reverse(record.at));
        }
        Ok((records, summary))
    }

    /// What LogQL of any kind gives over time. `step` is in seconds, 0 for one that fits the time.
    pub(crate) async fn range(
        &self,
        names: Names<'_>,
        query: &str,
        window: Window,
        step: i64,
        count: u32,
        limit: Duration,
    ) -> Result<(Ranged, Summary), Error> {
        check_query(query)?;
        if query.is_empty() {
            return Err(Error::invalid("query", "is empty"));
        }
        let step = if is_log_query(query) {
            None
        } else {
            Some(steps(window, step)?.to_string())
        };
        let (start, end) = window.texts();
        let count = count.to_string();
        let mut parameters = vec![
            ("query", query),
            ("start", start.as_str()),
            ("end", &end),
            ("limit", &count),
        ];
        parameters.extend(step.as_deref().map(|step| ("step", step)));
        let mut found = self
            .query_range(names, &parameters, Asked::By("query"), limit)
            .await?;
        let summary = std::mem::take(&mut found.stats.summary);
        let ranged = match found.kind {
            Kind::Streams => Ranged::Streams(by_stream(found.records(names))),
            Kind::Matrix | Kind::Vector => Ranged::Matrix(found.figures()?),
            Kind::Other => {
                return Err(Error::invalid("query", "gives neither entries nor series"));
            }
        };
        Ok((ranged, summary))
    }

    pub(super) async fn query_range(
        &self,
        names: Names<'_>,
        parameters: &[(&str, &str)],
        asked: Asked,
        limit: Duration,
    ) -> Result<Found, Error> {
        let answer: Wrapped<Found> = self
            .http
            .ask(names, "query_range", parameters, asked, limit)
            .await?;
        Ok(answer.data)
    }

    /// Names of labels, sorted.
    pub(crate) async fn label_names(
        &self,
        names: Names<'_>,
        window: Window,
        limit: Duration,
    ) -> Result<Vec<String>, Error> {
        let (start, end) = window.texts();
        let parameters = [("start", start.as_str()), ("end", &end)];
        let answer: Wrapped<Vec<String>> = self
            .http
            .ask(names, "labels", &parameters, Asked::Built, limit)
            .await?;
        let mut labels = answer.data;
        labels.retain(|label| label != EVERY_STREAM.0);
        labels.sort();
        Ok(labels)
    }

    /// Values of a label, sorted: of streams that `query`, a selector, matches, or of all if it is empty.
    pub(crate) async fn label_values(
        &self,
        names: Names<'_>,
        label: &str,
        query: &str,
        window: Window,
        limit: Duration,
    ) -> Result<Vec<String>, Error> {
        check_query(query)?;
        // It stands in the path.
        if !is_name(label) || label.len() > 1024 {
            return Err(Error::invalid(
                "label_name",
                "is no name of a label: it must match [a-zA-Z_][a-zA-Z0-9_]* and not begin with __",
            ));
        }
        let (start, end) = window.texts();
        let mut parameters = vec![("start", start.as_str()), ("end", &end)];
        if !query.is_empty() {
            parameters.push(("query", query));
        }
        let what = format!("label/{label}/values");
        let answer: Wrapped<Vec<String>> = self
            .http
            .ask(names, &what, &parameters, Asked::By("query"), limit)
            .await?;
        let mut values = answer.data;
        values.sort();
        values.truncate(MAX_VALUES);
        Ok(values)
    }

    /// Labels of the streams that a selector matches.
    pub(super) async fn series(
        &self,
        names: Names<'_>,
        over: Over<'_>,
        limit: Duration,
    ) -> Result<Vec<Labels>, Error> {
        let (start, end) = over.window.texts();
        let selector = over.selector.to_string();
        let parameters = [("match[]", selector.as_str()), ("start", &start), ("end", &end)];
        let answer: Wrapped<Vec<Labels>> = self
            .http
            .ask(names, "series", &parameters, over.asked, limit)
            .await?;
        let mut series: Vec<Labels> = answer.data.into_iter().map(given).collect();
        series.sort();
        series.dedup();
        Ok(series)
    }
}

/// Whether it asks for entries, as far as can be told without reading it: then a step means nothing.
fn is_log_query(query: &str) -> bool {
    query.trim_start().starts_with('{')
}

/// Seconds between figures.
fn steps(window: Window, given: i64) -> Result<i64, Error> {
    let seconds = window.length() / SECOND;
    if given == 0 {
        return Ok((seconds / POINTS).max(1));
    }
    if given < 0 {
        return Err(Error::invalid("step", "is negative"));
    }
    if seconds / given > MAX_POINTS {
        return Err(Error::invalid(
            "step",
            format!("gives more than {MAX_POINTS} figures over this time"),
        ));
    }
    Ok(given)
}

/// Entries, which come stream by stream.
fn by_stream(records: Vec<Record>) -> Vec<Vec<Record>> {
    let mut streams: Vec<Vec<Record>> = Vec::new();
    for record in records {
        match streams.last_mut() {
            Some(last)
                if last
                    .first()
                    .is_some_and(|first| first.stream.id == record.stream.id) =>
            {
                last.push(record);
            }
            _ => streams.push(vec![record]),
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loki::convert::DAY;

    #[test]
    fn a_step_fits_the_time() {
        let day = Window { start: 0, end: DAY };
        assert_eq!(steps(day, 0).unwrap(), 345);
        assert_eq!(steps(day, 60).unwrap(), 60);
        assert_eq!(
            steps(
                Window {
                    start: 0,
                    end: SECOND
                },
                0
            )
            .unwrap(),
            1
        );
        assert!(steps(day, 7).is_err());
        assert!(steps(day, -1).is_err());
    }

    #[test]
    fn log_queries_are_told_by_their_beginning() {
        assert!(is_log_query(" {a=\"b\"} |= \"x\""));
        assert!(!is_log_query("rate({a=\"b\"}[1m])"));
    }
}
