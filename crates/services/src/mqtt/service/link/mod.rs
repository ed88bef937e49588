//! One connection to the broker, in MQTT 5, that comes back by itself: it connects again, subscribes again what the broker
//! has forgotten, and sends again what was not acknowledged.
//!
//! The packets are rumqttc's; its event loop is not used. It tells of acknowledgements by packet ids that it alone gives, so
//! that calls in flight could be matched to them by their order only, and it takes each request through a channel. Here a
//! call writes its packet into the buffer that goes out next, and waits under the packet's id.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{
        Connect, ConnectProperties, Disconnect, DisconnectProperties, DisconnectReasonCode, Filter, LastWill,
        Packet, PingReq, Publish, RetainForwardRule, Subscribe, SubscribeProperties, SubscribeReasonCode,
        UnsubAckReason, Unsubscribe,
    },
};
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Error, connect::Address};

/// Bytes that may wait to be written before further publishers wait too.
const MAX_OUT: usize = 4 << 20;

/// Messages of ours that may be without acknowledgement, if the broker allows so many.
const MAX_IN_FLIGHT: usize = 1024;

/// Messages of the broker's that may be without ours.
const RECEIVE_MAXIMUM: u16 = 1024;

/// Between attempts to connect, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Takes a message of the broker's; false keeps its acknowledgement back until [`Link::acknowledge`].
pub(super) type Handler = Box<dyn Fn(Publish, Mark) -> bool + Send + Sync>;

/// Which message is acknowledged later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    id: u16,
    epoch: u64,
}

/// How a connection introduces itself.
pub(super) struct Introduction {
    pub(super) client: String,
    /// Forget what an earlier connection of this name left.
    pub(super) clean: bool,
    /// How long the broker keeps the session while there is no connection.
    pub(super) expiry: Duration,
    pub(super) keep_alive: Duration,
    pub(super) will: Option<LastWill>,
}

/// A filter to listen to.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) filter: String,
    pub(super) qos: QoS,
    /// Comes with each message of this subscription. 1 to 268435455.
    pub(super) id: u32,
    pub(super) retained: Retained,
}

/// What a subscription gets of retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retained {
    /// Those that are there, when it is made.
    Once,
    /// Likewise, again after each loss of the session; and new ones come with their mark.
    Mirrored,
    None,
}

/// How the connection stands.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    Connecting,
    Up {
        since: SystemTime,
        /// The broker knew this session. Of the first connection.
        resumed: bool,
    },
    /// Lost, or refused; tried again.
    Down(String),
    /// Another connection took the name, or it was closed.
    Ended,
}

/// How the connection is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goodbye {
    pub(super) with_will: bool,
    /// The broker forgets the session at once.
    pub(super) forget: bool,
}

/// What waits for an answer.
#[allow(clippy::large_enum_variant, reason = "nearly all are messages")]
enum Flight {
    Publish {
        packet: Publish,
        /// The broker has it, and waits to be told that we know (QoS 2).
        is_released: bool,
        done: oneshot::Sender<Result<(), Error>>,
    },
    Subscribe(oneshot::Sender<Vec<SubscribeReasonCode>>),
    Unsubscribe(oneshot::Sender<Vec<UnsubAckReason>>),
}

pub(super) struct State {
    is_up: bool,
    is_ended: bool,
    /// Grows with each connection.
    epoch: u64,
    out: BytesMut,
    /// Publishers at QoS 0 of what is in `out`.
    unwritten: Vec<oneshot::Sender<Result<(), Error>>>,
    last_id: u16,
    flights: HashMap<u16, Flight>,
    /// Messages at QoS 2 that came and were not released.
    received: HashSet<u16>,
    pings: Vec<oneshot::Sender<()>>,
    subscriptions: HashMap<String, Wanted>,
    /// Permits that `window` has in all.
    window: usize,
    max_packet: usize,
    heard: Instant,
    goodbye: Goodbye,
}

pub(super) struct Shared {
    address: Address,
    introduction: Introduction,
    handler: Handler,
    pub(super) state: Mutex<State>,
    /// Something is in `out`.
    pub(super) wake: Notify,
    /// `out` was taken.
    pub(super) room: Notify,
    /// Messages that may still be sent without acknowledgement.
    pub(super) window: Semaphore,
    phase: watch::Sender<Phase>,
    pub(super) stop: CancellationToken,
}

/// A connection. Dropped, it is closed.
pub(super) struct Link {
    shared: Arc<Shared>,
}

/// What was sent, and waits for the broker.
pub(super) struct Receipt(oneshot::Receiver<Result<(), Error>>);

impl Receipt {
    pub(super) async fn settled(self) -> Result<(), Error> {
        self.0.await.unwrap_or(Err(Error::Uncertain))
    }
}

impl Link {
    /// Begins to connect. Must be called in a runtime.
    pub(super) fn open(address: Address, introduction: Introduction, handler: Handler) -> Self {
        // Without another word, the session ends as when the connection breaks.
        let goodbye = Goodbye {
            with_will: true,
            forget: introduction.clean,
        };
        let shared = Arc::new(Shared {
            address,
            introduction,
            handler,
            state: Mutex::new(State::new(goodbye)),
            wake: Notify::new(),
            room: Notify::new(),
            window: Semaphore::new(0),
            phase: watch::channel(Phase::Connecting).0,
            stop: CancellationToken::new(),
        });
        tokio::spawn(Arc::clone(&shared).run());
        Self { shared }
    }

    pub(super) fn phases(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.shared.state.lock().is_up
    }

    /// Sends a message. It counts as written, or as acknowledged, when the receipt is settled.
    pub(super) async fn send(&self, mut message: Publish) -> Result<Receipt, Error> {
        let shared = &*self.shared;
        let permit = if message.qos == QoS::AtMostOnce {
            None
        } else {
            // Who would have to wait while nothing goes out is told at once.
            if shared.window.available_permits() == 0 {
                shared.state.lock().check()?;
            }
            let permit = shared.window.acquire().await;
            Some(permit.map_err(|_| Error::down("closed"))?)
        };
        // Goes back by itself if this fails, or is given up; else with the acknowledgement.
        let receipt = self.enqueue(&mut message).await?;
        if let Some(permit) = permit {
            permit.forget();
        }
        Ok(receipt)
    }

    async fn enqueue(&self, message: &mut Publish) -> Result<Receipt, Error> {
        let shared = &*self.shared;
        loop {
            let mut room = std::pin::pin!(shared.room.notified());
            room.as_mut().enable();
            {
                let mut state = shared.state.lock();
                state.check()?;
                if message.size() > state.max_packet {
                    return Err(Error::TooLarge(format!(
                        "the message has more than the {} bytes that the broker takes, with its topic and properties",
                        state.max_packet
                    )));
                }
                if state.out.len() < MAX_OUT {
                    let (done, receipt) = oneshot::channel();
                    if message.qos == QoS::AtMostOnce {
                        message.write(&mut state.out).map_err(Error::unexpected)?;
                        state.unwritten.push(done);
                    } else {
                        let id = state.free_id()?;
                        message.pkid = id;
                        message.write(&mut state.out).map_err(Error::unexpected)?;
                        let flight = Flight::Publish {
                            packet: message.clone(),
                            is_released: false,
                            done,
                        };
                        state.flights.insert(id, flight);
                    }
                    drop(state);
                    shared.wake.notify_one();
                    return Ok(Receipt(receipt));
                }
            }
            room.await;
        }
    }

    /// Subscribes, and waits until the broker has. If it fails, nothing stays subscribed.
    pub(super) async fn subscribe(&self, wanted: Vec<Wanted>) -> Result<(), Error> {
        let mut answers = Vec::with_capacity(wanted.len());
        {
            let mut state = self.shared.state.lock();
            state.check()?;
            for wanted in &wanted {
                let (done, answer) = oneshot::channel();
                let rule = match wanted.retained {
                    Retained::Once | Retained::Mirrored => RetainForwardRule::OnEverySubscribe,
                    Retained::None => RetainForwardRule::Never,
                };
                state.ask_to_subscribe(wanted, rule, done)?;
                state.subscriptions.insert(wanted.filter.clone(), wanted.clone());
                answers.push(answer);
            }
        }
        self.shared.wake.notify_one();
        let mut result = Ok(());
        for answer in answers {
            let answer = answer.await.map_err(|_| Error::down("lost while subscribing"));
            let granted_all = answer.and_then(|codes| codes.into_iter().try_for_each(granted));
            if result.is_ok() {
                result = granted_all;
            }
        }
        if result.is_err() {
            self.leave(wanted.into_iter().map(|wanted| wanted.filter).collect());
        }
        result
    }

    /// Unsubscribes, and waits. Says of each filter whether the broker had it.
    pub(super) async fn unsubscribe(&self, filters: Vec<String>) -> Result<Vec<bool>, Error> {
        let answer = {
            let mut state = self.shared.state.lock();
            for filter in &filters {
                state.subscriptions.remove(filter);
            }
            state.check()?;
            let (done, answer) = oneshot::channel();
            state.ask_to_unsubscribe(filters, done)?;
            answer
        };
        self.shared.wake.notify_one();
        let reasons = answer
            .await
            .map_err(|_| Error::down("lost while unsubscribing"))?;
        Ok(reasons
            .into_iter()
            .map(|reason| reason == UnsubAckReason::Success)
            .collect())
    }

    /// Unsubscribes without waiting. A connection that is down just does not subscribe again.
    pub(super) fn leave(&self, filters: Vec<String>) {
        if filters.is_empty() {
            return;
        }
        let mut state = self.shared.state.lock();
        for filter in &filters {
            state.subscriptions.remove(filter);
        }
        if state.is_up {
            let (done, _) = oneshot::channel();
            let _ = state.ask_to_unsubscribe(filters, done);
        }
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Subscribes and unsubscribes at once: what is retained comes to the handler before this ends.
    pub(super) async fn look(&self, wanted: &Wanted) -> Result<(), Error> {
        let (granted_by, left) = {
            let mut state = self.shared.state.lock();
            state.check()?;
            let (done, granted_by) = oneshot::channel();
            state.ask_to_subscribe(wanted, RetainForwardRule::OnEverySubscribe, done)?;
            let (done, left) = oneshot::channel();
            state.ask_to_unsubscribe(vec![wanted.filter.clone()], done)?;
            (granted_by, left)
        };
        self.shared.wake.notify_one();
        let lost = |_| Error::down("lost while looking");
        let codes = granted_by.await.map_err(lost)?;
        codes.into_iter().try_for_each(granted)?;
        left.await.map_err(lost).map(drop)
    }

    /// Acknowledges a message of QoS 1 that the handler took.
    pub(super) fn acknowledge(&self, mark: Mark) {
        let mut state = self.shared.state.lock();
        // Over another connection it comes again, with another mark.
        if state.epoch == mark.epoch && state.is_up && mark.id != 0 {
            state.acknowledge(mark.id);
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// The broker answers.
    pub(super) async fn ping(&self) -> Result<(), Error> {
        let answer = {
            let mut state = self.shared.state.lock();
            state.check()?;
            let (done, answer) = oneshot::channel();
            state.pings.push(done);
            state.put(&Packet::PingReq(PingReq))?;
            answer
        };
        self.shared.wake.notify_one();
        answer
            .await
            .map_err(|_| Error::down("lost while waiting for a sign of life"))
    }

    /// Ends the connection as MQTT says, within a short while.
    pub(super) fn close(&self, goodbye: Goodbye) {
        self.shared.state.lock().goodbye = goodbye;
        self.shared.stop.cancel();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

fn granted(code: SubscribeReasonCode) -> Result<(), Error> {
    match code {
        SubscribeReasonCode::Success(_) => Ok(()),
        SubscribeReasonCode::QuotaExceeded => Err(Error::Full),
        SubscribeReasonCode::SharedSubscriptionsNotSupported => Err(Error::Precondition(
            "the broker has no shared subscriptions".into(),
        )),
        SubscribeReasonCode::NotAuthorized => Err(Error::Precondition(
            "the broker does not let this service listen there".into(),
        )),
        other => Err(Error::unexpected(format_args!(
            "the broker did not subscribe: {other:?}"
        ))),
    }
}

impl State {
    fn new(goodbye: Goodbye) -> Self {
        Self {
            is_up: false,
            is_ended: false,
            epoch: 0,
            out: BytesMut::new(),
            unwritten: Vec::new(),
            // Hardly one that an earlier session has left at the broker.
            last_id: rand::random(),
            flights: HashMap::new(),
            received: HashSet::new(),
            pings: Vec::new(),
            subscriptions: HashMap::new(),
            window: 0,
            max_packet: 0,
            heard: Instant::now(),
            goodbye,
        }
    }

    fn check(&self) -> Result<(), Error> {
        match (self.is_ended, self.is_up) {
            (true, _) => Err(Error::NotFound("the session".into())),
            (false, false) => Err(Error::down("not connected")),
            (false, true) => Ok(()),
        }
    }

    fn free_id(&mut self) -> Result<u16, Error> {
        for _ in 0..u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.flights.contains_key(&self.last_id) {
                return Ok(self.last_id);
            }
        }
        Err(Error::Full)
    }

    fn put(&mut self, packet: &Packet) -> Result<(), Error> {
        packet
            .write(&mut self.out, None)
            .map(drop)
            .map_err(Error::unexpected)
    }

    fn ask_to_subscribe(
        &mut self,
        wanted: &Wanted,
        rule: RetainForwardRule,
        done: oneshot::Sender<Vec<SubscribeReasonCode>>,
    ) -> Result<(), Error> {
        let id = self.free_id()?;
        self.put(&Packet::Subscribe(Subscribe {
            pkid: id,
            filters: vec![Filter {
                path: wanted.filter.clone(),
                qos: wanted.qos,
                nolocal: false,
                preserve_retain: wanted.retained == Retained::Mirrored,
                retain_forward_rule: rule,
            }],
            properties: Some(SubscribeProperties {
                id: Some(wanted.id as usize),
                user_properties: Vec::new(),
            }),
        }))?;
        self.flights.insert(id, Flight::Subscribe(done));
        Ok(())
    }

    fn ask_to_unsubscribe(
        &mut self,
        filters: Vec<String>,
        done: oneshot::Sender<Vec<UnsubAckReason>>,
    ) -> Result<(), Error> {
        let id = self.free_id()?;
        self.put(&Packet::Unsubscribe(Unsubscribe {
            pkid: id,
            filters,
            properties: None,
        }))?;
        self.flights.insert(id, Flight::Unsubscribe(done));
        Ok(())
    }
}

mod drive;
mod receive;

/// A message of ours.
pub(super) fn message(topic: String, payload: Bytes, qos: QoS, retain: bool) -> Publish {
    Publish {
        dup: false,
        qos,
        retain,
        topic: Bytes::from(topic),
        pkid: 0,
        payload,
        properties: None,
    }
}

impl Introduction {
    fn connect(&self, is_first: bool) -> Connect {
        Connect {
            keep_alive: u16::try_from(self.keep_alive.as_secs()).unwrap_or(u16::MAX),
            client_id: self.client.clone(),
            clean_start: self.clean && is_first,
            properties: Some(ConnectProperties {
                session_expiry_interval: Some(u32::try_from(self.expiry.as_secs()).unwrap_or(u32::MAX)),
                receive_maximum: Some(RECEIVE_MAXIMUM),
                max_packet_size: Some(super::connect::MAX_PACKET),
                topic_alias_max: None,
                request_response_info: None,
                request_problem_info: None,
                user_properties: Vec::new(),
                authentication_method: None,
                authentication_data: None,
            }),
        }
    }
}

impl Goodbye {
    fn packet(self) -> Packet {
        Packet::Disconnect(Disconnect {
            reason_code: if self.with_will {
                DisconnectReasonCode::DisconnectWithWillMessage
            } else {
                DisconnectReasonCode::NormalDisconnection
            },
            properties: self.forget.then(|| DisconnectProperties {
                session_expiry_interval: Some(0),
                reason_string: None,
                user_properties: Vec::new(),
                server_reference: None,
            }),
        })
    }
}
