//! The journal of one collection: every acknowledged write since the last checkpoint, and the one that is being done.
//!
//! The engine keeps a log of its own but neither syncs it before `update` returns nor reads it again when it is
//! loaded, so after a crash it knows only what was flushed. The journal closes that gap. But what the engine writes in
//! place, such as vectors, it may have after a crash although it never got to the rest of the operation. So an operation
//! is written before it is done: whole, whoever reads a point of it finds the old one or the new one.
//!
//! Format: a 16-byte header (magic, number of the first record), then records of length (u32), CRC-32 (u32) and
//! the operation in MessagePack. In the last record the CRC may be changed by one of the [`Mark`]s. A record that is cut
//! short or fails its checksum ends the journal.

use std::{
    fmt,
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

/// In what state the operation of a record is: what its checksum is combined with, by exclusive or.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Mark {
    Done = 0,
    /// The engine may have any part of it.
    Begun = 0xFFFF_FFFF,
    /// It was begun by a process that died, and again by one that opened the journal. If that one died of it, so would
    /// the next.
    Tried = 0x5A5A_5A5A,
}

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

/// An operation that is being done.
pub(super) struct Begun {
    checksum: u32,
    /// Of the record.
    bytes: u64,
}

impl Journal {
    /// Creates an empty journal whose first record will be number `after + 1`.
    pub(super) fn create(path: &Path, after: u64) -> io::Result<()> {
        let mut header = MAGIC.to_vec();
        header.extend(after.to_le_bytes());
        disk::write_atomically(path, &header)
    }

    /// Opens a journal and hands its records to `replay` in the order they were written. The last may be of an operation
    /// that nobody was told of: if that fails, or killed the process that opened the journal before, it is dropped.
    pub(super) fn open<E: From<io::Error> + fmt::Display>(
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
        while let Some((record, mark, tail)) = split_record(rest) {
            let operation: UpdateOperation = rmp_serde::from_slice(record).map_err(|e| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}, record {number}: {e}", path.display()),
                )
            })?;
            match mark {
                Mark::Done => replay(operation)?,
                Mark::Begun => {
                    let at = (bytes.len() - rest.len()) as u64;
                    let checksum = crc32fast::hash(record);
                    write_mark(&file, at, checksum, Mark::Tried)?;
                    file.sync_data()?;
                    if let Err(error) = replay(operation) {
                        tracing::warn!(journal = %path.display(), %error, "dropped a write that a crash cut short");
                        break;
                    }
                    write_mark(&file, at, checksum, Mark::Done)?;
                }
                Mark::Tried => {
                    tracing::error!(journal = %path.display(), "dropped a write that the engine died of");
                    break;
                }
            }
            number += 1;
            rest = tail;
        }
        let len = (bytes.len() - rest.len()) as u64;
        if !rest.is_empty() {
            // It was never acknowledged.
            tracing::warn!(journal = %path.display(), bytes = rest.len(), "dropped an incomplete record");
            file.set_len(len)?;
        }
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

    /// Writes an operation that is about to be done. It is on the disk before the engine's files are if the process dies;
    /// if the machine does, they may get there first, as nothing waits for the disk here.
    pub(super) fn begin(&self, operation: &[u8]) -> io::Result<Begun> {
        let len = u32::try_from(operation.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the operation is larger than 4 GiB"))?;
        let checksum = crc32fast::hash(operation);
        let mut record = Vec::with_capacity(RECORD_HEADER + operation.len());
        record.extend(len.to_le_bytes());
        record.extend((checksum ^ Mark::Begun as u32).to_le_bytes());
        record.extend(operation);
        let tail = self.tail.lock();
        // At a position of our own, so that the next one overwrites what a failed one left.
        tail.file.write_all_at(&record, tail.len)?;
        Ok(Begun {
            checksum,
            bytes: record.len() as u64,
        })
    }

    /// Notes that the operation is done, and returns its number; [`Journal::sync`] makes it durable.
    pub(super) fn done(&self, begun: &Begun) -> io::Result<u64> {
        let mut tail = self.tail.lock();
        write_mark(&tail.file, tail.len, begun.checksum, Mark::Done)?;
        tail.len += begun.bytes;
        Ok(self.written.fetch_add(1, Ordering::AcqRel) + 1)
    }

    /// Drops the operation that was begun and is not done: the engine has refused it.
    pub(super) fn withdraw(&self) -> io::Result<()> {
        let tail = self.tail.lock();
        tail.file.set_len(tail.len)
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

/// The bytes that [`Journal::begin`] takes.
pub(super) fn encode(operation: &UpdateOperation) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(operation)
}

/// Of the record at this position.
fn write_mark(file: &File, at: u64, checksum: u32, mark: Mark) -> io::Result<()> {
    file.write_all_at(&(checksum ^ mark as u32).to_le_bytes(), at + 4)
}

/// The first record, its mark, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], Mark, &[u8])> {
    let (header, rest) = bytes.split_at_checked(RECORD_HEADER)?;
    let len = u32::from_le_bytes(array(&header[..4])) as usize;
    let (record, rest) = rest.split_at_checked(len)?;
    let mark = u32::from_le_bytes(array(&header[4..])) ^ crc32fast::hash(record);
    let mark = [Mark::Done, Mark::Begun, Mark::Tried]
        .into_iter()
        .find(|known| *known as u32 == mark)?;
    // A length of zero is what a file that grew but was not written holds.
    (len > 0).then_some((record, mark, rest))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use qdrant_edge::{
        CreateIndex, DeletePayloadOp, FieldIndexOperations, KeywordIndexParams, Payload, PayloadFieldSchema,
        PayloadOps, PayloadSchemaParams, PayloadSchemaType, PointId, PointIdsList, PointInsertOperations,
        PointOperations, PointStructPersisted, PointVectorsPersisted, SetPayloadOp, SparseVector,
        UpdateVectorsOp, VectorOperations, VectorPersisted, VectorStructPersisted, external::uuid::Uuid,
    };
    use serde_json::json;

    use super::*;

    /// One of each kind that goes to the journal, with values that are easily bent on the way.
    fn operations() -> Vec<UpdateOperation> {
        let ids = vec![
            PointId::NumId(u64::MAX),
            PointId::Uuid(Uuid::from_u128(7)),
            PointId::NumId(0),
        ];
        let json = json!({ "f": 0.1, "big": i64::MAX, "u": u64::MAX, "nested": { "a": [null, true, "ż"] }, "e": {} });
        let payload: Payload = serde_json::from_value(json).unwrap();
        let dense = vec![0.1_f32, -0.0, f32::MIN_POSITIVE, f32::MAX, 1.0 / 3.0];
        let sparse = SparseVector {
            indices: vec![1, u32::MAX],
            values: vec![0.3, -1e-30],
        };
        let named = HashMap::from([
            ("dense".to_owned(), VectorPersisted::Dense(dense.clone())),
            ("sparse".to_owned(), VectorPersisted::Sparse(sparse)),
            (
                "multi".to_owned(),
                VectorPersisted::MultiDense(vec![dense.clone(), dense.clone()]),
            ),
            (String::new(), VectorPersisted::Dense(dense.clone())),
        ]);
        let vectors = [
            VectorStructPersisted::Single(dense.clone()),
            VectorStructPersisted::MultiDense(vec![dense.clone(), dense]),
            VectorStructPersisted::Named(named),
        ];
        let point = |(id, vector): (&PointId, &VectorStructPersisted)| PointStructPersisted {
            id: *id,
            vector: vector.clone(),
            payload: Some(payload.clone()),
        };
        let points: Vec<_> = ids.iter().zip(&vectors).map(point).collect();
        let vectors = points
            .iter()
            .map(|p| PointVectorsPersisted {
                id: p.id,
                vector: p.vector.clone(),
            })
            .collect();
        let set = SetPayloadOp {
            payload,
            points: Some(ids.clone()),
            filter: None,
            key: Some("a.b[]".parse().unwrap()),
        };
        let keyword = KeywordIndexParams {
            is_tenant: Some(true),
            ..Default::default()
        };
        let index = |schema| {
            let index = CreateIndex {
                field_name: "a.b".parse().unwrap(),
                field_schema: Some(schema),
            };
            UpdateOperation::FieldIndexOperation(FieldIndexOperations::CreateIndex(index))
        };
        let keys = vec!["a".parse().unwrap(), "b.c".parse().unwrap()];
        let delete_keys = DeletePayloadOp {
            keys,
            points: Some(ids.clone()),
            filter: None,
        };
        vec![
            UpdateOperation::PointOperation(PointOperations::UpsertPoints(
                PointInsertOperations::PointsList(points),
            )),
            UpdateOperation::PointOperation(PointOperations::DeletePoints { ids: ids.clone() }),
            UpdateOperation::VectorOperation(VectorOperations::UpdateVectors(UpdateVectorsOp {
                points: vectors,
                update_filter: None,
            })),
            UpdateOperation::VectorOperation(VectorOperations::DeleteVectors(
                PointIdsList { points: ids.clone() },
                vec!["dense".into(), String::new()],
            )),
            UpdateOperation::PayloadOperation(PayloadOps::SetPayload(set.clone())),
            UpdateOperation::PayloadOperation(PayloadOps::OverwritePayload(set)),
            UpdateOperation::PayloadOperation(PayloadOps::DeletePayload(delete_keys)),
            UpdateOperation::PayloadOperation(PayloadOps::ClearPayload { points: ids }),
            index(PayloadFieldSchema::FieldType(PayloadSchemaType::Integer)),
            index(PayloadFieldSchema::FieldParams(PayloadSchemaParams::Keyword(
                keyword,
            ))),
            UpdateOperation::FieldIndexOperation(FieldIndexOperations::DeleteIndex("a.b".parse().unwrap())),
        ]
    }

    fn read(path: &Path) -> (Journal, Vec<UpdateOperation>) {
        let mut read = Vec::new();
        let journal = Journal::open(path, |operation| {
            read.push(operation);
            Ok::<_, io::Error>(())
        });
        (journal.unwrap(), read)
    }

    fn append(journal: &Journal, operation: &UpdateOperation) -> u64 {
        let begun = journal.begin(&encode(operation).unwrap()).unwrap();
        journal.done(&begun).unwrap()
    }

    #[test]
    fn every_operation_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::create(&path, 41).unwrap();
        let (journal, read_before) = read(&path);
        assert!(read_before.is_empty());
        for (i, operation) in operations().iter().enumerate() {
            let number = append(&journal, operation);
            assert_eq!(number, 42 + i as u64);
            journal.sync(number).unwrap();
        }
        let (again, found) = read(&path);
        assert_eq!(found, operations());
        assert_eq!(again.last(), 41 + found.len() as u64);

        again.reset().unwrap();
        assert_eq!(again.size(), 0);
        let number = append(&again, &operations()[1]);
        let (last, found) = read(&path);
        assert_eq!((found.as_slice(), last.last()), (&operations()[1..2], number));
    }

    #[test]
    fn a_record_that_a_crash_cut_short_is_dropped_and_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::create(&path, 0).unwrap();
        let (journal, _) = read(&path);
        let operations = operations();
        for operation in &operations[..3] {
            append(&journal, operation);
        }
        let whole = std::fs::read(&path).unwrap();
        let last = RECORD_HEADER + encode(&operations[2]).unwrap().len();
        type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
        let damage: [Damage; 4] = [
            &|bytes| bytes.truncate(bytes.len() - 1),
            &|bytes| bytes.truncate(bytes.len() - last + 3),
            &|bytes| *bytes.last_mut().unwrap() ^= 1,
            &|bytes| bytes[whole.len() - last..].fill(0),
        ];
        for damage in damage {
            let mut bytes = whole.clone();
            damage(&mut bytes);
            std::fs::write(&path, bytes).unwrap();
            let (journal, found) = read(&path);
            assert_eq!(found, operations[..2]);
            append(&journal, &operations[7]);
            assert_eq!(
                read(&path).1,
                [
                    operations[0].clone(),
                    operations[1].clone(),
                    operations[7].clone()
                ]
            );
        }
    }

    #[test]
    fn an_operation_that_a_crash_cut_short_is_done_again_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let operations = operations();
        let begin = || {
            Journal::create(&path, 0).unwrap();
            let (journal, _) = read(&path);
            append(&journal, &operations[0]);
            journal.begin(&encode(&operations[1]).unwrap()).unwrap();
        };

        // The process dies in the middle of it, and the next one does it.
        begin();
        let (journal, found) = read(&path);
        assert_eq!((found.as_slice(), journal.last()), (&operations[..2], 2));
        append(&journal, &operations[2]);
        assert_eq!(read(&path).1, operations[..3]);

        // The next one dies of it, and the one after that leaves it alone.
        begin();
        let dies = std::panic::catch_unwind(|| {
            let mut left = 1;
            Journal::open(&path, |_| {
                assert!(left > 0, "killed");
                left -= 1;
                Ok::<_, io::Error>(())
            })
        });
        assert!(dies.is_err());
        let (journal, found) = read(&path);
        assert_eq!((found.as_slice(), journal.last()), (&operations[..1], 1));
        append(&journal, &operations[2]);
        assert_eq!(read(&path).1, [operations[0].clone(), operations[2].clone()]);

        // The engine refuses it, at once or after a crash.
        let (journal, _) = read(&path);
        journal.begin(&encode(&operations[1]).unwrap()).unwrap();
        journal.withdraw().unwrap();
        assert_eq!(read(&path).1.len(), 2);
        begin();
        let mut left = 1;
        let journal = Journal::open(&path, |_| {
            left -= 1;
            if left < 0 {
                Err(io::Error::other("no"))
            } else {
                Ok(())
            }
        });
        assert_eq!(journal.unwrap().last(), 1);
        assert_eq!(read(&path).1, operations[..1]);
    }

    #[test]
    fn what_is_not_a_journal_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        for content in ["", "isa", "something else altogether"] {
            std::fs::write(&path, content).unwrap();
            let error = Journal::open(&path, |_| Ok::<_, io::Error>(())).err().unwrap();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
