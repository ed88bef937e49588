//! Lines on their way to Loki. Those of one stream that come while a request is on its way wait for the next one, and go
//! together: many callers share a request, and each is answered when Loki has answered it.
//!
//! A request has lines of one stream alone: of several, Loki tells of what it left out in the last one only.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

use super::{
    Error,
    http::{Http, Refusal},
    wire::{Line, push_body},
};
use crate::loki::names::Names;

/// Bytes of lines that go in one request, and of those that a caller may hand over at once.
pub(super) const MAX_REQUEST: usize = 1 << 20;

/// Bytes of lines that may wait for one stream. A caller beyond is told to slow down.
const MAX_WAITING: usize = 32 << 20;

/// How long Loki may take for a request, which is nobody's own: then those who wait are told that it does not answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Requests to Loki at once.
const AT_ONCE: usize = 64;

/// Requests that are made to find out which lines Loki refuses, where it does not say.
const MAX_TRIES: usize = 32;

/// Lines of one caller that Loki refused, by their place among those that it handed over, and why.
pub(super) type Refused = Vec<(usize, Reason)>;

/// Why Loki refuses a line, in our words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reason {
    /// Of the entry.
    pub(super) field: &'static str,
    pub(super) why: &'static str,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Streams whose lines are on their way.
pub(super) struct Lanes {
    http: Arc<Http>,
    open: Mutex<HashMap<String, Waiting>>,
    permits: Semaphore,
}

/// Who waits for the next request of a stream. Is there as long as a request is on its way.
#[derive(Default)]
struct Waiting {
    jobs: Vec<Job>,
    bytes: usize,
}

/// Lines of a caller, and where it waits.
struct Job {
    lines: Vec<Line>,
    bytes: usize,
    done: oneshot::Sender<Result<Refused, Error>>,
}

impl Lanes {
    pub(super) fn new(http: Arc<Http>) -> Arc<Self> {
        Arc::new(Self {
            http,
            open: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
        })
    }

    /// Answers when Loki has the lines, but for those that it refuses. They have at most [`MAX_REQUEST`] bytes.
    pub(super) async fn push(
        this: &Arc<Self>,
        names: Names<'_>,
        labels: &str,
        lines: Vec<Line>,
    ) -> Result<Refused, Error> {
        let (done, answer) = oneshot::channel();
        let bytes = lines.iter().map(Line::size).sum();
        let job = Job { lines, bytes, done };
        let key = [names.scope(), labels].concat();
        let first = {
            let mut open = this.open.lock();
            match open.get_mut(&key) {
                Some(waiting) if waiting.bytes + bytes > MAX_WAITING => return Err(Error::RateLimited),
                Some(waiting) => {
                    waiting.bytes += bytes;
                    waiting.jobs.push(job);
                    None
                }
                None => {
                    open.insert(key.clone(), Waiting::default());
                    Some(job)
                }
            }
        };
        if let Some(job) = first {
            let lane = Lane {
                lanes: Arc::clone(this),
                scope: names.scope().len(),
                key,
                ended: false,
            };
            // Not in the caller's own time: it may leave, and others wait.
            tokio::spawn(lane.run(job));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Error::down("the request was given up")))
    }
}

/// A stream whose lines are on their way: requests, one after another, until nobody waits.
struct Lane {
    lanes: Arc<Lanes>,
    /// Where the tenant ends in the key, and the labels begin.
    scope: usize,
    key: String,
    /// Nobody waits, and the next caller begins anew.
    ended: bool,
}

impl Lane {
    async fn run(mut self, first: Job) {
        let mut jobs = vec![first];
        loop {
            // Who is gone by now has written nothing.
            jobs.retain(|job| !job.done.is_closed());
            if !jobs.is_empty() {
                self.send(jobs).await;
            }
            match self.next() {
                Some(next) => jobs = next,
                None => return,
            }
        }
    }

    /// Those who go next; none, and the stream is no more on its way, if nobody waits.
    fn next(&mut self) -> Option<Vec<Job>> {
        let mut open = self.lanes.open.lock();
        let waiting = open.get_mut(&self.key)?;
        if waiting.jobs.is_empty() {
            open.remove(&self.key);
            self.ended = true;
            return None;
        }
        let mut bytes = 0;
        let fits = |job: &&Job| {
            bytes += job.bytes;
            bytes <= MAX_REQUEST
        };
        let count = waiting.jobs.iter().take_while(fits).count().max(1);
        let next: Vec<Job> = waiting.jobs.drain(..count).collect();
        waiting.bytes -= next.iter().map(|job| job.bytes).sum::<usize>();
        Some(next)
    }

    async fn send(&self, jobs: Vec<Job>) {
        let outcome = self.try_send(&jobs).await;
        let shared = jobs.len() > 1 && matches!(outcome, Err(Failure::Unclear(_)));
        if shared {
            // Each alone: what is wrong with one is not the others' business.
            for job in jobs {
                let outcome = match self.try_send(std::slice::from_ref(&job)).await {
                    Err(Failure::Unclear(why)) => {
                        self.find(&job.lines, why).await.map(|refused| vec![refused])
                    }
                    other => other.map_err(Failure::into_error),
                };
                answer(vec![job], outcome);
            }
            return;
        }
        let outcome = match outcome {
            Err(Failure::Unclear(why)) => match jobs.first() {
                Some(job) => self.find(&job.lines, why).await.map(|refused| vec![refused]),
                None => Ok(Vec::new()),
            },
            other => other.map_err(Failure::into_error),
        };
        answer(jobs, outcome);
    }

    /// One request with all lines of these. For each its refused lines.
    async fn try_send(&self, jobs: &[Job]) -> Result<Vec<Refused>, Failure> {
        // The oldest first: what is too far behind the newest is then the first lines, and no line makes another one so.
        let mut order: Vec<(usize, usize)> = jobs
            .iter()
            .enumerate()
            .flat_map(|(job, of)| (0..of.lines.len()).map(move |line| (job, line)))
            .collect();
        let line = |&(job, line): &(usize, usize)| &jobs[job].lines[line];
        order.sort_by_key(|place| line(place).at);
        let mut refused: Vec<Refused> = jobs.iter().map(|_| Vec::new()).collect();
        let Err(refusal) = self.request(order.iter().map(line)).await? else {
            return Ok(refused);
        };
        match judge(&refusal, order.len())? {
            Judged::Behind(count) => {
                for (job, line) in order.into_iter().take(count) {
                    refused[job].push((line, TOO_FAR_BEHIND));
                }
                Ok(refused)
            }
            Judged::Unclear(why) => Err(Failure::Unclear(why)),
        }
    }

    /// Which of a caller's lines Loki refuses, by trying: those that it takes once more are still one.
    async fn find(&self, lines: &[Line], why: Reason) -> Result<Refused, Error> {
        let mut refused = Refused::new();
        let mut parts = vec![(0, lines.len())];
        let mut tries = 0;
        while let Some((begin, end)) = parts.pop() {
            if end - begin <= 1 || tries >= MAX_TRIES {
                refused.extend((begin..end).map(|line| (line, why)));
                continue;
            }
            let middle = begin.midpoint(end);
            for (begin, end) in [(begin, middle), (middle, end)] {
                tries += 1;
                if let Err(refusal) = self.request(lines[begin..end].iter()).await? {
                    judge(&refusal, end - begin)?;
                    parts.push((begin, end));
                }
            }
        }
        Ok(refused)
    }

    async fn request<'a>(
        &self,
        lines: impl Iterator<Item = &'a Line> + Clone,
    ) -> Result<Result<(), Refusal>, Error> {
        let (scope, labels) = self.key.split_at(self.scope);
        let body = push_body(labels, lines)?;
        let _permit = self.lanes.permits.acquire().await.map_err(Error::unexpected)?;
        let pushed = self.lanes.http.push(Names::of(scope), body, LIMIT).await;
        // It may have them, and it may not: to be tried again, for two alike are one.
        pushed.map_err(|error| match error {
            Error::TimedOut => Error::down("no answer to a push in time"),
            error => error,
        })
    }
}

impl Drop for Lane {
    /// A stream must not be on its way for ever: if this ends early, those who wait are told so.
    fn drop(&mut self) {
        if !self.ended {
            self.lanes.open.lock().remove(&self.key);
        }
    }
}

fn answer(jobs: Vec<Job>, outcome: Result<Vec<Refused>, Error>) {
    match outcome {
        Ok(refused) => {
            for (job, refused) in jobs.into_iter().zip(refused) {
                // A caller that is gone needs no answer.
                let _ = job.done.send(Ok(refused));
            }
        }
        Err(error) => {
            for job in jobs {
                let _ = job.done.send(Err(error.clone()));
            }
        }
    }
}

/// Why a request did not go well.
enum Failure {
    Error(Error),
    /// Loki refuses some lines, and does not say which.
    Unclear(Reason),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Unclear(Reason { field, why }) => Error::invalid(field, why),
        }
    }
}

const TOO_FAR_BEHIND: Reason = Reason {
    field: "timestamp",
    why: "is too far behind the newest entry of its stream",
};

/// What a refusal says of the lines.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    /// The so many oldest are too far behind; the others are written.
    Behind(usize),
    Unclear(Reason),
}

/// `count` is that of the lines that were sent, the oldest first.
fn judge(refusal: &Refusal, count: usize) -> Result<Judged, Error> {
    let text = refusal.text.as_str();
    match refusal.status.as_u16() {
        400 => {}
        413 => return Err(Error::TooLarge("is more than Loki takes at once".into())),
        429 if text.contains("maximum active stream limit") => {
            return Err(Error::Quota(
                "Loki keeps no more streams of this tenant; write with fewer distinct labels".to_owned(),
            ));
        }
        429 => return Err(Error::RateLimited),
        status => return Err(Error::down(format_args!("HTTP {status} to a push: {text}"))),
    }
    let behind = text.contains("too far behind").then(|| ignored(text)).flatten();
    Ok(match behind {
        Some((refused, of)) if of == count && refused <= count => Judged::Behind(refused),
        _ => {
            tracing::debug!(text, "Loki refused a push");
            Judged::Unclear(reason(text))
        }
    })
}

/// `… total ignored: 2 out of 5 for stream …`
fn ignored(text: &str) -> Option<(usize, usize)> {
    let mut words = text.rsplit_once("total ignored: ")?.1.split_whitespace();
    let refused = words.next()?.parse().ok()?;
    let of = words.nth(2)?.parse().ok()?;
    Some((refused, of))
}

/// Why a line is refused.
fn reason(text: &str) -> Reason {
    [
        ("too far behind", TOO_FAR_BEHIND.field, TOO_FAR_BEHIND.why),
        ("timestamp too old", "timestamp", "is older than Loki takes"),
        (
            "timestamp too new",
            "timestamp",
            "is further ahead than Loki takes",
        ),
        ("max entry size", "line", "is longer than Loki takes"),
        ("label", "labels", "are more or longer than Loki takes"),
    ]
    .into_iter()
    .find(|(part, ..)| text.contains(part))
    .map_or(
        Reason {
            field: "line",
            why: "is none that Loki takes",
        },
        |(_, field, why)| Reason { field, why },
    )
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    fn refused(status: u16, text: &str, count: usize) -> Result<Judged, Error> {
        let refusal = Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            text: text.to_owned(),
        };
        judge(&refusal, count)
    }

    #[test]
    fn what_loki_ignores_is_counted() {
        let text = "entry with timestamp 2026-01-01 00:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
            timestamp is: 2026-01-01T00:00:00Z, oldest acceptable timestamp is: 2026-01-01T01:00:00Z',\nuser 'x', \
            total ignored: 2 out of 5 for stream: {a=\"total ignored\"}";
        assert_eq!(refused(400, text, 5).unwrap(), Judged::Behind(2));
        assert_eq!(refused(400, text, 4).unwrap(), Judged::Unclear(TOO_FAR_BEHIND));
        let text = "entry for stream '{a=\"b\"}' has timestamp too old: 2026-01-01T00:00:00Z";
        let Judged::Unclear(reason) = refused(400, text, 1).unwrap() else {
            panic!("it does not say which");
        };
        assert_eq!(reason.to_string(), "timestamp: is older than Loki takes");
    }

    #[test]
    fn limits_and_failures_are_told_apart() {
        assert!(matches!(
            refused(429, "Ingestion rate limit exceeded", 1),
            Err(Error::RateLimited)
        ));
        assert!(matches!(
            refused(429, "maximum active stream limit exceeded", 1),
            Err(Error::Quota(_))
        ));
        assert!(matches!(refused(500, "empty ring", 1), Err(Error::Down(_))));
    }
}
