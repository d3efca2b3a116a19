//! Whom hosts get in touch with, counted without naming them.

use serde::{Deserialize, Serialize};

/// In which way a host got in touch. The place in [`ContactKind::ALL`] is part of the wire contract:
/// add at the end, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    /// The host was client of this address.
    Peer,
    /// The host was client of this address and port.
    Service,
    /// It asked this DNS server.
    DnsServer,
    /// It asked this NTP server.
    NtpServer,
    /// It handed mail to this SMTP server.
    SmtpServer,
    /// It asked for, or said, this server's name.
    Name,
    /// It was client of an address in this country.
    Country,
}

impl ContactKind {
    /// All kinds in order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Peer,
        Self::Service,
        Self::DnsServer,
        Self::NtpServer,
        Self::SmtpServer,
        Self::Name,
        Self::Country,
    ];

    /// The name that programs show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Service => "service",
            Self::DnsServer => "dns_server",
            Self::NtpServer => "ntp_server",
            Self::SmtpServer => "smtp_server",
            Self::Name => "name",
            Self::Country => "country",
        }
    }

    /// What is counted, for people.
    pub const fn doc(self) -> &'static str {
        match self {
            Self::Peer => "Different addresses of which the host was client.",
            Self::Service => "Different addresses and ports of which the host was client.",
            Self::DnsServer => "Different DNS servers that it asked.",
            Self::NtpServer => "Different NTP servers that it asked.",
            Self::SmtpServer => "Different servers to which it handed mail.",
            Self::Name => "Different server names that it asked for or said.",
            Self::Country => "Different countries of the addresses of which it was client.",
        }
    }

    /// What scripts and the API call the number of different ones.
    pub const fn counter(self) -> &'static str {
        match self {
            Self::Peer => "peers",
            Self::Service => "services",
            Self::DnsServer => "dns_servers",
            Self::NtpServer => "ntp_servers",
            Self::SmtpServer => "smtp_servers",
            Self::Name => "names",
            Self::Country => "countries",
        }
    }
}

/// One contact of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// Place of the host among the delta's hosts.
    pub host: u32,
    /// In which way.
    pub kind: ContactKind,
    /// XXH3-64 of the other's bytes: the address, address and port (big endian), the name, the country.
    pub hash: u64,
}
