//! What devices say: heartbeats and figures, webhooks, and callers that listen.
//!
//! The replicas share one subscription for what is done once (heartbeats, figures, webhooks), over a connection whose
//! session ends with it: Mosquitto would give a share of the messages to a replica that is gone, for as long as it keeps its
//! session. Each replica listens for itself to the devices of tenants that have listeners here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::{QoS, v5::Publish};
use tokio::sync::mpsc;

use super::{
    Error, Mqtt,
    link::{Link, Mark, Phase, Retained, Wanted},
    metrics::Minute,
    queue::{Inlet, Outlet, queue},
    webhooks::{Kind, Selection, Webhook, says},
};
use crate::mqtt::names::{DEVICES, Names, TAKEOVERS, device_of, split};

/// Listeners of one tenant at this replica.
const MAX_LISTENERS: usize = 64;

/// Messages that wait to be queued for webhooks. The broker sends no more than 1024 that it wants acknowledged.
const MAX_WORK: usize = 4096;

/// Of these, what is left to messages that must not be lost.
const RESERVED: usize = 1100;

/// Messages that are queued at once.
const AT_ONCE: usize = 64;

/// The ids of the subscriptions.
const SHARED: u32 = 2;
const OWN: u32 = 3;
const TAKEN: u32 = 4;

/// Between attempts to subscribe.
const AGAIN: Duration = Duration::from_secs(1);

/// The level after a device's id of what is sent to it.
const COMMANDS: &str = "commands";

/// A message of a device.
#[derive(Debug, Clone)]
pub(crate) struct Spoken {
    pub(crate) device: String,
    pub(crate) kind: Kind,
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) at: SystemTime,
}

/// A message that webhooks want.
pub(super) struct Work {
    slug: String,
    wanting: Vec<Arc<Webhook>>,
    device: String,
    kind: Kind,
    topic: String,
    payload: Bytes,
    mark: Option<Mark>,
}

struct Listener {
    id: u64,
    selection: Selection,
    /// `None` once it is cut off.
    inlet: Option<Inlet<Spoken>>,
}

/// Who listens, and what waits for webhooks.
pub(super) struct Feed {
    listeners: Mutex<HashMap<String, Vec<Listener>>>,
    work: mpsc::Sender<Work>,
}

impl Feed {
    pub(super) fn new() -> (Self, mpsc::Receiver<Work>) {
        let (work, waiting) = mpsc::channel(MAX_WORK);
        let feed = Self {
            listeners: Mutex::default(),
            work,
        };
        (feed, waiting)
    }
}

impl Mqtt {
    pub(super) fn is_registered(&self, names: Names<'_>, device: &str) -> bool {
        let key = names.key(device);
        key.split_once('.')
            .is_some_and(|(slug, name)| self.devices.mirror.get(slug, name).is_some())
    }

    /// Takes a message of the broker's. False if it is acknowledged later.
    pub(super) fn hear(&self, publish: Publish, mark: Mark) -> bool {
        let full = publish.topic.clone();
        let full = std::str::from_utf8(&full).unwrap_or_default();
        if let Some(client) = full.strip_prefix(TAKEOVERS) {
            self.lose(client, &publish.payload);
            return true;
        }
        let parts = split(full);
        let Some((slug, topic)) = parts else {
            return true;
        };
        let Some((device, rest)) = device_of(topic) else {
            return true;
        };
        let ids = publish
            .properties
            .as_ref()
            .map(|it| it.subscription_identifiers.as_slice());
        let has = |id: u32| ids.is_some_and(|ids| ids.contains(&(id as usize)));
        let names = Names::of(slug);
        let is_command = rest.split('/').next() == Some(COMMANDS);
        let kind = Kind::of(rest);
        if has(OWN) && !is_command {
            self.tell_listeners(names, device, kind, topic, &publish);
        }
        if !has(SHARED) {
            return true;
        }
        self.note(names, device, (!is_command).then_some(kind), &publish.payload);
        if is_command || !self.webhooks.has_any(slug) {
            return true;
        }
        let mut wanting = self.webhooks.of(slug);
        wanting.retain(|webhook| webhook.enabled && webhook.selection.wants(device, kind, topic));
        let is_sure = publish.qos == QoS::AtLeastOnce;
        if wanting.is_empty() || (!is_sure && self.feed.work.capacity() < RESERVED) {
            return true;
        }
        let work = Work {
            slug: slug.to_owned(),
            wanting,
            device: device.to_owned(),
            kind,
            topic: topic.to_owned(),
            payload: publish.payload,
            mark: is_sure.then_some(mark),
        };
        let is_taken = self.feed.work.try_send(work).is_ok();
        !(is_taken && is_sure)
    }

    /// A message from a device (with its kind), or to it.
    fn note(&self, names: Names<'_>, device: &str, kind: Option<Kind>, payload: &[u8]) {
        let status = kind.map(|kind| says(kind, payload));
        if !self.devices.note(names, device, status) {
            return;
        }
        let bytes = payload.len() as u64;
        let figures = match status {
            Some(status) => Minute {
                sent: 1,
                sent_bytes: bytes,
                errors: u64::from(status == super::devices::Status::Error),
                ..Minute::default()
            },
            None => Minute {
                received: 1,
                received_bytes: bytes,
                ..Minute::default()
            },
        };
        self.metrics.count(names, device, &figures);
    }

    fn tell_listeners(&self, names: Names<'_>, device: &str, kind: Kind, topic: &str, publish: &Publish) {
        let mut listeners = self.feed.listeners.lock();
        let Some(listeners) = listeners.get_mut(names.slug()) else {
            return;
        };
        if !listeners.iter().any(|it| it.selection.wants(device, kind, topic)) {
            return;
        }
        let key = names.key(device);
        let known = key
            .split_once('.')
            .and_then(|(slug, name)| self.devices.mirror.get(slug, name));
        let spoken = Spoken {
            device: device.to_owned(),
            kind,
            topic: topic.to_owned(),
            payload: publish.payload.clone(),
            qos: publish.qos,
            metadata: known.map(|known| known.metadata.clone()).unwrap_or_default(),
            at: SystemTime::now(),
        };
        let size = spoken.payload.len() + topic.len();
        let counters = self.traffic.of(names.slug());
        for listener in listeners {
            let Some(inlet) = &listener.inlet else {
                continue;
            };
            if !listener.selection.wants(device, kind, topic) {
                continue;
            }
            if inlet.put(spoken.clone(), size) {
                counters.received();
            } else {
                listener.inlet = None;
            }
        }
    }

    /// Listens to the devices of a tenant; the broker knows when this ends.
    pub(crate) async fn listen_to_devices(
        self: &Arc<Self>,
        names: Names<'_>,
        selection: Selection,
    ) -> Result<Overhearing, Error> {
        selection.check(names)?;
        let id = rand::random();
        let (inlet, outlet) = queue();
        {
            let mut listeners = self.feed.listeners.lock();
            let of_tenant = listeners.entry(names.slug().to_owned()).or_default();
            if of_tenant.len() >= MAX_LISTENERS {
                return Err(Error::Quota(format!(
                    "there are {MAX_LISTENERS} streams of device messages, and may be no more"
                )));
            }
            of_tenant.push(Listener {
                id,
                selection,
                inlet: Some(inlet),
            });
        }
        let overhearing = Overhearing {
            mqtt: Arc::clone(self),
            slug: names.slug().to_owned(),
            id,
            outlet,
        };
        self.work
            .subscribe(vec![Wanted {
                filter: names.devices(),
                qos: QoS::ExactlyOnce,
                id: OWN,
                retained: Retained::None,
            }])
            .await?;
        Ok(overhearing)
    }

    /// Queues what webhooks want, for as long as there is a service.
    pub(super) async fn queue_all(mqtt: Weak<Self>, waiting: mpsc::Receiver<Work>) {
        let waiting = futures::stream::unfold(waiting, |mut waiting| async move {
            waiting.recv().await.map(|work| (work, waiting))
        });
        waiting
            .for_each_concurrent(AT_ONCE, |work| {
                let mqtt = mqtt.upgrade();
                async move {
                    let Some(mqtt) = mqtt else {
                        return;
                    };
                    mqtt.queue_for(
                        &work.slug,
                        &work.wanting,
                        &work.device,
                        work.kind,
                        &work.topic,
                        &work.payload,
                    )
                    .await;
                    if let Some(mark) = work.mark {
                        mqtt.device_link.acknowledge(mark);
                    }
                }
            })
            .await;
    }
}

/// A stream of device messages.
pub(crate) struct Overhearing {
    mqtt: Arc<Mqtt>,
    slug: String,
    id: u64,
    outlet: Outlet<Spoken>,
}

impl Overhearing {
    pub(crate) async fn next(&mut self) -> Option<Result<Spoken, Error>> {
        self.outlet.next().await
    }
}

impl Drop for Overhearing {
    fn drop(&mut self) {
        let mut listeners = self.mqtt.feed.listeners.lock();
        let Some(of_tenant) = listeners.get_mut(&self.slug) else {
            return;
        };
        of_tenant.retain(|listener| listener.id != self.id);
        if of_tenant.is_empty() {
            listeners.remove(&self.slug);
            // Under the lock: who comes next subscribes after it.
            let filter = Names::of(&self.slug).devices();
            self.mqtt.work.leave(vec![filter]);
        }
    }
}

/// What other replicas connect.
pub(super) fn takeovers() -> Wanted {
    wanted(&format!("{TAKEOVERS}+"), TAKEN)
}

/// What the devices of all tenants say.
pub(super) fn devices() -> Wanted {
    wanted(DEVICES, SHARED)
}

fn wanted(filter: &str, id: u32) -> Wanted {
    Wanted {
        filter: filter.to_owned(),
        qos: QoS::AtLeastOnce,
        id,
        retained: Retained::None,
    }
}

/// Subscribes as soon as there is a connection; the link keeps it from then on. Ends with the link.
pub(super) async fn subscribe(link: Weak<Link>, wanted: Wanted) {
    let Some(mut phases) = link.upgrade().map(|link| link.phases()) else {
        return;
    };
    loop {
        let is_up = phases
            .wait_for(|phase| matches!(phase, Phase::Up { .. } | Phase::Ended))
            .await
            .is_ok_and(|phase| matches!(*phase, Phase::Up { .. }));
        let Some(link) = link.upgrade().filter(|_| is_up) else {
            return;
        };
        match link.subscribe(vec![wanted.clone()]).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, filter = wanted.filter, "not subscribed yet"),
        }
        drop(link);
        tokio::time::sleep(AGAIN).await;
    }
}
