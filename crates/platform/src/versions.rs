//! The versions of programs that are not ours to know: asked once, then remembered by path, size and time of change.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::process::kill_group;

/// How much of what it prints is read.
const MOST_OUTPUT: u64 = 64 * 1024;
/// How many programs are remembered; the file is started afresh past that.
const MOST_PROGRAMS: usize = 100;

/// One program that was asked.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    bytes: u64,
    modified: i64,
    modified_nanos: i64,
    version: Option<String>,
}

fn file(cache_dir: &Path) -> PathBuf {
    cache_dir.join("versions.json")
}

/// The version of `program`, from memory or by `ask`. The memory is a convenience: a cache folder that cannot be
/// written only means that the program is asked again.
pub(crate) fn remembered(
    cache_dir: &Path,
    program: &Path,
    ask: impl FnOnce() -> Option<String>,
) -> Option<String> {
    let meta = fs::metadata(program).ok()?;
    let key = program.to_string_lossy().into_owned();
    let text = fs::read(file(cache_dir)).unwrap_or_default();
    let mut all: BTreeMap<String, Known> = serde_json::from_slice(&text).unwrap_or_default();
    let now = Known {
        bytes: meta.size(),
        modified: meta.mtime(),
        modified_nanos: meta.mtime_nsec(),
        version: None,
    };
    let same = |known: &&Known| {
        (known.bytes, known.modified, known.modified_nanos) == (now.bytes, now.modified, now.modified_nanos)
    };
    if let Some(known) = all.get(&key).filter(same) {
        return known.version.clone();
    }
    let version = ask();
    if all.len() >= MOST_PROGRAMS {
        all.clear();
    }
    all.insert(
        key,
        Known {
            version: version.clone(),
            ..now
        },
    );
    if let Ok(text) = serde_json::to_vec(&all) {
        let _ = replace(&file(cache_dir), &text);
    }
    version
}

fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text)?;
    new.persist(path)?;
    Ok(())
}

/// What a program prints on both streams within the limit; its exit code does not matter, as some end with an
/// error after they have said their version.
pub(crate) fn output(
    program: &Path,
    args: &[String],
    env: &[(String, String)],
    limit: Duration,
) -> Option<String> {
    let (reader, writer) = std::io::pipe().ok()?;
    let mut child = Command::new(program)
        .args(args)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone().ok()?)
        .stderr(writer)
        .process_group(0)
        .spawn()
        .ok()?;
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut text = Vec::new();
        let _ = reader.take(MOST_OUTPUT).read_to_end(&mut text);
        let _ = send.send(text);
    });
    let text = receive.recv_timeout(limit).ok();
    kill_group(child.id());
    let _ = child.wait();
    text.map(|text| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn script(path: &Path, text: &str) {
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_is_asked_once_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("engine");
        script(&program, "echo version 1");
        let ask = || output(&program, &[], &[], LIMIT);
        let version = || remembered(folder.path(), &program, ask);
        assert_eq!(version().as_deref(), Some("version 1\n"));
        let never = || panic!("asked again");
        assert_eq!(
            remembered(folder.path(), &program, never).as_deref(),
            Some("version 1\n")
        );
        script(&program, "echo version 1.1 >&2; exit 3");
        assert_eq!(version().as_deref(), Some("version 1.1\n"));
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("engine");
        script(&program, "sleep 60");
        let started = std::time::Instant::now();
        assert_eq!(output(&program, &[], &[], LIMIT), None);
        assert!(started.elapsed() < LIMIT * 3);
    }
}
