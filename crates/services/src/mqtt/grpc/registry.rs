//! Devices, topics, figures and webhooks.

use isa_proto::mqtt as pb;
use isa_server::Call;

use super::Service;
use crate::mqtt::{
    convert,
    names::{shown, violations},
    service::{Device, Error, Status, listeners, within},
};

/// Entries of a page, at most and if nothing is said.
const MAX_PAGE: i32 = 1000;
const PAGE: i32 = 50;

/// An hour, in milliseconds.
const HOUR: u64 = 60 * 60 * 1000;

/// The part of a list that a page is, and the page's number and size.
fn page(number: i32, size: i32) -> Result<(usize, usize, i32, i32), Error> {
    let number = match number {
        0 => 1,
        1.. => number,
        _ => return Err(Error::invalid("page", "is negative")),
    };
    let size = match size {
        0 => PAGE,
        1..=MAX_PAGE => size,
        _ => {
            return Err(Error::invalid(
                "page_size",
                "is not between 1 and 1000, or 0 for 50",
            ));
        }
    };
    let take = usize::try_from(size).unwrap_or_default();
    let skip = usize::try_from(number - 1)
        .unwrap_or_default()
        .saturating_mul(take);
    Ok((skip, take, number, size))
}

/// The user and the organization that topics are shown with.
fn who(call: &Call) -> (&str, &str) {
    let organization = call.tenant().name().strip_prefix("org:").unwrap_or_default();
    (&call.caller().subject, organization)
}

impl Service {
    pub(super) async fn registered(
        &self,
        call: &Call,
        request: pb::RegisterDeviceRequest,
    ) -> Result<pb::RegisterDeviceResponse, Error> {
        let device = Device {
            id: request.device_id,
            name: request.device_name,
            kind: request.device_type,
            user: call.caller().subject.clone(),
            organization: request.organization_id,
            metadata: request.metadata,
            ..Device::default()
        };
        let names = self.names(call);
        let device = within(super::bound(call), self.mqtt.register_device(names, device)).await?;
        let filters = self.mqtt.filters(names);
        Ok(pb::RegisterDeviceResponse {
            success: true,
            device: Some(convert::device(device, &filters)),
            message: "OK".to_owned(),
        })
    }

    pub(super) async fn listed_devices(
        &self,
        call: &Call,
        request: pb::ListDevicesRequest,
    ) -> Result<pb::ListDevicesResponse, Error> {
        let (skip, take, number, size) = page(request.page, request.page_size)?;
        let status = convert::status("status", request.status)?;
        let names = self.names(call);
        let mut devices = within(super::bound(call), self.mqtt.devices(names)).await?;
        if status != Status::Unknown {
            devices.retain(|device| device.status() == status);
        }
        let filters = self.mqtt.filters(names);
        Ok(pb::ListDevicesResponse {
            total_count: convert::small(devices.len()),
            devices: devices
                .into_iter()
                .skip(skip)
                .take(take)
                .map(|device| convert::device(device, &filters))
                .collect(),
            page: number,
            page_size: size,
        })
    }

    pub(super) async fn described_device(
        &self,
        call: &Call,
        request: pb::GetDeviceInfoRequest,
    ) -> Result<pb::GetDeviceInfoResponse, Error> {
        let names = self.names(call);
        let device = within(super::bound(call), self.mqtt.device(names, &request.device_id)).await?;
        Ok(pb::GetDeviceInfoResponse {
            device: Some(convert::device(device, &self.mqtt.filters(names))),
        })
    }

    pub(super) async fn updated_device(
        &self,
        call: &Call,
        request: pb::UpdateDeviceStatusRequest,
    ) -> Result<pb::UpdateDeviceStatusResponse, Error> {
        let names = self.names(call);
        let status = convert::status("status", request.status)?;
        let updated = self
            .mqtt
            .update_device(names, &request.device_id, status, &request.metadata);
        let device = within(super::bound(call), updated).await?;
        Ok(pb::UpdateDeviceStatusResponse {
            success: true,
            device: Some(convert::device(device, &self.mqtt.filters(names))),
        })
    }

    pub(super) fn described_topic(
        &self,
        call: &Call,
        request: pb::GetTopicInfoRequest,
    ) -> Result<pb::GetTopicInfoResponse, Error> {
        let names = self.names(call);
        let seen = self.mqtt.topic(names, &request.topic)?;
        let seen = seen.ok_or_else(|| Error::NotFound(format!("the topic {}", shown(&request.topic))))?;
        let listening = listeners(&self.mqtt.filters(names), &request.topic);
        Ok(pb::GetTopicInfoResponse {
            topic_info: Some(convert::topic(request.topic, seen, listening, who(call))),
        })
    }

    pub(super) fn listed_topics(
        &self,
        call: &Call,
        request: &pb::ListTopicsRequest,
    ) -> Result<pb::ListTopicsResponse, Error> {
        let (skip, take, ..) = page(request.page, request.page_size)?;
        let names = self.names(call);
        let topics = self.mqtt.topics(names, &request.prefix);
        let filters = self.mqtt.filters(names);
        Ok(pb::ListTopicsResponse {
            total_count: convert::small(topics.len()),
            topics: topics
                .into_iter()
                .skip(skip)
                .take(take)
                .map(|(topic, seen)| {
                    let listening = listeners(&filters, &topic);
                    convert::topic(topic, seen, listening, who(call))
                })
                .collect(),
        })
    }

    pub(super) async fn statistics(&self, call: &Call) -> Result<pb::GetStatisticsResponse, Error> {
        let names = self.names(call);
        let devices = within(super::bound(call), self.mqtt.devices(names)).await?;
        let totals = self.mqtt.totals(names);
        let mut response = pb::GetStatisticsResponse {
            total_devices: convert::signed(devices.len() as u64),
            total_topics: convert::signed(self.mqtt.topics(names, "").len() as u64),
            total_subscriptions: convert::signed(totals.subscriptions),
            messages_sent_today: convert::signed(totals.sent_today),
            messages_received_today: convert::signed(totals.received_today),
            active_sessions: convert::signed(totals.sessions),
            ..Default::default()
        };
        for device in devices {
            response.online_devices += i64::from(device.status() == Status::Online);
            *response.device_type_distribution.entry(device.kind).or_default() += 1;
        }
        Ok(response)
    }

    pub(super) async fn measured_device(
        &self,
        call: &Call,
        request: pb::GetDeviceMetricsRequest,
    ) -> Result<pb::GetDeviceMetricsResponse, Error> {
        let end = request.end_time.unwrap_or_else(convert::now);
        let end = convert::milliseconds("end_time", end)?;
        let start = match request.start_time {
            Some(start) => convert::milliseconds("start_time", start)?,
            None => end.saturating_sub(HOUR),
        };
        if end <= start {
            return Err(Error::invalid("end_time", "is not after start_time"));
        }
        let names = self.names(call);
        let metrics = self
            .mqtt
            .device_metrics(names, &request.device_id, start / 60_000, end / 60_000);
        let minutes = within(super::bound(call), metrics).await?;
        Ok(convert::metrics(request.device_id, minutes.into_iter()))
    }

    pub(super) async fn hooked(
        &self,
        call: &Call,
        request: pb::RegisterWebhookRequest,
    ) -> Result<pb::RegisterWebhookResponse, Error> {
        let webhook = convert::new_webhook(request, &call.caller().subject)?;
        let registered = self.mqtt.register_webhook(self.names(call), webhook);
        let webhook = within(super::bound(call), registered).await?;
        Ok(pb::RegisterWebhookResponse {
            success: true,
            webhook_id: webhook.id.clone(),
            webhook: Some(convert::webhook(webhook)),
            message: "OK".to_owned(),
        })
    }

    pub(super) async fn listed_webhooks(
        &self,
        call: &Call,
        request: &pb::ListWebhooksRequest,
    ) -> Result<pb::ListWebhooksResponse, Error> {
        let mut webhooks = within(super::bound(call), self.mqtt.webhooks(self.names(call))).await?;
        webhooks.retain(|webhook| webhook.enabled || request.include_disabled);
        Ok(pb::ListWebhooksResponse {
            total_count: convert::small(webhooks.len()),
            webhooks: webhooks.into_iter().map(convert::webhook).collect(),
        })
    }
}

pub(super) fn validated(request: &pb::ValidateTopicRequest) -> pb::ValidateTopicResponse {
    let violations = violations(&request.topic, request.allow_wildcards);
    pb::ValidateTopicResponse {
        valid: violations.is_empty(),
        message: violations.join("; "),
        violations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        assert_eq!(page(0, 0).unwrap(), (0, 50, 1, 50));
        assert_eq!(page(3, 10).unwrap(), (20, 10, 3, 10));
        assert!(page(i32::MAX, 1000).is_ok());
        for (number, size) in [(-1, 1), (1, -1), (1, 1001)] {
            assert!(page(number, size).is_err());
        }
    }
}
