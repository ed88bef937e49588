//! MQTT: sessions, messages, devices and webhooks, each tenant below a topic of its own.

mod convert;
mod grpc;
mod names;
mod service;

use std::sync::Arc;

use isa_config::{Endpoint, Endpoints, EngineKind, ServiceKind};
use isa_server::{Mount, Upstream, api};

use self::{
    grpc::{PATIENCE, Service},
    service::Mqtt,
};
use crate::StartError;

/// The service over the broker at `endpoint`, which need not answer yet. Devices and webhooks are kept in NATS, if that is
/// among `endpoints`; without it, methods that need it say so.
pub(crate) fn mount(endpoint: &Endpoint, endpoints: &Endpoints) -> Result<(Mount, Upstream), StartError> {
    let mqtt = Mqtt::open(endpoint, endpoints).map_err(|why| StartError::Address(ServiceKind::Mqtt, why))?;
    let watched = Arc::downgrade(&mqtt);
    let upstream = Upstream::watch(EngineKind::Mosquitto, move || {
        let watched = watched.upgrade();
        async move {
            match watched {
                Some(mqtt) => mqtt.ping(PATIENCE).await,
                None => Ok(()),
            }
        }
    });
    let service = Service::new(mqtt, upstream.clone());
    Ok((api::mqtt::mount(service), upstream))
}
