//! Writing objects, whole or in parts. What the caller sends is held for two parts at most, and an upload that does
//! not come to its end is taken back.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use aws_sdk_s3::{
    Client,
    types::{CompletedMultipartUpload, CompletedPart, StorageClass},
};
use futures::{
    Stream,
    future::{Either, select},
};
use isa_proto::Bytes;
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};

use super::{
    At, Metadata, PAUSE, Store,
    body::{Gathered, Pieces, piped},
    error::{Missing, StoreError, invalid},
    etag, patiently, version,
};

/// Of an object, of S3.
const MAX_OBJECT: u64 = 5 << 40;

/// Of a part, of S3.
const MAX_PART: u64 = 5 << 30;

/// Of all parts but the last, of S3.
const MIN_PART: i64 = 5 << 20;

/// Parts of an upload, of S3.
const MAX_PARTS: u32 = 10_000;

/// Of a part that is held in memory: one is filled while another is sent.
const PART: usize = 8 << 20;

/// Up to here an object is written at once; and a part is held whose size was not announced.
const HELD: usize = 2 * PART;

/// Bytes that are handed on at a time, of a part that is not held.
const PIECE: usize = 256 << 10;

/// How often an upload is taken back, and the pause after the first time; each is twice the one before.
const ABORTS: u32 = 8;
const ABORT_PAUSE: Duration = Duration::from_millis(200);

/// An object to write.
pub(crate) struct NewObject {
    pub(crate) content_type: String,
    /// In bytes, if known.
    pub(crate) length: Option<u64>,
    pub(crate) metadata: Metadata,
    pub(crate) class: Option<String>,
}

/// An object that was written.
pub(crate) struct Written {
    pub(crate) etag: String,
    pub(crate) version: String,
    pub(crate) size: u64,
}

/// A part of an upload, as the caller names it.
pub(crate) struct Part {
    pub(crate) number: i32,
    pub(crate) etag: String,
}

/// An upload at the engine, which is taken back when this is dropped.
pub(super) struct Upload {
    client: Client,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) id: String,
    kept: bool,
}

impl Upload {
    /// It is completed, or the caller's own business.
    pub(super) fn keep(mut self) -> String {
        self.kept = true;
        std::mem::take(&mut self.id)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let abort = self.client.abort_multipart_upload();
        let abort = abort.bucket(&self.bucket).key(&self.key).upload_id(&self.id);
        let bucket = self.bucket.clone();
        runtime.spawn(async move {
            let mut pause = ABORT_PAUSE;
            for _ in 0..ABORTS {
                match abort.clone().send().await.map_err(StoreError::from) {
                    Ok(_) | Err(StoreError::Missing(_)) => return,
                    Err(_) => sleep(pause).await,
                }
                pause *= 2;
            }
            tracing::warn!(%bucket, "an upload that broke off could not be taken back; the engine drops it in time");
        });
    }
}

impl Store {
    pub(crate) async fn put<S>(&self, at: At<'_>, new: NewObject, source: S) -> Result<Written, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        if new.length.is_some_and(|length| length > MAX_OBJECT) {
            return Err(invalid(
                "content_length",
                "is more than the 5 TiB that an object may have",
            ));
        }
        let mut pieces = Pieces::new(
            source,
            new.length.map(|length| ("content_length", length)),
            MAX_OBJECT,
        );
        self.before_writing(at.bucket).await?;
        let written = Box::pin(self.put_pieces(at, new, &mut pieces)).await;
        let written = self.blame(at.bucket, written).await?;
        self.usages.changed(at.bucket.engine());
        Ok(written)
    }

    async fn put_pieces<S>(
        &self,
        at: At<'_>,
        new: NewObject,
        pieces: &mut Pieces<S>,
    ) -> Result<Written, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        let held = PART as u64 * u64::from(MAX_PARTS);
        if let Some(length) = new.length.filter(|length| *length > held) {
            return Box::pin(self.put_piped(at, new, length, pieces)).await;
        }
        let first = pieces.gather(PART).await?;
        let second = pieces.gather(PART).await?;
        if pieces.ended().await? {
            return self.put_whole(at, new, first.and(second)).await;
        }
        Box::pin(self.put_parts(at, new, first, second, pieces)).await
    }

    async fn put_whole(&self, at: At<'_>, new: NewObject, held: Gathered) -> Result<Written, StoreError> {
        let size = held.length() as u64;
        let put = self.client.put_object().bucket(at.bucket.engine()).key(at.key);
        let answer = put
            .content_type(new.content_type)
            .set_metadata(new.metadata.into_headers())
            .set_storage_class(new.class.as_deref().map(StorageClass::from))
            .body(held.into_body())
            .send()
            .await?;
        Ok(Written {
            etag: etag(answer.e_tag()),
            version: version(answer.version_id()),
            size,
        })
    }

    async fn put_parts<S>(
        &self,
        at: At<'_>,
        new: NewObject,
        first: Gathered,
        second: Gathered,
        pieces: &mut Pieces<S>,
    ) -> Result<Written, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        let upload = self.begin(at, new).await?;
        let mut done = Vec::new();
        let (mut part, mut second) = (first, Some(second));
        while part.length() > 0 {
            let number = number(done.len())?;
            let send = self.send_part(&upload, number, part);
            // One part goes while the next one comes.
            let (etag, next) = match second.take() {
                Some(second) => (send.await?, second),
                None => futures::try_join!(send, pieces.gather(PART))?,
            };
            done.push(Part { number, etag });
            part = next;
        }
        self.finish(upload, &done, pieces.received()).await
    }

    /// Parts so large that they cannot be held: of each, the engine gets what the caller sends.
    async fn put_piped<S>(
        &self,
        at: At<'_>,
        new: NewObject,
        length: u64,
        pieces: &mut Pieces<S>,
    ) -> Result<Written, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        let upload = self.begin(at, new).await?;
        let size = length.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(1 << 20);
        let mut done = Vec::new();
        let mut left = length;
        while left > 0 {
            let number = number(done.len())?;
            let etag = self.pipe_part(
                &upload.bucket,
                &upload.key,
                &upload.id,
                number,
                left.min(size),
                pieces,
            );
            done.push(Part {
                number,
                etag: etag.await?,
            });
            left = left.saturating_sub(size);
        }
        // What is more than was announced is found here.
        pieces.ended().await?;
        self.finish(upload, &done, length).await
    }

    async fn finish(&self, upload: Upload, done: &[Part], size: u64) -> Result<Written, StoreError> {
        let (etag, version) = self.join(&upload.bucket, &upload.key, &upload.id, done).await?;
        upload.keep();
        Ok(Written { etag, version, size })
    }

    /// Begins an upload. It is known here even if the caller is gone before the engine answers.
    pub(super) async fn begin(&self, at: At<'_>, new: NewObject) -> Result<Upload, StoreError> {
        let create = self
            .once
            .create_multipart_upload()
            .bucket(at.bucket.engine())
            .key(at.key);
        let create = create
            .content_type(new.content_type)
            .set_metadata(new.metadata.into_headers())
            .set_storage_class(new.class.as_deref().map(StorageClass::from));
        let client = self.client.clone();
        let (bucket, key) = (at.bucket.engine().to_owned(), at.key.to_owned());
        let begun = tokio::spawn(async move {
            let answer = patiently(create.send()).await?;
            let id = answer
                .upload_id
                .ok_or_else(|| StoreError::down("it began an upload without an id"))?;
            Ok::<_, StoreError>(Upload {
                client,
                bucket,
                key,
                id,
                kept: false,
            })
        });
        begun.await.map_err(StoreError::internal)?
    }

    async fn send_part(&self, upload: &Upload, number: i32, held: Gathered) -> Result<String, StoreError> {
        let part = self.client.upload_part().bucket(&upload.bucket).key(&upload.key);
        let part = part
            .upload_id(&upload.id)
            .part_number(number)
            .body(held.into_body());
        Ok(etag(part.send().await?.e_tag()))
    }

    async fn pipe_part<S>(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        number: i32,
        length: u64,
        pieces: &mut Pieces<S>,
    ) -> Result<String, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        let (pipe, body) = piped(length);
        let part = self.once.upload_part().bucket(bucket).key(key).upload_id(id);
        let part = part
            .part_number(number)
            .content_length(length.cast_signed())
            .body(body);
        let send = pin!(part.send());
        let feed = pin!(async move {
            let mut left = length;
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let piece = pieces.next(most).await?;
                let piece =
                    piece.ok_or_else(|| invalid("chunk", "the stream ended before the part was whole"))?;
                left -= piece.len() as u64;
                match timeout(PAUSE, pipe.send(piece)).await {
                    Ok(Ok(())) => {}
                    // The engine has answered already: it says why.
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(StoreError::down("it takes no more of an upload")),
                }
            }
            Ok::<_, StoreError>(())
        });
        let answer = match select(feed, send).await {
            Either::Left((fed, send)) => {
                fed?;
                patiently(send).await?
            }
            Either::Right((answer, _)) => answer?,
        };
        Ok(etag(answer.e_tag()))
    }

    /// ETag and version of the object that the parts become.
    pub(super) async fn join(
        &self,
        bucket: &str,
        key: &str,
        id: &str,
        parts: &[Part],
    ) -> Result<(String, String), StoreError> {
        let part = |part: &Part| {
            let quoted = format!("\"{}\"", part.etag);
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(quoted)
                .build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.iter().map(part).collect()));
        let complete = self.once.complete_multipart_upload().bucket(bucket).key(key);
        let complete = complete.upload_id(id).multipart_upload(parts.build());
        let answer = patiently(complete.send()).await?;
        Ok((etag(answer.e_tag()), version(answer.version_id())))
    }

    /// Begins an upload that the caller continues by its id.
    pub(crate) async fn begin_upload(&self, at: At<'_>, new: NewObject) -> Result<String, StoreError> {
        self.before_writing(at.bucket).await?;
        let begun = self.begin(at, new).await;
        Ok(self.blame(at.bucket, begun).await?.keep())
    }

    /// Writes one part, of `length` bytes if that is known. Returns its ETag.
    pub(crate) async fn upload_part<S>(
        &self,
        at: At<'_>,
        id: &str,
        number: i32,
        length: Option<u64>,
        source: S,
    ) -> Result<String, StoreError>
    where
        S: Stream<Item = Result<Bytes, isa_server::Error>> + Unpin + Send,
    {
        let field = "part_size";
        if length.is_some_and(|length| length > MAX_PART) {
            return Err(invalid(field, "is more than the 5 GiB that a part may have"));
        }
        let mut pieces = Pieces::new(source, length.map(|length| (field, length)), MAX_PART);
        let bucket = at.bucket.engine();
        if let Some(length) = length.filter(|length| *length > HELD as u64) {
            let etag = Box::pin(self.pipe_part(bucket, at.key, id, number, length, &mut pieces)).await;
            let etag = etag.map_err(ended)?;
            pieces.ended().await?;
            return Ok(etag);
        }
        let held = pieces.gather(HELD).await?;
        if !pieces.ended().await? {
            return Err(invalid(field, "must be given for a part of more than 16 MiB"));
        }
        let part = self.client.upload_part().bucket(bucket).key(at.key).upload_id(id);
        let answer = part.part_number(number).body(held.into_body()).send().await;
        Ok(etag(answer.map_err(StoreError::from).map_err(ended)?.e_tag()))
    }

    pub(crate) async fn complete_upload(
        &self,
        at: At<'_>,
        id: &str,
        parts: &[Part],
    ) -> Result<String, StoreError> {
        self.check_parts(at, id, parts).await?;
        let joined = self.join(at.bucket.engine(), at.key, id, parts).await;
        let (etag, _) = joined.map_err(ended)?;
        self.usages.changed(at.bucket.engine());
        Ok(etag)
    }

    /// Not every engine says that an upload has ended, or looks at the sizes of its parts.
    async fn check_parts(&self, at: At<'_>, id: &str, parts: &[Part]) -> Result<(), StoreError> {
        let mut sizes = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let list = self
                .client
                .list_parts()
                .bucket(at.bucket.engine())
                .key(at.key)
                .upload_id(id);
            let answer = list.set_part_number_marker(after.clone()).send().await;
            let answer = answer.map_err(StoreError::from).map_err(ended)?;
            sizes.extend(
                answer
                    .parts()
                    .iter()
                    .filter_map(|part| Some((part.part_number()?, part.size()?))),
            );
            let next = answer
                .next_part_number_marker
                .filter(|_| answer.is_truncated == Some(true));
            if next.is_none() || next == after {
                break;
            }
            after = next;
        }
        for (place, part) in parts.iter().enumerate() {
            match sizes.get(&part.number) {
                None => {
                    return Err(invalid(
                        "parts",
                        format_args!("part {} was not uploaded", part.number),
                    ));
                }
                Some(size) if *size < MIN_PART && place + 1 < parts.len() => {
                    let number = part.number;
                    return Err(invalid(
                        "parts",
                        format_args!("part {number} has {size} bytes; all but the last need 5 MiB"),
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn abort_upload(&self, at: At<'_>, id: &str) -> Result<(), StoreError> {
        let (bucket, key) = (at.bucket.engine(), at.key);
        // Not every engine says that it has ended.
        let list = self
            .client
            .list_parts()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .max_parts(1);
        list.send().await.map_err(StoreError::from).map_err(ended)?;
        let abort = self
            .once
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(id);
        patiently(abort.send()).await.map(drop).map_err(ended)
    }
}

/// The number of the part after so many.
fn number(done: usize) -> Result<i32, StoreError> {
    let next = u32::try_from(done).unwrap_or(MAX_PARTS) + 1;
    if next > MAX_PARTS {
        return Err(invalid(
            "content_length",
            "must be given for an object of more than 78 GiB",
        ));
    }
    Ok(next.cast_signed())
}

/// Of an upload that is named, what is missing is the upload.
fn ended(error: StoreError) -> StoreError {
    match error {
        StoreError::Missing(Missing::Something | Missing::Object) => StoreError::Missing(Missing::Upload),
        other => other,
    }
}
