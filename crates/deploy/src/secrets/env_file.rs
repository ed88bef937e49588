//! A file of `KEY=VALUE` lines, read as Kustomize reads it: no quotes, no continuation, `#` begins a comment.

use std::{fs, io::Write, os::unix::fs::DirBuilderExt, path::Path};

use crate::Error;

/// The lines of a file; those that isa does not know are kept as they are.
#[derive(Default)]
pub(super) struct EnvFile {
    lines: Vec<String>,
}

impl EnvFile {
    /// Reads a file; none is an empty one.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self {
                lines: text.lines().map(str::to_owned).collect(),
            })),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::read(path, e)),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entries()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .map(|line| line.trim_start())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once('=').unwrap_or((line, "")))
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key}={value}");
        let is_key = |line: &&mut String| {
            line.trim_start()
                .split_once('=')
                .is_some_and(|(name, _)| name == key)
        };
        match self.lines.iter_mut().find(is_key) {
            Some(line) => *line = new,
            None => self.lines.push(new),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        write_private(path, &text)
    }
}

/// Writes a file whole or not at all, for its owner only, also across a power cut.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let write = || {
        // Readable by nobody else from its first moment on: tempfile creates with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(|e| Error::write(path, e))
}

/// Makes the folder of such files, for its owner only.
pub(super) fn make_folder(folder: &Path) -> Result<(), Error> {
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
    made.map_err(|e| Error::write(folder, e))
}
