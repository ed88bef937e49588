//! Figures of what is written, which Loki adds up without sending entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{
    Error, Loki,
    answer::{Found, Wrapped},
    http::Asked,
    logql::{Figure, Selector, figure},
    query::{Logs, MAX_ENTRIES},
};
use crate::loki::{
    convert::{DAY, MAX_WINDOW, SECOND, Window},
    names::{Labels, Names},
};

/// Names that `top_labels` has.
const TOP_LABELS: usize = 10;

/// Points of the rate over the time.
const RATES: i64 = 100;

/// How long what Loki says of its limits is good.
const FRESH: Duration = Duration::from_secs(300);

/// What a log query matches.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) streams: u64,
    pub(crate) by_level: BTreeMap<String, u64>,
    pub(crate) top_labels: Vec<String>,
}

/// What a tenant has written.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) streams: u64,
    pub(crate) by_service: BTreeMap<String, u64>,
    pub(crate) by_level: BTreeMap<String, u64>,
    /// Bytes per second, at times in nanoseconds.
    pub(crate) rate: Vec<(i64, f64)>,
    pub(crate) retention_days: i32,
}

/// What a tenant takes up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) today: u64,
    pub(crate) stored: u64,
    pub(crate) retention_days: i32,
}

/// What is added up: streams, a time, and who asked for these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over<'a> {
    pub(super) selector: &'a Selector,
    pub(super) window: Window,
    pub(super) asked: Asked,
}

impl Loki {
    /// A figure over a time, for each set of these labels.
    pub(super) async fn figure(
        &self,
        names: Names<'_>,
        what: Figure,
        over: Over<'_>,
        by: &[&str],
        limit: Duration,
    ) -> Result<Vec<(Labels, f64)>, Error> {
        let query = figure(what, over.selector, over.window.length(), by);
        // Loki's ranges have their end, and not their start.
        let time = (over.window.end - 1).to_string();
        let parameters = [("query", query.as_str()), ("time", &time)];
        let answer: Wrapped<Found> = self
            .http
            .ask(names, "query", &parameters, over.asked, limit)
            .await?;
        let figures = answer.data.figures()?.into_iter();
        Ok(figures
            .filter_map(|figures| Some((figures.labels, figures.values.first()?.1)))
            .collect())
    }

    /// What a log query matches: added up by Loki if it is a selector alone, else read.
    pub(crate) async fn stats(
        &self,
        names: Names<'_>,
        query: &str,
        window: Window,
        limit: Duration,
    ) -> Result<Stats, Error> {
        super::query::check_query(query)?;
        let (selector, asked) = if query.is_empty() {
            (Some(Selector::all()), Asked::Built)
        } else {
            (Selector::parse(query), Asked::By("query"))
        };
        match selector {
            Some(selector) => {
                let over = Over {
                    selector: &selector,
                    window,
                    asked,
                };
                self.exact_stats(names, over, limit).await
            }
            None => self.read_stats(names, query, window, limit).await,
        }
    }

    async fn exact_stats(&self, names: Names<'_>, over: Over<'_>, limit: Duration) -> Result<Stats, Error> {
        let series = self.series(names, over, limit).await?;
        if series.is_empty() {
            return Ok(Stats::default());
        }
        let by = label_names(&series);
        let by: Vec<&str> = by.into_iter().collect();
        let (entries, bytes) = tokio::try_join!(
            self.figure(names, Figure::Entries, over, &by, limit),
            self.figure(names, Figure::Bytes, over, &[], limit),
        )?;
        let mut stats = Stats {
            bytes: total(&bytes),
            streams: entries.len() as u64,
            ..Stats::default()
        };
        for (labels, count) in &entries {
            let count = whole(*count);
            stats.entries += count;
            if let Some(level) = labels.get("level") {
                *stats.by_level.entry(level.clone()).or_default() += count;
            }
        }
        stats.top_labels = top_labels(entries.iter().map(|(labels, _)| labels));
        Ok(stats)
    }

    async fn read_stats(
        &self,
        names: Names<'_>,
        query: &str,
        window: Window,
        limit: Duration,
    ) -> Result<Stats, Error> {
        let logs = Logs {
            query,
            window,
            count: MAX_ENTRIES,
            forward: false,
        };
        let (records, _) = self.logs(names, logs, limit).await?;
        let mut stats = Stats::default();
        let mut streams = BTreeMap::new();
        for record in &records {
            stats.entries += 1;
            stats.bytes += record.line.len() as u64;
            if let Some(level) = record.labels.get("level") {
                *stats.by_level.entry(level.clone()).or_default() += 1;
            }
            streams.insert(record.stream.id.as_str(), &*record.stream.labels);
        }
        stats.streams = streams.len() as u64;
        stats.top_labels = top_labels(streams.into_values());
        Ok(stats)
    }

    /// Everything that the tenant has written in a time.
    pub(crate) async fn totals(
        &self,
        names: Names<'_>,
        window: Window,
        limit: Duration,
    ) -> Result<Totals, Error> {
        let all = Selector::all();
        let over = Over {
            selector: &all,
            window,
            asked: Asked::Built,
        };
        let by = ["service", "level"];
        let (series, entries, bytes, rate) = tokio::try_join!(
            self.series(names, over, limit),
            self.figure(names, Figure::Entries, over, &by, limit),
            self.figure(names, Figure::Bytes, over, &[], limit),
            self.rates(names, &all, window, limit),
        )?;
        let mut totals = Totals {
            bytes: total(&bytes),
            streams: series.len() as u64,
            rate,
            retention_days: self.retention_days(names, limit).await,
            ..Totals::default()
        };
        for (mut labels, count) in entries {
            let count = whole(count);
            totals.entries += count;
            for (label, into) in [
                ("service", &mut totals.by_service),
                ("level", &mut totals.by_level),
            ] {
                if let Some(value) = labels.remove(label) {
                    *into.entry(value).or_default() += count;
                }
            }
        }
        Ok(totals)
    }

    /// Bytes per second over a time, in about a hundred points.
    async fn rates(
        &self,
        names: Names<'_>,
        selector: &Selector,
        window: Window,
        limit: Duration,
    ) -> Result<Vec<(i64, f64)>, Error> {
        let step = (window.length() / RATES / SECOND).max(1);
        let query = figure(Figure::BytesPerSecond, selector, step * SECOND, &[]);
        let (start, end) = Window {
            start: window.start + step * SECOND,
            end: window.end.max(window.start + 2 * step * SECOND),
        }
        .texts();
        let step = step.to_string();
        let parameters = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", &step),
        ];
        let answer: Wrapped<Found> = self
            .http
            .ask(names, "query_range", &parameters, Asked::Built, limit)
            .await?;
        let figures = answer.data.figures()?;
        Ok(figures
            .into_iter()
            .next()
            .map(|all| all.values)
            .unwrap_or_default())
    }

    /// What the tenant has written today, in UTC, and in all, by the index: no line is read for it.
    pub(crate) async fn usage(&self, names: Names<'_>, limit: Duration) -> Result<Usage, Error> {
        let month = Window::last(MAX_WINDOW);
        let today = Window {
            start: month.end - month.end % DAY,
            end: month.end,
        };
        let (today, stored) = tokio::try_join!(
            self.indexed_bytes(names, today, limit),
            self.indexed_bytes(names, month, limit),
        )?;
        Ok(Usage {
            today,
            stored,
            retention_days: self.retention_days(names, limit).await,
        })
    }

    async fn indexed_bytes(&self, names: Names<'_>, window: Window, limit: Duration) -> Result<u64, Error> {
        let (start, end) = window.texts();
        let query = Selector::all().to_string();
        let parameters = [("query", query.as_str()), ("start", &start), ("end", &end)];
        let answer: Wrapped<Found> = self
            .http
            .ask(names, "index/volume", &parameters, Asked::Built, limit)
            .await?;
        let volumes = answer.data.figures()?.into_iter();
        let volumes = volumes.flat_map(|volume| volume.values);
        Ok(volumes.map(|(_, bytes)| whole(bytes)).sum())
    }

    /// Days for which Loki keeps entries; 0 for ever, or if it does not say.
    async fn retention_days(&self, names: Names<'_>, limit: Duration) -> i32 {
        let known = *self.retention.lock();
        if let Some((at, days)) = known
            && at.elapsed() < FRESH
        {
            return days;
        }
        let Ok((status, text)) = self.http.text(names, "/config/tenant/v1/limits", limit).await else {
            return 0;
        };
        let days = if status.is_success() {
            retention_days(&text)
        } else {
            0
        };
        *self.retention.lock() = Some((Instant::now(), days));
        days
    }
}

/// Names of labels that any of them has.
pub(super) fn label_names(series: &[Labels]) -> BTreeSet<&str> {
    let names = series.iter().flat_map(Labels::keys);
    names.map(String::as_str).collect()
}

/// The sum.
pub(super) fn total(figures: &[(Labels, f64)]) -> u64 {
    figures.iter().map(|(_, figure)| whole(*figure)).sum()
}

/// A count, which Loki gives as a number with a fraction.
pub(super) fn whole(figure: f64) -> u64 {
    figure.max(0.0) as u64
}

/// Names of the labels with the most values.
fn top_labels<'a>(series: impl Iterator<Item = &'a Labels>) -> Vec<String> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.flatten() {
        values.entry(name).or_default().insert(value);
    }
    let mut names: Vec<_> = values
        .into_iter()
        .map(|(name, values)| (std::cmp::Reverse(values.len()), name))
        .collect();
    names.sort_unstable();
    names
        .into_iter()
        .take(TOP_LABELS)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Of `retention_period: 4w3d` among the limits.
fn retention_days(limits: &str) -> i32 {
    let value = limits
        .lines()
        .find_map(|line| line.strip_prefix("retention_period:"))
        .map(|value| value.trim().trim_matches('"'));
    let seconds = value.and_then(seconds).unwrap_or_default();
    i32::try_from(seconds / (24 * 3600)).unwrap_or(i32::MAX)
}

/// Of `4w3d`, `744h0m0s`.
fn seconds(duration: &str) -> Option<u64> {
    let mut rest = duration;
    let mut all: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "y" => 365 * 24 * 3600,
            "w" => 7 * 24 * 3600,
            "d" => 24 * 3600,
            "h" => 3600,
            "m" => 60,
            "s" => 1,
            "ms" => 0,
            _ => return None,
        };
        all = all.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[end..];
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_read() {
        for (text, days) in [
            ("a: 1\nretention_period: 31d\n", 31),
            ("retention_period: 744h\n", 31),
            ("retention_period: 744h0m0s\n", 31),
            ("retention_period: 4w3d\n", 31),
            ("retention_period: 0s\n", 0),
            ("retention_period: x\n", 0),
            ("  retention_period: 1d\n", 0),
            ("", 0),
        ] {
            assert_eq!(retention_days(text), days, "{text:?}");
        }
    }

    #[test]
    fn labels_with_the_most_values_come_first() {
        let series: Vec<Labels> = ["x", "y", "z"]
            .map(|value| {
                [("a", "same"), ("b", value)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into()
            })
            .into();
        assert_eq!(top_labels(series.iter()), ["b", "a"]);
    }
}
