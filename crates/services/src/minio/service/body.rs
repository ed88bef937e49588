//! Bodies of uploads, of the pieces that the caller sends: kept as they came, not copied together.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use futures::{Stream, StreamExt};
use http_body::{Body, Frame, SizeHint};
use isa_proto::Bytes;
use tokio::sync::mpsc;

use super::error::{StoreError, invalid};

/// Below this a piece is copied to its neighbours: the memory that each holds would be many times its bytes.
const SMALL: usize = 16 << 10;

/// Of small pieces, as many as this become one.
const TOGETHER: usize = 64 << 10;

/// What the caller sends, in pieces of any size, checked against the length that it announced.
pub(super) struct Pieces<S> {
    source: S,
    rest: Bytes,
    received: u64,
    /// The field of the length, and the length.
    announced: Option<(&'static str, u64)>,
    most: u64,
}

impl<S> Pieces<S>
where
    S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin,
{
    /// `most` is the largest length there may be at all.
    pub(super) fn new(source: S, announced: Option<(&'static str, u64)>, most: u64) -> Self {
        Self {
            source,
            rest: Bytes::new(),
            received: 0,
            announced,
            most,
        }
    }

    /// All that came, when it has ended.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether nothing follows.
    pub(super) async fn ended(&mut self) -> Result<bool, StoreError> {
        while self.rest.is_empty() {
            let Some(piece) = self.source.next().await else {
                return match self.announced {
                    Some((field, length)) if length != self.received => Err(self.mismatch(field, length)),
                    _ => Ok(true),
                };
            };
            self.rest = piece?;
            self.received += self.rest.len() as u64;
            match self.announced {
                Some((field, length)) if self.received > length => return Err(self.mismatch(field, length)),
                _ if self.received > self.most => {
                    return Err(invalid(
                        "chunk",
                        format_args!("more than {} bytes came", self.most),
                    ));
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn mismatch(&self, field: &'static str, length: u64) -> StoreError {
        let came = self.received;
        let than = if came > length { "or more " } else { "" };
        invalid(
            field,
            format_args!("is {length}, and {came} bytes {than}came; nothing was written"),
        )
    }

    /// The next piece, of `most` bytes at most; `None` at the end.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<Bytes>, StoreError> {
        if self.ended().await? {
            return Ok(None);
        }
        let length = most.min(self.rest.len());
        Ok(Some(self.rest.split_to(length)))
    }

    /// As much as there is, up to `length`.
    pub(super) async fn gather(&mut self, length: usize) -> Result<Gathered, StoreError> {
        let mut gathered = Gathered::default();
        while gathered.length < length {
            match self.next(length - gathered.length).await? {
                Some(piece) => gathered.push(piece),
                None => break,
            }
        }
        gathered.settle();
        Ok(gathered)
    }
}

/// Pieces that are sent as one body, more than once if need be.
#[derive(Default)]
pub(super) struct Gathered {
    pieces: Vec<Bytes>,
    small: Vec<u8>,
    length: usize,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() >= SMALL {
            self.settle();
            self.pieces.push(piece);
            return;
        }
        self.small.extend_from_slice(&piece);
        if self.small.len() >= TOGETHER {
            self.settle();
        }
    }

    fn settle(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).into());
        }
    }

    /// Both, one after the other.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.pieces.extend(other.pieces);
        self.length += other.length;
        self
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    pub(super) fn into_body(self) -> ByteStream {
        if self.length == 0 {
            return ByteStream::from_static(b"");
        }
        let length = self.length as u64;
        let pieces: Arc<[Bytes]> = self.pieces.into();
        ByteStream::new(SdkBody::retryable(move || {
            SdkBody::from_body_1_x(Whole {
                pieces: Arc::clone(&pieces),
                next: 0,
                left: length,
            })
        }))
    }
}

struct Whole {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        self.next += 1;
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.pieces.len()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body of `length` bytes that are sent while they come. One that ends early breaks the request off.
pub(super) fn piped(length: u64) -> (mpsc::Sender<Bytes>, ByteStream) {
    let (sender, pieces) = mpsc::channel(1);
    let body = SdkBody::from_body_1_x(Piped { pieces, left: length });
    (sender, ByteStream::new(body))
}

struct Piped {
    pieces: mpsc::Receiver<Bytes>,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the caller's stream broke off")]
struct BrokeOff;

impl Body for Piped {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let Some(piece) = ready!(self.pieces.poll_recv(cx)) else {
            self.left = 0;
            return Poll::Ready(Some(Err(BrokeOff)));
        };
        self.left = self.left.saturating_sub(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    fn pieces(
        sizes: &[usize],
        announced: Option<u64>,
    ) -> Pieces<impl Stream<Item = Result<Bytes, isa_server::Error>> + Unpin> {
        let sent: Vec<_> = sizes
            .iter()
            .map(|size| Ok(Bytes::from(vec![7_u8; *size])))
            .collect();
        Pieces::new(
            stream::iter(sent),
            announced.map(|length| ("content_length", length)),
            1 << 30,
        )
    }

    #[tokio::test]
    async fn pieces_are_gathered_up_to_a_length_and_come_out_whole() {
        let mut source = pieces(&[10, 0, 100_000, 3, 3], Some(100_016));
        let first = source.gather(50_000).await.unwrap();
        assert_eq!(first.length(), 50_000);
        let second = source.gather(1 << 20).await.unwrap();
        assert_eq!((second.length(), source.ended().await.unwrap()), (50_016, true));
        let body = first.and(second).into_body();
        assert_eq!(body.collect().await.unwrap().into_bytes().len(), 100_016);
    }

    #[tokio::test]
    async fn a_length_that_is_not_the_announced_one_is_refused() {
        for (announced, says) in [(5, "or more"), (30, "is 30, and 20 bytes came")] {
            let error = pieces(&[10, 10], Some(announced))
                .gather(100)
                .await
                .err()
                .unwrap();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn many_tiny_pieces_become_few() {
        let gathered = pieces(&[1; 100_000], None).gather(1 << 20).await.unwrap();
        assert_eq!((gathered.length(), gathered.pieces.len()), (100_000, 2));
    }

    #[tokio::test]
    async fn a_piped_body_that_ends_early_is_an_error() {
        let (sender, mut body) = piped(10);
        sender.send(Bytes::from_static(b"12345")).await.unwrap();
        drop(sender);
        assert_eq!(body.try_next().await.unwrap().unwrap().len(), 5);
        assert!(body.try_next().await.is_err());
    }
}
