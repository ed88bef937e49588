//! Messages on their way to NATS.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use async_nats::{
    HeaderMap, HeaderName, HeaderValue, Message, Subject,
    header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID},
    jetstream::publish::PublishAck,
    message::OutboundMessage,
};
use isa_proto::Bytes;

use super::{Error, Nats, error::Thing, link::parse, stats::Counters};
use crate::nats::names::Names;

/// Headers that a message may have.
const MAX_HEADERS: usize = 64;

/// Longest `message_id`, in bytes.
const MAX_MESSAGE_ID: usize = 1024;

/// The server sends what these say to any subject, also another tenant's.
const TRACE_HEADERS: &str = "nats-trace-";

/// A message as the tenant sends it.
pub(crate) struct Outgoing<'a> {
    pub(crate) subject: &'a str,
    pub(crate) data: Bytes,
    pub(crate) headers: &'a BTreeMap<String, String>,
    /// Empty if no reply is wanted.
    pub(crate) reply_to: &'a str,
}

/// Where a stream put a message.
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    /// It was there already.
    pub(crate) duplicate: bool,
}

impl Nats {
    /// Answers when NATS has the message.
    pub(crate) async fn publish(
        &self,
        names: Names<'_>,
        message: Outgoing<'_>,
        limit: Duration,
    ) -> Result<(), Error> {
        let counters = self.traffic.of(names);
        self.send(names, message, &counters).await?;
        self.work.settle(limit).await
    }

    /// Sends all that can be sent, in order, and answers when NATS has them: for each that did not go its index and why.
    pub(crate) async fn publish_batch(
        &self,
        names: Names<'_>,
        messages: Vec<Outgoing<'_>>,
        limit: Duration,
    ) -> Result<Vec<(usize, Error)>, Error> {
        let counters = self.traffic.of(names);
        let mut failed = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            match self.send(names, message, &counters).await {
                Ok(()) => {}
                // The rest would fail likewise.
                Err(down @ Error::Down(_)) => return Err(down),
                Err(error) => failed.push((index, error)),
            }
        }
        self.work.settle(limit).await?;
        Ok(failed)
    }

    async fn send(&self, names: Names<'_>, message: Outgoing<'_>, counters: &Counters) -> Result<(), Error> {
        let subject = names.subject("subject", message.subject)?;
        let reply = match message.reply_to {
            "" => None,
            reply_to => Some(Subject::from(names.subject("reply_to", reply_to)?)),
        };
        let headers = headers(message.headers)?;
        let bytes = message.data.len();
        self.work
            .send(OutboundMessage {
                subject: subject.into(),
                reply,
                payload: message.data,
                headers,
            })
            .await?;
        counters.came_in(bytes);
        Ok(())
    }

    /// Sends, and waits for the first reply. `NoResponders` at once if nobody listens.
    pub(crate) async fn request(
        &self,
        names: Names<'_>,
        subject: &str,
        data: Bytes,
        limit: Duration,
    ) -> Result<Message, Error> {
        let subject = names.subject("subject", subject)?;
        let counters = self.traffic.of(names);
        counters.came_in(data.len());
        let reply = self.work.ask(subject, None, data, Some(names), limit).await?;
        counters.went_out(reply.payload.len());
        Ok(reply)
    }

    /// Answers when the stream has the message on disk.
    pub(crate) async fn publish_to_stream(
        &self,
        names: Names<'_>,
        stream: &str,
        message: Outgoing<'_>,
        message_id: &str,
        limit: Duration,
    ) -> Result<Stored, Error> {
        let full = names.stream("stream_name", stream)?;
        let subject = names.subject("subject", message.subject)?;
        let mut headers = headers(message.headers)?.unwrap_or_default();
        if let Some(expected) = headers.get(NATS_EXPECTED_STREAM)
            && expected.as_str() != stream
        {
            return Err(Error::Precondition(format!(
                "the header Nats-Expected-Stream names another stream than {stream:?}"
            )));
        }
        headers.insert(NATS_EXPECTED_STREAM, full.as_str());
        if !message_id.is_empty() {
            if message_id.len() > MAX_MESSAGE_ID {
                return Err(Error::invalid("message_id", "has more than 1024 bytes"));
            }
            let value = HeaderValue::from_str(message_id)
                .map_err(|_| Error::invalid("message_id", "has a line break"))?;
            headers.insert(NATS_MESSAGE_ID, value);
        }
        let bytes = message.data.len();
        let stored = self
            .store(subject, Some(headers), message.data, Thing::Stream(stream), limit)
            .await;
        let acknowledged = match stored {
            Err(Error::NoResponders) => {
                // No stream has the subject: perhaps there is no such stream at all.
                self.stream_info(&full, Thing::Stream(stream), limit).await?;
                Err(Error::Precondition(format!(
                    "the subject is not one of stream {stream:?}"
                )))
            }
            Err(Error::Precondition(why)) => {
                self.stream_info(&full, Thing::Stream(stream), limit).await?;
                Err(Error::Precondition(why))
            }
            stored => stored,
        }?;
        self.traffic.of(names).came_in(bytes);
        Ok(Stored {
            sequence: acknowledged.sequence,
            duplicate: acknowledged.duplicate,
        })
    }

    /// Publishes to whatever stream has the subject, and waits for its acknowledgement. `NoResponders` if none has.
    pub(super) async fn store(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        thing: Thing<'_>,
        limit: Duration,
    ) -> Result<PublishAck, Error> {
        let answer = self.work.ask(subject, headers, payload, None, limit).await?;
        parse(&answer.payload).map_err(|error| error.about(&thing))
    }
}

/// A tenant's headers for NATS; `None` if there are none.
pub(super) fn headers(given: &BTreeMap<String, String>) -> Result<Option<HeaderMap>, Error> {
    const FIELD: &str = "headers";
    if given.is_empty() {
        return Ok(None);
    }
    if given.len() > MAX_HEADERS {
        return Err(Error::invalid(
            FIELD,
            format!("has {} entries, and may have {MAX_HEADERS}", given.len()),
        ));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
            return Err(Error::invalid(
                FIELD,
                "has a name that is not of printable ASCII without spaces and :",
            ));
        }
        let begins = name.get(..TRACE_HEADERS.len());
        if begins.is_some_and(|begins| begins.eq_ignore_ascii_case(TRACE_HEADERS)) {
            return Err(Error::invalid(
                FIELD,
                "has Nats-Trace-, which the server keeps to itself",
            ));
        }
        let name = HeaderName::from_str(name)
            .map_err(|_| Error::invalid(FIELD, "has a name that NATS does not take"))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| Error::invalid(FIELD, format!("has a line break in {name}")))?;
        headers.insert(name, value);
    }
    Ok(Some(headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, value: &str) -> Result<Option<HeaderMap>, Error> {
        headers(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn headers_are_checked() {
        assert!(one("X-Id", "größe: 1").is_ok());
        for name in ["", "a b", "a:b", "ä", "Nats-Trace-Dest", "nats-trace-only"] {
            assert!(one(name, "x").is_err(), "{name:?}");
        }
        assert!(one("X", "a\r\nNats-Trace-Dest: t.x").is_err());
        let many = (0..=MAX_HEADERS)
            .map(|n| (format!("h{n}"), String::new()))
            .collect();
        assert!(headers(&many).is_err());
    }
}
