//! Which port each engine gets, and who holds one that is taken.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    ops::RangeInclusive,
};

use isa_config::{Config, EngineKind, PortSpec, ServiceKind};

/// Ports of one engine by name.
pub type Ports = BTreeMap<&'static str, u16>;

/// A port that cannot be used.
#[derive(Debug, Clone)]
pub struct Busy {
    /// Whose it is, as `--port` takes it: `redis.client`, `redis-grpc`.
    pub place: String,
    pub port: u16,
    pub reason: Reason,
}

/// Why a port cannot be used.
#[derive(Debug, Clone)]
pub enum Reason {
    /// A process listens on it; unknown where it belongs to another user.
    Held(Option<Holder>),
    /// Another place of this configuration has the same number.
    Shared(String),
    Other(String),
}

/// A process that listens on a port.
#[derive(Debug, Clone)]
pub struct Holder {
    pub pid: i32,
    pub command: String,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, port, .. } = self;
        write!(f, "port {port} ({}) ", place.replace('.', " "))?;
        match &self.reason {
            Reason::Held(Some(holder)) => {
                write!(f, "is in use by process {} ({})", holder.pid, holder.command)
            }
            Reason::Held(None) => f.write_str("is in use by a process of another user"),
            Reason::Shared(other) => write!(f, "is also given to {}", other.replace('.', " ")),
            Reason::Other(why) => write!(f, "cannot be used: {why}"),
        }
    }
}

/// Some ports cannot be used; names each and the way out.
#[derive(Debug, thiserror::Error)]
#[error("these ports cannot be used:\n  {list}\nStop what holds them, move it with --port {example}=0 (0 picks a free port), or use --free-ports",
    list = .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "),
    example = .0.first().map_or("", |busy| &busy.place))]
pub struct PortsBusy(pub Vec<Busy>);

/// What everything listens on.
#[derive(Debug, Default)]
pub struct Assigned {
    pub engines: BTreeMap<EngineKind, Ports>,
    /// Where free ports of engines are from: to be kept for as long as these run.
    pub block: Option<Block>,
    /// Of our own services: held from now on.
    pub services: BTreeMap<ServiceKind, TcpListener>,
}

/// Who gets a port.
enum Place {
    Engine(EngineKind, &'static PortSpec),
    Service(ServiceKind),
}

impl Place {
    /// The configured number, the platform's own, or 0 for a free one.
    fn wanted(&self, config: &Config) -> u16 {
        let (given, default) = match self {
            Self::Engine(kind, spec) => {
                let engine = config.engines.get(kind);
                (engine.and_then(|e| e.ports.get(spec.name)), spec.default)
            }
            Self::Service(kind) => (config.server.ports.get(kind), kind.port()),
        };
        given
            .copied()
            .unwrap_or(if config.free_ports { 0 } else { default })
    }

    fn udp(&self) -> bool {
        matches!(self, Self::Engine(_, spec) if spec.udp)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(kind, spec) => write!(f, "{kind}.{}", spec.name),
            Self::Service(kind) => write!(f, "{kind}-grpc"),
        }
    }
}

/// Free ports for engines. They bind theirs later, some seconds after we saw that it was free and at every restart, and
/// until then nobody else may get it. So no such port is one that the kernel gives to outgoing connections (from 32768 on),
/// and a block belongs to one process of ours, the one that has bound its first number for UDP.
#[derive(Debug)]
pub struct Block {
    left: RangeInclusive<u16>,
    _claim: UdpSocket,
}

impl Block {
    const SIZE: u16 = 64;
    /// Blocks are within 20000 to 29983; Kubernetes has its own use for numbers from 30000 on.
    const FIRST: u16 = 20000;
    const COUNT: u16 = 156;

    fn claim() -> std::io::Result<Self> {
        // Each process begins elsewhere: clients that still look for the last one's engines do not find these.
        let begin = (std::process::id() % u32::from(Self::COUNT)) as u16;
        for block in 0..Self::COUNT {
            let first = Self::FIRST + (begin + block) % Self::COUNT * Self::SIZE;
            match UdpSocket::bind((Ipv4Addr::LOCALHOST, first)) {
                Ok(claim) => {
                    return Ok(Self {
                        left: first + 1..=first + Self::SIZE - 1,
                        _claim: claim,
                    });
                }
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Err(none_free())
    }

    fn bind(&mut self, address: IpAddr, udp: bool) -> std::io::Result<(u16, Sockets)> {
        for port in self.left.by_ref() {
            match bind(address, port, udp) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                bound => return bound,
            }
        }
        Err(none_free())
    }
}

fn none_free() -> std::io::Error {
    std::io::Error::other("none between 20000 and 30000 is free")
}

/// Gives every engine and service its ports: the configured ones, the platform's own numbers, or free ones. Each is
/// bound once to see that it can be, all at the same time so that free ones differ; those of engines are let go again.
pub fn assign(
    config: &Config,
    engines: &[EngineKind],
    services: &[ServiceKind],
) -> Result<Assigned, PortsBusy> {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    let mut held = Vec::new();
    let mut busy = Vec::new();
    let mut assigned = Assigned::default();
    let of_engine = |&kind: &EngineKind| kind.ports().iter().map(move |spec| Place::Engine(kind, spec));
    let mut places: Vec<_> = engines
        .iter()
        .flat_map(of_engine)
        .chain(services.iter().copied().map(Place::Service))
        .collect();
    // Fixed numbers first, so that a free one cannot take one of them.
    places.sort_by_key(|place| place.wanted(config) == 0);
    for place in places {
        let port = place.wanted(config);
        let refuse = |reason| Busy {
            place: place.to_string(),
            port,
            reason,
        };
        if let Some(other) = taken.get(&port).filter(|_| port != 0) {
            busy.push(refuse(Reason::Shared(other.clone())));
            continue;
        }
        let bound = match (&place, &mut assigned.block) {
            (Place::Engine(..), Some(block)) if port == 0 => block.bind(config.bind, place.udp()),
            (Place::Engine(..), none) if port == 0 => {
                Block::claim().and_then(|block| none.insert(block).bind(config.bind, place.udp()))
            }
            _ => bind(config.bind, port, place.udp()),
        };
        match bound {
            Ok((number, sockets)) => {
                taken.insert(number, place.to_string());
                match place {
                    Place::Engine(kind, spec) => {
                        held.push(sockets);
                        assigned
                            .engines
                            .entry(kind)
                            .or_default()
                            .insert(spec.name, number);
                    }
                    Place::Service(kind) => {
                        assigned.services.insert(kind, sockets.0);
                    }
                }
            }
            Err(e) => busy.push(refuse(why(&e, port))),
        }
    }
    if busy.is_empty() {
        Ok(assigned)
    } else {
        Err(PortsBusy(busy))
    }
}

/// Listens on the ports of these services alone.
pub fn listen(
    config: &Config,
    services: &[ServiceKind],
) -> Result<BTreeMap<ServiceKind, TcpListener>, PortsBusy> {
    let config = Config {
        bind: config.server.bind,
        ..config.clone()
    };
    Ok(assign(&config, &[], services)?.services)
}

fn why(error: &std::io::Error, port: u16) -> Reason {
    if error.kind() == ErrorKind::AddrInUse {
        Reason::Held(holder(port))
    } else {
        Reason::Other(error.to_string())
    }
}

type Sockets = (TcpListener, Option<UdpSocket>);

fn bind(address: IpAddr, port: u16, udp: bool) -> std::io::Result<(u16, Sockets)> {
    let tcp = TcpListener::bind(SocketAddr::new(address, port))?;
    let number = tcp.local_addr()?.port();
    let udp = udp
        .then(|| UdpSocket::bind(SocketAddr::new(address, number)))
        .transpose()?;
    Ok((number, (tcp, udp)))
}

/// The process that listens on `port`, as far as this user may see.
pub fn holder(port: u16) -> Option<Holder> {
    use procfs::net::TcpState;
    let tcp = procfs::net::tcp()
        .unwrap_or_default()
        .into_iter()
        .chain(procfs::net::tcp6().unwrap_or_default());
    let tcp = tcp
        .filter(|e| e.state == TcpState::Listen && e.local_address.port() == port)
        .map(|e| e.inode);
    let udp = procfs::net::udp()
        .unwrap_or_default()
        .into_iter()
        .chain(procfs::net::udp6().unwrap_or_default());
    let udp = udp.filter(|e| e.local_address.port() == port).map(|e| e.inode);
    let inodes: Vec<u64> = tcp.chain(udp).collect();
    procfs::process::all_processes()
        .ok()?
        .flatten()
        .find_map(|process| {
            let owns = process.fd().ok()?.flatten().any(
                |fd| matches!(fd.target, procfs::process::FDTarget::Socket(inode) if inodes.contains(&inode)),
            );
            owns.then(|| Holder {
                pid: process.pid(),
                command: command_of(&process),
            })
        })
}

/// The program and its first argument: enough to know it by, too little to show a secret.
fn command_of(process: &procfs::process::Process) -> String {
    let name = process.stat().map(|s| s.comm).unwrap_or_default();
    match process.exe() {
        Ok(path) if !path.ends_with(&name) => format!("{name}, {}", path.display()),
        Ok(path) => path.display().to_string(),
        Err(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_distinct_and_a_held_one_names_its_holder() {
        let mut config = Config {
            free_ports: true,
            ..Config::default()
        };
        let engines = [EngineKind::Consul, EngineKind::Redis, EngineKind::Minio];
        let assigned = assign(&config, &engines, &ServiceKind::ALL).unwrap();
        let of_services = assigned
            .services
            .values()
            .map(|it| it.local_addr().unwrap().port());
        let numbers: std::collections::BTreeSet<u16> = assigned
            .engines
            .values()
            .flat_map(|ports| ports.values().copied())
            .chain(of_services)
            .collect();
        assert_eq!(numbers.len(), 6 + 1 + 2 + 9);

        // Nobody else gets a port of these engines, who have not bound them yet.
        let others = assign(&config, &engines, &[]).unwrap();
        for port in others.engines.values().flat_map(BTreeMap::values) {
            assert!((20000..30000).contains(port), "{port}");
            assert!(!numbers.contains(port), "{port}");
        }

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        config
            .engines
            .entry(EngineKind::Redis)
            .or_default()
            .ports
            .insert("client".into(), port);
        let message = assign(&config, &engines, &[]).unwrap_err().to_string();
        assert!(
            message.contains(&format!("port {port} (redis client)")),
            "{message}"
        );
        assert!(
            message.contains(&format!("process {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("--port redis.client=0"), "{message}");
    }

    #[test]
    fn two_engines_on_one_port_are_refused() {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = probe.local_addr().unwrap().port();
        drop(probe);
        let mut config = Config {
            free_ports: true,
            ..Config::default()
        };
        for kind in [EngineKind::Redis, EngineKind::Postgres] {
            config
                .engines
                .entry(kind)
                .or_default()
                .ports
                .insert("client".into(), port);
        }
        let message = assign(&config, &[EngineKind::Redis, EngineKind::Postgres], &[])
            .unwrap_err()
            .to_string();
        assert!(message.contains("also given to redis client"), "{message}");
    }
}
