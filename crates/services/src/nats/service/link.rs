//! One connection to NATS, and the ways to ask over it.

use std::{future::Future, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, StatusCode, Subject, Subscriber,
    client::traits::Publisher,
    connection::State,
    jetstream::{ErrorCode, response::Response},
    message::OutboundMessage,
};
use futures::{FutureExt, StreamExt};
use isa_config::Endpoint;
use isa_proto::Bytes;
use serde::de::DeserializeOwned;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Error,
    inbox::{Inbox, Ticket},
};
use crate::nats::names::Names;

/// Messages of one subscription that may wait in the client until our task takes them.
const CLIENT_QUEUE: usize = 65_536;

/// How soon a connection that is silent is asked for a sign of life; after two without one it is given up.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Between attempts to connect, at most.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// A connection, which comes back by itself. It is closed when the link is dropped.
pub(crate) struct Link {
    client: Client,
    inbox: Arc<Inbox>,
    /// Counts how often messages may have been missed.
    lost: watch::Receiver<u64>,
    _stop: DropGuard,
}

impl Link {
    /// Begins to connect. Must be called in a runtime.
    pub(crate) fn open(endpoint: &Endpoint, name: &str) -> Result<Self, String> {
        let (bump, lost) = watch::channel(0_u64);
        let mut options = ConnectOptions::new()
            .name(name)
            .retry_on_initial_connect()
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECT_TIMEOUT)
            .subscription_capacity(CLIENT_QUEUE)
            .reconnect_delay_callback(|attempts| {
                let exponent = u32::try_from(attempts.min(10)).unwrap_or(10);
                Duration::from_millis(10)
                    .saturating_mul(1 << exponent)
                    .min(MAX_RECONNECT_DELAY)
            })
            .event_callback(move |event| {
                if matches!(event, Event::Disconnected | Event::SlowConsumer(_)) {
                    bump.send_modify(|times| *times += 1);
                }
                std::future::ready(())
            });
        if let Some(password) = &endpoint.password {
            let password = password.expose().to_owned();
            options = match &endpoint.username {
                Some(user) => options.user_and_password(user.clone(), password),
                None => options.token(password),
            };
        }
        // With `retry_on_initial_connect` nothing of this waits.
        let client = options
            .connect(endpoint.url.as_str())
            .now_or_never()
            .ok_or("cannot be connected to without waiting")?
            .map_err(|error| error.kind().to_string())?;

        let inbox = Inbox::new();
        let stop = CancellationToken::new();
        let run = {
            let (client, inbox, lost, stop) =
                (client.clone(), Arc::clone(&inbox), lost.clone(), stop.clone());
            async move {
                let [own, replies] = inbox.subjects();
                let own = client.subscribe(own).await;
                let replies = client.subscribe(replies).await;
                if let (Ok(own), Ok(replies)) = (own, replies) {
                    inbox.run(client, [own, replies], lost, stop).await;
                }
            }
        };
        tokio::spawn(run);
        Ok(Self {
            client,
            inbox,
            lost,
            _stop: stop.drop_guard(),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Changes each time messages may have been missed.
    pub(super) fn lost(&self) -> watch::Receiver<u64> {
        let mut lost = self.lost.clone();
        lost.mark_unchanged();
        lost
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Fails at once while there is no connection: the client would keep what it is given until there is one.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_connected() {
            Ok(())
        } else {
            Err(Error::down("not connected"))
        }
    }

    /// The server has everything that was sent before.
    pub(crate) async fn settle(&self, limit: Duration) -> Result<(), Error> {
        self.check()?;
        within(limit, async {
            self.inbox
                .echo()
                .await
                .map_err(|_| Error::down("the connection was lost"))
        })
        .await
    }

    /// Sends, without waiting for the server.
    pub(super) async fn send(&self, message: OutboundMessage) -> Result<(), Error> {
        self.check()?;
        self.client
            .publish_message(message)
            .await
            .map_err(|error| match error.kind() {
                async_nats::PublishErrorKind::MaxPayloadExceeded => Error::TooLarge(format!(
                    "the message is larger than {} bytes with its headers",
                    self.client.max_payload()
                )),
                async_nats::PublishErrorKind::InvalidSubject => Error::unexpected(error),
                async_nats::PublishErrorKind::Send => Error::down(error.to_string()),
            })
    }

    /// Sends, and waits for the first answer. With `replies_of` it comes on a subject of that tenant.
    pub(super) async fn ask(
        &self,
        subject: impl Into<Subject>,
        headers: Option<HeaderMap>,
        payload: Bytes,
        replies_of: Option<Names<'_>>,
        limit: Duration,
    ) -> Result<Message, Error> {
        let subject = subject.into();
        within(limit, async {
            let question = self.begin(subject, headers, payload, replies_of).await?;
            question.answer().await
        })
        .await
    }

    /// Sends, for the answer to be waited for later.
    pub(super) async fn begin(
        &self,
        subject: Subject,
        headers: Option<HeaderMap>,
        payload: Bytes,
        replies_of: Option<Names<'_>>,
    ) -> Result<Question, Error> {
        let (ticket, answer) = self.inbox.one(replies_of)?;
        self.send(OutboundMessage {
            subject,
            reply: Some(Subject::from(ticket.subject.as_str())),
            payload,
            headers,
        })
        .await?;
        Ok(Question {
            _ticket: ticket,
            answer,
        })
    }

    /// Sends, and takes answers as they come: those of JetStream's consumers keep their own subjects, so that a
    /// subscription of their own is all that tells them from others.
    pub(super) async fn ask_for_many(&self, subject: String, payload: Bytes) -> Result<Answers, Error> {
        self.check()?;
        let lost = self.lost();
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(Error::unexpected)?;
        self.send(OutboundMessage {
            subject: subject.into(),
            reply: Some(inbox.into()),
            payload,
            headers: None,
        })
        .await?;
        Ok(Answers { subscriber, lost })
    }

    /// Asks JetStream: `$JS.API.<subject>`.
    pub(super) async fn api<T: DeserializeOwned>(
        &self,
        subject: &str,
        payload: Bytes,
        limit: Duration,
    ) -> Result<T, Error> {
        let answer = self
            .ask(format!("$JS.API.{subject}"), None, payload, None, limit)
            .await;
        let message = match answer {
            // Nobody answers for JetStream: it is off, or has no leader yet.
            Err(Error::NoResponders) => return Err(Error::down("JetStream does not answer")),
            answer => answer?,
        };
        parse(&message.payload)
    }

    /// Subscribes, and waits until the server knows.
    pub(super) async fn subscribe(
        &self,
        subject: String,
        group: Option<String>,
        limit: Duration,
    ) -> Result<Subscriber, Error> {
        self.check()?;
        within(limit, async {
            let subscriber = match group {
                Some(group) => self.client.queue_subscribe(subject, group).await,
                None => self.client.subscribe(subject).await,
            };
            subscriber.map_err(Error::unexpected)
        })
        .await
    }
}

/// What was sent, and waits for its answer.
pub(super) struct Question {
    _ticket: Ticket,
    answer: oneshot::Receiver<Message>,
}

impl Question {
    pub(super) async fn answer(self) -> Result<Message, Error> {
        let message = self
            .answer
            .await
            .map_err(|_| Error::down("the connection was lost"))?;
        match message.status {
            Some(StatusCode::NO_RESPONDERS) => Err(Error::NoResponders),
            _ => Ok(message),
        }
    }
}

/// Answers to one question. Dropped, it listens no more.
pub(super) struct Answers {
    subscriber: Subscriber,
    lost: watch::Receiver<u64>,
}

impl Answers {
    /// The next one; an error if the connection is lost.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Message, Error> {
        let lost = || Error::down("the connection was lost");
        within(limit, async {
            tokio::select! {
                biased;
                message = self.subscriber.next() => message.ok_or_else(lost),
                _ = self.lost.changed() => Err(lost()),
            }
        })
        .await
    }
}

/// What JetStream answered.
pub(super) fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Error> {
    match serde_json::from_slice(payload) {
        Ok(Response::Ok(value)) => Ok(value),
        Ok(Response::Err { error }) => Err(Error::Engine(error)),
        Err(error) => Err(Error::unexpected(format_args!("JetStream's answer: {error}"))),
    }
}

/// JSON of something of ours.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(Error::unexpected)
}

/// Whether NATS refused with this code.
pub(super) fn refused<T>(answer: &Result<T, Error>, code: ErrorCode) -> bool {
    matches!(answer, Err(error) if error.code() == Some(code))
}

/// The future's own result, or that there was no time.
pub(super) async fn within<T>(
    limit: Duration,
    future: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, future).await.unwrap_or(Err(Error::TimedOut))
}
