//! The shared libraries that a program needs, as the loader of this machine finds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Error, error::io_error};
use crate::versions;

/// The loader of programs for x86-64, at the place that their ABI fixes.
const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
/// How long the loader may take for one program; it only reads files.
const LIMIT: Duration = Duration::from_secs(30);

/// Where each library that these programs need is to be in the image, and where it is here.
#[derive(Debug, Default)]
pub(super) struct Libraries {
    pub(super) found: BTreeMap<PathBuf, PathBuf>,
}

impl Libraries {
    /// Adds what the program needs. What lies below one of `roots` is in the image already; `present` are the names there,
    /// because a library may rely on its program to have loaded another one (Java's all do).
    pub(super) fn add(
        &mut self,
        program: &Path,
        env: &[(String, String)],
        roots: &[PathBuf],
        present: &BTreeSet<OsString>,
    ) -> Result<(), Error> {
        if !dynamic(program).map_err(io_error("read", program))? {
            return Ok(());
        }
        let args = [program.display().to_string()];
        let mut env = env.to_owned();
        // It then lists what it would load, and runs nothing.
        env.push(("LD_TRACE_LOADED_OBJECTS".into(), "1".into()));
        let output = versions::output(Path::new(LOADER), &args, &env, LIMIT).unwrap_or_default();
        let (all, missing) = parse(&output);
        if let Some(library) = missing
            .into_iter()
            .find(|name| !present.contains(OsStr::new(name)))
        {
            return Err(Error::Library {
                program: program.to_owned(),
                library,
            });
        }
        // One folder for all of them: the one where the loader looks without being told.
        let folder = all
            .iter()
            .find(|(name, _)| name == Path::new("libc.so.6"))
            .and_then(|(_, path)| path.parent())
            .map(Path::to_owned);
        for (name, path) in all {
            let real = path.canonicalize().map_err(io_error("find", &path))?;
            if roots.iter().any(|root| real.starts_with(root)) {
                continue;
            }
            let target = match &folder {
                Some(folder) if name.is_relative() => folder.join(name),
                _ => name,
            };
            self.found.insert(target, real);
        }
        Ok(())
    }
}

/// Names and paths in the loader's list, and the names that it does not find.
fn parse(list: &str) -> (Vec<(PathBuf, PathBuf)>, Vec<String>) {
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for line in list.lines().map(str::trim) {
        let line = line.rsplit_once(" (0x").map_or(line, |(before, _)| before);
        match line.split_once(" => ") {
            Some((name, "not found")) => missing.push(name.to_owned()),
            Some((name, path)) => all.push((name.into(), path.into())),
            // The loader itself; the kernel's own library has no path.
            None if line.starts_with('/') => all.push((line.into(), line.into())),
            None => {}
        }
    }
    (all, missing)
}

/// Whether a file is a program or a library that the loader has to do with: ELF with a dynamic section.
fn dynamic(path: &Path) -> io::Result<bool> {
    const PT_DYNAMIC: u32 = 2;
    let mut file = File::open(path)?;
    let mut header = [0; 64];
    if let Err(error) = file.read_exact(&mut header) {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(false),
            _ => Err(error),
        };
    }
    if !header.starts_with(b"\x7fELF") {
        return Ok(false);
    }
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let mut offset = [0; 8];
    offset.copy_from_slice(&header[32..40]);
    file.seek(SeekFrom::Start(u64::from_le_bytes(offset)))?;
    let mut segments = vec![0; usize::from(half(54)) * usize::from(half(56))];
    file.read_exact(&mut segments)?;
    Ok(segments
        .chunks_exact(usize::from(half(54)).max(4))
        .any(|segment| segment[..4] == PT_DYNAMIC.to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_the_loader_is_read() {
        let list = "\tlinux-vdso.so.1 (0x00007f2a1b60a000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2a1b417000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2a1b60c000)\n\
                    \tlibX11.so.6 => not found\n";
        let path = |text: &str| PathBuf::from(text);
        let (all, missing) = parse(list);
        assert_eq!(missing, ["libX11.so.6"]);
        assert_eq!(
            all,
            [
                (path("libc.so.6"), path("/lib/x86_64-linux-gnu/libc.so.6")),
                (path(LOADER), path(LOADER))
            ]
        );
    }

    #[test]
    fn a_program_brings_the_loader_and_its_libraries_and_a_script_none() {
        let mut libraries = Libraries::default();
        libraries
            .add(&std::env::current_exe().unwrap(), &[], &[], &BTreeSet::new())
            .unwrap();
        assert!(libraries.found.contains_key(Path::new(LOADER)), "{libraries:?}");
        let has_libc = libraries.found.keys().any(|path| path.ends_with("libc.so.6"));
        assert!(has_libc, "{libraries:?}");

        let mut none = Libraries::default();
        let script = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            script.path(),
            "#!/bin/sh\necho it is longer than the header of a program\n",
        )
        .unwrap();
        none.add(script.path(), &[], &[], &BTreeSet::new()).unwrap();
        assert!(none.found.is_empty());
    }
}
