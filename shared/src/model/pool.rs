//! Host pools: named sets of hosts that criteria and configuration refer to.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A hardware address.
pub type Mac = [u8; 6];

/// Writes a hardware address as `aa:bb:cc:dd:ee:ff`.
pub fn mac_text(mac: &Mac) -> String {
    // Every flow alert has two: what formats any number takes several times as long.
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    let mut text = String::with_capacity(17);
    for (place, byte) in mac.iter().enumerate() {
        if place > 0 {
            text.push(':');
        }
        text.extend([digit(byte >> 4), digit(byte & 0xf)]);
    }
    text
}

/// Reads `aa:bb:cc:dd:ee:ff` in either case.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// One member of a pool: an address, a prefix or a prefix in a VLAN, or a hardware address.
///
/// Text form: `192.0.2.0/24`, `192.0.2.7@42`, `2001:db8::/32@7`, `aa:bb:cc:dd:ee:ff`. Without
/// `@vlan` a prefix matches in every VLAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolMember {
    /// Addresses under a prefix, in one VLAN or in any.
    Prefix {
        /// The prefix.
        net: IpNet,
        /// The VLAN, or `None` for any.
        vlan: Option<u16>,
    },
    /// A hardware address.
    Mac(Mac),
}

impl PoolMember {
    /// True for a host that it names.
    pub fn has(&self, ip: IpAddr, vlan: u16, mac: Option<&Mac>) -> bool {
        match self {
            Self::Mac(own) => Some(own) == mac,
            Self::Prefix { net, vlan: own } => net.contains(&ip) && own.is_none_or(|own| own == vlan),
        }
    }
}

impl std::str::FromStr for PoolMember {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(mac) = parse_mac(text) {
            return Ok(Self::Mac(mac));
        }
        let (net, vlan) = match text.split_once('@') {
            Some((net, vlan)) => (net, Some(vlan.parse().map_err(|_| format!("'{vlan}' is not a VLAN id"))?)),
            None => (text, None),
        };
        let net = net
            .parse::<IpNet>()
            .or_else(|_| net.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| format!("'{text}' is neither an address, a prefix nor a hardware address"))?;
        Ok(Self::Prefix { net: net.trunc(), vlan })
    }
}

impl std::fmt::Display for PoolMember {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mac(mac) => f.write_str(&mac_text(mac)),
            Self::Prefix { net, vlan: None } => net.fmt(f),
            Self::Prefix { net, vlan: Some(vlan) } => write!(f, "{net}@{vlan}"),
        }
    }
}

impl Serialize for PoolMember {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PoolMember {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A named pool as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPool {
    /// Unique name; recipients refer to it.
    pub name: String,
    /// Who belongs to it.
    pub members: Vec<PoolMember>,
}

/// All pools; tells to which one a host belongs.
#[derive(Clone, Debug, Default)]
pub struct HostPools {
    pools: Vec<HostPool>,
}

impl HostPools {
    /// The pool of a host that no configured pool names.
    pub const DEFAULT: &'static str = "default";

    /// The pools in order of configuration.
    pub fn new(pools: Vec<HostPool>) -> Self {
        Self { pools }
    }

    /// The one pool of a host: a hardware address beats a prefix, a longer prefix beats a shorter
    /// one, a prefix with a VLAN beats one without, and the earlier pool wins a tie.
    pub fn find(&self, ip: IpAddr, vlan: u16, mac: Option<&Mac>) -> &str {
        let mut best: Option<(u16, &str)> = None;
        for pool in &self.pools {
            for member in &pool.members {
                let rank = match member {
                    PoolMember::Mac(m) if Some(m) == mac => u16::MAX,
                    PoolMember::Prefix { net, vlan: v }
                        if net.contains(&ip) && v.is_none_or(|v| v == vlan) =>
                    {
                        u16::from(net.prefix_len()) * 2 + u16::from(v.is_some())
                    }
                    _ => continue,
                };
                if best.is_none_or(|(r, _)| rank > r) {
                    best = Some((rank, &pool.name));
                }
            }
        }
        best.map_or(Self::DEFAULT, |(_, name)| name)
    }

    /// The configured pools.
    pub fn iter(&self) -> impl Iterator<Item = &HostPool> {
        self.pools.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools() -> HostPools {
        let pool = |name: &str, members: &[&str]| HostPool {
            name: name.to_owned(),
            members: members.iter().map(|m| m.parse().unwrap()).collect(),
        };
        HostPools::new(vec![
            pool("lan", &["192.168.0.0/16"]),
            pool("printers", &["192.168.7.0/24@42", "00:11:22:33:44:55"]),
        ])
    }

    #[test]
    fn members_are_addresses_prefixes_with_vlan_or_hardware_addresses() {
        let pools = pools();
        let ip = "192.168.7.9".parse().unwrap();
        assert_eq!(pools.find(ip, 0, None), "lan");
        assert_eq!(pools.find(ip, 42, None), "printers");
        assert_eq!(pools.find("10.0.0.1".parse().unwrap(), 0, None), "default");
        let mac = parse_mac("00:11:22:33:44:55").unwrap();
        assert_eq!(pools.find("10.0.0.1".parse().unwrap(), 0, Some(&mac)), "printers");
    }

    #[test]
    fn members_round_trip_and_bad_ones_are_named() {
        for text in ["192.168.0.0/16", "192.0.2.1/32@42", "00:11:22:aa:bb:cc"] {
            assert_eq!(text.parse::<PoolMember>().unwrap().to_string(), text);
        }
        let err = "192.168.0.0/40".parse::<PoolMember>().unwrap_err();
        assert!(err.contains("192.168.0.0/40"), "{err}");
    }
}
