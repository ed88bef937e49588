//! What Loki is pushed: its protobuf messages (`logproto.PushRequest` with one stream), in snappy's block format. Lines are
//! copied once, into the body.

use prost::encoding::{encode_varint, encoded_len_varint};
use snap::raw::Encoder;

use super::Error;

/// Nanoseconds of a second.
const SECOND: i64 = 1_000_000_000;

/// Keys of fields: the number of the field, and whether it is a number or has a length.
const FIRST_NUMBER: u8 = 0x08;
const SECOND_NUMBER: u8 = 0x10;
const FIRST_LENGTH: u8 = 0x0a;
const SECOND_LENGTH: u8 = 0x12;

/// A line and its time, in nanoseconds since 1970.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: i64,
    pub(crate) text: String,
}

impl Line {
    /// What it counts for where bytes are counted: its text, its time, and the lengths.
    pub(super) fn size(&self) -> usize {
        self.text.len() + 24
    }

    /// Seconds, and the nanoseconds after them: both as unsigned, for no line is from before 1970.
    fn time(&self) -> (u64, u64) {
        let at = self.at.max(0).unsigned_abs();
        (at / SECOND.unsigned_abs(), at % SECOND.unsigned_abs())
    }
}

/// The body of a push of lines to one stream.
pub(super) fn push_body<'a>(
    labels: &str,
    lines: impl Iterator<Item = &'a Line> + Clone,
) -> Result<Vec<u8>, Error> {
    let entries: usize = lines.clone().map(|line| delimited(entry_len(line))).sum();
    let stream = delimited(labels.len()) + entries;
    let mut body = Vec::with_capacity(delimited(stream));
    put_length(&mut body, FIRST_LENGTH, stream);
    put_length(&mut body, FIRST_LENGTH, labels.len());
    body.extend_from_slice(labels.as_bytes());
    for line in lines {
        put_length(&mut body, SECOND_LENGTH, entry_len(line));
        put_length(&mut body, FIRST_LENGTH, time_len(line));
        let (seconds, nanos) = line.time();
        body.push(FIRST_NUMBER);
        encode_varint(seconds, &mut body);
        body.push(SECOND_NUMBER);
        encode_varint(nanos, &mut body);
        put_length(&mut body, SECOND_LENGTH, line.text.len());
        body.extend_from_slice(line.text.as_bytes());
    }
    Encoder::new().compress_vec(&body).map_err(Error::unexpected)
}

fn put_length(body: &mut Vec<u8>, key: u8, length: usize) {
    body.push(key);
    encode_varint(length as u64, body);
}

/// Of a field with a length: its key, the length, and what it has.
fn delimited(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn time_len(line: &Line) -> usize {
    let (seconds, nanos) = line.time();
    2 + encoded_len_varint(seconds) + encoded_len_varint(nanos)
}

fn entry_len(line: &Line) -> usize {
    delimited(time_len(line)) + delimited(line.text.len())
}

#[cfg(test)]
mod tests {
    use isa_proto::prost_types::Timestamp;
    use prost::Message;

    use super::*;

    #[derive(Clone, PartialEq, Message)]
    struct PushRequest {
        #[prost(message, repeated, tag = "1")]
        streams: Vec<Stream>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Stream {
        #[prost(string, tag = "1")]
        labels: String,
        #[prost(message, repeated, tag = "2")]
        entries: Vec<Entry>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Entry {
        #[prost(message, optional, tag = "1")]
        timestamp: Option<Timestamp>,
        #[prost(string, tag = "2")]
        line: String,
    }

    #[test]
    fn a_body_is_the_message_that_loki_knows() {
        let lines: Vec<Line> = [
            (0, String::new()),
            (1_700_000_000_123_456_789, "größe".to_owned()),
            (1_700_000_001_000_000_000, "x".repeat(300_000)),
        ]
        .map(|(at, text)| Line { at, text })
        .into();
        let body = push_body("{a=\"b\"}", lines.iter()).unwrap();
        let plain = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let request = PushRequest::decode(plain.as_slice()).unwrap();
        assert_eq!(request.streams.len(), 1);
        assert_eq!(request.streams[0].labels, "{a=\"b\"}");
        let found: Vec<_> = request.streams[0]
            .entries
            .iter()
            .map(|entry| {
                let at = entry.timestamp.unwrap();
                (at.seconds * SECOND + i64::from(at.nanos), entry.line.clone())
            })
            .collect();
        let sent: Vec<_> = lines.into_iter().map(|line| (line.at, line.text)).collect();
        assert_eq!(found, sent);
    }
}
