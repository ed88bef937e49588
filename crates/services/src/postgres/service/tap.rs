//! Answers the driver's own questions about types from views that show a tenant its own.
//!
//! The driver learns of types that are not PostgreSQL's own (enums, `vector`) by three statements on `pg_catalog`, on the
//! connection that asks. Tenants may not read that: it names the tables of everybody. So these three statements,
//! and nothing else, are sent on with `isa_lookup` in place of `pg_catalog`, which has views of the same columns that
//! each role reads as far as it may use the schema behind them (see `harden.sql`).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

const CATALOG: &[u8] = b"pg_catalog";
/// As long as the other, so that the length of the message stays right.
const LOOKUP: &[u8] = b"isa_lookup";

/// How the three statements begin.
const LOOKUPS: [&[u8]; 3] = [
    b"SELECT t.typname, t.typtype, t.typelem",
    b"SELECT enumlabel\nFROM pg_catalog.pg_enum",
    b"SELECT attname, atttypid\nFROM pg_catalog.pg_attribute",
];

/// A connection whose outgoing messages are looked at.
pub(super) struct Tap<S> {
    inner: S,
    /// What is left of the message that is being sent; `None` before the first, which has no tag.
    rest: Option<usize>,
    /// A message that was taken and changed, and how much of it is sent.
    changed: Vec<u8>,
    sent: usize,
}

impl<S> Tap<S> {
    pub(super) fn new(inner: S) -> Self {
        Self {
            inner,
            rest: None,
            changed: Vec::new(),
            sent: 0,
        }
    }

    /// How many bytes at the front of `buffer` are not those of a lookup; the driver hands over whole messages.
    fn plain(&self, buffer: &[u8]) -> usize {
        let mut at = self.rest.unwrap_or_else(|| first_length(buffer));
        while at < buffer.len() {
            let message = &buffer[at..];
            if is_lookup(message) {
                return at;
            }
            at += length(message);
        }
        buffer.len()
    }

    /// Remembers where the message ends that was sent in part.
    fn note(&mut self, sent: &[u8], buffer: &[u8]) {
        let mut end = self.rest.unwrap_or_else(|| first_length(buffer));
        while end < sent.len() {
            end += length(&buffer[end..]);
        }
        self.rest = Some(end - sent.len());
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.changed.len() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.changed[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.changed.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Of the message that opens the connection.
fn first_length(buffer: &[u8]) -> usize {
    buffer
        .first_chunk::<4>()
        .map_or_else(|| buffer.len(), |length| u32::from_be_bytes(*length) as usize)
}

/// Of any other, its tag included.
fn length(message: &[u8]) -> usize {
    match message.get(1..).and_then(<[u8]>::first_chunk::<4>) {
        Some(length) => u32::from_be_bytes(*length) as usize + 1,
        None => message.len().max(1),
    }
}

/// Whether it is Parse with one of the three.
fn is_lookup(message: &[u8]) -> bool {
    if message.first() != Some(&b'P') {
        return false;
    }
    let body = message.get(5..).unwrap_or_default();
    let name = body.iter().position(|byte| *byte == 0);
    name.is_some_and(|end| LOOKUPS.iter().any(|lookup| body[end + 1..].starts_with(lookup)))
}

fn changed(message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let mut at = 0;
    while at + CATALOG.len() <= message.len() {
        if &message[at..at + CATALOG.len()] == CATALOG {
            message[at..at + CATALOG.len()].copy_from_slice(LOOKUP);
        }
        at += 1;
    }
    message
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_changed(cx))?;
        let plain = self.plain(buffer);
        if plain > 0 || buffer.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &buffer[..plain]))?;
            self.note(&buffer[..written], buffer);
            return Poll::Ready(Ok(written));
        }
        let end = length(buffer).min(buffer.len());
        self.changed = changed(&buffer[..end]);
        self.rest = Some(0);
        // It is taken; what does not go out now does with the next write or flush.
        if let Poll::Ready(Err(error)) = self.poll_changed(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(end))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_changed(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_changed(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// TLS with the tap on its inner side, where messages can be read.
pub(super) struct TapTls<T>(pub(super) T);

impl<S, T> TlsConnect<S> for TapTls<T>
where
    T: TlsConnect<S>,
    T::Stream: Unpin,
    T::Future: Send + 'static,
{
    type Stream = Tap<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, T::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let connecting = self.0.connect(stream);
        Box::pin(async move { connecting.await.map(Tap::new) })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Takes a few bytes at a time, as a full socket does.
    struct Slow(Vec<u8>, usize);

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = buffer.len().min(self.1);
            self.0.extend_from_slice(&buffer[..taken]);
            Poll::Ready(Ok(taken))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], &length[..], body].concat()
    }

    #[tokio::test]
    async fn only_the_lookups_are_changed() {
        let startup = [&12_u32.to_be_bytes()[..], b"\0\x03\0\0user"].concat();
        let lookup = message(b'P', b"s0\0SELECT enumlabel\nFROM pg_catalog.pg_enum\0\0\0");
        let query = message(
            b'P',
            b"s1\0SELECT 'SELECT enumlabel' FROM pg_catalog.pg_enum\0\0\0",
        );
        let simple = message(b'Q', b"SELECT enumlabel\nFROM pg_catalog.pg_enum\0");
        let sync = message(b'S', b"");
        let all = [&query[..], &sync, &lookup, &sync, &simple, &lookup].concat();
        for step in [1, 3, 7, 1000] {
            let mut tap = Tap::new(Slow(Vec::new(), step));
            tap.write_all(&startup).await.unwrap();
            tap.write_all(&all).await.unwrap();
            tap.flush().await.unwrap();
            let there = message(b'P', b"s0\0SELECT enumlabel\nFROM isa_lookup.pg_enum\0\0\0");
            let expected = [&startup[..], &query, &sync, &there, &sync, &simple, &there].concat();
            assert_eq!(tap.inner.0, expected, "{step} bytes at a time");
        }
    }
}
