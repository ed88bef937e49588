//! State kept between calls by one of several replicas behind one address: its id says which one, and the others send
//! calls on to it.
//!
//! An id names the replica by a hash of its address and by a number of its process. The hash finds it among the
//! replicas that there are (from a headless Service's name, or Consul): an id never leads anywhere else. The number tells
//! a process from the one before it at the same address, which took its state along.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::{Duration, Instant},
};

use isa_proto::{Error, ErrorCode};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::{Call, ServerError, ServiceKind, consul::Consul, tls};
use isa_config::ServerConfig;

/// How long the addresses of the replicas are good.
const FRESH: Duration = Duration::from_secs(2);

/// How long a replica may take to accept a connection: they are near.
const CONNECT: Duration = Duration::from_secs(2);

/// The id of state that a replica keeps: `replica-process-secret`, in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatefulId {
    /// Of the replica's address.
    replica: u32,
    process: u32,
    /// Cannot be guessed. Still no proof of anything: check whose state it is.
    random: u128,
}

impl fmt::Display for StatefulId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:08x}-{:032x}",
            self.replica, self.process, self.random
        )
    }
}

impl FromStr for StatefulId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let malformed = "is none of the ids that this service gives";
        let mut parts = text.splitn(3, '-');
        let mut part = |length: usize| {
            parts
                .next()
                .filter(|part| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .ok_or(malformed)
        };
        let number = |text| u32::from_str_radix(text, 16).map_err(|_| malformed);
        let (replica, process) = (number(part(8)?)?, number(part(8)?)?);
        let random = u128::from_str_radix(part(32)?, 16).map_err(|_| malformed)?;
        Ok(Self {
            replica,
            process,
            random,
        })
    }
}

/// Where state is kept.
pub enum Place<'a> {
    Here(StatefulId),
    /// At another replica. Send the call on.
    There(Remote<'a>),
}

/// Another replica, and the call that is for it.
pub struct Remote<'a> {
    call: &'a Call,
    replicas: &'a Replicas,
    replica: u32,
}

impl Remote<'_> {
    /// A connection to it, shared with other calls. STATE_LOST if that replica is no more.
    pub async fn channel(&self) -> Result<Channel, Error> {
        let kind = self.call.state().kind;
        let addresses = self.replicas.addresses(kind).await?;
        let address = addresses
            .into_iter()
            .find(|address| hash(*address) == self.replica);
        self.replicas.connect(address.ok_or_else(lost)?)
    }

    /// The request for it: with the caller's credentials, deadline and trace.
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        self.call.forwarded(message)
    }
}

fn lost() -> Error {
    Error::new(
        ErrorCode::StateLost,
        "the replica that kept this is gone, and what it kept with it; begin again",
    )
}

fn hash(address: SocketAddr) -> u32 {
    let digest = Sha256::digest(address.to_string());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The replicas of each service, this one among them.
pub(crate) struct Replicas {
    advertise: Option<IpAddr>,
    dns: HashMap<ServiceKind, String>,
    consul: Option<Consul>,
    process: u32,
    ours: Mutex<HashMap<ServiceKind, SocketAddr>>,
    found: Mutex<HashMap<ServiceKind, (Instant, Vec<SocketAddr>)>>,
    channels: Mutex<HashMap<SocketAddr, Channel>>,
    tls: Option<ClientTlsConfig>,
}

impl Replicas {
    pub(crate) fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        let dns = config.replicas.iter().flat_map(|replicas| replicas.dns.clone());
        Ok(Self {
            tls: tls::replica_config(config)?,
            advertise: config
                .replicas
                .as_ref()
                .map(|replicas| replicas.advertise)
                .or_else(|| config.consul.as_ref()?.advertise),
            dns: dns.collect(),
            consul: config.consul.as_ref().map(Consul::new),
            process: rand::random(),
            ours: Mutex::default(),
            found: Mutex::default(),
            channels: Mutex::default(),
        })
    }

    /// Says where a service of this process listens.
    pub(crate) fn listens(&self, kind: ServiceKind, bound: SocketAddr) {
        let address = self
            .advertise
            .map_or(bound, |ip| SocketAddr::new(ip, bound.port()));
        self.ours.lock().insert(kind, address);
    }

    /// Where other replicas and clients reach a service of this process.
    pub(crate) fn address(&self, kind: ServiceKind) -> Option<SocketAddr> {
        self.ours.lock().get(&kind).copied()
    }

    fn replica(&self, kind: ServiceKind) -> u32 {
        self.address(kind).map_or(0, hash)
    }

    pub(crate) fn new_id(&self, kind: ServiceKind) -> StatefulId {
        StatefulId {
            replica: self.replica(kind),
            process: self.process,
            random: rand::random(),
        }
    }

    pub(crate) fn locate<'a>(&'a self, call: &'a Call, id: StatefulId) -> Result<Place<'a>, Error> {
        if id.replica != self.replica(call.state().kind) {
            // One that was sent on, for a replica that is not this one, was sent to where that one was.
            if call.is_forwarded() {
                return Err(lost());
            }
            return Ok(Place::There(Remote {
                call,
                replicas: self,
                replica: id.replica,
            }));
        }
        if id.process != self.process {
            return Err(lost());
        }
        Ok(Place::Here(id))
    }

    async fn addresses(&self, kind: ServiceKind) -> Result<Vec<SocketAddr>, Error> {
        let fresh =
            |(at, addresses): &(Instant, Vec<SocketAddr>)| (at.elapsed() < FRESH).then(|| addresses.clone());
        if let Some(addresses) = self.found.lock().get(&kind).and_then(fresh) {
            return Ok(addresses);
        }
        let unknown = |why: String| {
            Error::new(
                ErrorCode::ReplicaUnreachable,
                "the replica that keeps this cannot be found for now; try again",
            )
            .caused_by(why)
        };
        let addresses = if let Some(name) = self.dns.get(&kind) {
            let port = self
                .address(kind)
                .map_or_else(|| kind.port(), |address| address.port());
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            found.map_err(|e| unknown(format!("{name}: {e}")))?.collect()
        } else if let Some(consul) = &self.consul {
            consul.instances(kind).await.map_err(|e| unknown(e.to_string()))?
        } else {
            // Alone: whoever kept it was here before.
            Vec::new()
        };
        self.channels
            .lock()
            .retain(|address, _| addresses.contains(address));
        self.found
            .lock()
            .insert(kind, (Instant::now(), addresses.clone()));
        Ok(addresses)
    }

    fn connect(&self, address: SocketAddr) -> Result<Channel, Error> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(&address) {
            return Ok(channel.clone());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(Error::internal)?;
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(Error::internal)?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .connect_lazy();
        channels.insert(address, channel.clone());
        Ok(channel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_back_and_nothing_else_is() {
        let id = StatefulId {
            replica: 1,
            process: u32::MAX,
            random: 7,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 50);
        for nonsense in [
            "",
            "1-2-3",
            "00000001-ffffffff-+0000000000000000000000000000007",
            "x",
        ] {
            assert!(nonsense.parse::<StatefulId>().is_err(), "{nonsense}");
        }
    }
}
