//! Retained messages, and whether the broker is well.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::{QoS, v5::Publish};
use tokio::sync::{Semaphore, mpsc};

use super::{
    Error, Mqtt,
    link::{self, Retained, Wanted},
    message::{Received, check_payload},
    store::within,
};
use crate::mqtt::names::{Names, OWN};

/// Looks at once: less than the broker may have in flight to us.
const AT_ONCE: usize = 64;

/// The first id of a look: subscriptions that stay have lower ones.
const FIRST: u32 = 1000;

/// Who waits for a message under which subscription.
pub(super) struct Looks {
    last: AtomicU32,
    waiting: Mutex<HashMap<u32, mpsc::Sender<Publish>>>,
    free: Semaphore,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            last: AtomicU32::new(0),
            waiting: Mutex::default(),
            free: Semaphore::new(AT_ONCE),
        }
    }
}

/// A place for one message. Dropped, nobody waits.
struct Look<'a> {
    looks: &'a Looks,
    id: u32,
    message: mpsc::Receiver<Publish>,
}

impl Looks {
    fn begin(&self) -> Look<'_> {
        // Ids of 28 bits that come round after 200 million looks.
        let id = self.last.fetch_add(1, Relaxed) % 200_000_000 + FIRST;
        let (sender, message) = mpsc::channel(1);
        self.waiting.lock().insert(id, sender);
        Look {
            looks: self,
            id,
            message,
        }
    }

    /// Takes a message of the broker's, if it is for a look.
    pub(super) fn take(&self, publish: &Publish) -> bool {
        let ids = publish
            .properties
            .as_ref()
            .map(|it| it.subscription_identifiers.as_slice());
        let ids = ids
            .unwrap_or_default()
            .iter()
            .filter_map(|id| u32::try_from(*id).ok());
        let mut is_ours = false;
        for id in ids.filter(|id| *id >= FIRST) {
            is_ours = true;
            if let Some(waiting) = self.waiting.lock().get(&id) {
                let _ = waiting.try_send(publish.clone());
            }
        }
        is_ours
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.looks.waiting.lock().remove(&self.id);
    }
}

impl Mqtt {
    pub(crate) async fn set_retained(
        &self,
        names: Names<'_>,
        topic: &str,
        payload: Bytes,
        qos: QoS,
    ) -> Result<(), Error> {
        let full = names.topic("topic", topic)?;
        if payload.is_empty() {
            return Err(Error::invalid(
                "payload",
                "is empty, which would remove the message; use DeleteRetainedMessage",
            ));
        }
        check_payload("payload", &payload)?;
        self.retain(names, full, payload, qos).await
    }

    pub(crate) async fn delete_retained(&self, names: Names<'_>, topic: &str) -> Result<(), Error> {
        let full = names.topic("topic", topic)?;
        self.retain(names, full, Bytes::new(), QoS::AtLeastOnce).await
    }

    async fn retain(&self, names: Names<'_>, full: String, payload: Bytes, qos: QoS) -> Result<(), Error> {
        let message = link::message(full, payload, qos, true);
        self.work.send(message).await?.settled().await?;
        self.traffic.of(names.slug()).sent();
        Ok(())
    }

    pub(crate) async fn retained(&self, names: Names<'_>, topic: &str) -> Result<Option<Received>, Error> {
        let full = names.topic("topic", topic)?;
        let _permit = self.looks.free.acquire().await.map_err(Error::unexpected)?;
        let mut look = self.looks.begin();
        let wanted = Wanted {
            filter: full,
            // The message comes at its own.
            qos: QoS::ExactlyOnce,
            id: look.id,
            retained: Retained::Once,
        };
        self.work.look(&wanted).await?;
        let found = look.message.try_recv().ok();
        Ok(found
            .filter(|publish| publish.retain)
            .map(|publish| Received::new(topic, publish)))
    }

    /// The broker answers.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), Error> {
        within(limit, self.work.ping()).await
    }

    /// The broker passes a message on.
    pub(crate) async fn check(&self, limit: Duration) -> Result<(), Error> {
        let mut look = self.looks.begin();
        let topic = format!("{OWN}health/{:032x}", rand::random::<u128>());
        let wanted = Wanted {
            filter: topic.clone(),
            qos: QoS::AtLeastOnce,
            id: look.id,
            retained: Retained::None,
        };
        let passed = within(limit, async {
            self.work.subscribe(vec![wanted]).await?;
            let message = link::message(topic.clone(), Bytes::from_static(b"?"), QoS::AtLeastOnce, false);
            self.work.send(message).await?.settled().await?;
            look.message
                .recv()
                .await
                .map(drop)
                .ok_or_else(|| Error::down("closed"))
        });
        let passed = passed.await;
        self.work.leave(vec![topic]);
        passed
    }
}
