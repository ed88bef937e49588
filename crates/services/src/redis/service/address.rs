//! Where Redis is, by URL. Credentials come beside it, never in it.
//!
//! - `redis://HOST[:6379][/DB]`, `rediss://…` with TLS: one server.
//! - `redis+cluster://HOST[:6379],HOST…`, `rediss+cluster://…`: a cluster, by any of its nodes.
//! - `redis+sentinel://HOST[:26379],HOST…/MASTER[/DB]`, `rediss+sentinel://…`: the master of that name, by its sentinels,
//!   which are asked without credentials.
//!
//! Where only one host can be written (a configuration that checks URLs), further ones follow as `?node=HOST:PORT`,
//! `&node=…`.

use std::time::Duration;

use isa_config::Endpoint;
use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError, TlsMode,
    cluster::{ClusterClient, ClusterClientBuilder},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
    sentinel::{SentinelClientBuilder, SentinelServerType},
};

use super::link::{NO_LIMIT, PATIENCE};

/// A connection as silent as this is asked by TCP whether it is still there.
const SILENCE: Duration = Duration::from_secs(5);

/// How one gets a connection.
pub(crate) enum Target {
    Node(Client),
    Cluster {
        client: Box<ClusterClient>,
        /// For channels, which every node hears.
        nodes: Vec<Client>,
    },
    Sentinel(Sentinels),
}

pub(crate) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    master: String,
    login: RedisConnectionInfo,
    tls: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Node,
    Cluster,
    Sentinel { master: String },
}

#[derive(Debug, PartialEq, Eq)]
struct Address {
    kind: Kind,
    tls: bool,
    nodes: Vec<(String, u16)>,
    db: i64,
}

impl Target {
    /// Says why it cannot be an address of Redis. Does not repeat it: somebody may have written a password into it.
    pub(crate) fn new(endpoint: &Endpoint) -> Result<Self, String> {
        let address = parse(&endpoint.url)?;
        if address.tls {
            // The client takes the process's own; it is set already where anything else has TLS.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut login = RedisConnectionInfo::default().set_db(address.db);
        if let Some(name) = &endpoint.username {
            login = login.set_username(name);
        }
        if let Some(password) = &endpoint.password {
            login = login.set_password(password.expose());
        }
        address.target(login).map_err(|error| error.to_string())
    }
}

impl Sentinels {
    /// The server that is the master now.
    pub(crate) async fn master(&self) -> Result<Client, RedisError> {
        let mut builder = SentinelClientBuilder::new(
            self.addresses.iter().cloned(),
            &self.master,
            SentinelServerType::Master,
        )?
        .set_client_to_redis_db(self.login.db())
        .set_client_to_redis_tcp_settings(tcp());
        if let Some(name) = self.login.username() {
            builder = builder.set_client_to_redis_username(name);
        }
        if let Some(password) = self.login.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if self.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        let mut client = builder.build()?;
        Box::pin(client.async_get_client()).await
    }
}

impl Address {
    fn target(self, login: RedisConnectionInfo) -> Result<Target, RedisError> {
        let tls = self.tls;
        let addresses = self.nodes.into_iter().map(|(host, port)| {
            if tls {
                ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: false,
                    tls_params: None,
                }
            } else {
                ConnectionAddr::Tcp(host, port)
            }
        });
        let single = match self.kind {
            Kind::Sentinel { master } => {
                return Ok(Target::Sentinel(Sentinels {
                    addresses: addresses.collect(),
                    master,
                    login,
                    tls,
                }));
            }
            kind => kind == Kind::Node,
        };
        let nodes = addresses
            .map(|address| {
                let node = address.into_connection_info()?;
                Ok(node.set_redis_settings(login.clone()).set_tcp_settings(tcp()))
            })
            .collect::<Result<Vec<_>, RedisError>>()?;
        let clients = nodes
            .iter()
            .map(|node| Client::open(node.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        match clients.first() {
            Some(client) if single => Ok(Target::Node(client.clone())),
            _ => Ok(Target::Cluster {
                client: Box::new(
                    ClusterClientBuilder::new(nodes)
                        .connection_timeout(PATIENCE)
                        .response_timeout(NO_LIMIT)
                        .retries(2)
                        .tcp_settings(tcp())
                        .build()?,
                ),
                nodes: clients,
            }),
        }
    }
}

/// Commands go out at once, and a peer that is gone without a word is noticed.
fn tcp() -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE))
        .set_user_timeout(3 * SILENCE)
}

fn parse(url: &str) -> Result<Address, String> {
    let expected = "expected redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT or \
                    redis+sentinel://HOST:PORT,HOST:PORT/MASTER (rediss for TLS)";
    let (scheme, rest) = url.split_once("://").ok_or(expected)?;
    let (tls, kind) = match scheme.strip_prefix("redis").ok_or(expected)? {
        "" => (false, Kind::Node),
        "s" => (true, Kind::Node),
        "+cluster" => (false, Kind::Cluster),
        "s+cluster" => (true, Kind::Cluster),
        "+sentinel" => (
            false,
            Kind::Sentinel {
                master: String::new(),
            },
        ),
        "s+sentinel" => (
            true,
            Kind::Sentinel {
                master: String::new(),
            },
        ),
        _ => return Err(expected.into()),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    if hosts.contains('@') {
        return Err("contains credentials; they belong into username and password".into());
    }
    let default_port = match kind {
        Kind::Sentinel { .. } => 26379,
        Kind::Node | Kind::Cluster => 6379,
    };
    let more = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        pair.strip_prefix("node=")
            .ok_or("has a parameter other than node")
    });
    let more = more.collect::<Result<Vec<_>, _>>()?;
    let nodes = hosts
        .split(',')
        .chain(more)
        .map(|node| host_and_port(node, default_port).ok_or(expected))
        .collect::<Result<Vec<_>, _>>()?;
    let mut path = path
        .trim_end_matches('/')
        .split('/')
        .filter(|part| !part.is_empty());
    let kind = match kind {
        Kind::Sentinel { .. } => Kind::Sentinel {
            master: path
                .next()
                .ok_or("names no master: redis+sentinel://HOST:PORT/MASTER")?
                .to_owned(),
        },
        Kind::Node if nodes.len() > 1 => {
            return Err(
                "has more than one host; a cluster is redis+cluster://, sentinels are redis+sentinel://"
                    .into(),
            );
        }
        kind => kind,
    };
    let db = match path.next() {
        None => 0,
        Some(_) if kind == Kind::Cluster => return Err("has a database, which a cluster has not".into()),
        Some(db) => db
            .parse::<u16>()
            .map_err(|_| "has a database that is not a number")?
            .into(),
    };
    if path.next().is_some() {
        return Err(expected.into());
    }
    Ok(Address { kind, tls, nodes, db })
}

fn host_and_port(node: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = match node.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => node.split_at(node.find(':').unwrap_or(node.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if port.is_empty() => default_port,
        None => return None,
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(url: &str) -> String {
        let address = parse(url).unwrap();
        format!(
            "{:?} {} {:?} {}",
            address.kind, address.tls, address.nodes, address.db
        )
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(nodes("redis://h"), r#"Node false [("h", 6379)] 0"#);
        assert_eq!(nodes("rediss://[::1]:7/3"), r#"Node true [("::1", 7)] 3"#);
        assert_eq!(
            nodes("redis+cluster://a:1,b:2"),
            r#"Cluster false [("a", 1), ("b", 2)] 0"#
        );
        assert_eq!(
            nodes("rediss+cluster://a:1?node=b:2&node=c"),
            r#"Cluster true [("a", 1), ("b", 2), ("c", 6379)] 0"#
        );
        assert_eq!(
            nodes("redis+sentinel://a,b:5/main/2"),
            r#"Sentinel { master: "main" } false [("a", 26379), ("b", 5)] 2"#
        );
    }

    #[test]
    fn mistakes_say_what_is_expected_and_show_no_password() {
        let cases = [
            ("hunter2", "expected redis://"),
            ("http://hunter2", "expected redis://"),
            ("redis://u:hunter2@h", "credentials"),
            ("redis://a,hunter2", "more than one host"),
            ("redis://h/hunter2", "not a number"),
            ("redis://h:hunter2", "expected redis://"),
            ("redis+cluster://h/1", "a cluster has not"),
            ("redis+sentinel://h", "names no master"),
            ("redis://h?hunter2=1", "other than node"),
        ];
        for (url, expected) in cases {
            let why = parse(url).unwrap_err();
            assert!(why.contains(expected) && !why.contains("hunter2"), "{url}: {why}");
        }
    }

    #[test]
    fn every_kind_becomes_a_client() {
        for url in [
            "redis://h",
            "rediss://h",
            "redis+cluster://a,b",
            "rediss+cluster://a",
            "redis+sentinel://a/m",
        ] {
            let endpoint = Endpoint::new(url).with_credentials("app", isa_config::Secret::new("x"));
            assert!(Target::new(&endpoint).is_ok(), "{url}");
        }
    }
}
