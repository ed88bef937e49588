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
    let (text, _) = end(path).unwrap_or_default();
    last(&text, lines)
}

/// Writes the last `lines` lines of the log to `out`, and all that is appended from then on, until the future is dropped.
/// Notices when the log was started afresh.
pub async fn follow(path: &Path, lines: usize, out: &mut impl Write) -> io::Result<()> {
    let older = path.with_extension("log.1");
    let modified = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let mut moved = modified(&older);
    let (mut text, start) = end(path).unwrap_or_default();
    // A line that is still being written is for later.
    text.truncate(
        text.iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1),
    );
    for line in last(&text, lines) {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    let mut position = start + text.len() as u64;
    let mut interval = tokio::time::interval(FOLLOW_INTERVAL);
    loop {
        interval.tick().await;
        let Ok(mut file) = File::open(path) else { continue };
        let length = file.metadata()?.len();
        if length < position {
            let now = modified(&older);
            if now != moved
                && let Ok(mut older) = File::open(&older)
            {
                // What was written since the last look went with the older part.
                copy(&mut older, position, u64::MAX, out)?;
            }
            moved = now;
            position = 0;
        }
        position += copy(&mut file, position, length, out)?;
    }
}

/// Copies from one position up to another, or to the end; says how many bytes.
fn copy(file: &mut File, from: u64, to: u64, out: &mut impl Write) -> io::Result<u64> {
    if from >= to {
        return Ok(0);
    }
    file.seek(SeekFrom::Start(from))?;
    let copied = io::copy(&mut file.take(to - from), out)?;
    out.flush()?;
    Ok(copied)
}

/// The end of a log, and the position at which it begins.
fn end(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok((text, start))
}

fn last(text: &[u8], lines: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect()
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

    /// Hands over what is written to it.
    struct Sent(tokio::sync::mpsc::UnboundedSender<Vec<u8>>);

    impl Write for Sent {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_followed_log_shows_every_line_once_even_when_it_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "one\ntwo\nthr").unwrap();
        let (send, mut written) = tokio::sync::mpsc::unbounded_channel();
        let following = tokio::spawn({
            let path = path.clone();
            async move { follow(&path, 1, &mut Sent(send)).await }
        });
        let mut seen = String::new();
        let mut wait_for = async |text: &str| {
            while seen != text {
                let more = tokio::time::timeout(Duration::from_secs(10), written.recv());
                let more = more.await.unwrap_or_else(|_| panic!("{seen:?} is not {text:?}"));
                seen += &String::from_utf8(more.unwrap()).unwrap();
            }
        };
        let append = |text: &str| {
            let mut log = OpenOptions::new().append(true).open(&path).unwrap();
            log.write_all(text.as_bytes()).unwrap();
        };
        wait_for("two\n").await;
        append("ee\n");
        wait_for("two\nthree\n").await;
        // As `bound` does, with lines that were not seen yet.
        append("four\n");
        fs::copy(&path, path.with_extension("log.1")).unwrap();
        File::create(&path).unwrap();
        append("five\n");
        wait_for("two\nthree\nfour\nfive\n").await;
        following.abort();
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
