//! What the files of all databases take together: databases, their logs, temporary files, files of imports and exports,
//! copies on their way. What is known before it is written is refused; what is not is stopped when it becomes too much.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use super::{
    error::Error,
    limits::{DISK, OVERRUN},
};

pub(super) struct Disk {
    root: PathBuf,
    /// As it was measured last, without the files for which room is taken.
    used: AtomicU64,
    /// Room for files whose length is known, whatever they have by now.
    taken: Mutex<HashMap<PathBuf, u64>>,
    /// Of each folder of a database, as it was measured last.
    folders: Mutex<BTreeMap<PathBuf, u64>>,
}

/// Room for a file, until this is dropped.
pub(super) struct Room {
    disk: Arc<Disk>,
    file: PathBuf,
}

impl Disk {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            used: AtomicU64::new(0),
            taken: Mutex::default(),
            folders: Mutex::default(),
        }
    }

    /// Bytes that there are and will be.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Relaxed) + self.taken.lock().values().sum::<u64>()
    }

    /// Fails for what writes nobody knows how much, when there is no room left.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.used() < DISK { Ok(()) } else { Err(full()) }
    }

    /// Takes room for a file that is about to be written.
    pub(super) fn take(self: &Arc<Self>, file: PathBuf, bytes: u64) -> Result<Room, Error> {
        let mut taken = self.taken.lock();
        let sum = self.used.load(Relaxed) + taken.values().sum::<u64>();
        if sum.saturating_add(bytes) > DISK {
            return Err(full());
        }
        taken.insert(file.clone(), bytes);
        drop(taken);
        Ok(Room {
            disk: Arc::clone(self),
            file,
        })
    }

    /// Looks at all files. The folders of those databases that are to be stopped: they have grown, and there is more than
    /// there may be. Blocks.
    pub(super) fn measure(&self) -> Vec<PathBuf> {
        let taken: Vec<_> = self.taken.lock().keys().cloned().collect();
        let mut now = BTreeMap::new();
        for tenant in entries(&self.root) {
            for folder in entries(&tenant) {
                let bytes = size(&folder, &taken);
                now.insert(folder, bytes);
            }
        }
        self.used.store(now.values().sum(), Relaxed);
        let mut before = self.folders.lock();
        let mut grown = Vec::new();
        if self.used() > DISK + OVERRUN {
            let more =
                |(folder, bytes): &(&PathBuf, &u64)| before.get(*folder).is_none_or(|had| had < *bytes);
            grown.extend(now.iter().filter(more).map(|(folder, _)| folder.clone()));
        }
        *before = now;
        grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // What it has counts from now on, also before it is measured.
        let bytes = fs::symlink_metadata(&self.file).map_or(0, |it| it.len());
        let mut taken = self.disk.taken.lock();
        self.disk.used.fetch_add(bytes, Relaxed);
        taken.remove(&self.file);
    }
}

pub(super) fn full() -> Error {
    Error::Exhausted(format!(
        "the databases that are with this replica, temporary files and copies have the {} GiB of disk that they may have \
         together; delete rows, tables or databases, or try again later",
        DISK >> 30
    ))
}

/// What is in a folder; nothing if it is none, or gone meanwhile.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn size(path: &Path, without: &[PathBuf]) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(it) if it.is_dir() => entries(path).map(|path| size(&path, without)).sum(),
        Ok(it) if !without.iter().any(|other| other == path) => it.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is so long and takes no disk.
    fn grow(file: &Path, bytes: u64) {
        let file = fs::File::options().create(true).append(true).open(file).unwrap();
        file.set_len(bytes).unwrap();
    }

    #[test]
    fn all_files_together_are_bounded() {
        let root = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::new(root.path().to_owned()));
        let [one, two] = ["a/1", "b/2"].map(|name| root.path().join(name));
        for folder in [&one, &two] {
            fs::create_dir_all(folder.join("tmp")).unwrap();
        }
        grow(&one.join("data"), DISK / 2);
        assert_eq!(disk.measure(), Vec::<PathBuf>::new());
        assert_eq!(disk.used(), DISK / 2);

        // Room that is taken counts at once, and what is written to it not again.
        let copy = two.join("copy");
        assert!(matches!(
            disk.take(copy.clone(), DISK / 2 + 1),
            Err(Error::Exhausted(_))
        ));
        let room = disk.take(copy.clone(), DISK / 2).unwrap();
        assert!(matches!(disk.check(), Err(Error::Exhausted(_))));
        grow(&copy, DISK / 4);
        disk.measure();
        assert_eq!(disk.used(), DISK);
        drop(room);
        disk.measure();
        assert_eq!(disk.used(), DISK / 2 + DISK / 4);
        disk.check().unwrap();

        // Nobody knew that this would come: who grows is stopped, and nobody else.
        grow(&two.join("tmp/x"), DISK / 4 + OVERRUN + 1);
        assert_eq!(disk.measure(), [two]);
        assert_eq!(disk.measure(), Vec::<PathBuf>::new());
    }
}
