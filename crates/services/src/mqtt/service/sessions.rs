//! Sessions: each has a connection of its own to the broker, which carries its name, its will and its subscriptions.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use isa_server::StatefulId;
use parking_lot::{Mutex, RwLock};
use rumqttc::v5::mqttbytes::{QoS, v5::LastWill};

use super::{
    Error, Mqtt,
    hub::{Hub, Subscribed},
    link::{self, Goodbye, Introduction, Link, Phase, Receipt},
    message::{Outgoing, Received, check_payload},
    queue::Outlet,
    traffic::{Counters, now},
};
use crate::mqtt::names::{Names, TAKEOVERS, check_client};

/// Sessions of one tenant at one replica, and of all: each is an open connection.
const MAX_OF_TENANT: usize = 256;
const MAX_OF_ALL: usize = 8192;

/// After its last call a session ends.
const IDLE: Duration = Duration::from_secs(60 * 60);

/// How often sessions are looked at for that.
const SWEEP: Duration = Duration::from_secs(30);

/// How long the broker keeps what a session left that is to go on.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it keeps that of another while the connection is lost.
const KEPT_SHORTLY: Duration = Duration::from_secs(5 * 60);

/// A sign of life is due so often if the caller does not say.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How long the connection of an earlier session may take to end.
const GIVE_WAY: Duration = Duration::from_secs(1);

/// Largest payload of a will: MQTT has two bytes for its length.
const MAX_WILL: usize = 65_535;

/// How to connect.
pub(crate) struct Connecting<'a> {
    /// Empty means one of our own.
    pub(crate) client_id: &'a str,
    pub(crate) clean: bool,
    /// Seconds; 0 means 60.
    pub(crate) keep_alive: i32,
    pub(crate) will: Option<Will<'a>>,
}

/// What is published when a session ends without Disconnect.
pub(crate) struct Will<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retained: bool,
}

/// How a session stands.
pub(crate) struct Standing {
    pub(crate) connected: bool,
    pub(crate) since: Option<SystemTime>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// A session.
pub(crate) struct Session {
    id: StatefulId,
    slug: String,
    user: String,
    client: String,
    clean: bool,
    link: Link,
    hub: Arc<Hub>,
    sent: AtomicU64,
    traffic: Arc<Counters>,
    used: AtomicU64,
    connected: Mutex<Option<SystemTime>>,
}

/// All sessions of this replica.
#[derive(Default)]
pub(super) struct Sessions {
    map: RwLock<HashMap<StatefulId, Arc<Session>>>,
}

impl Mqtt {
    /// Opens a session. Also says whether an earlier one of this client goes on.
    pub(crate) async fn connect(
        &self,
        id: StatefulId,
        names: Names<'_>,
        user: &str,
        how: Connecting<'_>,
    ) -> Result<bool, Error> {
        let keep_alive = match u16::try_from(how.keep_alive) {
            Ok(0) => KEEP_ALIVE,
            Ok(seconds) => Duration::from_secs(seconds.into()),
            Err(_) => return Err(Error::invalid("keep_alive", "is not between 0 and 65535")),
        };
        check_client("client_id", how.client_id)?;
        let (client, clean) = if how.client_id.is_empty() {
            (uuid::Uuid::new_v4().simple().to_string(), true)
        } else {
            (how.client_id.to_owned(), how.clean)
        };
        let will = how.will.map(|will| last_will(names, will)).transpose()?;
        let client = names.client(user, &client);
        self.sessions.check_room(names.slug(), &client)?;

        // Brokers close the connection that had the name, and not all say why: who does not know would come back. So all
        // replicas hear of it from us.
        if let Some(earlier) = self.sessions.of_client(&client) {
            self.sessions.remove(earlier.id);
            earlier.give_way().await;
        }
        self.claim(&client).await?;

        let traffic = self.traffic.of(names.slug());
        let hub = Arc::new(Hub::new(names.slug(), Arc::clone(&traffic)));
        let deliver = Arc::clone(&hub);
        let introduction = Introduction {
            client: client.clone(),
            clean,
            expiry: if clean { KEPT_SHORTLY } else { KEPT },
            keep_alive,
            will,
        };
        let link = Link::open(
            self.address.clone(),
            introduction,
            Box::new(move |publish, _| {
                deliver.deliver(publish);
                true
            }),
        );
        let mut phases = link.phases();
        let phase = phases
            .wait_for(|phase| !matches!(phase, Phase::Connecting))
            .await
            .map_err(|_| Error::down("not connected"))?
            .clone();
        let (since, resumed) = match phase {
            Phase::Up { since, resumed } => (since, resumed),
            Phase::Down(why) => return Err(Error::down(why)),
            Phase::Connecting | Phase::Ended => return Err(Error::down("not connected")),
        };
        let session = Arc::new(Session {
            id,
            slug: names.slug().to_owned(),
            user: user.to_owned(),
            client,
            clean,
            link,
            hub,
            sent: AtomicU64::new(0),
            traffic,
            used: AtomicU64::new(now()),
            connected: Mutex::new(Some(since)),
        });
        self.sessions.insert(&session);
        let (sessions, session) = (Arc::downgrade(&self.sessions), Arc::downgrade(&session));
        tokio::spawn(follow(sessions, session, phases));
        Ok(resumed)
    }

    /// The caller's session, which is used herewith.
    pub(crate) fn session(
        &self,
        id: StatefulId,
        names: Names<'_>,
        user: &str,
    ) -> Result<Arc<Session>, Error> {
        let session = self.sessions.map.read().get(&id).cloned();
        let session = session.filter(|session| session.slug == names.slug() && session.user == user);
        let session = session.ok_or_else(|| Error::NotFound("the session".to_owned()))?;
        session.used.store(now(), Relaxed);
        Ok(session)
    }

    /// Tells all replicas that this client is about to be connected here.
    async fn claim(&self, client: &str) -> Result<(), Error> {
        let topic = format!("{TAKEOVERS}{client}");
        let replica = Bytes::copy_from_slice(self.replicas.own.as_bytes());
        let message = link::message(topic, replica, QoS::AtLeastOnce, false);
        self.work.send(message).await?.settled().await
    }

    /// Another replica connects this client.
    pub(super) fn lose(&self, client: &str, to: &[u8]) {
        if to == self.replicas.own.as_bytes() {
            return;
        }
        if let Some(session) = self.sessions.of_client(client) {
            self.sessions.remove(session.id);
            session.close_for_another();
        }
    }

    /// Ends a session as its caller wishes: without its will.
    pub(crate) fn disconnect(&self, session: &Session) {
        self.sessions.remove(session.id);
        session.finish(false);
    }

    pub(crate) fn session_count(&self) -> usize {
        self.sessions.map.read().len()
    }
}

async fn follow(
    sessions: Weak<Sessions>,
    session: Weak<Session>,
    mut phases: tokio::sync::watch::Receiver<Phase>,
) {
    loop {
        let phase = phases.borrow_and_update().clone();
        let Some(session) = session.upgrade() else {
            return;
        };
        match phase {
            Phase::Up { since, .. } => *session.connected.lock() = Some(since),
            Phase::Ended => {
                if let Some(sessions) = sessions.upgrade() {
                    sessions.remove(session.id);
                }
                session.hub.end(true);
                return;
            }
            Phase::Connecting | Phase::Down(_) => {}
        }
        drop(session);
        if phases.changed().await.is_err() {
            return;
        }
    }
}

fn last_will(names: Names<'_>, will: Will<'_>) -> Result<LastWill, Error> {
    let topic = names.topic("will_topic", will.topic)?;
    check_payload("will_payload", &will.payload)?;
    if will.payload.len() > MAX_WILL {
        return Err(Error::TooLarge(format!(
            "will_payload has {} bytes, and may have {MAX_WILL}",
            will.payload.len()
        )));
    }
    Ok(LastWill {
        topic: topic.into(),
        message: will.payload,
        qos: will.qos,
        retain: will.retained,
        properties: None,
    })
}

impl Sessions {
    fn check_room(&self, slug: &str, client: &str) -> Result<(), Error> {
        let map = self.map.read();
        let others = map.values().filter(|session| session.client != client);
        let (mut all, mut of_tenant) = (0, 0);
        for session in others {
            all += 1;
            of_tenant += usize::from(session.slug == slug);
        }
        if of_tenant >= MAX_OF_TENANT || all >= MAX_OF_ALL {
            return Err(Error::Quota(format!(
                "there are {of_tenant} sessions, and no more may be here; disconnect those that are not needed"
            )));
        }
        Ok(())
    }

    fn insert(&self, session: &Arc<Session>) {
        let same = self.of_client(&session.client);
        let mut map = self.map.write();
        if let Some(earlier) = &same {
            map.remove(&earlier.id);
        }
        map.insert(session.id, Arc::clone(session));
        drop(map);
        // Both connected at once.
        if let Some(earlier) = same {
            earlier.close_for_another();
        }
    }

    fn of_client(&self, client: &str) -> Option<Arc<Session>> {
        let map = self.map.read();
        map.values().find(|session| session.client == client).cloned()
    }

    fn remove(&self, id: StatefulId) {
        self.map.write().remove(&id);
    }

    /// Ends sessions that nobody uses. Never ends itself while there are sessions to be had.
    pub(super) async fn sweep(sessions: Weak<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let Some(sessions) = sessions.upgrade() else {
                return;
            };
            let limit = now().saturating_sub(u64::try_from(IDLE.as_millis()).unwrap_or(u64::MAX));
            let idle: Vec<_> = sessions
                .map
                .read()
                .values()
                .filter(|session| session.used.load(Relaxed) < limit && !session.hub.has_streams())
                .cloned()
                .collect();
            for session in idle {
                sessions.remove(session.id);
                session.finish(true);
            }
        }
    }

    /// The sessions of one tenant.
    pub(super) fn of(&self, slug: &str) -> Vec<Arc<Session>> {
        let map = self.map.read();
        map.values()
            .filter(|session| session.slug == slug)
            .cloned()
            .collect()
    }

    /// The tenants that have sessions.
    pub(super) fn tenants(&self) -> Vec<String> {
        let mut slugs: Vec<_> = self
            .map
            .read()
            .values()
            .map(|session| session.slug.clone())
            .collect();
        slugs.sort();
        slugs.dedup();
        slugs
    }
}

/// A stream of messages. Dropped, its subscriptions end at the broker.
pub(crate) struct Listening {
    session: Arc<Session>,
    stream: u64,
    outlet: Outlet<Received>,
}

impl Listening {
    /// The next; `None` once the session or all its subscriptions were ended.
    pub(crate) async fn next(&mut self) -> Option<Result<Received, Error>> {
        let next = self.outlet.next().await;
        self.session.used.store(now(), Relaxed);
        next
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let left = self.session.hub.remove(self.stream);
        self.session.link.leave(left);
    }
}

/// A message that is under way.
pub(crate) struct Sent<'a> {
    session: &'a Session,
    receipt: Receipt,
}

impl Sent<'_> {
    /// Until it is written (QoS 0), or the broker has acknowledged it.
    pub(crate) async fn settled(self) -> Result<(), Error> {
        self.receipt.settled().await?;
        self.session.sent.fetch_add(1, Relaxed);
        self.session.traffic.sent();
        Ok(())
    }
}

impl Session {
    fn names(&self) -> Names<'_> {
        Names::of(&self.slug)
    }

    /// Sends a message, in order with those before.
    pub(crate) async fn send(&self, message: Outgoing<'_>) -> Result<Sent<'_>, Error> {
        let packet = message.packet(self.names())?;
        let receipt = self.link.send(packet).await?;
        Ok(Sent {
            session: self,
            receipt,
        })
    }

    /// Listens to filters; the broker knows when this ends.
    pub(crate) async fn listen(
        self: &Arc<Self>,
        filters: &[Subscribed],
        field: &'static str,
    ) -> Result<Listening, Error> {
        let added = self.hub.add(self.names(), filters, field)?;
        let listening = Listening {
            session: Arc::clone(self),
            stream: added.stream,
            outlet: added.outlet,
        };
        self.link.subscribe(added.wanted).await?;
        Ok(listening)
    }

    /// Leaves filters; none means all. Says how many there were.
    pub(crate) async fn leave(&self, filters: &[String]) -> Result<usize, Error> {
        let left = self.hub.leave(self.names(), filters, "topic_filters")?;
        if left.is_empty() {
            return Ok(0);
        }
        let had = self.link.unsubscribe(left).await?;
        Ok(had.into_iter().filter(|had| *had).count())
    }

    pub(crate) fn subscriptions(&self) -> Vec<Subscribed> {
        self.hub.subscriptions()
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            connected: self.link.is_up(),
            since: *self.connected.lock(),
            sent: self.sent.load(Relaxed),
            received: self.hub.received(),
        }
    }

    /// Ends it for another that has its name: it has not said farewell, and what it left is the other's.
    fn close_for_another(&self) {
        self.link.close(Goodbye {
            with_will: true,
            forget: false,
        });
        self.hub.end(true);
    }

    /// Likewise, and waits until the broker knows, within a short while.
    async fn give_way(&self) {
        self.close_for_another();
        let mut phases = self.link.phases();
        let ended = phases.wait_for(|phase| matches!(phase, Phase::Ended));
        let _ = tokio::time::timeout(GIVE_WAY, ended).await;
    }

    fn finish(&self, with_will: bool) {
        self.link.close(Goodbye {
            with_will,
            forget: self.clean,
        });
        self.hub.end(false);
    }
}
