//! Channels: one connection of this process hears for all of its subscribers. A task owns it and the list of who wants
//! what, so Redis is asked for a channel once, for its first subscriber, and told when its last has left.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use futures::StreamExt;
use redis::{
    Cmd, Msg, RedisError,
    aio::{PubSubSink, PubSubStream},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Error, Store, address::Target, limits, link::PATIENCE, reply};
use crate::redis::names::{Space, own};

/// Messages that may wait for one reader; and their bytes, but for one message of any size.
const WAITING: usize = 1024;
const WAITING_BYTES: usize = 16 << 20;

/// Where replicas of this service tell each other who unsubscribes. No tenant's channels begin so.
const UNSUBSCRIBED: &str = "isa:unsubscribed";

/// Whose a subscription is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    slug: String,
    user: String,
}

/// What is told to the other replicas.
#[derive(Debug, Serialize, Deserialize)]
struct Notice {
    from: String,
    owner: Owner,
    /// Full names; none means all.
    channels: Vec<String>,
}

/// A message that was published.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    channel: Arc<str>,
    text: Arc<str>,
    pub(crate) received: SystemTime,
}

/// Why there are no more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The reader did not keep up.
    TooSlow,
    /// The connection to Redis is gone: messages were missed.
    Lost,
    /// A message was not UTF-8.
    NotText,
    Unsubscribed,
}

/// Messages of some channels, until it is dropped. Made before it is asked for, so that it is given up whenever that ends.
pub(crate) struct Subscription {
    messages: mpsc::Receiver<Message>,
    shared: Arc<Shared>,
    id: u64,
    asks: mpsc::UnboundedSender<Ask>,
}

/// What a subscription and its list entry both have.
#[derive(Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    ended: OnceLock<Ended>,
}

/// Handle of the task. Its questions are not bounded: there are as many as there are calls, which are.
#[derive(Clone)]
pub(super) struct Hub {
    asks: mpsc::UnboundedSender<Ask>,
    /// Tells this process from other replicas.
    me: Arc<str>,
    joined: Arc<AtomicU64>,
}

enum Ask {
    Join {
        id: u64,
        entry: Entry,
        answer: oneshot::Sender<Result<(), Error>>,
    },
    /// Comes after the Join of the same number, and always comes.
    Leave(u64),
    End {
        owner: Owner,
        channels: Vec<String>,
        answer: oneshot::Sender<()>,
    },
}

struct Entry {
    /// `None` for our own use.
    owner: Option<Owner>,
    channels: Vec<Arc<str>>,
    messages: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

struct Task {
    target: Arc<Target>,
    me: Arc<str>,
    connection: Option<(PubSubSink, PubSubStream)>,
    entries: HashMap<u64, Entry>,
    /// Who wants a channel.
    channels: HashMap<Arc<str>, Vec<u64>>,
}

impl Store {
    /// How many connections got it.
    pub(crate) async fn publish(&self, space: Space<'_>, channel: &str, message: &str) -> Result<i32, Error> {
        limits::name("channel", channel)?;
        limits::value("message", message)?;
        let channel = space.key(channel);
        let mut command = Cmd::with_capacity(3, 7 + channel.len() + message.len());
        command.arg("PUBLISH").arg(channel).arg(message);
        let link = if message.len() > super::LARGE {
            &self.large
        } else {
            &self.small
        };
        reply::count(link.command(space, command).await?)
    }

    /// Returns once Redis has confirmed: what is published from then on is received.
    pub(crate) async fn subscribe(
        &self,
        space: Space<'_>,
        user: &str,
        channels: &[String],
    ) -> Result<Subscription, Error> {
        limits::names("channels", channels)?;
        let channels = channels.iter().map(|channel| space.key(channel).full());
        self.hub.join(Some(owner(space, user)), channels.collect()).await
    }

    /// Ends the user's subscriptions of these channels, of all if there are none, on every replica.
    pub(crate) async fn unsubscribe(
        &self,
        space: Space<'_>,
        user: &str,
        channels: &[String],
    ) -> Result<(), Error> {
        if !channels.is_empty() {
            limits::names("channels", channels)?;
        }
        let owner = owner(space, user);
        let channels: Vec<_> = channels.iter().map(|channel| space.key(channel).full()).collect();
        self.hub.end(owner.clone(), channels.clone()).await;
        let notice = Notice {
            from: self.hub.me.as_ref().into(),
            owner,
            channels,
        };
        let notice = serde_json::to_string(&notice).map_err(|error| Error::Unexpected(error.into()))?;
        let mut command = redis::cmd("PUBLISH");
        command.arg(UNSUBSCRIBED).arg(notice);
        self.aside(space, command).await.map(reply::done)
    }
}

fn owner(space: Space<'_>, user: &str) -> Owner {
    Owner {
        slug: space.slug().to_owned(),
        user: user.to_owned(),
    }
}

impl Message {
    /// As its subscriber named it.
    pub(crate) fn channel(&self) -> &str {
        own(&self.channel).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Subscription {
    /// The next message; `Ok(None)` after it was unsubscribed.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, Ended> {
        if let Some(message) = self.messages.recv().await {
            self.shared.waiting_bytes.fetch_sub(message.text.len(), Relaxed);
            return Ok(Some(message));
        }
        match self.shared.ended.get().copied().unwrap_or(Ended::Lost) {
            Ended::Unsubscribed => Ok(None),
            why => Err(why),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Nobody is there to tell once the service has stopped.
        let _ = self.asks.send(Ask::Leave(self.id));
    }
}

impl Hub {
    pub(super) fn start(target: Arc<Target>) -> Self {
        let (asks, questions) = mpsc::unbounded_channel();
        let me: Arc<str> = format!("{:032x}", rand::random::<u128>()).into();
        let task = Task {
            target,
            me: Arc::clone(&me),
            connection: None,
            entries: HashMap::new(),
            channels: HashMap::new(),
        };
        tokio::spawn(task.run(questions));
        Self {
            asks,
            me,
            joined: Arc::default(),
        }
    }

    /// Listens on a channel of our own, which no caller ends.
    pub(super) async fn listen(&self, channel: String) -> Result<Subscription, Error> {
        self.join(None, vec![channel]).await
    }

    async fn join(&self, owner: Option<Owner>, mut channels: Vec<String>) -> Result<Subscription, Error> {
        channels.sort_unstable();
        channels.dedup();
        let (sender, messages) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared::default());
        let entry = Entry {
            owner,
            channels: channels.into_iter().map(Arc::from).collect(),
            messages: sender,
            shared: Arc::clone(&shared),
        };
        let id = self.joined.fetch_add(1, Relaxed);
        let (answer, joined) = oneshot::channel();
        let _ = self.asks.send(Ask::Join { id, entry, answer });
        let subscription = Subscription {
            messages,
            shared,
            id,
            asks: self.asks.clone(),
        };
        joined
            .await
            .map_err(|_| Error::Unexpected("the task of the channels has ended".into()))??;
        Ok(subscription)
    }

    async fn end(&self, owner: Owner, channels: Vec<String>) {
        let (answer, ended) = oneshot::channel();
        let _ = self.asks.send(Ask::End {
            owner,
            channels,
            answer,
        });
        let _ = ended.await;
    }
}

impl Task {
    /// Ends with the last handle and the last subscription.
    async fn run(mut self, mut questions: mpsc::UnboundedReceiver<Ask>) {
        loop {
            tokio::select! {
                ask = questions.recv() => match ask {
                    Some(ask) => self.heed(ask).await,
                    None => return,
                },
                message = next(&mut self.connection) => match message {
                    Some(message) => self.deliver(&message).await,
                    None => self.lost(),
                },
            }
        }
    }

    async fn heed(&mut self, ask: Ask) {
        match ask {
            Ask::Join { id, entry, answer } => {
                let _ = answer.send(self.join(id, entry).await);
            }
            Ask::Leave(id) => self.leave(id).await,
            Ask::End {
                owner,
                channels,
                answer,
            } => {
                self.end(&owner, &channels).await;
                let _ = answer.send(());
            }
        }
    }

    async fn join(&mut self, id: u64, entry: Entry) -> Result<(), Error> {
        self.connect().await?;
        let mut new = Vec::new();
        for channel in &entry.channels {
            let wanted_by = self.channels.entry(Arc::clone(channel)).or_default();
            if wanted_by.is_empty() {
                new.push(Arc::clone(channel));
            }
            wanted_by.push(id);
        }
        self.entries.insert(id, entry);
        Ok(self.tell(&new, true).await?)
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.connection.is_none() {
            self.connection = Some(self.target.subscriber().await?.split());
            let control = [Arc::from(UNSUBSCRIBED)];
            self.tell(&control, true).await?;
        }
        Ok(())
    }

    /// (Un)subscribes, and waits for the confirmation. A connection that does not confirm is given up.
    async fn tell(&mut self, channels: &[Arc<str>], wanted: bool) -> Result<(), RedisError> {
        let Some((sink, _)) = self.connection.as_mut().filter(|_| !channels.is_empty()) else {
            return Ok(());
        };
        let names: Vec<&str> = channels.iter().map(AsRef::as_ref).collect();
        let confirmed = timeout(PATIENCE, async {
            if wanted {
                sink.subscribe(&names[..]).await
            } else {
                sink.unsubscribe(&names[..]).await
            }
        });
        let confirmed = confirmed
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        if confirmed.is_err() {
            self.lost();
        }
        confirmed
    }

    /// Takes a subscriber off the list, if it is still there, and its channels from Redis if nobody else wants them.
    async fn leave(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            let unwanted = self.strike(id, &entry.channels);
            // If it fails the connection is given up, and with it all that was subscribed.
            let _ = self.tell(&unwanted, false).await;
        }
    }

    /// Channels that nobody wants any more.
    fn strike(&mut self, id: u64, channels: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut unwanted = Vec::new();
        for channel in channels {
            if let Some(wanted_by) = self.channels.get_mut(channel) {
                wanted_by.retain(|other| *other != id);
                if wanted_by.is_empty() {
                    self.channels.remove(channel);
                    unwanted.push(Arc::clone(channel));
                }
            }
        }
        unwanted
    }

    async fn cut_off(&mut self, id: u64, why: Ended) {
        if let Some(entry) = self.entries.get(&id) {
            let _ = entry.shared.ended.set(why);
        }
        self.leave(id).await;
    }

    async fn end(&mut self, owner: &Owner, channels: &[String]) {
        let theirs = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.owner.as_ref() == Some(owner));
        let names: HashSet<&str> = channels.iter().map(String::as_str).collect();
        let named = |channel: &Arc<str>| names.contains(&**channel);
        let mut ended = Vec::new();
        let mut struck = Vec::new();
        for (&id, entry) in theirs {
            if channels.is_empty() || entry.channels.iter().all(named) {
                ended.push(id);
                continue;
            }
            let (gone, left): (Vec<_>, Vec<_>) = entry.channels.drain(..).partition(named);
            entry.channels = left;
            struck.push((id, gone));
        }
        for (id, gone) in struck {
            let unwanted = self.strike(id, &gone);
            let _ = self.tell(&unwanted, false).await;
        }
        for id in ended {
            self.cut_off(id, Ended::Unsubscribed).await;
        }
    }

    async fn deliver(&mut self, message: &Msg) {
        let text = std::str::from_utf8(message.get_payload_bytes());
        if message.get_channel_name() == UNSUBSCRIBED {
            let notice = text
                .ok()
                .and_then(|text| serde_json::from_str::<Notice>(text).ok());
            if let Some(notice) = notice.filter(|notice| *notice.from != *self.me) {
                self.end(&notice.owner, &notice.channels).await;
            }
            return;
        }
        let Some((channel, wanted_by)) = self.channels.get_key_value(message.get_channel_name()) else {
            return;
        };
        let mut cut_off = Vec::new();
        match text {
            Err(_) => cut_off.extend(wanted_by.iter().map(|id| (*id, Ended::NotText))),
            Ok(text) => {
                let message = Message {
                    channel: Arc::clone(channel),
                    text: text.into(),
                    received: SystemTime::now(),
                };
                let entries = wanted_by
                    .iter()
                    .filter_map(|id| Some((*id, self.entries.get(id)?)));
                let slow = entries.filter(|(_, entry)| !entry.take(&message));
                cut_off.extend(slow.map(|(id, _)| (id, Ended::TooSlow)));
            }
        }
        for (id, why) in cut_off {
            self.cut_off(id, why).await;
        }
    }

    /// Whoever listened missed something.
    fn lost(&mut self) {
        self.connection = None;
        self.channels.clear();
        for entry in std::mem::take(&mut self.entries).into_values() {
            let _ = entry.shared.ended.set(Ended::Lost);
        }
    }
}

impl Entry {
    /// False if its reader has not kept up.
    fn take(&self, message: &Message) -> bool {
        let bytes = message.text.len();
        let before = self.shared.waiting_bytes.fetch_add(bytes, Relaxed);
        if before > 0 && before + bytes > WAITING_BYTES {
            return false;
        }
        !matches!(
            self.messages.try_send(message.clone()),
            Err(mpsc::error::TrySendError::Full(_))
        )
    }
}

async fn next(connection: &mut Option<(PubSubSink, PubSubStream)>) -> Option<Msg> {
    match connection {
        Some((_, messages)) => messages.next().await,
        None => std::future::pending().await,
    }
}
