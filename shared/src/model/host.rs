//! A host: an address in a VLAN.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Identifies a host on one interface.
///
/// Prints as `ip`, or `ip@vlan` when the VLAN is not 0, and is serialized as that string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostKey {
    /// The address.
    pub ip: IpAddr,
    /// The outermost 802.1Q VLAN id, 0 when untagged.
    pub vlan: u16,
}

impl std::hash::Hash for HostKey {
    /// Two numbers instead of the address byte by byte: hosts are looked up for every flow.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self.ip {
            IpAddr::V4(ip) => state.write_u64(u64::from(u32::from(ip)) << 16 | u64::from(self.vlan)),
            IpAddr::V6(ip) => {
                state.write_u128(ip.into());
                state.write_u16(self.vlan);
            }
        }
    }
}

impl HostKey {
    /// The host `ip` in `vlan`.
    pub const fn new(ip: IpAddr, vlan: u16) -> Self {
        Self { ip, vlan }
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vlan == 0 { self.ip.fmt(f) } else { write!(f, "{}@{}", self.ip, self.vlan) }
    }
}

impl FromStr for HostKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (ip, vlan) = match text.split_once('@') {
            Some((ip, vlan)) => (ip, vlan.parse().map_err(|_| format!("'{vlan}' is not a VLAN id"))?),
            None => (text, 0),
        };
        let ip = ip.parse().map_err(|_| format!("'{ip}' is not an IP address"))?;
        Ok(Self { ip, vlan })
    }
}

impl Serialize for HostKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_hides_vlan_0() {
        for text in ["192.0.2.1", "192.0.2.1@42", "2001:db8::1@7"] {
            assert_eq!(text.parse::<HostKey>().unwrap().to_string(), text);
        }
        assert!("192.0.2.1@x".parse::<HostKey>().is_err());
    }
}
