//! The journal of one collection: every acknowledged write since the last checkpoint.
//!
//! The engine keeps a log of its own but neither syncs it before `update` returns nor reads it again when it is
//! loaded, so after a crash it knows only what was flushed. The journal closes that gap.
//!
//! Format: a 16-byte header (magic, number of the first record), then records of length (u32), CRC-32 (u32) and
//! the operation in MessagePack. A record that is cut short or fails its checksum ends the journal.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use qdrant_edge::UpdateOperation;

use super::disk;

const MAGIC: &[u8; 8] = b"isaqdj\x00\x01";
const HEADER: u64 = 16;
const RECORD_HEADER: usize = 8;

/// Appends under the writer's lock; [`Journal::sync`] is called without it, so that writers share one sync.
pub(super) struct Journal {
    path: PathBuf,
    tail: Mutex<Tail>,
    /// Number of the last record that is completely written, though perhaps not yet durable.
    written: AtomicU64,
    durable: Mutex<Durable>,
}

struct Tail {
    file: Arc<File>,
    len: u64,
}

struct Durable {
    file: Arc<File>,
    upto: u64,
}

impl Journal {
    /// Creates an empty journal whose first record will be number `after + 1`.
    pub(super) fn create(path: &Path, after: u64) -> io::Result<()> {
        let mut header = MAGIC.to_vec();
        header.extend(after.to_le_bytes());
        disk::write_atomically(path, &header)
    }

    /// Opens a journal and hands its records to `replay` in the order they were written.
    pub(super) fn open<E: From<io::Error>>(
        path: &Path,
        mut replay: impl FnMut(UpdateOperation) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut file = File::options().read(true).write(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.len() < HEADER as usize || &bytes[..8] != MAGIC {
            let text = format!("{} is not a journal of this version", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text).into());
        }
        let mut number = u64::from_le_bytes(array(&bytes[8..16]));
        let mut rest = &bytes[HEADER as usize..];
        while let Some((record, tail)) = split_record(rest) {
            let operation: UpdateOperation = rmp_serde::from_slice(record).map_err(|e| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}, record {number}: {e}", path.display()),
                )
            })?;
            replay(operation)?;
            number += 1;
            rest = tail;
        }
        if !rest.is_empty() {
            // The write that a crash cut short; it was never acknowledged.
            tracing::warn!(journal = %path.display(), bytes = rest.len(), "dropped an incomplete record");
        }
        let len = (bytes.len() - rest.len()) as u64;
        let file = Arc::new(file);
        Ok(Self {
            path: path.to_owned(),
            tail: Mutex::new(Tail {
                file: Arc::clone(&file),
                len,
            }),
            written: AtomicU64::new(number),
            // Not known to be durable: the process before this one may have died before it synced.
            durable: Mutex::new(Durable { file, upto: 0 }),
        })
    }

    /// Appends an operation and returns its number; [`Journal::sync`] makes it durable.
    pub(super) fn append(&self, operation: &[u8]) -> io::Result<u64> {
        let len = u32::try_from(operation.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the operation is larger than 4 GiB"))?;
        let mut record = Vec::with_capacity(RECORD_HEADER + operation.len());
        record.extend(len.to_le_bytes());
        record.extend(crc32fast::hash(operation).to_le_bytes());
        record.extend(operation);
        let mut tail = self.tail.lock();
        // At a position of our own, so that the next append overwrites what a failed one left.
        tail.file.write_all_at(&record, tail.len)?;
        tail.len += record.len() as u64;
        Ok(self.written.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Returns once record `number` survives a power cut. One caller's sync covers all records written before it.
    pub(super) fn sync(&self, number: u64) -> io::Result<()> {
        let mut durable = self.durable.lock();
        if durable.upto >= number {
            return Ok(());
        }
        let upto = self.written.load(Ordering::Acquire);
        durable.file.sync_data()?;
        durable.upto = upto;
        Ok(())
    }

    /// Number of the last record; 0 for a collection that was never written to.
    pub(super) fn last(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Bytes of records since the last checkpoint.
    pub(super) fn size(&self) -> u64 {
        self.tail.lock().len - HEADER
    }

    /// Drops all records, once the engine's own files hold them durably. The caller keeps writers out.
    pub(super) fn reset(&self) -> io::Result<()> {
        let last = self.last();
        Self::create(&self.path, last)?;
        let file = Arc::new(File::options().read(true).write(true).open(&self.path)?);
        let mut tail = self.tail.lock();
        let mut durable = self.durable.lock();
        *tail = Tail {
            file: Arc::clone(&file),
            len: HEADER,
        };
        *durable = Durable { file, upto: last };
        Ok(())
    }
}

/// The bytes that [`Journal::append`] takes.
pub(super) fn encode(operation: &UpdateOperation) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(operation)
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (header, rest) = bytes.split_at_checked(RECORD_HEADER)?;
    let len = u32::from_le_bytes(array(&header[..4])) as usize;
    let (record, rest) = rest.split_at_checked(len)?;
    // A length of zero is what a file that grew but was not written holds.
    (len > 0 && crc32fast::hash(record) == u32::from_le_bytes(array(&header[4..]))).then_some((record, rest))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
