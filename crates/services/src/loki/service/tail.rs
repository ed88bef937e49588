//! Entries as they are written. Loki sends them over a websocket; what it may have sent while there was none, or left out, is
//! read by queries: nothing is missed, and nothing comes twice.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::StreamExt;
use reqwest::{StatusCode, Upgraded};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Error, Loki,
    answer::{Record, Tailed},
    http::{Asked, Refusal},
    logql::Selector,
    pages::{Pages, fingerprint},
    query::Logs,
    within,
};
use crate::loki::{
    convert::{self, SECOND, Window},
    names::Names,
};

/// Entries that may wait for a caller, and their bytes.
const MAX_WAITING: usize = 10_000;
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Loki pings every second: a connection on which nothing comes for so long is lost.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// Between attempts to connect again: at first, and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Largest message that is taken. One of Loki's has 100 entries at most.
const MAX_MESSAGE: usize = 64 << 20;

/// How far back what was missed is looked for: entries are a little late.
const OVERLAP: i64 = 2 * SECOND;

/// Entries that are remembered, so that none comes twice.
const REMEMBERED: usize = 20_000;

/// What is followed.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    /// LogQL of the caller's; empty for all entries.
    pub(crate) query: String,
    /// Seconds for which Loki waits for late entries.
    pub(crate) delay: u32,
    /// Since when entries are given that are there already, and how many at most.
    pub(crate) backlog: Option<(i64, u32)>,
}

/// Entries as they come.
pub(crate) struct Tail {
    entries: mpsc::Receiver<Record>,
    waiting: Arc<AtomicUsize>,
    end: Arc<OnceLock<Error>>,
}

impl Tail {
    /// The next entry, or why there is no more.
    pub(crate) async fn next(&mut self) -> Result<Record, Error> {
        match self.entries.recv().await {
            Some(record) => {
                self.waiting.fetch_sub(size(&record), Relaxed);
                Ok(record)
            }
            None => Err(self
                .end
                .get()
                .cloned()
                .unwrap_or_else(|| Error::down("the tail ended"))),
        }
    }
}

type Socket = WebSocketStream<Upgraded>;

impl Loki {
    /// Follows a log query. Loki sends when this returns.
    pub(crate) async fn tail(
        self: &Arc<Self>,
        names: Names<'_>,
        followed: Followed,
        limit: Duration,
    ) -> Result<Tail, Error> {
        let since = convert::now();
        let (start, count) = followed.backlog.unwrap_or((since, 1));
        // Also without a backlog: a wrong query is told before anything is followed.
        let logs = Logs {
            query: &followed.query,
            window: Window {
                start: start.min(since - 1),
                end: since,
            },
            count,
            forward: false,
        };
        let (mut backlog, _) = self.logs(names, logs, limit).await?;
        if followed.backlog.is_none() {
            backlog.clear();
        }
        backlog.reverse();
        let socket = within(limit, self.connect(names, &followed)).await?;
        let (sender, entries) = mpsc::channel(MAX_WAITING);
        let follower = Follower {
            loki: Arc::clone(self),
            scope: names.scope().to_owned(),
            followed,
            sender,
            waiting: Arc::default(),
            recent: Recent::default(),
            since,
        };
        let end = Arc::new(OnceLock::new());
        let tail = Tail {
            entries,
            waiting: Arc::clone(&follower.waiting),
            end: Arc::clone(&end),
        };
        tokio::spawn(follower.run(socket, backlog, end));
        Ok(tail)
    }

    async fn connect(&self, names: Names<'_>, followed: &Followed) -> Result<Socket, Error> {
        let everything;
        let (query, asked) = if followed.query.is_empty() {
            everything = Selector::all().to_string();
            (everything.as_str(), Asked::Built)
        } else {
            (followed.query.as_str(), Asked::By("query"))
        };
        // Only what comes from now on: what was before is read by queries.
        let start = convert::now().to_string();
        let delay = followed.delay.to_string();
        let parameters = [
            ("query", query),
            ("start", &start),
            ("limit", "1"),
            ("delay_for", &delay),
        ];
        let key = generate_key();
        let request = self.http.upgrade(names, "/loki/api/v1/tail", &parameters, &key);
        let mut answer = request.send().await?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::read(&mut answer).await?.of_question(asked));
        }
        let accepted = answer.headers().get("sec-websocket-accept");
        if accepted.is_none_or(|accepted| accepted.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
        {
            return Err(Error::down("it does not speak as a websocket does"));
        }
        let upgraded = answer.upgrade().await?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(1 << 10)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }
}

/// Why a connection is not followed any more.
enum Left {
    /// The caller has gone.
    Gone,
    /// It may be made again.
    Lost,
    Ended(Error),
}

struct Follower {
    loki: Arc<Loki>,
    scope: String,
    followed: Followed,
    sender: mpsc::Sender<Record>,
    /// Bytes that wait for the caller.
    waiting: Arc<AtomicUsize>,
    recent: Recent,
    /// Everything that was written before was given.
    since: i64,
}

impl Follower {
    async fn run(mut self, first: Socket, backlog: Vec<Record>, end: Arc<OnceLock<Error>>) {
        let sender = self.sender.clone();
        let why = tokio::select! {
            // The caller has gone: so does the connection to Loki, and whatever is asked of it.
            () = sender.closed() => return,
            why = self.follow(first, backlog) => why,
        };
        // Before the sender goes: its reader looks here then.
        let _ = end.set(why);
    }

    /// Until there is a reason to end.
    async fn follow(&mut self, first: Socket, backlog: Vec<Record>) -> Error {
        if let Err(error) = self.give(backlog) {
            return error;
        }
        let mut socket = first;
        loop {
            match self.listen(socket).await {
                Left::Gone => return Error::down("the caller has gone"),
                Left::Ended(error) => return error,
                Left::Lost => {}
            }
            socket = match self.reconnect().await {
                Ok(socket) => socket,
                Err(error) => return error,
            };
        }
    }

    async fn reconnect(&self) -> Result<Socket, Error> {
        let mut pause = BACKOFF.0;
        loop {
            sleep(pause).await;
            let names = Names::of(&self.scope);
            match within(CONNECT, self.loki.connect(names, &self.followed)).await {
                Ok(socket) => return Ok(socket),
                Err(Error::Down(_) | Error::TimedOut | Error::RateLimited) => {
                    pause = pause.saturating_mul(2).min(BACKOFF.1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives what comes over a connection, and what came before it and was not given.
    async fn listen(&mut self, mut socket: Socket) -> Left {
        let mut missed: Option<Missed> = None;
        let mut is_new = true;
        loop {
            let message = tokio::select! {
                message = timeout(SILENCE, socket.next()) => message,
                page = next_page(&mut missed) => {
                    match page {
                        Some(Ok(records)) => if let Err(error) = self.give(records) {
                            return Left::Ended(error);
                        },
                        None => missed = None,
                        Some(Err(Error::Down(_) | Error::TimedOut | Error::RateLimited)) => return Left::Lost,
                        Some(Err(error)) => return Left::Ended(error),
                    }
                    continue;
                }
            };
            let Ok(Some(Ok(message))) = message else {
                return Left::Lost;
            };
            let has_dropped = match message {
                Message::Text(text) => match self.take(&text) {
                    Ok(has_dropped) => has_dropped,
                    Err(error) => return Left::Ended(error),
                },
                Message::Close(frame) => {
                    let why = frame.map(|frame| frame.reason.as_str().to_owned());
                    return closed(&why.unwrap_or_default());
                }
                _ => false,
            };
            if self.sender.is_closed() {
                return Left::Gone;
            }
            // With the first message, which is a ping if there are no entries, Loki is known to follow.
            if is_new || has_dropped {
                is_new = false;
                let window = Window {
                    start: self.since,
                    end: convert::now() + 1,
                };
                missed = Some(read(Pages::new(
                    Arc::clone(&self.loki),
                    Names::of(&self.scope),
                    &self.followed.query,
                    window,
                )));
            }
            if missed.is_none() {
                let late = OVERLAP + i64::from(self.followed.delay) * SECOND;
                self.since = self.since.max(convert::now() - late);
            }
        }
    }

    /// Gives the entries of a message. Whether Loki has left some out.
    fn take(&mut self, text: &str) -> Result<bool, Error> {
        let tailed = Tailed::parse(text)?;
        let has_dropped = tailed.has_dropped();
        let records = tailed.records(Names::of(&self.scope));
        self.give(records)?;
        Ok(has_dropped)
    }

    /// Entries that were not given before.
    fn give(&mut self, records: Vec<Record>) -> Result<(), Error> {
        for record in records {
            if !self.recent.is_new(fingerprint(&record)) {
                continue;
            }
            let size = size(&record);
            if self.waiting.fetch_add(size, Relaxed) + size > MAX_WAITING_BYTES {
                return Err(Error::SlowConsumer);
            }
            match self.sender.try_send(record) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                Err(mpsc::error::TrySendError::Full(_)) => return Err(Error::SlowConsumer),
            }
        }
        Ok(())
    }
}

/// Pages of what was missed, as they are read.
type Missed = mpsc::Receiver<Result<Vec<Record>, Error>>;

/// Reads pages, one ahead, for as long as they are wanted: while entries come, a page must not be asked for ever anew.
fn read(mut pages: Pages) -> Missed {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let all = async {
            while let Some(page) = pages.next().await.transpose() {
                let is_last = page.is_err();
                if sender.send(page).await.is_err() || is_last {
                    return;
                }
            }
        };
        tokio::select! {
            () = sender.closed() => {}
            () = all => {}
        }
    });
    receiver
}

/// The next page of what was missed; never, if nothing was.
async fn next_page(missed: &mut Option<Missed>) -> Option<Result<Vec<Record>, Error>> {
    match missed {
        Some(pages) => pages.recv().await,
        None => std::future::pending().await,
    }
}

/// What Loki's last words mean.
fn closed(why: &str) -> Left {
    if why.contains("max concurrent tail requests") {
        return Left::Ended(Error::Quota(
            "the tenant follows as many queries as Loki allows; end one first".to_owned(),
        ));
    }
    if why.contains("parse error") {
        return Left::Ended(Error::invalid(
            "query",
            format!("Loki does not take it: {}", super::http::told(why)),
        ));
    }
    tracing::debug!(why, "Loki closed a tail");
    Left::Lost
}

fn size(record: &Record) -> usize {
    record.line.len() + 64
}

/// Entries that were given last.
#[derive(Default)]
struct Recent {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn is_new(&mut self, entry: u64) -> bool {
        if !self.known.insert(entry) {
            return false;
        }
        self.order.push_back(entry);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_entries_are_remembered() {
        let mut recent = Recent::default();
        assert!(recent.is_new(0) && !recent.is_new(0));
        for entry in 1..=REMEMBERED as u64 {
            assert!(recent.is_new(entry));
        }
        assert!(recent.is_new(0) && !recent.is_new(2));
        assert_eq!(recent.known.len(), REMEMBERED);
    }

    #[test]
    fn last_words_are_understood() {
        assert!(matches!(
            closed("max concurrent tail requests limit exceeded, count > limit (11 > 10)"),
            Left::Ended(Error::Quota(_))
        ));
        assert!(matches!(closed("reached tail max duration limit"), Left::Lost));
        assert!(matches!(
            closed("parse error : x"),
            Left::Ended(Error::Invalid { .. })
        ));
    }
}
