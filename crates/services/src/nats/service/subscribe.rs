//! Listening to subjects: bounded queues, and the ends of subscriptions.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_nats::{HeaderMap, Message, Subscriber, header::NATS_EXPECTED_STREAM, message::OutboundMessage};
use futures::StreamExt;
use isa_proto::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Error, Link, Nats,
    link::{json, within},
    stats::Counters,
};
use crate::nats::names::{Names, check_group};

/// Messages that may wait for one subscriber.
const MAX_WAITING: usize = 1024;

/// Their bytes, headers included.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Where replicas tell each other which subscriptions end. Outside of every tenant's subjects.
const CONTROL: &str = "isa.nats.unsubscribe";

/// A message as the tenant sees it.
pub(crate) struct Received {
    pub(crate) subject: String,
    pub(crate) data: Bytes,
    pub(crate) headers: BTreeMap<String, String>,
    /// Empty if no reply is wanted, or not on a subject of the tenant.
    pub(crate) reply_to: String,
}

impl Received {
    /// `None` if it is not the tenant's.
    pub(super) fn new(names: Names<'_>, message: Message) -> Option<Self> {
        let subject = names.given_subject(&message.subject)?.to_owned();
        let reply_to = message
            .reply
            .as_deref()
            .and_then(|reply| names.given_subject(reply))
            .unwrap_or_default()
            .to_owned();
        Some(Self {
            subject,
            data: message.payload,
            headers: given_headers(names, message.headers.as_ref()),
            reply_to,
        })
    }
}

/// Headers as the tenant sees them: its own names in those of NATS, and without what we have added.
pub(super) fn given_headers(names: Names<'_>, headers: Option<&HeaderMap>) -> BTreeMap<String, String> {
    let Some(headers) = headers else {
        return BTreeMap::new();
    };
    headers
        .iter()
        .filter(|(name, _)| **name != NATS_EXPECTED_STREAM)
        .map(|(name, values)| {
            let mut joined = String::new();
            for value in values {
                if !joined.is_empty() {
                    joined.push_str(", ");
                }
                joined.push_str(value.as_str());
            }
            let name = name.to_string();
            let joined = match name.as_str() {
                "Nats-Stream" => names.given_stream(&joined).map(str::to_owned).unwrap_or(joined),
                "Nats-Subject" => names.given_subject(&joined).map(str::to_owned).unwrap_or(joined),
                _ => joined,
            };
            (name, joined)
        })
        .collect()
}

/// How a subscription ended.
enum End {
    /// Its owner left it by `Unsubscribe`.
    Left,
    SlowConsumer,
    /// The connection was lost, and messages with it.
    Lost,
}

/// Messages of a subject, as they come.
pub(crate) struct Subscription {
    messages: mpsc::Receiver<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    end: Arc<OnceLock<End>>,
    counters: Arc<Counters>,
    slug: String,
    _entry: OpenEntry,
}

impl Subscription {
    /// The next message; `None` after `Unsubscribe`.
    pub(crate) async fn next(&mut self) -> Option<Result<Received, Error>> {
        while let Some(message) = self.messages.recv().await {
            self.waiting_bytes.fetch_sub(message.length, Relaxed);
            self.counters.went_out(message.payload.len());
            if let Some(received) = Received::new(Names::of(&self.slug), message) {
                return Some(Ok(received));
            }
        }
        match self.end.get() {
            Some(End::Left) => None,
            Some(End::SlowConsumer) => Some(Err(Error::SlowConsumer)),
            Some(End::Lost) | None => Some(Err(Error::down("the connection was lost"))),
        }
    }
}

impl Nats {
    /// Listens to a subject, which may have wildcards, for `caller`. NATS knows when this returns.
    pub(crate) async fn subscribe(
        &self,
        names: Names<'_>,
        caller: &str,
        subject: &str,
        group: &str,
        limit: Duration,
    ) -> Result<Subscription, Error> {
        let pattern = names.pattern("subject", subject)?;
        let group = match group {
            "" => None,
            group => {
                check_group("queue_group", group)?;
                Some(group.to_owned())
            }
        };
        let lost = self.feed.lost();
        let subscriber = self.feed.subscribe(pattern.clone(), group, limit).await?;
        self.feed.settle(limit).await?;

        let left = CancellationToken::new();
        let entry = Subscriptions::add(&self.subscriptions, (pattern, caller.to_owned()), left.clone());
        let (sender, messages) = mpsc::channel(MAX_WAITING);
        let forwarder = Forwarder {
            sender,
            waiting_bytes: Arc::default(),
            end: Arc::default(),
        };
        let subscription = Subscription {
            messages,
            waiting_bytes: Arc::clone(&forwarder.waiting_bytes),
            end: Arc::clone(&forwarder.end),
            counters: self.traffic.of(names),
            slug: names.slug().to_owned(),
            _entry: entry,
        };
        tokio::spawn(forwarder.run(subscriber, lost, left));
        Ok(subscription)
    }

    /// Ends the caller's subscriptions on this very subject, here and on other replicas.
    pub(crate) async fn unsubscribe(
        &self,
        names: Names<'_>,
        caller: &str,
        subject: &str,
        limit: Duration,
    ) -> Result<(), Error> {
        let pattern = names.pattern("subject", subject)?;
        let key = (pattern, caller.to_owned());
        self.subscriptions.end(&key);
        self.feed
            .send(OutboundMessage {
                subject: CONTROL.into(),
                reply: None,
                payload: json(&Leave {
                    subject: key.0,
                    caller: key.1,
                })?,
                headers: None,
            })
            .await?;
        self.feed.settle(limit).await
    }
}

/// Takes messages from the client as they come, so that they wait where they are counted.
struct Forwarder {
    sender: mpsc::Sender<Message>,
    waiting_bytes: Arc<AtomicUsize>,
    end: Arc<OnceLock<End>>,
}

impl Forwarder {
    async fn run(self, mut subscriber: Subscriber, mut lost: watch::Receiver<u64>, left: CancellationToken) {
        let end = loop {
            tokio::select! {
                biased;
                () = self.sender.closed() => return,
                () = left.cancelled() => break End::Left,
                _ = lost.changed() => break End::Lost,
                message = subscriber.next() => match message {
                    Some(message) => if !self.forward(message) {
                        break End::SlowConsumer;
                    },
                    None => break End::Lost,
                },
            }
        };
        // Before the sender goes: its reader looks here then.
        let _ = self.end.set(end);
    }

    /// False if there is no room.
    fn forward(&self, message: Message) -> bool {
        // That nobody listens for a reply is no message.
        if message.status.is_some() {
            return true;
        }
        let length = message.length;
        if self.waiting_bytes.fetch_add(length, Relaxed) + length > MAX_WAITING_BYTES {
            return false;
        }
        match self.sender.try_send(message) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => true,
            Err(mpsc::error::TrySendError::Full(_)) => false,
        }
    }
}

/// A subject in NATS and who listens to it.
type Key = (String, String);

/// The subscriptions of this replica.
#[derive(Default)]
pub(super) struct Subscriptions {
    open: Mutex<HashMap<Key, HashMap<u64, CancellationToken>>>,
}

/// What one replica tells the others.
#[derive(Serialize, Deserialize)]
struct Leave {
    subject: String,
    caller: String,
}

impl Subscriptions {
    /// Listens to what other replicas say for as long as there is the connection.
    pub(super) fn serve(feed: &Arc<Link>) -> Arc<Self> {
        let subscriptions = Arc::new(Self::default());
        let weak = Arc::downgrade(&subscriptions);
        let client = feed.client().clone();
        tokio::spawn(async move {
            // The client keeps the command until it is connected.
            let Ok(mut control) = client.subscribe(CONTROL).await else {
                return;
            };
            drop(client);
            loop {
                // Looks up now and then, to end with the service.
                let message = within(Duration::from_secs(10), async { Ok(control.next().await) }).await;
                let Some(subscriptions) = weak.upgrade() else {
                    return;
                };
                match message {
                    Ok(Some(message)) => {
                        if let Ok(leave) = serde_json::from_slice::<Leave>(&message.payload) {
                            subscriptions.end(&(leave.subject, leave.caller));
                        }
                    }
                    Ok(None) => return,
                    Err(_) => {}
                }
            }
        });
        subscriptions
    }

    fn add(this: &Arc<Self>, key: Key, left: CancellationToken) -> OpenEntry {
        let id = rand::random();
        this.open.lock().entry(key.clone()).or_default().insert(id, left);
        OpenEntry {
            subscriptions: Arc::clone(this),
            key,
            id,
        }
    }

    fn end(&self, key: &Key) {
        for left in self.open.lock().get(key).into_iter().flat_map(HashMap::values) {
            left.cancel();
        }
    }
}

/// Takes a subscription off the list when it is dropped.
struct OpenEntry {
    subscriptions: Arc<Subscriptions>,
    key: Key,
    id: u64,
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        let mut open = self.subscriptions.open.lock();
        if let Some(entries) = open.get_mut(&self.key) {
            entries.remove(&self.id);
            if entries.is_empty() {
                open.remove(&self.key);
            }
        }
    }
}
