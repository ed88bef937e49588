//! What this replica has seen of topics. The broker tells nothing of them, so each replica listens to all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::RwLock;
use rumqttc::v5::mqttbytes::{QoS, v5::Publish};

use super::{
    connect::Address,
    link::{Introduction, Link, Phase, Retained, Wanted},
    traffic::now,
};
use crate::mqtt::names::{ALL, OWN, split};

/// Topics of one tenant.
const MAX_TOPICS: usize = 10_000;

/// Topics of all tenants: some 100 MB at most.
const MAX_ALL: usize = 500_000;

/// Milliseconds of an hour. Counts are kept by the hour.
const HOUR: u64 = 60 * 60 * 1000;

/// Hours that count.
const HOURS: usize = 24;

/// How often topics that were silent for a day are forgotten.
const SWEEP: Duration = Duration::from_secs(60);

/// Between attempts to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// What was seen of a topic.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Within the last 24 h.
    pub(crate) messages: u64,
    /// Milliseconds since 1970; 0 if there was no message but a retained one from before.
    pub(crate) last: u64,
    pub(crate) is_retained: bool,
}

#[derive(Default)]
struct Topic {
    counts: [u32; HOURS],
    /// The hour that was counted last.
    hour: u64,
    last: u64,
    is_retained: bool,
}

/// The topics of all tenants.
#[derive(Default)]
pub(super) struct Topics {
    tenants: RwLock<HashMap<String, HashMap<String, Topic>>>,
    /// Messages with the mark of retained ones are new, and not those that were there.
    counts_retained: AtomicBool,
}

impl Topic {
    /// Forgets the hours that are over.
    fn turn(&mut self, hour: u64) {
        let passed = hour.saturating_sub(self.hour).min(HOURS as u64);
        for ago in 0..passed {
            self.counts[slot(hour - ago)] = 0;
        }
        self.hour = self.hour.max(hour);
    }

    fn count(&mut self, at: u64) {
        let hour = at / HOUR;
        self.turn(hour);
        let count = &mut self.counts[slot(hour)];
        *count = count.saturating_add(1);
        self.last = at;
    }

    fn seen(&self, at: u64) -> Option<Seen> {
        let hour = at / HOUR;
        let first = hour.saturating_sub(HOURS as u64 - 1);
        let messages = (first..=hour.min(self.hour))
            .map(|hour| u64::from(self.counts[slot(hour)]))
            .sum();
        let is_live = self.is_retained || self.last + HOURS as u64 * HOUR > at;
        is_live.then_some(Seen {
            messages,
            last: self.last,
            is_retained: self.is_retained,
        })
    }
}

fn slot(hour: u64) -> usize {
    usize::try_from(hour % HOURS as u64).unwrap_or_default()
}

impl Topics {
    /// Listens until the link is dropped, which is given.
    pub(super) fn watch(self: &Arc<Self>, address: Address, client: String) -> Link {
        let topics = Arc::clone(self);
        let introduction = Introduction {
            client,
            clean: true,
            // After a loss everything that is retained comes again, and nothing else.
            expiry: Duration::ZERO,
            keep_alive: Duration::from_secs(30),
            will: None,
        };
        Link::open(
            address,
            introduction,
            Box::new(move |publish, _| {
                topics.take(&publish);
                true
            }),
        )
    }

    fn take(&self, publish: &Publish) {
        let topic = std::str::from_utf8(&publish.topic).ok().and_then(split);
        let Some((slug, topic)) = topic else {
            return;
        };
        let is_news = !publish.retain || self.counts_retained.load(Relaxed);
        let mut tenants = self.tenants.write();
        let is_known = tenants.get(slug).is_some_and(|topics| topics.contains_key(topic));
        if !is_known {
            let all: usize = tenants.len() + tenants.values().map(HashMap::len).sum::<usize>();
            let of_tenant = tenants.get(slug).map_or(0, HashMap::len);
            if of_tenant >= MAX_TOPICS || all >= MAX_ALL {
                return;
            }
            if publish.retain && publish.payload.is_empty() && !is_news {
                return;
            }
            let topics = tenants.entry(slug.to_owned()).or_default();
            topics.insert(topic.to_owned(), Topic::default());
        }
        let Some(entry) = tenants.get_mut(slug).and_then(|topics| topics.get_mut(topic)) else {
            return;
        };
        if publish.retain {
            entry.is_retained = !publish.payload.is_empty();
        }
        if is_news {
            entry.count(now());
        }
    }

    pub(super) fn get(&self, slug: &str, topic: &str) -> Option<Seen> {
        self.tenants.read().get(slug)?.get(topic)?.seen(now())
    }

    /// Those that begin so, sorted.
    pub(super) fn list(&self, slug: &str, prefix: &str) -> BTreeMap<String, Seen> {
        let at = now();
        let tenants = self.tenants.read();
        let topics = tenants.get(slug).into_iter().flatten();
        topics
            .filter(|(topic, _)| topic.starts_with(prefix))
            .filter_map(|(topic, entry)| Some((topic.clone(), entry.seen(at)?)))
            .collect()
    }

    fn forget_retained(&self) {
        for topic in self.tenants.write().values_mut().flat_map(HashMap::values_mut) {
            topic.is_retained = false;
        }
    }

    fn forget_old(&self) {
        let at = now();
        self.tenants.write().retain(|_, topics| {
            topics.retain(|_, topic| topic.seen(at).is_some());
            !topics.is_empty()
        });
    }
}

/// Subscribes, and tells what was there from what is new. Ends with the link.
pub(super) async fn follow(topics: Arc<Topics>, link: Weak<Link>) {
    let everything = Wanted {
        filter: ALL.to_owned(),
        qos: QoS::AtMostOnce,
        id: 1,
        retained: Retained::Mirrored,
    };
    let Some(mut phases) = link.upgrade().map(|link| link.phases()) else {
        return;
    };
    let mut is_subscribed = false;
    loop {
        let phase = phases.borrow_and_update().clone();
        match phase {
            Phase::Up { .. } => {
                let Some(link) = link.upgrade() else {
                    return;
                };
                if !is_subscribed {
                    is_subscribed = link.subscribe(vec![everything.clone()]).await.is_ok();
                }
                // Its answer comes behind all that is retained.
                let fence = link.unsubscribe(vec![format!("{OWN}fence")]).await;
                topics.counts_retained.store(fence.is_ok(), Relaxed);
            }
            Phase::Down(_) => {
                topics.counts_retained.store(false, Relaxed);
                topics.forget_retained();
            }
            Phase::Connecting => {}
            Phase::Ended => return,
        }
        let wait = if is_subscribed { SWEEP } else { AGAIN };
        match tokio::time::timeout(wait, phases.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return,
            Err(_) => topics.forget_old(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_of_the_last_day() {
        let mut topic = Topic::default();
        let start = 1000 * HOUR;
        topic.count(start);
        topic.count(start + HOUR);
        topic.count(start + HOUR + 1);
        let at = |hours: u64| topic.seen(start + hours * HOUR).map(|seen| seen.messages);
        assert_eq!(at(1), Some(3));
        assert_eq!(at(23), Some(3));
        assert_eq!(at(24), Some(2));
        assert_eq!(at(26), None);
        topic.count(start + 40 * HOUR);
        assert_eq!(topic.seen(start + 40 * HOUR).unwrap().messages, 1);
    }
}
