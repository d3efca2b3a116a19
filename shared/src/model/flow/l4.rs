//! Transport protocols.

use serde::{Deserialize, Serialize};

/// Layer-4 protocol by IANA number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct L4(pub u8);

impl L4 {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);

    const NAMES: &'static [(u8, &'static str)] = &[
        (1, "icmp"),
        (2, "igmp"),
        (6, "tcp"),
        (17, "udp"),
        (33, "dccp"),
        (41, "ipv6"),
        (47, "gre"),
        (50, "esp"),
        (51, "ah"),
        (58, "icmpv6"),
        (88, "eigrp"),
        (89, "ospf"),
        (103, "pim"),
        (112, "vrrp"),
        (132, "sctp"),
    ];

    /// The usual lower-case name, or `proto-N`.
    pub fn name(self) -> String {
        match Self::NAMES.iter().find(|(n, _)| *n == self.0) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("proto-{}", self.0),
        }
    }

    /// Reads a name or a number.
    pub fn parse(text: &str) -> Option<Self> {
        let by_name = Self::NAMES.iter().find(|(_, name)| text.eq_ignore_ascii_case(name));
        by_name
            .map(|(n, _)| *n)
            .or_else(|| text.strip_prefix("proto-").unwrap_or(text).parse().ok())
            .map(Self)
    }
}

impl std::fmt::Display for L4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl Serialize for L4 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for L4 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown layer-4 protocol '{text}'")))
    }
}
