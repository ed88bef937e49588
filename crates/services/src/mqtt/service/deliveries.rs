//! Delivering messages of devices to webhooks.
//!
//! What a webhook wants is put into a work queue of JetStream, on the disk, before the broker is told that the message was
//! taken. Replicas share one consumer of it, so each delivery is tried by one replica at a time; what is not acknowledged
//! because a replica died goes to another.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, AckKind,
        consumer::{AckPolicy, PullConsumer, pull},
        context::PublishErrorKind,
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use hmac::{Hmac, Mac};
use parking_lot::Mutex;
use reqwest::{Client, header::CONTENT_TYPE, redirect};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::Semaphore;

use super::{
    Error, Mqtt,
    metrics::Minute,
    store::{PATIENCE, Store, within},
    targets::{Policy, Resolver},
    traffic::now,
    webhooks::{Kind, Webhook, headers},
};
use crate::mqtt::names::Names;

/// The queue, its subjects and its consumer.
const QUEUE: &str = "isa-mqtt-deliveries";
const SUBJECTS: &str = "isa.mqtt.deliver";
const CONSUMER: &str = "deliver";

/// The header with what stands beside the payload.
const ABOUT: &str = "Isa-Delivery";

/// Deliveries that wait for one webhook; further ones count as failed. So one dead receiver cannot fill the queue.
const MAX_OF_WEBHOOK: i64 = 1000;

/// Bytes of the whole queue, which NATS sets aside.
const MAX_BYTES: i64 = 512 << 20;

/// Deliveries that may be out or in a pause: those of at least 60 dead receivers.
const MAX_OUT: i64 = 65_536;

/// Requests at once of this replica, and to one webhook.
const AT_ONCE: usize = 64;
const AT_ONCE_TO_ONE: usize = 8;

/// A receiver answers within this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Another replica takes over what this one has not settled by then.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// Pauses of a receiver that fails: doubled from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(15 * 60);

/// How long one delivery is tried, and how long a webhook may fail before it is disabled. In milliseconds.
const GIVE_UP: u64 = 24 * 60 * 60 * 1000;
const DISABLE: u64 = 3 * GIVE_UP;

/// How often counts are written.
pub(super) const WRITE_EVERY: Duration = Duration::from_secs(1);

/// What stands beside the payload in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    id: String,
    device: String,
    kind: Kind,
    topic: String,
    /// Milliseconds since 1970.
    at: u64,
}

/// How a receiver does, as this replica has seen.
#[derive(Default)]
struct Receiver {
    failures: u32,
    /// Milliseconds since 1970.
    until: u64,
    running: usize,
}

/// What is not yet written of a webhook.
#[derive(Default, Clone, Copy)]
struct News {
    successes: u64,
    failures: u64,
    /// The outcome of the last attempt.
    is_well: bool,
}

pub(super) struct Deliveries {
    http: Client,
    policy: Arc<Policy>,
    /// By key.
    receivers: Mutex<HashMap<String, Receiver>>,
    news: Mutex<HashMap<String, News>>,
    queue: tokio::sync::OnceCell<jetstream::stream::Stream>,
}

pub(super) fn subject(slug: &str, webhook: &str) -> String {
    format!("{SUBJECTS}.{slug}.{webhook}")
}

/// `t=<unix seconds>,v1=<hex HMAC-SHA256 of "t.body">`.
fn signature(secret: &str, at: i64, body: &[u8]) -> Result<String, Error> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Error::unexpected)?;
    mac.update(format!("{at}.").as_bytes());
    mac.update(body);
    Ok(format!("t={at},v1={}", hex::encode(mac.finalize().into_bytes())))
}

fn body(webhook: &str, about: &About, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let at = i64::try_from(about.at)
        .ok()
        .and_then(DateTime::<Utc>::from_timestamp_millis);
    let body = serde_json::json!({
        "webhook_id": webhook,
        "delivery_id": about.id,
        "device_id": about.device,
        "message_type": about.kind,
        "topic": about.topic,
        "payload": BASE64_STANDARD.encode(payload),
        "timestamp": at.unwrap_or_default().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    });
    serde_json::to_vec(&body).map_err(Error::unexpected)
}

impl Deliveries {
    pub(super) fn new(policy: Arc<Policy>) -> Result<Self, String> {
        let http = Client::builder()
            .dns_resolver(Arc::new(Resolver(Arc::clone(&policy))))
            .redirect(redirect::Policy::none())
            // A proxy would look names up itself.
            .no_proxy()
            .timeout(TIMEOUT)
            .connect_timeout(TIMEOUT / 2)
            .pool_max_idle_per_host(AT_ONCE_TO_ONE)
            .user_agent("isa-webhooks")
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            http,
            policy,
            receivers: Mutex::default(),
            news: Mutex::default(),
            queue: tokio::sync::OnceCell::new(),
        })
    }

    async fn queue(&self, store: &Store) -> Result<&jetstream::stream::Stream, Error> {
        store.check()?;
        self.queue
            .get_or_try_init(|| async {
                let config = Config {
                    name: QUEUE.to_owned(),
                    subjects: vec![format!("{SUBJECTS}.*.*")],
                    retention: RetentionPolicy::WorkQueue,
                    storage: StorageType::File,
                    discard: DiscardPolicy::New,
                    discard_new_per_subject: true,
                    max_messages_per_subject: MAX_OF_WEBHOOK,
                    max_bytes: MAX_BYTES,
                    // Given up and counted before.
                    max_age: Duration::from_millis(GIVE_UP + GIVE_UP / 2),
                    ..Default::default()
                };
                store
                    .jetstream
                    .get_or_create_stream(config)
                    .await
                    .map_err(Error::store)
            })
            .await
    }

    async fn consumer(&self, store: &Store) -> Result<PullConsumer, Error> {
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: MAX_OUT,
            ..Default::default()
        };
        let queue = self.queue(store).await?;
        queue
            .get_or_create_consumer(CONSUMER, config)
            .await
            .map_err(Error::store)
    }

    /// Puts a delivery into the queue. False if it cannot be had there, whoever tries again.
    async fn enqueue(
        &self,
        store: &Store,
        subject: String,
        about: &About,
        payload: Bytes,
    ) -> Result<bool, Error> {
        self.queue(store).await?;
        let mut headers = HeaderMap::new();
        let about = serde_json::to_string(about).map_err(Error::unexpected)?;
        headers.insert(ABOUT, about.as_str());
        let put = async {
            let sent = store
                .jetstream
                .publish_with_headers(subject, headers, payload)
                .await?;
            sent.await.map(drop)
        };
        match tokio::time::timeout(PATIENCE, put).await {
            Ok(Ok(())) => Ok(true),
            Ok(Err(error)) => match error.kind() {
                PublishErrorKind::TimedOut
                | PublishErrorKind::BrokenPipe
                | PublishErrorKind::StreamNotFound
                | PublishErrorKind::MaxAckPending => Err(Error::store(error)),
                // Full, or larger than NATS takes.
                _ => {
                    tracing::debug!(%error, "a delivery was not taken");
                    Ok(false)
                }
            },
            Err(_) => Err(Error::TimedOut),
        }
    }

    /// Notes how a delivery ended, or (with neither) that an attempt failed.
    fn note(&self, key: &str, successes: u64, failures: u64, is_well: bool) {
        let mut news = self.news.lock();
        let news = news.entry(key.to_owned()).or_default();
        news.successes += successes;
        news.failures += failures;
        news.is_well = is_well;
    }

    /// Writes counts, and disables what has failed for too long.
    pub(super) async fn write(&self, store: &Store) {
        let news = std::mem::take(&mut *self.news.lock());
        for (key, news) in news {
            let changed = store
                .change::<Webhook>(&store.webhooks, &key, |webhook| {
                    webhook.successes += news.successes;
                    webhook.failures += news.failures;
                    webhook.failing_since = if news.is_well {
                        None
                    } else {
                        webhook.failing_since.or_else(|| Some(now()))
                    };
                    if webhook.enabled && webhook.failing_since.is_some_and(|since| since + DISABLE < now()) {
                        webhook.enabled = false;
                        webhook.updated = now();
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = changed {
                tracing::debug!(%error, "counts of a webhook were not written");
                let mut all = self.news.lock();
                let kept = all.entry(key).or_default();
                kept.successes += news.successes;
                kept.failures += news.failures;
            }
        }
        self.receivers.lock().retain(|_, receiver| {
            receiver.running > 0 || receiver.failures > 0 && receiver.until + DISABLE > now()
        });
    }

    /// Whether an attempt may begin; else how long to wait.
    fn begin(&self, key: &str) -> Result<(), Duration> {
        let mut receivers = self.receivers.lock();
        let receiver = receivers.entry(key.to_owned()).or_default();
        let wait = receiver.until.saturating_sub(now());
        // One that failed is tried with one delivery, not with many.
        let allowed = if receiver.failures > 0 { 1 } else { AT_ONCE_TO_ONE };
        if wait > 0 {
            return Err(Duration::from_millis(wait));
        }
        if receiver.running >= allowed {
            return Err(FIRST_PAUSE);
        }
        receiver.running += 1;
        Ok(())
    }

    /// How long to wait if it failed.
    fn end(&self, key: &str, is_well: bool) -> Duration {
        let mut receivers = self.receivers.lock();
        let receiver = receivers.entry(key.to_owned()).or_default();
        receiver.running = receiver.running.saturating_sub(1);
        if is_well {
            receiver.failures = 0;
            receiver.until = 0;
            return Duration::ZERO;
        }
        let pause = pause(receiver.failures);
        receiver.failures = receiver.failures.saturating_add(1);
        receiver.until = now() + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        pause
    }

    async fn post(&self, webhook: &Webhook, about: &About, payload: &[u8]) -> Result<(), String> {
        let said = |error: Error| error.to_string();
        let url = self.policy.parse(&webhook.url).map_err(said)?;
        let body = body(&webhook.id, about, payload).map_err(said)?;
        let mut request = self
            .http
            .post(url)
            .headers(headers(&webhook.headers).map_err(said)?)
            .header(CONTENT_TYPE, "application/json")
            .header("X-Isa-Delivery", &about.id);
        if !webhook.secret.0.is_empty() {
            let signature = signature(&webhook.secret.0, Utc::now().timestamp(), &body).map_err(said)?;
            request = request.header("X-Isa-Signature", signature);
        }
        let answer = request
            .body(body)
            .send()
            .await
            .map_err(|error| error.to_string())?;
        // Its body is not read.
        let status = answer.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(status.to_string())
        }
    }
}

fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(LAST_PAUSE)
}

impl Mqtt {
    /// Queues a message for the webhooks that want it; until it is there, whatever NATS does.
    pub(super) async fn queue_for(
        &self,
        slug: &str,
        wanting: &[Arc<Webhook>],
        device: &str,
        kind: Kind,
        topic: &str,
        payload: &Bytes,
    ) {
        let Ok(store) = self.store() else {
            return;
        };
        let at = now();
        for webhook in wanting {
            let about = About {
                id: uuid::Uuid::new_v4().simple().to_string(),
                device: device.to_owned(),
                kind,
                topic: topic.to_owned(),
                at,
            };
            loop {
                let subject = subject(slug, &webhook.id);
                match self
                    .deliveries
                    .enqueue(store, subject, &about, payload.clone())
                    .await
                {
                    Ok(true) => break,
                    Ok(false) => {
                        self.failed(Names::of(slug), &webhook.id, device);
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a delivery waits for NATS");
                        tokio::time::sleep(FIRST_PAUSE).await;
                    }
                }
            }
        }
    }

    fn failed(&self, names: Names<'_>, webhook: &str, device: &str) {
        self.deliveries.note(&names.key(webhook), 0, 1, false);
        let figures = Minute {
            errors: 1,
            ..Minute::default()
        };
        if self.is_registered(names, device) {
            self.metrics.count(names, device, &figures);
        }
    }

    pub(super) async fn forget_deliveries(&self, store: &Store, subject: &str) -> Result<(), Error> {
        let queue = self.deliveries.queue(store).await?;
        queue
            .purge()
            .filter(subject)
            .await
            .map(drop)
            .map_err(Error::store)
    }

    /// Takes deliveries from the queue, for as long as there is a service.
    pub(super) async fn deliver(mqtt: Weak<Self>) {
        loop {
            let Some(strong) = mqtt.upgrade() else {
                return;
            };
            let consumer = match strong.store() {
                Ok(store) => within(PATIENCE, strong.deliveries.consumer(store)).await,
                Err(_) => return,
            };
            drop(strong);
            match consumer {
                Ok(consumer) => {
                    if let Err(error) = Self::work(&mqtt, &consumer).await {
                        tracing::debug!(%error, "the queue of webhooks cannot be read");
                    }
                }
                Err(error) => tracing::debug!(%error, "there is no queue of webhooks"),
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    async fn work(mqtt: &Weak<Self>, consumer: &PullConsumer) -> Result<(), Error> {
        let free = Arc::new(Semaphore::new(AT_ONCE));
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(AT_ONCE / 2)
            .expires(Duration::from_secs(30))
            .heartbeat(Duration::from_secs(5))
            .messages()
            .await
            .map_err(Error::store)?;
        loop {
            let permit = Arc::clone(&free).acquire_owned().await;
            let permit = permit.map_err(Error::unexpected)?;
            let Some(message) = messages.next().await else {
                return Ok(());
            };
            let message = message.map_err(Error::store)?;
            let Some(mqtt) = mqtt.upgrade() else {
                return Ok(());
            };
            tokio::spawn(async move {
                let settled = match mqtt.attempt(&message).await {
                    Some(pause) => message.ack_with(AckKind::Nak(Some(pause))).await,
                    None => message.ack_with(AckKind::Ack).await,
                };
                if let Err(error) = settled {
                    tracing::debug!(%error, "a delivery comes again");
                }
                drop(permit);
            });
        }
    }

    /// Tries to deliver. `None` if that is settled, else when to try again.
    async fn attempt(&self, message: &jetstream::Message) -> Option<Duration> {
        let mut tokens = message.subject.split('.').skip(SUBJECTS.split('.').count());
        let (slug, id) = (tokens.next()?, tokens.next()?);
        let names = Names::of(slug);
        let about = message.headers.as_ref().and_then(|headers| headers.get(ABOUT));
        let about: About = serde_json::from_str(about?.as_str()).ok()?;
        let key = names.key(id);
        // Not by the mirror: it may not have heard of a webhook that is new.
        let store = self.store().ok()?;
        let webhook = match store.get::<Webhook>(&store.webhooks, &key).await {
            Ok(Some(webhook)) if webhook.value.enabled => webhook.value,
            Ok(_) => return None,
            Err(_) => return Some(FIRST_PAUSE),
        };
        if about.at + GIVE_UP < now() {
            self.failed(names, id, &about.device);
            return None;
        }
        if let Err(wait) = self.deliveries.begin(&key) {
            return Some(wait);
        }
        let outcome = self.deliveries.post(&webhook, &about, &message.payload).await;
        let pause = self.deliveries.end(&key, outcome.is_ok());
        match outcome {
            Ok(()) => {
                self.deliveries.note(&key, 1, 0, true);
                None
            }
            Err(why) => {
                tracing::debug!(webhook = id, why, "a webhook was not delivered");
                self.deliveries.note(&key, 0, 0, false);
                Some(pause)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_what_receivers_compute() {
        assert_eq!(
            signature("secret", 1_700_000_000, b"{}").unwrap(),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
        assert_ne!(
            signature("secret", 1, b"{}").unwrap(),
            signature("other", 1, b"{}").unwrap()
        );
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!(pause(0), Duration::from_secs(1));
        assert_eq!(pause(3), Duration::from_secs(8));
        assert_eq!(pause(40), LAST_PAUSE);
    }
}
