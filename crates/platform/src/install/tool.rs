//! Runs a registry's client or a compiler: line by line, with a time limit, and never longer than we live.

use std::{collections::VecDeque, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::Child,
    sync::mpsc,
};

use super::Error;
use crate::process::{die_with_parent, kill_group};

/// How many of the last lines an error carries.
const LAST_LINES: usize = 12;
/// Longer lines are cut into several.
const LONGEST_LINE: u64 = 4096;

/// Which stream a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// A program that is to do one thing.
pub(crate) struct Tool {
    /// As the user knows it: `pip`.
    pub(crate) name: &'static str,
    /// What it is to do, after "to": `download redis 8.2.3`.
    pub(crate) doing: String,
    pub(crate) limit: Duration,
    /// How to get it where it is missing.
    pub(crate) how: &'static str,
    /// What to do when it fails.
    pub(crate) hint: &'static str,
}

impl Tool {
    /// Runs the command to its end. Dropping the future kills it, with everything that it started.
    pub(crate) async fn run(
        &self,
        mut command: std::process::Command,
        mut on_line: impl FnMut(Stream, &str) + Send,
    ) -> Result<(), Error> {
        use std::os::unix::process::CommandExt;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // A group of its own, so that it can be killed with its children; Ctrl-C in the terminal reaches isa alone.
        command.process_group(0);
        die_with_parent(&mut command);
        let spawned = tokio::process::Command::from(command).kill_on_drop(true).spawn();
        let mut child = spawned.map_err(|e| self.not_started(&e))?;
        let mut group = Group(child.id());

        let (send, mut lines) = mpsc::channel(64);
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let readers = async move {
            tokio::join!(pump(out, Stream::Out, send.clone()), pump(err, Stream::Err, send));
        };
        let mut last = VecDeque::new();
        let consumer = async {
            while let Some((stream, line)) = lines.recv().await {
                on_line(stream, &line);
                if last.len() == LAST_LINES {
                    last.pop_front();
                }
                last.push_back(line);
            }
        };
        let work = async {
            tokio::join!(readers, consumer);
            wait(&mut child).await
        };
        let outcome = match tokio::time::timeout(self.limit, work).await {
            Ok(Ok(status)) if status.success() => {
                group.0 = None;
                return Ok(());
            }
            Ok(Ok(status)) => format!("ended with {status}"),
            Ok(Err(e)) => format!("could not be waited for: {e}"),
            Err(_) => format!("did not end within {} s", self.limit.as_secs()),
        };
        Err(self.failed(outcome, &last))
    }

    fn not_started(&self, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::NotFound {
            return self.missing();
        }
        self.failed(format!("could not be started: {error}"), &VecDeque::new())
    }

    pub(crate) fn missing(&self) -> Error {
        Error::ToolMissing {
            tool: self.name,
            doing: self.doing.clone(),
            how: self.how.to_owned(),
        }
    }

    fn failed(&self, outcome: String, last: &VecDeque<String>) -> Error {
        let full = last.iter().any(|line| line.contains("No space left on device"));
        let hint = if full {
            "the disk is full: free some space and try again"
        } else {
            self.hint
        };
        let lines: Vec<_> = last.iter().map(|line| format!("  {line}")).collect();
        Error::Tool {
            tool: self.name,
            doing: self.doing.clone(),
            outcome,
            hint: hint.to_owned(),
            output: lines.join("\n"),
        }
    }
}

/// Kills the process group when it is dropped before the work is done.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            kill_group(pid);
        }
    }
}

async fn wait(child: &mut Child) -> std::io::Result<std::process::ExitStatus> {
    child.wait().await
}

async fn pump(stream: Option<impl AsyncRead + Unpin>, which: Stream, send: mpsc::Sender<(Stream, String)>) {
    let Some(stream) = stream else { return };
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        match (&mut reader)
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = without_passwords(String::from_utf8_lossy(&line).trim_end());
        if !line.is_empty() && send.send((which, line)).await.is_err() {
            return;
        }
    }
}

/// Clients print the addresses that they are configured with, which may carry credentials.
fn without_passwords(line: &str) -> String {
    let mut parts = line.split("://");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| c == '/' || c.is_whitespace())
            .unwrap_or(part.len());
        text.push_str("://");
        match part[..end].rfind('@') {
            Some(at) => text.extend(["***", &part[at..]]),
            None => text.push_str(part),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(limit: Duration) -> Tool {
        Tool {
            name: "sh",
            doing: "say hello".into(),
            limit,
            how: "install it",
            hint: "try again",
        }
    }

    fn sh(script: &str) -> std::process::Command {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn credentials_in_addresses_are_hidden() {
        let line = "Looking in indexes: https://me:secret@host/simple, http://other/x@y";
        assert_eq!(
            without_passwords(line),
            "Looking in indexes: https://***@host/simple, http://other/x@y"
        );
    }

    #[tokio::test]
    async fn both_streams_arrive_line_by_line_and_an_error_carries_the_last_ones() {
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; exit 4";
        let error = tool(Duration::from_secs(10))
            .run(sh(script), |stream, line| lines.push((stream, line.to_owned())))
            .await
            .unwrap_err();
        lines.sort_by_key(|(_, line)| line.clone());
        assert_eq!(
            lines,
            [(Stream::Out, "one".to_owned()), (Stream::Err, "two".to_owned())]
        );
        let text = error.to_string();
        for part in ["sh ended with exit status: 4", "say hello", "try again", "  two"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[tokio::test]
    async fn a_missing_program_says_how_to_get_it() {
        let command = std::process::Command::new("no-such-program-of-isa");
        let error = tool(Duration::from_secs(10))
            .run(command, |_, _| {})
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "sh is missing, which is needed to say hello; install it"
        );
    }

    #[tokio::test]
    async fn the_time_limit_ends_the_children_too() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("alive");
        // Both the shell and its child hold the lock file open for as long as they live.
        let script = format!("exec 9>{}; flock 9; sleep 60 & sleep 60", fifo.display());
        let error = tool(Duration::from_millis(300))
            .run(sh(&script), |_, _| {})
            .await
            .unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
        let file = std::fs::File::open(&fifo).unwrap();
        // Returns only when nobody holds it any more.
        let locked = tokio::task::spawn_blocking(move || file.lock());
        tokio::time::timeout(Duration::from_secs(10), locked)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
