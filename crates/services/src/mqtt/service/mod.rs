//! MQTT for tenants: plain Rust types, no gRPC.

mod connect;
mod deliveries;
mod devices;
mod error;
mod feed;
mod hub;
mod link;
mod message;
mod metrics;
mod mirror;
mod queue;
mod replicas;
mod retained;
mod sessions;
mod store;
mod targets;
mod topics;
mod traffic;
mod webhooks;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
    time::Duration,
};

use isa_config::{Endpoint, Endpoints, EngineKind, ServiceKind};
use tokio::time::{MissedTickBehavior, interval};
use url::Url;

use self::{
    connect::Address,
    deliveries::Deliveries,
    devices::Devices,
    feed::Feed,
    link::{Introduction, Link},
    metrics::Metrics,
    mirror::Mirror,
    replicas::Replicas,
    retained::Looks,
    sessions::Sessions,
    store::Store,
    targets::Policy,
    topics::Topics,
    traffic::Traffic,
};
pub(crate) use self::{
    devices::{Device, Status},
    error::Error,
    feed::Spoken,
    hub::Subscribed,
    message::{Outgoing, Received},
    metrics::Minute,
    replicas::listeners,
    sessions::{Connecting, Session, Will},
    store::within,
    topics::Seen,
    webhooks::{Kind, Secret, Selection, Webhook},
};
use super::names::Names;

/// How often devices' news are looked at.
const DEVICES_EVERY: Duration = Duration::from_secs(1);

/// The broker, for all tenants.
pub(crate) struct Mqtt {
    address: Address,
    sessions: Arc<Sessions>,
    traffic: Traffic,
    /// What is asked and answered.
    work: Arc<Link>,
    looks: Looks,
    topics: Arc<Topics>,
    /// What `topics` hears; kept for as long as the service is.
    topics_link: Arc<Link>,
    device_link: Arc<Link>,
    feed: Feed,
    devices: Devices,
    metrics: Metrics,
    replicas: Replicas,
    webhooks: Arc<Mirror<Webhook>>,
    deliveries: Deliveries,
    policy: Arc<Policy>,
    store: Option<Arc<Store>>,
}

impl Mqtt {
    /// Begins to connect to the broker at `endpoint`, and to NATS among all `endpoints` if it is there. Must be called in a
    /// runtime.
    pub(crate) fn open(endpoint: &Endpoint, endpoints: &Endpoints) -> Result<Arc<Self>, String> {
        let address = Address::parse(endpoint)?;
        let store = endpoints
            .get(&EngineKind::Nats)
            .map(Store::open)
            .transpose()?
            .map(Arc::new);
        let policy = Arc::new(Policy::new(own_ports(endpoints)));
        let deliveries = Deliveries::new(Arc::clone(&policy))?;
        let replica = format!("{:016x}", rand::random::<u64>());
        let (feed, waiting) = Feed::new();
        let topics: Arc<Topics> = Arc::default();
        let mqtt = Arc::new_cyclic(|mqtt: &Weak<Self>| {
            let introduction = |what: &str, expiry| Introduction {
                client: format!("isa-own-{what}-{replica}"),
                clean: true,
                expiry,
                keep_alive: Duration::from_secs(30),
                will: None,
            };
            let (asking, hearing) = (mqtt.clone(), mqtt.clone());
            let work = Link::open(
                address.clone(),
                // What comes meanwhile is there after a loss.
                introduction("work", Duration::from_secs(60)),
                Box::new(move |publish, mark| {
                    let mqtt = asking.upgrade();
                    mqtt.is_none_or(|mqtt| mqtt.looks.take(&publish) || mqtt.hear(publish, mark))
                }),
            );
            let device_link = Link::open(
                address.clone(),
                introduction("devices", Duration::ZERO),
                Box::new(move |publish, mark| hearing.upgrade().is_none_or(|mqtt| mqtt.hear(publish, mark))),
            );
            let topics_link = topics.watch(address.clone(), format!("isa-own-topics-{replica}"));
            Self {
                address,
                sessions: Arc::default(),
                traffic: Traffic::default(),
                work: Arc::new(work),
                looks: Looks::default(),
                topics,
                topics_link: Arc::new(topics_link),
                device_link: Arc::new(device_link),
                feed,
                devices: Devices::new(),
                metrics: Metrics::new(&replica),
                replicas: Replicas::new(&replica),
                webhooks: Arc::default(),
                deliveries,
                policy,
                store,
            }
        });
        tokio::spawn(Sessions::sweep(Arc::downgrade(&mqtt.sessions)));
        tokio::spawn(topics::follow(
            Arc::clone(&mqtt.topics),
            Arc::downgrade(&mqtt.topics_link),
        ));
        tokio::spawn(feed::subscribe(Arc::downgrade(&mqtt.work), feed::takeovers()));
        if let Some(store) = &mqtt.store {
            let weak = || Arc::downgrade(store);
            let devices = Arc::downgrade(&mqtt.devices.mirror);
            tokio::spawn(Mirror::follow(devices, weak(), |store| &store.devices));
            let webhooks = Arc::downgrade(&mqtt.webhooks);
            tokio::spawn(Mirror::follow(webhooks, weak(), |store| &store.webhooks));
            let replicas = Arc::downgrade(&mqtt.replicas.mirror);
            tokio::spawn(Mirror::follow(replicas, weak(), |store| &store.replicas));
            tokio::spawn(feed::subscribe(
                Arc::downgrade(&mqtt.device_link),
                feed::devices(),
            ));
            tokio::spawn(Self::queue_all(Arc::downgrade(&mqtt), waiting));
            tokio::spawn(Self::deliver(Arc::downgrade(&mqtt)));
            tokio::spawn(Self::write(Arc::downgrade(&mqtt)));
        }
        Ok(mqtt)
    }

    /// What is kept in NATS.
    fn store(&self) -> Result<&Arc<Store>, Error> {
        self.store.as_ref().ok_or_else(|| {
            Error::Precondition(
                "devices, webhooks and figures are kept in NATS, and this service has none: set engines.nats.url".into(),
            )
        })
    }

    /// What was seen of a topic.
    pub(crate) fn topic(&self, names: Names<'_>, topic: &str) -> Result<Option<Seen>, Error> {
        names.topic("topic", topic)?;
        Ok(self.topics.get(names.slug(), topic))
    }

    /// The topics that begin so.
    pub(crate) fn topics(&self, names: Names<'_>, prefix: &str) -> BTreeMap<String, Seen> {
        self.topics.list(names.slug(), prefix)
    }

    /// Learns from a call whether the server is open.
    pub(crate) fn learn(&self, is_open: bool) {
        self.policy.learn(is_open);
    }

    /// Writes what was noted, for as long as there is a service.
    async fn write(mqtt: Weak<Self>) {
        let every = |period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        };
        let mut devices = every(DEVICES_EVERY);
        let mut metrics = every(metrics::WRITE_EVERY);
        let mut replicas = every(replicas::WRITE_EVERY);
        let mut webhooks = every(deliveries::WRITE_EVERY);
        loop {
            let what = tokio::select! {
                _ = devices.tick() => 0,
                _ = metrics.tick() => 1,
                _ = replicas.tick() => 2,
                _ = webhooks.tick() => 3,
            };
            let Some(mqtt) = mqtt.upgrade() else {
                return;
            };
            let Ok(store) = mqtt.store() else {
                return;
            };
            match what {
                0 => mqtt.devices.write(store).await,
                1 => mqtt.metrics.write(store).await,
                2 => {
                    if let Err(error) = mqtt.tell(store).await {
                        tracing::debug!(%error, "other replicas are not told");
                    }
                }
                _ => mqtt.deliveries.write(store).await,
            }
        }
    }
}

/// Ports of the platform on this machine: those of the engines as they are used here, and the fixed ones of all services.
fn own_ports(endpoints: &Endpoints) -> BTreeSet<u16> {
    let urls = endpoints
        .values()
        .flat_map(|endpoint| endpoint.urls.values().chain([&endpoint.url]));
    let ports = urls.filter_map(|url| Url::parse(url).ok()?.port_or_known_default());
    ports
        .chain(ServiceKind::ALL.iter().map(|kind| kind.port()))
        .collect()
}
