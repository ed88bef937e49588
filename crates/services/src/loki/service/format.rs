//! How exported entries are written.

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;

use super::answer::Record;
use crate::loki::names::Labels;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One array over all pieces together.
    Json,
    JsonLines,
    /// RFC 4180, with a header line.
    Csv,
    Text,
}

/// Writes entries one after another, in pieces.
pub(super) struct Writer {
    format: Format,
    out: Vec<u8>,
    has_begun: bool,
}

#[derive(Serialize)]
struct Object<'a> {
    timestamp: &'a str,
    labels: &'a Labels,
    line: &'a str,
}

impl Writer {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            out: Vec::new(),
            has_begun: false,
        }
    }

    /// Bytes that were written and not taken.
    pub(super) fn size(&self) -> usize {
        self.out.len()
    }

    pub(super) fn write(&mut self, record: &Record) {
        let at = DateTime::from_timestamp_nanos(record.at).to_rfc3339_opts(SecondsFormat::Nanos, true);
        let object = Object {
            timestamp: &at,
            labels: &record.labels,
            line: &record.line,
        };
        match self.format {
            Format::Json => {
                self.out
                    .extend_from_slice(if self.has_begun { b",\n" } else { b"[" });
                json(&mut self.out, &object);
            }
            Format::JsonLines => {
                json(&mut self.out, &object);
                self.out.push(b'\n');
            }
            Format::Csv => {
                self.header();
                self.out.extend_from_slice(at.as_bytes());
                self.out.push(b',');
                field(&mut self.out, record.line.as_bytes());
                self.out.push(b',');
                let mut labels = Vec::new();
                json(&mut labels, &record.labels.as_ref());
                field(&mut self.out, &labels);
                self.out.extend_from_slice(b"\r\n");
            }
            Format::Text => {
                self.out.extend_from_slice(at.as_bytes());
                self.out.push(b' ');
                self.out.extend_from_slice(record.line.as_bytes());
                self.out.push(b'\n');
            }
        }
        self.has_begun = true;
    }

    fn header(&mut self) {
        if !self.has_begun {
            self.out.extend_from_slice(b"timestamp,line,labels\r\n");
        }
    }

    /// What was written since the last piece.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The last piece.
    pub(super) fn finish(mut self) -> Vec<u8> {
        match self.format {
            Format::Json if self.has_begun => self.out.extend_from_slice(b"]\n"),
            Format::Json => self.out.extend_from_slice(b"[]\n"),
            Format::Csv => self.header(),
            Format::JsonLines | Format::Text => {}
        }
        self.out
    }
}

/// Texts and maps of texts are always JSON.
fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    let _ = serde_json::to_writer(out, value);
}

/// A field of CSV, in quotes where it needs them.
fn field(out: &mut Vec<u8>, text: &[u8]) {
    if !text.iter().any(|byte| b"\",\r\n".contains(byte)) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::loki::service::Origin;

    fn record(line: &str) -> Record {
        let labels = Arc::new(Labels::from([("a".to_owned(), "b,\"c\"".to_owned())]));
        Record {
            at: 1_700_000_000_000_000_001,
            line: line.to_owned(),
            labels: Arc::clone(&labels),
            stream: Arc::new(Origin {
                id: String::new(),
                labels,
            }),
        }
    }

    fn written(format: Format, lines: &[&str]) -> String {
        let mut writer = Writer::new(format);
        let mut all = Vec::new();
        for line in lines {
            writer.write(&record(line));
            all.extend(writer.take());
        }
        all.extend(writer.finish());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn each_format_is_itself() {
        let at = "2023-11-14T22:13:20.000000001Z";
        let object =
            |line: &str| format!(r#"{{"timestamp":"{at}","labels":{{"a":"b,\"c\""}},"line":"{line}"}}"#);
        let lines = ["x", "y \"z\""];
        let (first, second) = (object("x"), object("y \\\"z\\\""));
        assert_eq!(written(Format::Json, &lines), format!("[{first},\n{second}]\n"));
        assert_eq!(written(Format::JsonLines, &lines), format!("{first}\n{second}\n"));
        assert_eq!(
            written(Format::Csv, &lines),
            format!(
                "timestamp,line,labels\r\n{at},x,\"{{\"\"a\"\":\"\"b,\\\"\"c\\\"\"\"\"}}\"\r\n{at},\"y \"\"z\"\"\",\
                 \"{{\"\"a\"\":\"\"b,\\\"\"c\\\"\"\"\"}}\"\r\n"
            )
        );
        assert_eq!(written(Format::Text, &lines), format!("{at} x\n{at} y \"z\"\n"));
        assert_eq!(written(Format::Json, &[]), "[]\n");
        assert_eq!(written(Format::Csv, &[]), "timestamp,line,labels\r\n");
        assert_eq!(written(Format::Text, &[]), "");
    }
}
