//! Flow status: one bit for each thing that is remarkable about a flow.

/// A set of status bits; bit 0 is never set, since 0 stands for "normal".
pub type StatusBits = u64;

/// A remarkable thing about a flow. The number is the bit.
///
/// Bits 59 to 63 belong to users' scripts ([`USER_FIRST`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FlowStatus {
    /// A payload broke its protocol's grammar.
    MalformedPacket = 1,
    /// A password or token crossed the wire in the clear.
    ClearTextCredentials = 2,
    /// TLS older than 1.2.
    ObsoleteTls = 3,
    /// A TLS hello without server name.
    TlsMissingSni = 4,
    /// SSH protocol 1 or software known as old.
    ObsoleteSsh = 5,
    /// A protocol on a port that is not its own.
    NonStandardPort = 6,
    /// The server answered with an error code (HTTP 4xx/5xx, DNS error).
    ErrorCode = 7,
    /// A DNS name or answer that looks like tunnelling.
    SuspiciousDns = 8,
    /// An HTTP host or SNI that is an address literal.
    NumericHost = 9,
    /// The TCP connection was refused or reset before any payload.
    TcpRefused = 10,
    /// The TCP connection ended by a reset.
    TcpReset = 11,
    /// A TCP connection request was never answered.
    TcpUnanswered = 12,
    /// Many retransmissions, out-of-order segments or zero windows.
    TcpIssues = 13,
    /// An established TCP connection carried no payload.
    NoDataExchanged = 14,
    /// One side never answered.
    Unidirectional = 15,
}

/// The first of the bits that scripts may use freely.
pub const USER_FIRST: u8 = 59;

impl FlowStatus {
    /// All kinds by bit.
    pub const ALL: [Self; 15] = [
        Self::MalformedPacket,
        Self::ClearTextCredentials,
        Self::ObsoleteTls,
        Self::TlsMissingSni,
        Self::ObsoleteSsh,
        Self::NonStandardPort,
        Self::ErrorCode,
        Self::SuspiciousDns,
        Self::NumericHost,
        Self::TcpRefused,
        Self::TcpReset,
        Self::TcpUnanswered,
        Self::TcpIssues,
        Self::NoDataExchanged,
        Self::Unidirectional,
    ];

    /// This status as a bit.
    pub const fn bit(self) -> StatusBits {
        1 << (self as u8)
    }

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MalformedPacket => "malformed_packet",
            Self::ClearTextCredentials => "clear_text_credentials",
            Self::ObsoleteTls => "obsolete_tls",
            Self::TlsMissingSni => "tls_missing_sni",
            Self::ObsoleteSsh => "obsolete_ssh",
            Self::NonStandardPort => "non_standard_port",
            Self::ErrorCode => "error_code",
            Self::SuspiciousDns => "suspicious_dns",
            Self::NumericHost => "numeric_host",
            Self::TcpRefused => "tcp_refused",
            Self::TcpReset => "tcp_reset",
            Self::TcpUnanswered => "tcp_unanswered",
            Self::TcpIssues => "tcp_issues",
            Self::NoDataExchanged => "no_data_exchanged",
            Self::Unidirectional => "unidirectional",
        }
    }
}

/// The names of all bits set, lowest first; users' bits are `user_59` to `user_63`.
pub fn names(bits: StatusBits) -> Vec<String> {
    let known = FlowStatus::ALL.into_iter().filter(|s| bits & s.bit() != 0).map(|s| s.name().to_owned());
    let users = (USER_FIRST..64).filter(|b| bits & (1 << b) != 0).map(|b| format!("user_{b}"));
    known.chain(users).collect()
}

/// The bit with this name.
pub fn parse(name: &str) -> Option<u8> {
    if let Some(status) = FlowStatus::ALL.into_iter().find(|s| s.name() == name) {
        return Some(status as u8);
    }
    let bit: u8 = name.strip_prefix("user_")?.parse().ok()?;
    (USER_FIRST..64).contains(&bit).then_some(bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_users_have_their_own_bits() {
        for status in FlowStatus::ALL {
            assert_eq!(parse(status.name()), Some(status as u8));
            assert!((status as u8) < USER_FIRST);
        }
        assert_eq!(names(FlowStatus::ErrorCode.bit() | 1 << 63), ["error_code", "user_63"]);
        assert_eq!(parse("user_58"), None);
    }
}
