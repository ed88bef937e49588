use std::{fmt, time::Duration};

use isa_config::{Endpoint, EngineKind};
use tokio::net::TcpStream;
use url::{Host, Url};

use crate::Error;

/// An address of an endpoint, taken apart.
pub(crate) struct Address {
    pub url: Url,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl Address {
    /// The main address of an endpoint.
    pub(crate) fn main(kind: EngineKind, endpoint: &Endpoint) -> Result<Self, Error> {
        Self::parse(
            kind,
            "url",
            &endpoint.url,
            kind.ports().first().map_or(0, |p| p.default),
        )
    }

    /// Qdrant's second address, that of gRPC.
    pub(crate) fn grpc(endpoint: &Endpoint) -> Result<Self, Error> {
        let missing = || Error::Address {
            field: "urls.grpc",
            why: "is missing: Qdrant is reached by gRPC too".into(),
        };
        let url = endpoint.urls.get("grpc").ok_or_else(missing)?;
        Self::parse(EngineKind::Qdrant, "urls.grpc", url, 6334)
    }

    /// Every address that the checks of an engine use.
    pub(crate) fn all(kind: EngineKind, endpoint: &Endpoint) -> Vec<Self> {
        let main = match kind {
            EngineKind::Duckdb => None,
            _ => Self::main(kind, endpoint).ok(),
        };
        let grpc = (kind == EngineKind::Qdrant)
            .then(|| Self::grpc(endpoint).ok())
            .flatten();
        main.into_iter().chain(grpc).collect()
    }

    /// Neither the URL nor a parser's error is repeated in the message: somebody may have written a password into it.
    fn parse(kind: EngineKind, field: &'static str, url: &str, default_port: u16) -> Result<Self, Error> {
        let invalid = |why: String| Err(Error::Address { field, why });
        let schemes = schemes(kind);
        let expected = format!("expected {}://HOST:PORT", schemes.join(" or "));
        let Ok(url) = Url::parse(url) else {
            return invalid(format!("is not a URL; {expected}"));
        };
        if !schemes.contains(&url.scheme()) {
            return invalid(format!("has scheme {:?}; {expected}", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return invalid("contains credentials; they belong into username and password".into());
        }
        let host = match url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => return invalid(format!("has no host; {expected}")),
        };
        let port = url.port_or_known_default().unwrap_or(default_port);
        Ok(Self { url, host, port })
    }

    /// Whether anything accepts connections here, within `limit`.
    pub(crate) async fn accepts(&self, limit: Duration) -> Result<(), Error> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        match tokio::time::timeout(limit, connect).await {
            Ok(Err(source)) => Err(Error::Unreachable {
                address: self.to_string(),
                source,
            }),
            // Too slow to tell.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "{host}:{}", self.port)
    }
}

/// What the URLs of an engine start with; those that end in `s` (and NATS's `tls`) ask for TLS.
fn schemes(kind: EngineKind) -> &'static [&'static str] {
    match kind {
        EngineKind::Redis => &["redis", "rediss"],
        EngineKind::Nats => &["nats", "tls"],
        EngineKind::Mosquitto => &["mqtt", "mqtts"],
        EngineKind::Postgres => &["postgres", "postgresql"],
        EngineKind::Neo4j => &["bolt", "bolt+s", "neo4j", "neo4j+s"],
        EngineKind::Duckdb => &["file"],
        EngineKind::Consul
        | EngineKind::Minio
        | EngineKind::Qdrant
        | EngineKind::Loki
        | EngineKind::Grafana => &["http", "https"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let main = |kind, url: &str| Address::main(kind, &Endpoint::new(url)).map(|a| a.to_string());
        assert_eq!(
            main(EngineKind::Redis, "redis://cache.example").unwrap(),
            "cache.example:6379"
        );
        assert_eq!(
            main(EngineKind::Consul, "https://consul.example").unwrap(),
            "consul.example:443"
        );
        assert_eq!(main(EngineKind::Neo4j, "bolt://[::1]:7").unwrap(), "[::1]:7");
        let v6 = Address::main(EngineKind::Nats, &Endpoint::new("nats://[::1]")).unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("::1", 4222));
    }

    #[test]
    fn mistakes_name_the_field_and_never_show_a_password() {
        let cases = [
            ("redis:6379", "expected redis or rediss://HOST:PORT"),
            ("http://hunter2@h", "has scheme \"http\""),
            ("not a url hunter2", "is not a URL"),
            ("redis://u:hunter2@h:1", "contains credentials"),
            ("redis:///hunter2", "has no host"),
        ];
        for (url, expected) in cases {
            let error = Address::main(EngineKind::Redis, &Endpoint::new(url))
                .err()
                .unwrap()
                .explain();
            assert!(
                error.starts_with("endpoint url ") && error.contains(expected),
                "{url}: {error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = Address::grpc(&Endpoint::new("http://h:6333"))
            .err()
            .unwrap()
            .explain();
        assert!(error.contains("urls.grpc is missing"), "{error}");
    }
}
