//! Which addresses a target may have.
//!
//! A target's name may resolve to an address inside the operator's network, by mistake or by somebody's
//! intent (server-side request forgery): whoever may edit endpoints is not thereby allowed to reach what
//! the notifier's machine can reach. What is not plainly public is refused unless the configuration file
//! allows it. The address is checked that is then connected to, so that a name cannot first resolve to
//! one and then to another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use shared::model::network::IpNet;

use crate::endpoint::DeliveryError;

/// What is allowed besides public addresses.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    all: bool,
    allowed: Arc<[IpNet]>,
}

/// Ports of services that are not asked by HTTP, which a request could be made to mean something to: mail, shells,
/// directories, databases, message brokers.
const OTHER_SERVICES: &[u16] = &[
    7, 9, 13, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 79, 110, 111, 119, 123, 135, 137, 139, 143, 161,
    179, 389, 427, 445, 465, 512, 513, 514, 515, 548, 554, 587, 636, 873, 989, 990, 993, 995, 2049, 3306,
    3389, 4222, 5060, 5061, 5432, 6379, 6667, 11211,
];

/// An address that a target must not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "target address {ip} is {why}; notifier.allow_targets and notifier.allow_private_targets allow such targets"
)]
pub struct Refused {
    ip: IpAddr,
    why: &'static str,
}

impl Targets {
    /// Every address with `all`, else public ones and those in these prefixes.
    ///
    /// # Errors
    /// Names what is no prefix.
    pub fn new(all: bool, prefixes: &[String]) -> Result<Self, String> {
        let prefix = |text: &String| {
            let host = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse::<IpNet>().or_else(|_| host()).map_err(|_| format!("'{text}' is not a prefix"))
        };
        Ok(Self { all, allowed: prefixes.iter().map(prefix).collect::<Result<_, _>>()? })
    }

    /// Every address.
    pub fn any() -> Self {
        Self { all: true, allowed: Arc::default() }
    }

    /// Says whether an address may be connected to.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        if self.all || self.is_allowed(ip) {
            return Ok(());
        }
        let own = || is_own(ip).then_some("an address of this machine");
        refusal(ip).or_else(own).map_or(Ok(()), |why| Err(Refused { ip, why }))
    }

    /// Says whether HTTP may be spoken to a port of a host, whose address is known when it is one.
    ///
    /// # Errors
    /// Why not.
    pub fn check_http_port(&self, ip: Option<IpAddr>, port: u16) -> Result<(), String> {
        if self.all || ip.is_some_and(|ip| self.is_allowed(ip)) || !OTHER_SERVICES.contains(&port) {
            return Ok(());
        }
        Err(format!(
            "port {port} is that of another service than HTTP; notifier.allow_private_targets allows it, \
             notifier.allow_targets where the target is an address"
        ))
    }

    fn is_allowed(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.allowed.iter().any(|prefix| prefix.contains(&ip))
    }

    /// The addresses of a host that may be connected to.
    ///
    /// # Errors
    /// To be tried again when the name cannot be resolved; permanent when every address is refused.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DeliveryError> {
        let found = tokio::net::lookup_host((host, port)).await.map_err(DeliveryError::retry)?;
        self.among(found).map_err(DeliveryError::permanent)
    }

    /// Refuses a host that another, a proxy, is to connect to: which of its addresses that one takes is not
    /// known, so every address known here must be allowed. A network that reaches the world through a proxy
    /// need not know its names; one that is not known here passes.
    ///
    /// # Errors
    /// Which address is refused.
    pub async fn check_by_another(&self, host: &str, port: u16) -> Result<(), DeliveryError> {
        let Ok(mut found) = tokio::net::lookup_host((host, port)).await else { return Ok(()) };
        found.try_for_each(|address| self.check(address.ip())).map_err(DeliveryError::permanent)
    }

    /// Those of `found` that may be connected to.
    ///
    /// # Errors
    /// All are refused.
    pub fn among(&self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let (mut allowed, mut refused) = (Vec::new(), None);
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refused) if allowed.is_empty() => Err(refused),
            _ => Ok(allowed),
        }
    }
}

/// True of an address of this machine: what it sends there comes from there. Nothing is sent.
pub fn is_own(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == ip)
}

/// Why an address is refused; `None` when it is public.
///
/// Follows the IANA special-purpose address registries (RFC 6890) and looks into IPv6 forms that
/// carry an IPv4 address: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn refusal(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refusal_v4(ip),
        IpAddr::V6(ip) => refusal_v6(ip),
    }
}

fn refusal_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = ip.octets();
    match (a, b) {
        (0, _) => Some("unspecified"),
        (127, _) => Some("loopback"),
        (10, _) | (172, 16..=31) | (192, 168) => Some("private"),
        (100, 64..=127) => Some("shared address space"),
        (169, 254) => Some("link-local"),
        (192, 0) if c == 0 => Some("protocol assignments"),
        (198, 18..=19) => Some("benchmarking"),
        (224..=239, _) => Some("multicast"),
        (240..=255, _) => Some("reserved"),
        _ => None,
    }
}

fn refusal_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let segments = ip.segments();
    let v4_at = |at: usize| {
        let (high, low) = (segments[at].to_be_bytes(), segments[at + 1].to_be_bytes());
        Ipv4Addr::new(high[0], high[1], low[0], low[1])
    };
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => refusal_v4(v4_at(6)),
        [0x64, 0xff9b, 1, ..] => Some("private"),
        // Teredo and others.
        [0x2001, 0..=0x1ff, ..] => Some("protocol assignments"),
        [0x2002, ..] => refusal_v4(v4_at(1)),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_allows_prefixes_and_nobody_else_does() {
        let lists = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let some = Targets::new(false, &lists(&["10.1.0.0/16", "fd00::/64", "127.0.0.9"])).unwrap();
        for (ip, passes) in [
            ("10.1.2.3", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("::ffff:10.2.2.3", false),
            ("fd00::7", true),
            ("fd00:1::7", false),
            ("127.0.0.9", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("93.184.216.34", true),
        ] {
            assert_eq!(some.check(ip.parse().unwrap()).is_ok(), passes, "{ip}");
            assert!(Targets::any().check(ip.parse().unwrap()).is_ok());
        }
        let error = some.check("10.2.0.1".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("10.2.0.1 is private") && error.contains("notifier.allow_targets"), "{error}");
        assert!(Targets::new(false, &lists(&["10.0.0.0/40"])).unwrap_err().contains("10.0.0.0/40"));
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_own(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["203.0.113.9", "2001:db8::9", "192.0.2.1"] {
            assert!(!is_own(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn http_is_not_spoken_to_other_services() {
        let some = Targets::new(false, &["10.1.0.0/16".to_owned()]).unwrap();
        for (ip, port, passes) in [
            (None, 443, true),
            (None, 8080, true),
            (None, 25, false),
            (Some("93.184.216.34"), 6379, false),
            (Some("10.1.2.3"), 6379, true),
        ] {
            let ip = ip.map(|ip: &str| ip.parse().unwrap());
            assert_eq!(some.check_http_port(ip, port).is_ok(), passes, "{ip:?} {port}");
            assert!(Targets::any().check_http_port(ip, port).is_ok());
        }
    }

    #[tokio::test]
    async fn a_name_is_what_it_resolves_to() {
        let none = Targets::default();
        assert!(matches!(none.resolve("localhost", 1).await, Err(DeliveryError::Permanent { .. })));
        assert!(matches!(none.resolve("no-such-host.invalid", 1).await, Err(DeliveryError::Retry { .. })));
        assert!(!Targets::any().resolve("localhost", 1).await.unwrap().is_empty());
        let refused = none.check_by_another("localhost", 1).await;
        assert!(matches!(refused, Err(DeliveryError::Permanent { .. })), "{refused:?}");
        assert_eq!(none.check_by_another("no-such-host.invalid", 1).await, Ok(()));
        assert_eq!(Targets::any().check_by_another("localhost", 1).await, Ok(()));
    }

    #[test]
    fn only_public_addresses_pass() {
        for (ip, expected) in [
            ("127.0.0.1", Some("loopback")),
            ("127.255.0.9", Some("loopback")),
            ("0.0.0.0", Some("unspecified")),
            ("10.1.2.3", Some("private")),
            ("172.16.0.1", Some("private")),
            ("172.32.0.1", None),
            ("192.168.0.1", Some("private")),
            ("169.254.169.254", Some("link-local")),
            ("100.64.0.1", Some("shared address space")),
            ("224.0.0.1", Some("multicast")),
            ("255.255.255.255", Some("reserved")),
            ("93.184.216.34", None),
            ("::", Some("unspecified")),
            ("::1", Some("loopback")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("::ffff:93.184.216.34", None),
            ("::127.0.0.1", Some("loopback")),
            ("64:ff9b::10.0.0.1", Some("private")),
            ("2002:7f00:1::", Some("loopback")),
            ("fd00::1", Some("private")),
            ("fe80::1", Some("link-local")),
            ("ff02::1", Some("multicast")),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Some("protocol assignments")),
            ("2606:2800:220:1::1", None),
        ] {
            assert_eq!(refusal(ip.parse().unwrap()), expected, "{ip}");
        }
    }
}
