//! The file of a snapshot: a tar archive of a collection's folder, then a line with the archive's SHA-256. With it
//! damage is found before the engine maps files that it would trust.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Component, Path},
};

use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::{
    collection::COLLECTION_FILE,
    shard::{JOURNAL_FILE, SHARD_DIR},
};
use crate::service::Failure;

/// Before the checksum in the last line.
const MARK: &[u8] = b"isa vector snapshot 1 sha256 ";
/// The mark, 64 hexadecimal digits and the end of the line.
const TRAILER: u64 = MARK.len() as u64 + 65;

/// The files of one snapshot, unpacked, are at most this large together. Far above what one process can serve, and
/// below what would hurt as holes in a file system.
const MAX_UNPACKED: u64 = 1 << 40;
/// The description and the journal, which are read whole. The one is smaller than a request, the other empty.
const MAX_READ_WHOLE: u64 = 64 << 20;
/// A collection has a few hundred files for each segment.
const MAX_FILES: usize = 1_000_000;

const BUFFER: usize = 1 << 20;

/// Counts what is written into a checksum.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the snapshot of a collection's folder, durably, and returns the file's SHA-256 in hexadecimal digits.
/// `description` takes the place of the folder's own description.
pub(super) fn write(dir: &Path, description: &[u8], target: File) -> io::Result<String> {
    let hashing = Hashing {
        inner: BufWriter::with_capacity(BUFFER, target),
        hash: Sha256::new(),
    };
    let mut archive = Builder::new(hashing);
    let mut header = Header::new_gnu();
    header.set_size(description.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, COLLECTION_FILE, description)?;
    archive.append_path_with_name(dir.join(JOURNAL_FILE), JOURNAL_FILE)?;
    // The engine lays out its files with room to grow; the holes are not written.
    archive.append_dir_all(SHARD_DIR, dir.join(SHARD_DIR))?;
    let Hashing { mut inner, mut hash } = archive.into_inner()?;
    let mut trailer = MARK.to_vec();
    trailer.extend(hex::encode(hash.clone().finalize()).bytes());
    trailer.push(b'\n');
    hash.update(&trailer);
    inner.write_all(&trailer)?;
    inner
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(hex::encode(hash.finalize()))
}

/// Reads a snapshot's file to its end, finds whether it is whole, and returns its SHA-256 in hexadecimal digits.
pub(super) fn verify(path: &Path) -> Result<String, Failure> {
    let unreadable = |e: io::Error| Failure::io("read", path, &e);
    let mut file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let damaged = || Failure::invalid("snapshot: is damaged, or was not made by the built-in vector engine");
    let archive = size.checked_sub(TRAILER).ok_or_else(damaged)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut rest = archive;
    while rest > 0 {
        let most = usize::try_from(rest).map_or(BUFFER, |rest| rest.min(BUFFER));
        let read = file.read(&mut buffer[..most]).map_err(unreadable)?;
        if read == 0 {
            return Err(damaged());
        }
        hash.update(&buffer[..read]);
        rest -= read as u64;
    }
    let mut trailer = Vec::new();
    file.read_to_end(&mut trailer).map_err(unreadable)?;
    let expected = [MARK, hex::encode(hash.clone().finalize()).as_bytes(), b"\n"].concat();
    if trailer != expected {
        return Err(damaged());
    }
    hash.update(&trailer);
    Ok(hex::encode(hash.finalize()))
}

/// Unpacks a verified snapshot into an empty folder. It may come from anywhere: only plain files of a collection
/// are taken, and no more than fit.
pub(super) fn unpack(path: &Path, into: &Path) -> Result<(), Failure> {
    let mut file = File::open(path).map_err(|e| Failure::io("read", path, &e))?;
    let wrong = |e: io::Error| match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Failure::io("unpack a snapshot in", into, &e)
        }
        kind => Failure::Invalid(format!("snapshot: cannot be unpacked: {kind}")),
    };
    let size = file.seek(SeekFrom::End(0)).map_err(wrong)?;
    file.rewind().map_err(wrong)?;
    let mut archive = Archive::new(BufReader::with_capacity(
        BUFFER,
        file.take(size.saturating_sub(TRAILER)),
    ));
    archive.set_overwrite(false);
    archive.set_preserve_mtime(false);
    let mut room = MAX_UNPACKED;
    for (i, entry) in archive.entries().map_err(wrong)?.enumerate() {
        let mut entry = entry.map_err(wrong)?;
        let expected = matches!(
            entry.header().entry_type(),
            EntryType::Regular | EntryType::Directory | EntryType::GNUSparse
        ) && is_ours(&entry.path().map_err(wrong)?);
        if !expected {
            return Err(Failure::invalid(
                "snapshot: has files that a collection does not have",
            ));
        }
        let alone = entry.path().map_err(wrong)?.components().count() == 1;
        let fits = i < MAX_FILES && (!alone || entry.size() <= MAX_READ_WHOLE);
        room = room
            .checked_sub(entry.size())
            .filter(|_| fits)
            .ok_or_else(|| Failure::invalid("snapshot: is larger than a collection may be"))?;
        entry.unpack_in(into).map_err(wrong)?;
    }
    Ok(())
}

/// A file of a collection, or a folder of the engine's.
fn is_ours(path: &Path) -> bool {
    let mut parts = path.components();
    let Some(Component::Normal(first)) = parts.next() else {
        return false;
    };
    let alone = parts.clone().next().is_none();
    let known = first == SHARD_DIR || alone && (first == COLLECTION_FILE || first == JOURNAL_FILE);
    known && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder that looks like a collection's, and the file of its snapshot.
    fn snapshot(dir: &Path) -> std::path::PathBuf {
        let folder = dir.join("collection");
        fs::create_dir_all(folder.join("shard/segments/empty")).unwrap();
        fs::write(folder.join(JOURNAL_FILE), "journal").unwrap();
        fs::write(folder.join("shard/segments/data"), vec![7; 100_000]).unwrap();
        let holes = File::create(folder.join("shard/holes")).unwrap();
        holes.set_len(64 << 20).unwrap();
        let path = dir.join("snapshot");
        let checksum = write(&folder, b"{}", File::create(&path).unwrap()).unwrap();
        assert_eq!(checksum, hex::encode(Sha256::digest(fs::read(&path).unwrap())));
        assert_eq!(verify(&path).unwrap(), checksum);
        path
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let path = snapshot(dir.path());
        let into = dir.path().join("into");
        fs::create_dir(&into).unwrap();
        unpack(&path, &into).unwrap();
        assert_eq!(fs::read(into.join(COLLECTION_FILE)).unwrap(), b"{}");
        assert_eq!(fs::read(into.join(JOURNAL_FILE)).unwrap(), b"journal");
        assert_eq!(
            fs::read(into.join("shard/segments/data")).unwrap(),
            vec![7; 100_000]
        );
        assert!(into.join("shard/segments/empty").is_dir());
        assert_eq!(into.join("shard/holes").metadata().unwrap().len(), 64 << 20);
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = snapshot(dir.path());
        let whole = fs::read(&path).unwrap();
        let half = whole.len() / 2;
        let mut flipped = whole.clone();
        flipped[half] ^= 1;
        for bytes in [
            &whole[..half],
            &whole[..whole.len() - 1],
            b"",
            b"something else",
            &flipped,
        ] {
            fs::write(&path, bytes).unwrap();
            let failure = verify(&path).unwrap_err().to_string();
            assert!(failure.contains("snapshot: is damaged"), "{failure}");
        }
    }

    #[test]
    fn only_files_of_a_collection_are_unpacked() {
        for (path, ours) in [
            ("shard/a/b", true),
            ("shard", true),
            ("collection.json", true),
            ("journal", true),
            ("journal/x", false),
            ("other", false),
            ("/shard/a", false),
            ("shard/../../a", false),
            ("../shard", false),
            ("", false),
        ] {
            assert_eq!(is_ours(Path::new(path)), ours, "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("links");
        let mut archive = Builder::new(File::create(&path).unwrap());
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, "shard/link", "/etc").unwrap();
        let mut file = archive.into_inner().unwrap();
        file.write_all(&[0; TRAILER as usize]).unwrap();
        let failure = unpack(&path, dir.path()).unwrap_err().to_string();
        assert!(failure.contains("does not have"), "{failure}");
        assert!(!dir.path().join("shard").exists());
    }
}
