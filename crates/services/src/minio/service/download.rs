//! Reading objects, in pieces as the engine sends them.

use aws_sdk_s3::primitives::ByteStream;
use isa_proto::Bytes;
use tokio::time::timeout;

use super::{
    At, Metadata, ObjectInfo, PAUSE, Store,
    error::{StoreError, causes},
    etag, instant,
    objects::hidden,
    version,
};

/// Of a chunk that is handed on, in bytes.
const CHUNK: usize = 256 << 10;

/// Which bytes to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    /// How many; up to the end if `None`.
    pub(crate) length: Option<u64>,
}

/// An object that is being read. Dropping it closes the connection to the engine.
pub(crate) struct Download {
    pub(crate) info: ObjectInfo,
    body: ByteStream,
    rest: Bytes,
}

impl Range {
    fn header(self) -> Option<String> {
        let Self { first, length } = self;
        match length {
            None if first == 0 => None,
            None => Some(format!("bytes={first}-")),
            Some(length) => Some(format!("bytes={first}-{}", first.saturating_add(length) - 1)),
        }
    }
}

impl Store {
    pub(crate) async fn get(&self, at: At<'_>, range: Range) -> Result<Download, StoreError> {
        let get = self.client.get_object().bucket(at.bucket.engine()).key(at.key);
        let get = get
            .set_range(range.header())
            .set_version_id(at.version.map(str::to_owned));
        let answer = match get.send().await.map_err(StoreError::from).map_err(hidden) {
            // Of an empty object no range can be had; but its beginning is its end.
            Err(StoreError::Range) if range.first == 0 => {
                let info = self.stat(at).await?;
                return Ok(Download {
                    info,
                    body: ByteStream::default(),
                    rest: Bytes::new(),
                });
            }
            answer => answer?,
        };
        let (metadata, owner) = Metadata::read(answer.metadata());
        let length = answer.content_length().unwrap_or_default();
        let info = ObjectInfo {
            key: at.key.to_owned(),
            size: answer.content_range().and_then(whole).unwrap_or(length),
            etag: etag(answer.e_tag()),
            content_type: answer.content_type().unwrap_or_default().to_owned(),
            modified: answer.last_modified().map(instant),
            metadata,
            storage_class: answer
                .storage_class()
                .map(|class| class.as_str().to_owned())
                .unwrap_or_default(),
            version: version(answer.version_id()),
            owner,
        };
        // Not every engine says that it has nothing there.
        if range.first > 0 && range.first >= u64::try_from(info.size).unwrap_or_default() {
            return Err(StoreError::Range);
        }
        Ok(Download {
            info,
            body: answer.body,
            rest: Bytes::new(),
        })
    }
}

impl Download {
    /// The next chunk; `None` at the end. One that the engine breaks off is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if self.rest.is_empty() {
            let read = timeout(PAUSE, self.body.try_next()).await;
            let read = read.map_err(|_| StoreError::down("it pauses in the middle of an object"))?;
            match read.map_err(|error| StoreError::Down(causes(&error).into()))? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(None),
            }
        }
        let length = CHUNK.min(self.rest.len());
        Ok(Some(self.rest.split_to(length)))
    }
}

/// The size of the whole object, of `bytes 0-9/100`.
fn whole(content_range: &str) -> Option<i64> {
    content_range.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_http_has_them() {
        for (first, length, header) in [
            (0, None, None),
            (5, None, Some("bytes=5-")),
            (0, Some(1), Some("bytes=0-0")),
            (10, Some(10), Some("bytes=10-19")),
        ] {
            assert_eq!(Range { first, length }.header().as_deref(), header);
        }
        assert_eq!(whole("bytes 0-9/100"), Some(100));
        assert_eq!(whole("bytes 0-9/*"), None);
    }
}
