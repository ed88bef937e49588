//! Where webhooks may be sent: never to the platform's own network, to this machine, or to what a cloud tells its machines.
//!
//! A name is looked up by the resolver below and by nothing else, at each new connection, and the connection goes to one of
//! the addresses that it has checked. So a name that points elsewhere a moment later gains nothing. An address in place of
//! a name is checked before the request; redirects are not followed.
//!
//! On an open server, which is one machine where everybody is trusted, whoever writes an application has its receiver on
//! that machine: there, and there alone, loopback is allowed, but for the ports of the platform itself. No setting opens
//! more.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Error;

/// Longest URL, in bytes.
const MAX_URL: usize = 2048;

/// How long a name may take to be looked up when a webhook is registered.
const LOOKUP: Duration = Duration::from_secs(3);

/// Which targets are allowed.
#[derive(Debug)]
pub(super) struct Policy {
    /// This server is open, as a call has shown.
    is_open: AtomicBool,
    /// The platform's own, on this machine.
    ports: BTreeSet<u16>,
}

impl Policy {
    pub(super) fn new(ports: BTreeSet<u16>) -> Self {
        Self {
            is_open: AtomicBool::new(false),
            ports,
        }
    }

    /// Learns from a call whether the server is open. Until one came, it counts as closed.
    pub(super) fn learn(&self, is_open: bool) {
        if self.is_open.load(Relaxed) != is_open {
            self.is_open.store(is_open, Relaxed);
        }
    }

    pub(super) fn allows(&self, address: IpAddr) -> bool {
        let address = plain(address);
        is_public(address) || (address.is_loopback() && self.is_open.load(Relaxed))
    }

    /// Checks all of a URL but the addresses behind a name.
    pub(super) fn parse(&self, given: &str) -> Result<Url, Error> {
        let invalid = |why: &'static str| Error::invalid("url", why);
        if given.is_empty() {
            return Err(invalid("is empty"));
        }
        if given.len() > MAX_URL {
            return Err(invalid("is longer than 2048 bytes"));
        }
        let url = Url::parse(given).map_err(|error| Error::invalid("url", format!("is none: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("is not https or http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid(
                "has a user or a password, which it would show; use headers",
            ));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) => None,
            None => return Err(invalid("has no host")),
        };
        if address.is_some_and(|address| !self.allows(address)) {
            return Err(forbidden());
        }
        // A name may be this machine's too. Elsewhere such a port would be reached in vain at most.
        let is_local = address.map(plain).is_none_or(|address| address.is_loopback());
        let port = url.port_or_known_default();
        if is_local && self.is_open.load(Relaxed) && port.is_some_and(|port| self.ports.contains(&port)) {
            return Err(forbidden());
        }
        Ok(url)
    }

    /// Checks a URL before it is kept. A name that nobody knows yet may be known later.
    pub(super) async fn check(&self, given: &str) -> Result<(), Error> {
        let url = self.parse(given)?;
        if let Some(Host::Domain(name)) = url.host() {
            let port = url.port_or_known_default().unwrap_or_default();
            let looked_up = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name, port))).await;
            if let Ok(Ok(mut addresses)) = looked_up
                && addresses.any(|address| !self.allows(address.ip()))
            {
                return Err(forbidden());
            }
        }
        Ok(())
    }
}

fn forbidden() -> Error {
    Error::Forbidden(
        "url is an address of this machine, of the platform's network or of a metadata service; webhooks go to public \
         addresses"
            .into(),
    )
}

/// Looks names up, and gives them only if all their addresses are allowed.
#[derive(Clone)]
pub(super) struct Resolver(pub(super) Arc<Policy>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if addresses.iter().any(|address| !policy.allows(address.ip())) {
                return Err("it has an address that is not public".into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An IPv4 address in the clothes of IPv6 as what it is.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [a, b, c, d, e, f, high, low] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d, e, f) {
        // Mapped, and the old compatible form, without :: and ::1.
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => v4(high, low),
        (0, 0, 0, 0, 0, 0) if high != 0 || low > 1 => v4(high, low),
        // NAT64 and 6to4 lead to the address that they carry.
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(high, low),
        (0x2002, high, low, ..) => v4(high, low),
        _ => address,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        // Carriers' own, where some clouds have their metadata.
        || (a == 100 && (64..128).contains(&b))
        // Protocol assignments, the old 6to4 relay, benchmarks, and what is reserved.
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 240
        // A metadata service on a public address.
        || address == Ipv4Addr::new(168, 63, 129, 16))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Global unicast is all that is public; of it, Teredo, its like and documentation are not.
    (a & 0xe000) == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xdb8)) && !(a == 0x3fff && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(is_open: bool) -> Policy {
        let policy = Policy::new(BTreeSet::from([4222]));
        policy.learn(is_open);
        policy
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
        ] {
            let address: IpAddr = bad.parse().unwrap();
            assert!(!policy(false).allows(address), "{bad}");
        }
        for good in [
            "1.1.1.1",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "64:ff9b::101:101",
        ] {
            let address: IpAddr = good.parse().unwrap();
            assert!(policy(false).allows(address), "{good}");
        }
    }

    #[test]
    fn urls_in_all_their_forms() {
        for bad in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest",
        ] {
            assert!(
                matches!(policy(false).parse(bad), Err(Error::Forbidden(_))),
                "{bad}"
            );
        }
        for bad in [
            "",
            "x",
            "ftp://example.com",
            "file:///etc/passwd",
            "http://",
            "https://a:b@example.com",
        ] {
            assert!(
                matches!(policy(false).parse(bad), Err(Error::Invalid { .. })),
                "{bad}"
            );
        }
        assert!(policy(false).parse("https://example.com/x").is_ok());
    }

    #[tokio::test]
    async fn an_open_server_calls_its_own_machine_but_not_the_platform() {
        let open = policy(true);
        assert!(open.check("http://127.0.0.1:8080/hook").await.is_ok());
        assert!(open.check("http://localhost:8080/hook").await.is_ok());
        for bad in [
            "http://127.0.0.1:4222/",
            "http://localhost:4222/",
            "http://[::1]:4222/",
        ] {
            assert!(matches!(open.check(bad).await, Err(Error::Forbidden(_))), "{bad}");
        }
        assert!(open.check("http://10.0.0.1/").await.is_err());
        assert!(policy(false).check("http://localhost:8080/").await.is_err());
    }
}
