//! Loki's answers, as far as they are read.

use std::{fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};

use super::Error;
use crate::loki::names::{EVERY_STREAM, Labels, Names};

/// What every answer is wrapped in. Lists that are empty may be absent.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de> + Default")]
pub(super) struct Wrapped<T> {
    #[serde(default)]
    pub(super) data: T,
}

/// What a query gave.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Found {
    #[serde(rename = "resultType", default)]
    pub(super) kind: Kind,
    #[serde(default)]
    result: Vec<Series>,
    #[serde(default)]
    pub(super) stats: Statistics,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Streams,
    Matrix,
    Vector,
    #[serde(other)]
    Other,
}

/// Of Loki's work.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Statistics {
    #[serde(default)]
    pub(super) summary: Summary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Summary {
    pub(crate) total_bytes_processed: u64,
    pub(crate) total_lines_processed: u64,
    /// Seconds.
    pub(crate) exec_time: f64,
}

/// A stream with its entries, or a series with its figures.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Series {
    #[serde(alias = "metric")]
    stream: Labels,
    values: Vec<Value>,
    /// Of a vector.
    value: Option<Value>,
}

/// `["1700000000000000000", "line", {…}]` or `[1700000000.123, "1.5"]`.
#[derive(Debug)]
struct Value {
    at: i64,
    text: String,
    found: InLine,
}

/// Labels of an entry that are not its stream's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct InLine {
    structured_metadata: Labels,
    parsed: Labels,
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;

        impl<'de> Visitor<'de> for Pair {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time and a text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
                let Time(at) = items
                    .next_element()?
                    .ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let text = items
                    .next_element()?
                    .ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let found = items.next_element()?.unwrap_or_default();
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value { at, text, found })
            }
        }

        deserializer.deserialize_seq(Pair)
    }
}

/// Nanoseconds since 1970: of entries as a text, of figures as seconds to the millisecond.
struct Time(i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }

            fn visit_str<E: de::Error>(self, nanoseconds: &str) -> Result<Time, E> {
                nanoseconds.parse().map(Time).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Time, E> {
                let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                Ok(Time(seconds.saturating_mul(1_000_000_000)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Time, E> {
                Ok(Time(seconds.saturating_mul(1_000_000_000)))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Time, E> {
                Ok(Time(((seconds * 1e3).round() as i64).saturating_mul(1_000_000)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// An entry as a tenant reads it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Nanoseconds since 1970.
    pub(crate) at: i64,
    pub(crate) line: String,
    /// Of its stream, and what the query found in the line.
    pub(crate) labels: Arc<Labels>,
    pub(crate) stream: Arc<Origin>,
}

/// The stream that an entry is from.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) id: String,
    pub(crate) labels: Arc<Labels>,
}

/// Figures of a series, and their times in nanoseconds since 1970.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) labels: Labels,
    pub(crate) values: Vec<(i64, f64)>,
}

/// Labels as a tenant has given them.
pub(super) fn given(mut labels: Labels) -> Labels {
    labels.remove(EVERY_STREAM.0);
    labels
}

impl Found {
    /// Entries of a log query, each stream's own in the order of the query.
    pub(super) fn records(self, names: Names<'_>) -> Vec<Record> {
        let count = self.result.iter().map(|series| series.values.len()).sum();
        let mut records = Vec::with_capacity(count);
        for series in self.result {
            records_of(names, series, &mut records);
        }
        records
    }

    /// Figures of a metric query.
    pub(super) fn figures(self) -> Result<Vec<Figures>, Error> {
        self.result
            .into_iter()
            .map(|series| {
                let values = series.values.into_iter().chain(series.value);
                let values = values.map(|value| Ok((value.at, number(&value.text)?)));
                Ok(Figures {
                    labels: given(series.stream),
                    values: values.collect::<Result<_, Error>>()?,
                })
            })
            .collect()
    }
}

fn records_of(names: Names<'_>, series: Series, into: &mut Vec<Record>) {
    let labels = Arc::new(given(series.stream));
    let stream = Arc::new(Origin {
        id: names.stream_id(&labels),
        labels: Arc::clone(&labels),
    });
    for Value { at, text, mut found } in series.values {
        // Loki's own guess, made of every line.
        found.structured_metadata.remove("detected_level");
        let labels = if found.structured_metadata.is_empty() && found.parsed.is_empty() {
            Arc::clone(&labels)
        } else {
            let mut all = Labels::clone(&labels);
            all.extend(found.structured_metadata);
            all.extend(found.parsed);
            Arc::new(given(all))
        };
        into.push(Record {
            at,
            line: text,
            labels,
            stream: Arc::clone(&stream),
        });
    }
}

/// `1.5`, `NaN`, `+Inf`.
fn number(text: &str) -> Result<f64, Error> {
    text.parse()
        .map_err(|_| Error::down(format_args!("its answer has no sense: {text:?} is no number")))
}

/// A message of a tail.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tailed {
    streams: Vec<Series>,
    dropped_entries: Option<Vec<IgnoredAny>>,
}

impl Tailed {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .map_err(|error| Error::down(format_args!("a message of its tail has no sense: {error}")))
    }

    /// Whether Loki has left some out: it sent more than was taken.
    pub(super) fn has_dropped(&self) -> bool {
        self.dropped_entries
            .as_ref()
            .is_some_and(|dropped| !dropped.is_empty())
    }

    pub(super) fn records(self, names: Names<'_>) -> Vec<Record> {
        let mut records = Vec::new();
        for series in self.streams {
            records_of(names, series, &mut records);
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    #[test]
    fn entries_are_read() {
        let answer = r#"{"status":"success","data":{"resultType":"streams","encodingFlags":["categorize-labels"],"result":[
            {"stream":{"__isa__":"1","service":"api"},"values":[
                ["1700000000000000001","a",{}],
                ["1700000000000000002","b",{"structuredMetadata":{"detected_level":"info","trace":"t"},"parsed":{"code":"500"}}]]}],
            "stats":{"summary":{"totalBytesProcessed":12,"totalLinesProcessed":2,"execTime":0.5,"queueTime":0}}}}"#;
        let answer: Wrapped<Found> = serde_json::from_str(answer).unwrap();
        assert_eq!(answer.data.kind, Kind::Streams);
        assert_eq!(answer.data.stats.summary.total_bytes_processed, 12);
        let records = answer.data.records(Names::of(SLUG));
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.at, record.line.as_str(), record.labels.len()))
            .collect();
        assert_eq!(
            seen,
            [
                (1_700_000_000_000_000_001, "a", 1),
                (1_700_000_000_000_000_002, "b", 3)
            ]
        );
        assert_eq!(records[1].labels["code"], "500");
        assert_eq!(records[0].stream.id, records[1].stream.id);
    }

    #[test]
    fn figures_are_read() {
        let answer = r#"{"data":{"resultType":"matrix","result":[{"metric":{"__isa__":"1","level":"info"},
            "values":[[1700000000,"1"],[1700000060.5,"+Inf"]]}]}}"#;
        let answer: Wrapped<Found> = serde_json::from_str(answer).unwrap();
        let figures = answer.data.figures().unwrap();
        assert_eq!(figures[0].labels.len(), 1);
        assert_eq!(
            figures[0].values,
            [
                (1_700_000_000_000_000_000, 1.0),
                (1_700_000_060_500_000_000, f64::INFINITY)
            ]
        );
        let answer =
            r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1700000000.25,"3"]}]}}"#;
        let answer: Wrapped<Found> = serde_json::from_str(answer).unwrap();
        assert_eq!(
            answer.data.figures().unwrap()[0].values,
            [(1_700_000_000_250_000_000, 3.0)]
        );
    }

    #[test]
    fn absent_lists_are_empty() {
        let answer: Wrapped<Vec<String>> = serde_json::from_str(r#"{"status":"success"}"#).unwrap();
        assert!(answer.data.is_empty());
        assert!(
            serde_json::from_str::<Wrapped<Found>>(r#"{"data":{"result":[{"values":[["x","y"]]}]}}"#)
                .is_err()
        );
        let tailed =
            Tailed::parse(r#"{"streams":[],"dropped_entries":[{"timestamp":"1","labels":{}}]}"#).unwrap();
        assert!(tailed.has_dropped());
    }
}
