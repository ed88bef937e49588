//! The contract's messages from and to those of the service.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use isa_proto::{
    mqtt as pb,
    prost_types::{Struct, Timestamp, Value, value::Kind as Json},
};
use rumqttc::v5::mqttbytes::QoS;

use super::service::{
    Device, Error, Kind, Minute, Received, Secret, Seen, Selection, Spoken, Status, Webhook,
};

/// Whole numbers up to here are the same as `f64`.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Numbers that the contract has signed; beyond its range there are none.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(super) fn now() -> Timestamp {
    SystemTime::now().into()
}

/// From milliseconds since 1970.
pub(super) fn time(at: u64) -> Timestamp {
    (UNIX_EPOCH + Duration::from_millis(at)).into()
}

/// Absent if it never was.
fn time_if(at: u64) -> Option<Timestamp> {
    (at > 0).then(|| time(at))
}

/// Milliseconds since 1970; what was before is 0.
pub(super) fn milliseconds(field: &'static str, given: Timestamp) -> Result<u64, Error> {
    if !(0..1_000_000_000).contains(&given.nanos) {
        return Err(Error::invalid(field, "is not normal"));
    }
    let seconds = u64::try_from(given.seconds).unwrap_or_default();
    Ok(seconds
        .saturating_mul(1000)
        .saturating_add(u64::from(given.nanos.unsigned_abs()) / 1_000_000))
}

pub(super) fn qos(field: &'static str, given: i32) -> Result<QoS, Error> {
    match pb::QoSLevel::try_from(given) {
        Ok(pb::QoSLevel::QosAtMostOnce) => Ok(QoS::AtMostOnce),
        Ok(pb::QoSLevel::QosAtLeastOnce) => Ok(QoS::AtLeastOnce),
        Ok(pb::QoSLevel::QosExactlyOnce) => Ok(QoS::ExactlyOnce),
        Err(_) => Err(Error::invalid(field, "is none of the contract's")),
    }
}

pub(super) fn level(qos: QoS) -> i32 {
    match qos {
        QoS::AtMostOnce => pb::QoSLevel::QosAtMostOnce,
        QoS::AtLeastOnce => pb::QoSLevel::QosAtLeastOnce,
        QoS::ExactlyOnce => pb::QoSLevel::QosExactlyOnce,
    }
    .into()
}

pub(super) fn status(field: &'static str, given: i32) -> Result<Status, Error> {
    match pb::DeviceStatus::try_from(given) {
        Ok(pb::DeviceStatus::DeviceUnknown) => Ok(Status::Unknown),
        Ok(pb::DeviceStatus::DeviceOnline) => Ok(Status::Online),
        Ok(pb::DeviceStatus::DeviceOffline) => Ok(Status::Offline),
        Ok(pb::DeviceStatus::DeviceSleeping) => Ok(Status::Sleeping),
        Ok(pb::DeviceStatus::DeviceError) => Ok(Status::Error),
        Err(_) => Err(Error::invalid(field, "is none of the contract's")),
    }
}

fn kind(given: i32) -> Result<Kind, Error> {
    match pb::DeviceMessageType::try_from(given) {
        Ok(pb::DeviceMessageType::DeviceMessageUnknown) => Ok(Kind::Unknown),
        Ok(pb::DeviceMessageType::DeviceMessageTelemetry) => Ok(Kind::Telemetry),
        Ok(pb::DeviceMessageType::DeviceMessageStatus) => Ok(Kind::Status),
        Ok(pb::DeviceMessageType::DeviceMessageAuth) => Ok(Kind::Auth),
        Ok(pb::DeviceMessageType::DeviceMessageRegistration) => Ok(Kind::Registration),
        Ok(pb::DeviceMessageType::DeviceMessageCommandResponse) => Ok(Kind::CommandResponse),
        Ok(pb::DeviceMessageType::DeviceMessageNotificationAck) => Ok(Kind::NotificationAck),
        Err(_) => Err(Error::invalid(
            "message_types",
            "has one that is none of the contract's",
        )),
    }
}

fn message_type(kind: Kind) -> i32 {
    match kind {
        Kind::Unknown => pb::DeviceMessageType::DeviceMessageUnknown,
        Kind::Telemetry => pb::DeviceMessageType::DeviceMessageTelemetry,
        Kind::Status => pb::DeviceMessageType::DeviceMessageStatus,
        Kind::Auth => pb::DeviceMessageType::DeviceMessageAuth,
        Kind::Registration => pb::DeviceMessageType::DeviceMessageRegistration,
        Kind::CommandResponse => pb::DeviceMessageType::DeviceMessageCommandResponse,
        Kind::NotificationAck => pb::DeviceMessageType::DeviceMessageNotificationAck,
    }
    .into()
}

pub(super) fn selection(
    types: &[i32],
    devices: Vec<String>,
    patterns: Vec<String>,
) -> Result<Selection, Error> {
    Ok(Selection {
        kinds: types.iter().map(|it| kind(*it)).collect::<Result<_, _>>()?,
        devices,
        patterns,
    })
}

pub(super) fn message_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

pub(super) fn response(received: Received) -> pb::MessageResponse {
    pb::MessageResponse {
        topic: received.topic,
        payload: received.payload,
        qos: level(received.qos),
        retained: received.retained,
        timestamp: Some(received.at.into()),
        message_id: message_id(),
        properties: received.properties,
    }
}

pub(super) fn retained(received: Received) -> pb::MqttMessage {
    pb::MqttMessage {
        topic: received.topic,
        payload: received.payload,
        qos: level(received.qos),
        retained: true,
        timestamp: Some(received.at.into()),
        message_id: message_id(),
        properties: received.properties,
    }
}

pub(super) fn spoken(spoken: Spoken) -> pb::DeviceMessage {
    pb::DeviceMessage {
        device_id: spoken.device,
        message_type: message_type(spoken.kind),
        topic: spoken.topic,
        payload: spoken.payload,
        timestamp: Some(spoken.at.into()),
        metadata: spoken.metadata,
        qos: level(spoken.qos),
    }
}

pub(super) fn device(device: Device, filters: &[Vec<String>]) -> pb::DeviceInfo {
    let below = format!("devices/{}/", device.id);
    let mut subscribed: Vec<_> = filters
        .iter()
        .flatten()
        .filter(|filter| filter.starts_with(&below))
        .cloned()
        .collect();
    subscribed.sort();
    subscribed.dedup();
    pb::DeviceInfo {
        status: match device.status() {
            Status::Unknown => pb::DeviceStatus::DeviceUnknown,
            Status::Online => pb::DeviceStatus::DeviceOnline,
            Status::Offline => pb::DeviceStatus::DeviceOffline,
            Status::Sleeping => pb::DeviceStatus::DeviceSleeping,
            Status::Error => pb::DeviceStatus::DeviceError,
        }
        .into(),
        device_id: device.id,
        device_name: device.name,
        device_type: device.kind,
        user_id: device.user,
        organization_id: device.organization,
        registered_at: Some(time(device.registered)),
        last_seen: time_if(device.seen),
        metadata: device.metadata,
        subscribed_topics: subscribed,
        messages_sent: signed(device.sent),
        messages_received: signed(device.received),
    }
}

pub(super) fn topic(topic: String, seen: Seen, listeners: usize, who: (&str, &str)) -> pb::TopicInfo {
    pb::TopicInfo {
        topic,
        subscriber_count: signed(listeners as u64),
        message_count: signed(seen.messages),
        last_message_time: time_if(seen.last),
        has_retained_message: seen.is_retained,
        user_id: who.0.to_owned(),
        organization_id: who.1.to_owned(),
    }
}

pub(super) fn webhook(webhook: Webhook) -> pb::WebhookInfo {
    pb::WebhookInfo {
        webhook_id: webhook.id,
        user_id: webhook.user,
        url: webhook.url,
        message_types: webhook.selection.kinds.into_iter().map(message_type).collect(),
        device_ids: webhook.selection.devices,
        topic_patterns: webhook.selection.patterns,
        headers: webhook.headers,
        enabled: webhook.enabled,
        created_at: Some(time(webhook.created)),
        updated_at: Some(time(webhook.updated)),
        success_count: signed(webhook.successes),
        failure_count: signed(webhook.failures),
    }
}

pub(super) fn new_webhook(request: pb::RegisterWebhookRequest, user: &str) -> Result<Webhook, Error> {
    Ok(Webhook {
        user: user.to_owned(),
        url: request.url,
        selection: selection(&request.message_types, request.device_ids, request.topic_patterns)?,
        headers: request.headers,
        secret: Secret(request.secret),
        ..Webhook::default()
    })
}

/// Events of a minute as events a second, at the minute's beginning.
pub(super) fn rate(minute: u64, count: u64) -> pb::TimeSeriesPoint {
    pb::TimeSeriesPoint {
        timestamp: Some(time(minute.saturating_mul(60_000))),
        #[allow(clippy::cast_precision_loss, reason = "a rate")]
        value: count as f64 / 60.0,
    }
}

pub(super) fn metrics(
    device_id: String,
    minutes: impl Iterator<Item = (u64, Minute)>,
) -> pb::GetDeviceMetricsResponse {
    let mut metrics = pb::GetDeviceMetricsResponse {
        device_id,
        ..Default::default()
    };
    for (minute, figures) in minutes {
        metrics.messages_sent += signed(figures.sent);
        metrics.messages_received += signed(figures.received);
        metrics.bytes_sent += signed(figures.sent_bytes);
        metrics.bytes_received += signed(figures.received_bytes);
        metrics
            .message_rate
            .push(rate(minute, figures.sent + figures.received));
        metrics.error_rate.push(rate(minute, figures.errors));
    }
    metrics
}

/// JSON text. Whole numbers have no point, as in JSON of protobuf.
pub(super) fn json(data: Option<Struct>) -> Result<Vec<u8>, Error> {
    let data = data.ok_or_else(|| Error::invalid("data", "is missing"))?;
    let value = object(data)?;
    serde_json::to_vec(&value).map_err(|_| Error::invalid("data", "cannot be JSON"))
}

fn object(data: Struct) -> Result<serde_json::Value, Error> {
    let fields = data.fields.into_iter();
    let fields: Result<serde_json::Map<_, _>, _> = fields
        .map(|(name, value)| Ok((name, json_value(value)?)))
        .collect();
    fields.map(serde_json::Value::Object)
}

fn json_value(value: Value) -> Result<serde_json::Value, Error> {
    Ok(match value.kind {
        None | Some(Json::NullValue(_)) => serde_json::Value::Null,
        Some(Json::BoolValue(value)) => value.into(),
        Some(Json::StringValue(value)) => value.into(),
        Some(Json::NumberValue(number)) => self::number(number)?,
        Some(Json::StructValue(data)) => object(data)?,
        Some(Json::ListValue(list)) => {
            let items = list.values.into_iter().map(json_value);
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
    })
}

fn number(number: f64) -> Result<serde_json::Value, Error> {
    if number.fract() == 0.0 && number.abs() <= WHOLE {
        #[allow(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
        return Ok((number as i64).into());
    }
    serde_json::Number::from_f64(number)
        .map(serde_json::Value::Number)
        .ok_or_else(|| Error::invalid("data", "has a number that JSON does not have"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structs_become_json() {
        let value = |kind| Value { kind: Some(kind) };
        let fields = [
            ("whole", value(Json::NumberValue(42.0))),
            ("part", value(Json::NumberValue(22.5))),
            ("text", value(Json::StringValue("größe".into()))),
            ("nothing", Value { kind: None }),
        ];
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let text = json(Some(Struct { fields })).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, r#"{"nothing":null,"part":22.5,"text":"größe","whole":42}"#);
        assert!(number(f64::NAN).is_err() && number(f64::INFINITY).is_err());
        assert!(json(None).is_err());
    }

    #[test]
    fn times_before_1970_are_its_beginning() {
        let at = |seconds, nanos| milliseconds("f", Timestamp { seconds, nanos });
        assert_eq!(at(1, 5_000_000).unwrap(), 1005);
        assert_eq!(at(-1, 0).unwrap(), 0);
        assert_eq!(at(i64::MAX, 0).unwrap(), u64::MAX);
        assert!(at(0, -1).is_err());
    }
}
