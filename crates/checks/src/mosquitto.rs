use std::time::Duration;

use isa_config::{Endpoint, EngineKind, Secret};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Packet, QoS,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::time::timeout;

use crate::{
    Error, Probe,
    address::Address,
    error::During,
    run::{Run, Stop, unique_name},
    tls,
};

/// How long a broker may take to send what it kept.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection that moves only while it is waited for.
struct Session {
    client: AsyncClient,
    events: EventLoop,
}

pub(crate) async fn probe(endpoint: &Endpoint) -> Result<Probe, Error> {
    connect(endpoint).await?.close().await;
    Ok(Probe { version: None })
}

pub(crate) async fn check(endpoint: &Endpoint, run: &mut Run<'_>) -> Result<(), Stop> {
    let mut session = run.step("connect", connect(endpoint)).await?;
    if endpoint.password.is_some() {
        run.step("wrong password refused", refuses_wrong_password(endpoint))
            .await?;
    }
    run.step("QoS 1 round trip", round_trip(&mut session)).await?;

    let topic = unique_name();
    let kept = run.step("retained message kept", retained(session, &topic)).await;
    let removed = run
        .remove("retained message removed", &topic, forget(endpoint, &topic))
        .await;
    kept.and(removed)
}

async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
    let what = "connect";
    let address = Address::main(EngineKind::Mosquitto, endpoint)?;
    let mut options = MqttOptions::new(unique_name(), &address.host, address.port);
    if address.url.scheme() == "mqtts" {
        let config = TlsConfiguration::Rustls(tls::client_config()?.into());
        options.set_transport(Transport::tls_with_config(config));
    }
    if let Some(password) = &endpoint.password {
        options.set_credentials(
            endpoint.username.as_deref().unwrap_or_default(),
            password.expose(),
        );
    }
    let (client, mut events) = AsyncClient::new(options, 10);
    // The check's own limit ends attempts to connect.
    events.network_options.set_connection_timeout(u64::from(u32::MAX));
    events.network_options.set_tcp_nodelay(true);
    let mut session = Session { client, events };
    session
        .wait(what, |packet| matches!(packet, Packet::ConnAck(_)))
        .await?;
    Ok(session)
}

/// A connection with the right password has been accepted before this; one with another must not be.
async fn refuses_wrong_password(endpoint: &Endpoint) -> Result<(), Error> {
    let stranger = Endpoint {
        password: Some(Secret::new(unique_name())),
        ..endpoint.clone()
    };
    match connect(&stranger).await {
        Err(Error::Unauthorized { .. }) => Ok(()),
        Err(other) => Err(other),
        Ok(session) => {
            session.close().await;
            Err(Error::wrong(
                "connect with a wrong password",
                "a refusal",
                "a connection",
            ))
        }
    }
}

async fn round_trip(session: &mut Session) -> Result<(), Error> {
    let topic = unique_name();
    session.subscribe(&topic).await?;
    let (mut acknowledged, mut received) = (false, None);
    session
        .client
        .publish(&topic, QoS::AtLeastOnce, false, topic.clone())
        .await
        .during("publish")?;
    // The acknowledgement and the message may come in either order.
    let both = |packet: &Incoming| {
        match packet {
            Packet::PubAck(_) => acknowledged = true,
            Packet::Publish(message) if message.topic == topic => received = Some(message.clone()),
            _ => {}
        }
        acknowledged && received.is_some()
    };
    session.wait("publish and receive", both).await?;
    match received {
        Some(message) if message.payload == topic && message.qos == QoS::AtLeastOnce => Ok(()),
        other => Err(Error::wrong(
            "publish and receive",
            format!("{topic} at QoS 1"),
            format!("{other:?}"),
        )),
    }
}

/// Leaves a message for those who subscribe later, and is one of them.
async fn retained(mut session: Session, topic: &str) -> Result<(), Error> {
    let what = "receive the retained message";
    session.retain(topic, topic).await?;
    session
        .client
        .subscribe(topic, QoS::AtLeastOnce)
        .await
        .during("subscribe")?;
    let kept = |packet: &Incoming| match packet {
        Packet::Publish(message) => message.topic == topic && message.retain && message.payload == topic,
        _ => false,
    };
    match timeout(PATIENCE, session.wait(what, kept)).await {
        Ok(received) => received?,
        Err(_) => {
            let got = format!("nothing within {PATIENCE:?}; does the broker keep retained messages?");
            return Err(Error::wrong(what, topic, got));
        }
    }
    session.close().await;
    Ok(())
}

async fn forget(endpoint: &Endpoint, topic: &str) -> Result<(), Error> {
    let mut session = connect(endpoint).await?;
    // An empty message takes the retained one's place and is not kept itself.
    session.retain(topic, "").await?;
    session.close().await;
    Ok(())
}

impl Session {
    async fn subscribe(&mut self, topic: &str) -> Result<(), Error> {
        self.client
            .subscribe(topic, QoS::AtLeastOnce)
            .await
            .during("subscribe")?;
        self.wait("subscribe", |packet| matches!(packet, Packet::SubAck(_)))
            .await
    }

    async fn retain(&mut self, topic: &str, payload: &str) -> Result<(), Error> {
        self.client
            .publish(topic, QoS::AtLeastOnce, true, payload)
            .await
            .during("publish")?;
        self.wait("publish a retained message", |packet| {
            matches!(packet, Packet::PubAck(_))
        })
        .await
    }

    /// Moves the connection until the packet that is waited for has come.
    async fn wait(
        &mut self,
        what: &'static str,
        mut wanted: impl FnMut(&Incoming) -> bool,
    ) -> Result<(), Error> {
        loop {
            match self.events.poll().await.map_err(|e| failed(what, e))? {
                Event::Incoming(Packet::SubAck(answer))
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) =>
                {
                    return Err(Error::unauthorized(
                        "subscribe",
                        "the broker allows no subscription",
                    ));
                }
                Event::Incoming(packet) if wanted(&packet) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Says goodbye, so that the broker's log shows no lost connection. Nothing depends on its success.
    async fn close(mut self) {
        if self.client.disconnect().await.is_ok() {
            while let Ok(event) = self.events.poll().await {
                if matches!(event, Event::Outgoing(rumqttc::Outgoing::Disconnect)) {
                    break;
                }
            }
        }
    }
}

fn failed(what: &'static str, error: ConnectionError) -> Error {
    match error {
        ConnectionError::ConnectionRefused(
            code @ (ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized),
        ) => Error::unauthorized(what, format!("{code:?}")),
        // The packet may be our own, sent back with the password in it.
        ConnectionError::NotConnAck(_) => Error::wrong(what, "CONNACK", "another packet"),
        other => Error::protocol(what, other),
    }
}
