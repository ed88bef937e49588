//! Which port each engine gets, and who holds one that is taken.

use std::{
    collections::BTreeMap,
    fmt,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use isa_config::{Config, EngineKind, PortSpec};

/// Ports of one engine by name.
pub type Ports = BTreeMap<&'static str, u16>;

/// A port that cannot be used.
#[derive(Debug, Clone)]
pub struct Busy {
    pub engine: EngineKind,
    pub name: &'static str,
    pub port: u16,
    pub reason: Reason,
}

/// Why a port cannot be used.
#[derive(Debug, Clone)]
pub enum Reason {
    /// A process listens on it; unknown where it belongs to another user.
    Held(Option<Holder>),
    /// Another engine of this configuration has the same number.
    Shared(EngineKind, &'static str),
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
        let Self {
            engine, name, port, ..
        } = self;
        write!(f, "port {port} ({engine} {name}) ")?;
        match &self.reason {
            Reason::Held(Some(holder)) => {
                write!(f, "is in use by process {} ({})", holder.pid, holder.command)
            }
            Reason::Held(None) => f.write_str("is in use by a process of another user"),
            Reason::Shared(other, port) => write!(f, "is also given to {other} {port}"),
            Reason::Other(why) => write!(f, "cannot be used: {why}"),
        }
    }
}

/// Some ports cannot be used; names each and the way out.
#[derive(Debug, thiserror::Error)]
#[error("these ports cannot be used:\n  {list}\nStop what holds them, move an engine with --port {example}=0 (0 picks a free port), or use --free-ports",
    list = .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "),
    example = .0.first().map_or_else(String::new, |b| format!("{}.{}", b.engine, b.name)))]
pub struct PortsBusy(pub Vec<Busy>);

/// Gives every engine its ports: the configured ones, the platform's own numbers, or free ones. Each is bound
/// once to see that it can be, all at the same time so that free ones differ, and let go for the engine.
pub fn assign(config: &Config, engines: &[EngineKind]) -> Result<BTreeMap<EngineKind, Ports>, PortsBusy> {
    let mut taken: BTreeMap<u16, (EngineKind, &'static str)> = BTreeMap::new();
    let mut held = Vec::new();
    let mut busy = Vec::new();
    let mut all = BTreeMap::new();
    let wanted = |kind: EngineKind, spec: &PortSpec| {
        let given = config.engines.get(&kind).and_then(|e| e.ports.get(spec.name));
        given
            .copied()
            .unwrap_or(if config.free_ports { 0 } else { spec.default })
    };
    // Fixed numbers first, so that a free one cannot take one of them.
    let mut specs: Vec<_> = engines
        .iter()
        .flat_map(|&kind| kind.ports().iter().map(move |s| (kind, s)))
        .collect();
    specs.sort_by_key(|(kind, spec)| wanted(*kind, spec) == 0);
    for (kind, spec) in specs {
        let port = wanted(kind, spec);
        let refuse = |reason| Busy {
            engine: kind,
            name: spec.name,
            port,
            reason,
        };
        if let Some(&(other, name)) = taken.get(&port).filter(|_| port != 0) {
            busy.push(refuse(Reason::Shared(other, name)));
            continue;
        }
        match bind(config.bind, port, spec.udp) {
            Ok((number, sockets)) => {
                taken.insert(number, (kind, spec.name));
                held.push(sockets);
                all.entry(kind)
                    .or_insert_with(Ports::new)
                    .insert(spec.name, number);
            }
            Err(e) if e.kind() == ErrorKind::AddrInUse => busy.push(refuse(Reason::Held(holder(port)))),
            Err(e) => busy.push(refuse(Reason::Other(e.to_string()))),
        }
    }
    if busy.is_empty() {
        Ok(all)
    } else {
        Err(PortsBusy(busy))
    }
}

type Sockets = (TcpListener, Option<UdpSocket>);

fn bind(address: IpAddr, port: u16, udp: bool) -> std::io::Result<(u16, Sockets)> {
    // A free TCP port may be taken for UDP: then another one is tried, a few times.
    let mut attempts = if port == 0 { 16 } else { 1 };
    loop {
        attempts -= 1;
        let tcp = TcpListener::bind(SocketAddr::new(address, port))?;
        let number = tcp.local_addr()?.port();
        if !udp {
            return Ok((number, (tcp, None)));
        }
        match UdpSocket::bind(SocketAddr::new(address, number)) {
            Ok(socket) => return Ok((number, (tcp, Some(socket)))),
            Err(e) if attempts == 0 => return Err(e),
            Err(_) => {}
        }
    }
}

/// Whether anything can be bound there now; the port's holder if not.
pub fn busy(config: &Config, kind: EngineKind, spec: &PortSpec, port: u16) -> Option<Busy> {
    let reason = match bind(config.bind, port, spec.udp) {
        Ok(_) => return None,
        Err(e) if e.kind() == ErrorKind::AddrInUse => Reason::Held(holder(port)),
        Err(e) => Reason::Other(e.to_string()),
    };
    Some(Busy {
        engine: kind,
        name: spec.name,
        port,
        reason,
    })
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
        let ports = assign(&config, &engines).unwrap();
        let numbers: std::collections::BTreeSet<u16> =
            ports.values().flat_map(|p| p.values().copied()).collect();
        assert_eq!(numbers.len(), 6 + 1 + 2);

        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        config
            .engines
            .entry(EngineKind::Redis)
            .or_default()
            .ports
            .insert("client".into(), port);
        let message = assign(&config, &engines).unwrap_err().to_string();
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
        let message = assign(&config, &[EngineKind::Redis, EngineKind::Postgres])
            .unwrap_err()
            .to_string();
        assert!(message.contains("also given to redis client"), "{message}");
    }
}
