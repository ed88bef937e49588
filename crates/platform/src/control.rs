//! The running platform's own small protocol: one request and one answer, each a line of JSON, over a Unix socket
//! in the state folder, which only its owner can reach.

use std::{
    fs, io,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use isa_config::EngineKind;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

use crate::{platform::Inner, state::StateDir, status::PlatformStatus};

/// Longest request, in bytes, and the time that one may take to arrive.
const REQUEST_BYTES: u64 = 4096;
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long an order may take: stopping an engine, deleting its data.
const ORDER_TIME: Duration = Duration::from_secs(120);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Status,
    Restart(EngineKind),
    Reset(EngineKind),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Status(Box<PlatformStatus>),
    Done,
    Failed(String),
}

/// Why the running platform could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no platform runs in {0}; start one with `isa up`")]
    NotRunning(PathBuf),
    #[error("the running platform (process {pid}) does not answer: {source}; stop it with `isa down`")]
    Silent { pid: u32, source: io::Error },
    #[error("{0}")]
    Refused(String),
}

/// A path to the socket that is short enough for the kernel, however deep the state folder lies.
fn short_path(state: &StateDir) -> io::Result<(fs::File, PathBuf)> {
    let socket = state.socket();
    let folder = fs::File::open(state.root())?;
    let name = socket.file_name().unwrap_or_default();
    let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((folder, path))
}

pub(crate) fn listen(state: &StateDir) -> io::Result<UnixListener> {
    let (_folder, path) = short_path(state)?;
    // The lock is ours, so a socket that is there was left by a process that was killed.
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

pub(crate) async fn serve(listener: UnixListener, inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let inner = inner.clone();
                inner.tasks.clone().spawn(async move {
                    if let Err(e) = answer(stream, &inner).await {
                        tracing::debug!(error = %e, "a control request failed");
                    }
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "cannot accept a control connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, inner: &Inner) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(REQUEST_BYTES));
    tokio::time::timeout(REQUEST_TIME, read.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(Request::Status) => Answer::Status(Box::new(inner.status())),
        Ok(Request::Restart(kind)) => outcome(inner.restart(kind).await),
        Ok(Request::Reset(kind)) => outcome(inner.reset(kind).await),
        Err(e) => Answer::Failed(format!(
            "request not understood: {e}; is this isa older than the running one?"
        )),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    write.write_all(&text).await
}

fn outcome(result: Result<(), String>) -> Answer {
    result.map_or_else(Answer::Failed, |()| Answer::Done)
}

/// Asks the platform that runs in this state folder.
#[derive(Debug)]
pub struct Client {
    state: StateDir,
}

impl Client {
    pub fn new(state: StateDir) -> Self {
        Self { state }
    }

    /// State of every engine.
    pub async fn status(&self) -> Result<PlatformStatus, Error> {
        match self.ask(&Request::Status).await? {
            Answer::Status(status) => Ok(*status),
            Answer::Done => Err(Error::Refused("the answer has no status".into())),
            Answer::Failed(why) => Err(Error::Refused(why)),
        }
    }

    /// Stops an engine and starts it again.
    pub async fn restart(&self, kind: EngineKind) -> Result<(), Error> {
        self.order(&Request::Restart(kind)).await
    }

    /// Stops an engine, deletes its data and starts it again.
    pub async fn reset(&self, kind: EngineKind) -> Result<(), Error> {
        self.order(&Request::Reset(kind)).await
    }

    async fn order(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request).await? {
            Answer::Failed(why) => Err(Error::Refused(why)),
            Answer::Done | Answer::Status(_) => Ok(()),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let pid = self
            .state
            .owner()
            .ok_or_else(|| Error::NotRunning(self.state.root().to_owned()))?;
        let exchange = async {
            let (_folder, path) = short_path(&self.state)?;
            let mut stream = UnixStream::connect(path).await?;
            let mut text = serde_json::to_vec(request)?;
            text.push(b'\n');
            stream.write_all(&text).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            serde_json::from_slice(&answer).map_err(io::Error::from)
        };
        let limit = if matches!(request, Request::Status) {
            REQUEST_TIME
        } else {
            ORDER_TIME
        };
        let answered = tokio::time::timeout(limit, exchange)
            .await
            .map_err(io::Error::from)
            .and_then(|r| r);
        answered.map_err(|source| Error::Silent { pid, source })
    }
}
