//! Messages as tenants see them.

use std::{collections::BTreeMap, time::SystemTime};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{Publish, PublishProperties},
};

use super::{Error, link};
use crate::mqtt::names::{Names, is_text};

/// Largest payload: the broker's own limit.
pub(crate) const MAX_PAYLOAD: usize = 8 << 20;

/// Most properties of one message, and their bytes in all.
const MAX_PROPERTIES: usize = 16;
const MAX_PROPERTY_BYTES: usize = 8 << 10;

/// A message to publish.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retained: bool,
    pub(crate) properties: &'a BTreeMap<String, String>,
}

impl Outgoing<'_> {
    /// The packet, under the tenant's prefix.
    pub(super) fn packet(self, names: Names<'_>) -> Result<Publish, Error> {
        let topic = names.topic("topic", self.topic)?;
        check_payload("payload", &self.payload)?;
        check_properties(self.properties)?;
        let mut packet = link::message(topic, self.payload, self.qos, self.retained);
        if !self.properties.is_empty() {
            let user_properties = self.properties.iter();
            packet.properties = Some(PublishProperties {
                user_properties: user_properties
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
                ..Default::default()
            });
        }
        Ok(packet)
    }
}

pub(super) fn check_payload(field: &'static str, payload: &[u8]) -> Result<(), Error> {
    if payload.len() > MAX_PAYLOAD {
        return Err(Error::TooLarge(format!(
            "{field} has {} bytes, and may have {MAX_PAYLOAD}",
            payload.len()
        )));
    }
    Ok(())
}

fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), Error> {
    if properties.len() > MAX_PROPERTIES {
        return Err(Error::invalid(
            "properties",
            format!("has {} entries, and may have {MAX_PROPERTIES}", properties.len()),
        ));
    }
    let mut bytes = 0;
    for (key, value) in properties {
        bytes += key.len() + value.len();
        if !is_text(key) || !is_text(value) {
            return Err(Error::invalid(
                "properties",
                "has a control character, which MQTT forbids",
            ));
        }
    }
    if bytes > MAX_PROPERTY_BYTES {
        return Err(Error::invalid(
            "properties",
            format!("has {bytes} bytes, and may have {MAX_PROPERTY_BYTES}"),
        ));
    }
    Ok(())
}

/// A message that came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// As the tenant says it.
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: QoS,
    pub(crate) retained: bool,
    pub(crate) properties: BTreeMap<String, String>,
    pub(crate) at: SystemTime,
}

impl Received {
    pub(super) fn new(topic: &str, publish: Publish) -> Self {
        let properties = publish.properties.map(|it| it.user_properties);
        Self {
            topic: topic.to_owned(),
            payload: publish.payload,
            qos: publish.qos,
            retained: publish.retain,
            properties: properties.unwrap_or_default().into_iter().collect(),
            at: SystemTime::now(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

/// The lesser of two: what a subscriber gets at most.
pub(super) fn at_most(qos: QoS, limit: QoS) -> QoS {
    if (qos as u8) < (limit as u8) { qos } else { limit }
}
