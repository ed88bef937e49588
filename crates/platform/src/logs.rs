//! Reading, following and bounding the engines' log files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
    time::Duration,
};

/// A log is moved aside once it is larger than this; one older part is kept.
const LIMIT_BYTES: u64 = 32 << 20;
/// As much of the end of a log as is read to find its last lines.
const TAIL_BYTES: u64 = 256 << 10;
/// How often a followed log is asked for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// The last `lines` lines of a log; none where it cannot be read.
pub fn tail(path: &Path, lines: usize) -> Vec<String> {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
}

/// Copies to `out` all that is appended to the log from now on, until the future is dropped. Notices when the log
/// was started afresh.
pub async fn follow(path: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut position = fs::metadata(path).map_or(0, |m| m.len());
    let mut interval = tokio::time::interval(FOLLOW_INTERVAL);
    loop {
        interval.tick().await;
        let Ok(mut file) = File::open(path) else { continue };
        let length = file.metadata()?.len();
        if length < position {
            position = 0;
        }
        if length > position {
            file.seek(SeekFrom::Start(position))?;
            position += io::copy(&mut file.take(length - position), out)?;
            out.flush()?;
        }
    }
}

/// Moves a log that has grown past its limit aside. Engines append to a file that they hold open, so the text is
/// copied and the file cut; what an engine writes in between is lost, and nothing else.
pub(crate) fn bound(path: &Path) {
    let cut = || {
        if fs::metadata(path)?.len() > LIMIT_BYTES {
            fs::copy(path, path.with_extension("log.1"))?;
            OpenOptions::new().write(true).open(path)?.set_len(0)?;
        }
        Ok::<_, io::Error>(())
    };
    if let Err(e) = cut()
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "cannot bound a log file");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_gives_the_last_lines_and_nothing_for_a_missing_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        assert!(tail(&path, 3).is_empty());
        fs::write(&path, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(tail(&path, 2), ["two", "three"]);
    }

    #[test]
    fn a_large_log_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "small").unwrap();
        bound(&path);
        assert_eq!(fs::read(&path).unwrap(), b"small");
        File::create(&path).unwrap().set_len(LIMIT_BYTES + 1).unwrap();
        bound(&path);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert_eq!(
            fs::metadata(path.with_extension("log.1")).unwrap().len(),
            LIMIT_BYTES + 1
        );
    }
}
