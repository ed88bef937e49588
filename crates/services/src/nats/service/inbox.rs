//! Who waits for which message that comes back: replies, acknowledgements, and echoes of our own.
//!
//! One subscription serves them all. The client's own way to do requests would remember for ever each that was never
//! answered.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, Subscriber, message::OutboundMessage};
use futures::StreamExt;
use isa_proto::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::Error;
use crate::nats::names::{Names, REPLIES, TENANTS};

/// After this an echo that did not come back will not.
const ECHO_LOST: Duration = Duration::from_secs(5);

/// What comes back on one connection.
pub(super) struct Inbox {
    /// `_INBOX.isa.<node>.`, with a token behind it.
    own: String,
    /// This connection among all of this and other replicas.
    node: String,
    waiting: Mutex<HashMap<u64, Waiting>>,
    echoes: Mutex<Echoes>,
    wake: Notify,
}

struct Waiting {
    /// Where it must come: a tenant that guesses a token answers nobody else's request.
    subject: Box<str>,
    sender: oneshot::Sender<Message>,
}

/// Those who wait until the server has taken what was sent before. One echo answers all that came before it was sent.
#[derive(Default)]
struct Echoes {
    sent: u64,
    /// The one that is on its way.
    flying: Option<Instant>,
    for_flying: Vec<oneshot::Sender<()>>,
    for_next: Vec<oneshot::Sender<()>>,
}

/// A place in the inbox, until it is dropped.
pub(super) struct Ticket {
    inbox: Arc<Inbox>,
    token: u64,
    pub(super) subject: String,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.inbox.waiting.lock().remove(&self.token);
    }
}

impl Inbox {
    pub(super) fn new() -> Arc<Self> {
        let node = format!("{:016x}", rand::random::<u64>());
        Arc::new(Self {
            own: format!("_INBOX.isa.{node}."),
            node,
            waiting: Mutex::default(),
            echoes: Mutex::default(),
            wake: Notify::new(),
        })
    }

    /// The two subjects on which everything comes.
    pub(super) fn subjects(&self) -> [String; 2] {
        [
            format!("{}*", self.own),
            format!("{TENANTS}.*.{REPLIES}.{}.*", self.node),
        ]
    }

    /// Waits for one message: an answer of the server's, or of a tenant's own.
    pub(super) fn one(
        self: &Arc<Self>,
        tenant: Option<Names<'_>>,
    ) -> Result<(Ticket, oneshot::Receiver<Message>), Error> {
        // Zero is the echo's.
        let token = rand::random::<u64>().max(1);
        let subject = match tenant {
            None => format!("{}{token:x}", self.own),
            Some(names) => names.subject("reply_to", &format!("{REPLIES}.{}.{token:x}", self.node))?,
        };
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            subject: subject.as_str().into(),
            sender,
        };
        self.waiting.lock().insert(token, waiting);
        let ticket = Ticket {
            inbox: Arc::clone(self),
            token,
            subject,
        };
        Ok((ticket, receiver))
    }

    /// Completes when the server has taken everything that this connection sent before the call.
    pub(super) fn echo(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.echoes.lock().for_next.push(sender);
        self.wake.notify_one();
        receiver
    }

    /// Hands out what comes, until `stop`. Whoever waits when the connection is lost is told by a dropped sender.
    pub(super) async fn run(
        self: Arc<Self>,
        client: Client,
        [mut own, mut replies]: [Subscriber; 2],
        mut lost: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                changed = lost.changed() => match changed {
                    Ok(()) => self.forget_all(),
                    Err(_) => return,
                },
                () = self.wake.notified() => self.send_echo(&client).await,
                message = own.next() => match message {
                    Some(message) => self.deliver(message, &client).await,
                    None => return,
                },
                message = replies.next() => match message {
                    Some(message) => self.deliver(message, &client).await,
                    None => return,
                },
            }
        }
    }

    async fn deliver(&self, message: Message, client: &Client) {
        let token = message
            .subject
            .rsplit('.')
            .next()
            .and_then(|token| u64::from_str_radix(token, 16).ok());
        match token {
            Some(0) => {
                self.landed(&message.payload);
                self.send_echo(client).await;
            }
            Some(token) => self.hand_over(token, message),
            None => {}
        }
    }

    fn hand_over(&self, token: u64, message: Message) {
        let mut waiting = self.waiting.lock();
        let Entry::Occupied(entry) = waiting.entry(token) else {
            return;
        };
        if *entry.get().subject == *message.subject.as_str() {
            let _ = entry.remove().sender.send(message);
        }
    }

    fn landed(&self, payload: &Bytes) {
        let mut echoes = self.echoes.lock();
        if payload.as_ref() == echoes.sent.to_be_bytes() {
            echoes.flying = None;
            for sender in echoes.for_flying.drain(..) {
                let _ = sender.send(());
            }
        }
    }

    async fn send_echo(&self, client: &Client) {
        let Some(number) = self.echoes.lock().next() else {
            return;
        };
        let echo = OutboundMessage {
            subject: format!("{}0", self.own).into(),
            reply: None,
            payload: Bytes::copy_from_slice(&number.to_be_bytes()),
            headers: None,
        };
        if async_nats::client::traits::Publisher::publish_message(client, echo)
            .await
            .is_err()
        {
            self.forget_all();
        }
    }

    fn forget_all(&self) {
        self.waiting.lock().clear();
        let mut echoes = self.echoes.lock();
        echoes.flying = None;
        echoes.for_flying.clear();
        echoes.for_next.clear();
    }
}

impl Echoes {
    /// The number of the echo to send now, if one is due.
    fn next(&mut self) -> Option<u64> {
        if self.for_next.is_empty() {
            return None;
        }
        if let Some(since) = self.flying {
            if since.elapsed() < ECHO_LOST {
                return None;
            }
            self.for_flying.clear();
        }
        self.flying = Some(Instant::now());
        std::mem::swap(&mut self.for_flying, &mut self.for_next);
        self.sent += 1;
        Some(self.sent)
    }
}
