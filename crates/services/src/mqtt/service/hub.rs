//! The streams of one session, and which message goes to which.
//!
//! Every subscription at the broker has an id that comes back with its messages. So a message that two filters match comes
//! twice, told apart by the id, and each stream takes it under the first of its filters that matches: once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use rumqttc::v5::mqttbytes::{QoS, v5::Publish};

use super::{
    Error,
    link::{Retained, Wanted},
    message::{Received, at_most},
    queue::{Inlet, MAX_WAITING, MAX_WAITING_BYTES, Outlet, queue},
    traffic::Counters,
};
use crate::mqtt::names::{Names, matches, unshared};

/// Streams of one session.
const MAX_STREAMS: usize = 64;

/// Filters of one session.
const MAX_FILTERS: usize = 256;

/// Ids under which messages of one filter may still come: each further stream on it makes a new one.
const MAX_IDS: usize = 16;

/// Largest id of a subscription that MQTT has.
const LARGEST_ID: u32 = 268_435_455;

/// A filter, and the QoS at most.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub(crate) filter: String,
    pub(crate) qos: QoS,
}

struct Filter {
    given: String,
    qos: QoS,
    /// The newest last.
    ids: Vec<u32>,
    streams: Vec<u64>,
}

/// A stream's part in a filter.
struct Part {
    full: String,
    /// Without `$share`.
    pattern: String,
    qos: QoS,
    /// Of the subscription that it made: retained messages come with it to this stream alone.
    id: u32,
}

struct Stream {
    /// `None` once it is cut off.
    inlet: Option<Inlet<Received>>,
    parts: Vec<Part>,
}

struct Inner {
    last_id: u32,
    last_stream: u64,
    filters: HashMap<String, Filter>,
    /// Full filters by the ids of their subscriptions.
    ids: HashMap<u32, String>,
    streams: HashMap<u64, Stream>,
    /// Of what an earlier session subscribed to: messages that no stream has asked for yet.
    unasked: VecDeque<Received>,
    unasked_bytes: usize,
}

/// The streams of one session.
pub(super) struct Hub {
    slug: String,
    inner: Mutex<Inner>,
    received: AtomicU64,
    traffic: Arc<Counters>,
}

/// A stream that was added, before the broker knows.
pub(super) struct Added {
    pub(super) stream: u64,
    pub(super) wanted: Vec<Wanted>,
    pub(super) outlet: Outlet<Received>,
}

impl Hub {
    pub(super) fn new(slug: &str, traffic: Arc<Counters>) -> Self {
        Self {
            slug: slug.to_owned(),
            inner: Mutex::new(Inner {
                // Not those of an earlier session, whose messages may still come.
                last_id: rand::random_range(1..LARGEST_ID / 2),
                last_stream: 0,
                filters: HashMap::new(),
                ids: HashMap::new(),
                streams: HashMap::new(),
                unasked: VecDeque::new(),
                unasked_bytes: 0,
            }),
            received: AtomicU64::new(0),
            traffic,
        }
    }

    /// Messages that went to streams.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn has_streams(&self) -> bool {
        !self.inner.lock().streams.is_empty()
    }

    /// Adds a stream on filters, each once.
    pub(super) fn add(
        &self,
        names: Names<'_>,
        filters: &[Subscribed],
        field: &'static str,
    ) -> Result<Added, Error> {
        let mut full = Vec::with_capacity(filters.len());
        for wanted in filters {
            let name = names.filter(field, &wanted.filter)?;
            if !full.iter().any(|(_, other)| *other == name) {
                full.push((wanted, name));
            }
        }
        let mut inner = self.inner.lock();
        if inner.streams.len() >= MAX_STREAMS {
            return Err(Error::Quota(format!(
                "the session has {MAX_STREAMS} streams, and may have no more"
            )));
        }
        let added = full
            .iter()
            .filter(|(_, name)| !inner.filters.contains_key(name))
            .count();
        if inner.filters.len() + added > MAX_FILTERS {
            return Err(Error::Quota(format!(
                "the session would have more than {MAX_FILTERS} subscriptions"
            )));
        }
        inner.last_stream += 1;
        let stream = inner.last_stream;
        let (inlet, outlet) = queue();
        let mut parts = Vec::with_capacity(full.len());
        let mut subscribe = Vec::with_capacity(full.len());
        for (wanted, name) in full {
            let id = inner.new_id();
            inner.ids.insert(id, name.clone());
            let filter = inner.filters.entry(name.clone()).or_insert_with(|| Filter {
                given: wanted.filter.clone(),
                qos: wanted.qos,
                ids: Vec::new(),
                streams: Vec::new(),
            });
            filter.qos = at_least(filter.qos, wanted.qos);
            filter.streams.push(stream);
            filter.ids.push(id);
            let qos = filter.qos;
            let outdated = (filter.ids.len() > MAX_IDS).then(|| filter.ids.remove(0));
            if let Some(outdated) = outdated {
                inner.ids.remove(&outdated);
            }
            parts.push(Part {
                full: name.clone(),
                pattern: unshared(&wanted.filter).to_owned(),
                qos: wanted.qos,
                id,
            });
            subscribe.push(Wanted {
                filter: name,
                qos,
                id,
                retained: Retained::Once,
            });
        }
        let mut stream_state = Stream {
            inlet: Some(inlet),
            parts,
        };
        self.catch_up(&mut inner, &mut stream_state);
        inner.streams.insert(stream, stream_state);
        Ok(Added {
            stream,
            wanted: subscribe,
            outlet,
        })
    }

    /// Gives a new stream what came for it before it was there.
    fn catch_up(&self, inner: &mut Inner, stream: &mut Stream) {
        for _ in 0..inner.unasked.len() {
            let Some(message) = inner.unasked.pop_front() else {
                break;
            };
            let size = message.size();
            if stream
                .parts
                .iter()
                .any(|part| matches(&part.pattern, &message.topic))
            {
                inner.unasked_bytes -= size;
                self.offer(stream, message, None);
            } else {
                inner.unasked.push_back(message);
            }
        }
    }

    /// Removes a stream. Gives the full filters that nobody has any more.
    pub(super) fn remove(&self, stream: u64) -> Vec<String> {
        let mut inner = self.inner.lock();
        let Some(removed) = inner.streams.remove(&stream) else {
            return Vec::new();
        };
        let mut empty = Vec::new();
        for part in removed.parts {
            if inner.part(&part.full, stream) {
                empty.push(part.full);
            }
        }
        empty
    }

    /// Ends subscriptions; streams that have no other end. No filter means all. Gives their full names.
    pub(super) fn leave(
        &self,
        names: Names<'_>,
        filters: &[String],
        field: &'static str,
    ) -> Result<Vec<String>, Error> {
        let mut left = Vec::with_capacity(filters.len());
        for given in filters {
            let full = names.filter(field, given)?;
            if !left.contains(&full) {
                left.push(full);
            }
        }
        let mut inner = self.inner.lock();
        if filters.is_empty() {
            left = inner.filters.keys().cloned().collect();
        }
        for full in &left {
            inner.forget(full);
            for stream in inner.streams.values_mut() {
                stream.parts.retain(|part| part.full != *full);
            }
        }
        inner.streams.retain(|_, stream| !stream.parts.is_empty());
        Ok(left)
    }

    pub(super) fn subscriptions(&self) -> Vec<Subscribed> {
        let inner = self.inner.lock();
        let mut subscriptions: Vec<_> = inner
            .filters
            .values()
            .map(|filter| Subscribed {
                filter: filter.given.clone(),
                qos: filter.qos,
            })
            .collect();
        drop(inner);
        subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter));
        subscriptions
    }

    /// Ends all streams.
    pub(super) fn end(&self, is_taken_over: bool) {
        let mut inner = self.inner.lock();
        inner.filters.clear();
        inner.ids.clear();
        inner.unasked.clear();
        inner.unasked_bytes = 0;
        for (_, stream) in inner.streams.drain() {
            if let Some(inlet) = stream.inlet
                && is_taken_over
            {
                inlet.taken_over();
            }
        }
    }

    /// Takes a message of the broker's.
    pub(super) fn deliver(&self, mut publish: Publish) {
        let topic = publish.topic.clone();
        let names = Names::of(&self.slug);
        let Some(topic) = std::str::from_utf8(&topic)
            .ok()
            .and_then(|full| names.given_topic(full))
        else {
            return;
        };
        let properties = publish.properties.as_mut();
        let ids = properties.map(|it| std::mem::take(&mut it.subscription_identifiers));
        let message = Received::new(topic, publish);
        let mut inner = self.inner.lock();
        let inner = &mut *inner;
        let mut is_known = false;
        for id in ids.unwrap_or_default() {
            let Ok(id) = u32::try_from(id) else {
                continue;
            };
            let Some(filter) = inner.ids.get(&id).and_then(|full| inner.filters.get_mut(full)) else {
                continue;
            };
            is_known = true;
            for stream in &filter.streams {
                if let Some(stream) = inner.streams.get_mut(stream) {
                    let under = stream.part_for(&message.topic);
                    let is_its = under.is_some_and(|part| {
                        inner.ids.get(&id) == Some(&part.full) && (!message.retained || part.id == id)
                    });
                    if is_its {
                        self.offer(stream, message.clone(), under_qos(stream, &message.topic));
                    }
                }
            }
        }
        if is_known {
            return;
        }
        // Of a subscription that an earlier session made.
        let mut is_wanted = false;
        for stream in inner.streams.values_mut() {
            if stream.part_for(&message.topic).is_some() {
                is_wanted = true;
                self.offer(stream, message.clone(), under_qos(stream, &message.topic));
            }
        }
        if !is_wanted {
            inner.keep(message);
        }
    }

    fn offer(&self, stream: &mut Stream, mut message: Received, qos: Option<QoS>) {
        let Some(inlet) = &stream.inlet else {
            return;
        };
        if let Some(qos) = qos {
            message.qos = at_most(message.qos, qos);
        }
        let size = message.size();
        if inlet.put(message, size) {
            self.received.fetch_add(1, Relaxed);
            self.traffic.received();
        } else {
            stream.inlet = None;
        }
    }
}

fn at_least(qos: QoS, other: QoS) -> QoS {
    if (qos as u8) < (other as u8) { other } else { qos }
}

fn under_qos(stream: &Stream, topic: &str) -> Option<QoS> {
    stream.part_for(topic).map(|part| part.qos)
}

impl Stream {
    /// The first of its filters that matches.
    fn part_for(&self, topic: &str) -> Option<&Part> {
        self.parts.iter().find(|part| matches(&part.pattern, topic))
    }
}

impl Inner {
    fn new_id(&mut self) -> u32 {
        self.last_id = if self.last_id >= LARGEST_ID {
            1
        } else {
            self.last_id + 1
        };
        self.last_id
    }

    /// A stream leaves a filter. Whether nobody has it any more.
    fn part(&mut self, full: &str, stream: u64) -> bool {
        let Some(filter) = self.filters.get_mut(full) else {
            return false;
        };
        filter.streams.retain(|other| *other != stream);
        let is_empty = filter.streams.is_empty();
        if is_empty {
            self.forget(full);
        }
        is_empty
    }

    fn forget(&mut self, full: &str) {
        if let Some(filter) = self.filters.remove(full) {
            for id in filter.ids {
                self.ids.remove(&id);
            }
        }
    }

    /// The oldest make room.
    fn keep(&mut self, message: Received) {
        self.unasked_bytes += message.size();
        self.unasked.push_back(message);
        while self.unasked.len() > MAX_WAITING || self.unasked_bytes > MAX_WAITING_BYTES {
            let Some(oldest) = self.unasked.pop_front() else {
                break;
            };
            self.unasked_bytes -= oldest.size();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rumqttc::v5::mqttbytes::v5::PublishProperties;

    use super::*;

    const SLUG: &str = "0123456789abcdef0123";

    fn hub() -> Hub {
        Hub::new(SLUG, Arc::default())
    }

    fn wants(filters: &[&str]) -> Vec<Subscribed> {
        let each = filters.iter();
        each.map(|&filter| Subscribed {
            filter: filter.to_owned(),
            qos: QoS::AtLeastOnce,
        })
        .collect()
    }

    fn publish(topic: &str, ids: &[u32], retain: bool) -> Publish {
        Publish {
            topic: Bytes::from(format!("isa/t/{SLUG}/{topic}")),
            payload: Bytes::from_static(b"x"),
            retain,
            properties: Some(PublishProperties {
                subscription_identifiers: ids.iter().map(|&id| id as usize).collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn count(added: &mut Added) -> usize {
        let mut count = 0;
        while let Some(Some(Ok(_))) = futures::FutureExt::now_or_never(added.outlet.next()) {
            count += 1;
        }
        count
    }

    #[test]
    fn a_message_that_many_filters_match_comes_once() {
        let hub = hub();
        let mut added = hub
            .add(Names::of(SLUG), &wants(&["a/+", "#", "a/b"]), "f")
            .unwrap();
        let ids: Vec<u32> = added.wanted.iter().map(|wanted| wanted.id).collect();
        for id in &ids {
            hub.deliver(publish("a/b", &[*id], false));
        }
        assert_eq!(count(&mut added), 1);
        hub.deliver(publish("a/b", &ids, false));
        assert_eq!(count(&mut added), 1);
        hub.deliver(publish("other", &[ids[1]], false));
        assert_eq!(count(&mut added), 1);
    }

    #[test]
    fn two_streams_on_one_filter_both_get_each_message_and_retained_ones_once() {
        let hub = hub();
        let mut one = hub.add(Names::of(SLUG), &wants(&["a"]), "f").unwrap();
        hub.deliver(publish("a", &[one.wanted[0].id], true));
        let mut two = hub.add(Names::of(SLUG), &wants(&["a"]), "f").unwrap();
        hub.deliver(publish("a", &[two.wanted[0].id], true));
        assert_eq!((count(&mut one), count(&mut two)), (1, 1));
        hub.deliver(publish("a", &[one.wanted[0].id], false));
        assert_eq!((count(&mut one), count(&mut two)), (1, 1));
        assert!(hub.remove(one.stream).is_empty());
        assert_eq!(hub.remove(two.stream), [format!("isa/t/{SLUG}/a")]);
    }

    #[test]
    fn what_an_earlier_session_asked_for_waits() {
        let hub = hub();
        hub.deliver(publish("a/b", &[1], false));
        hub.deliver(publish("c", &[1], false));
        let mut added = hub.add(Names::of(SLUG), &wants(&["a/#"]), "f").unwrap();
        assert_eq!(count(&mut added), 1);
        assert_eq!(hub.inner.lock().unasked.len(), 1);
        for _ in 0..2 * MAX_WAITING {
            hub.deliver(publish("d", &[1], false));
        }
        assert_eq!(hub.inner.lock().unasked.len(), MAX_WAITING);
    }

    #[test]
    fn leaving_ends_streams_that_have_nothing_else() {
        let hub = hub();
        let names = Names::of(SLUG);
        let mut both = hub.add(names, &wants(&["a", "b"]), "f").unwrap();
        let mut one = hub.add(names, &wants(&["a"]), "f").unwrap();
        hub.leave(names, &["a".to_owned()], "f").unwrap();
        assert!(matches!(
            futures::FutureExt::now_or_never(one.outlet.next()),
            Some(None)
        ));
        assert!(futures::FutureExt::now_or_never(both.outlet.next()).is_none());
        assert_eq!(hub.subscriptions().len(), 1);
        hub.leave(names, &[], "f").unwrap();
        assert!(matches!(
            futures::FutureExt::now_or_never(both.outlet.next()),
            Some(None)
        ));
    }
}
