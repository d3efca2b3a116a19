//! What a field of a template means, and how its bytes enter a record.
//!
//! NetFlow v9 and IPFIX share the numbers below 128 (RFC 3954 §8, RFC 5102); the rest is IANA's
//! "IPFIX Information Elements" registry. Fields that no flow of ours shows are [`Field::Skip`], and
//! a compiled template does not contain them at all.

/// The private enterprise number under which RFC 5103 repeats every element for the reverse
/// direction.
pub const REVERSE_PEN: u32 = 29305;

/// Meaning of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of the elements in `FIELDS`")]
pub enum Field {
    Skip,
    Bytes,
    Packets,
    TotalBytes,
    TotalPackets,
    OtherBytes,
    OtherPackets,
    InitiatorBytes,
    InitiatorPackets,
    ReverseBytes,
    ReversePackets,
    ReverseTotalBytes,
    ReverseTotalPackets,
    Protocol,
    Tos,
    TcpFlags,
    ReverseTcpFlags,
    SrcPort,
    DstPort,
    SrcV4,
    DstV4,
    SrcV6,
    DstV6,
    NextHopV4,
    NextHopV6,
    Input,
    Output,
    SrcAs,
    DstAs,
    SrcMac,
    DstMac,
    Vlan,
    OtherVlan,
    IcmpTypeCode,
    IcmpType,
    IcmpCode,
    UptimeFirst,
    UptimeLast,
    StartSeconds,
    EndSeconds,
    StartMillis,
    EndMillis,
    StartNtp,
    EndNtp,
    StartDelta,
    EndDelta,
    DurationMillis,
    DurationMicros,
    BootMillis,
    EndReason,
    BiflowDirection,
    SamplingInterval,
    SamplingSpace,
    SamplingSize,
    SamplingPopulation,
    SamplingProbability,
    Sampler,
    ApplicationId,
    ApplicationName,
    InterfaceName,
    InterfaceText,
    SamplerName,
}

/// Element numbers and what they mean to us.
const FIELDS: &[(u16, Field)] = &[
    (1, Field::Bytes),
    (2, Field::Packets),
    (4, Field::Protocol),
    (5, Field::Tos),
    (6, Field::TcpFlags),
    (7, Field::SrcPort),
    (8, Field::SrcV4),
    (10, Field::Input),
    (11, Field::DstPort),
    (12, Field::DstV4),
    (14, Field::Output),
    (15, Field::NextHopV4),
    (16, Field::SrcAs),
    (17, Field::DstAs),
    (21, Field::UptimeLast),
    (22, Field::UptimeFirst),
    // What leaves after the exporter changed it: used where nothing else is told.
    (23, Field::OtherBytes),
    (24, Field::OtherPackets),
    (27, Field::SrcV6),
    (28, Field::DstV6),
    (32, Field::IcmpTypeCode),
    (34, Field::SamplingInterval),
    (48, Field::Sampler),
    (50, Field::SamplingInterval),
    (56, Field::SrcMac),
    (58, Field::Vlan),
    (59, Field::OtherVlan),
    (62, Field::NextHopV6),
    (80, Field::DstMac),
    (82, Field::InterfaceName),
    (83, Field::InterfaceText),
    (84, Field::SamplerName),
    (85, Field::TotalBytes),
    (86, Field::TotalPackets),
    (95, Field::ApplicationId),
    (96, Field::ApplicationName),
    (136, Field::EndReason),
    (139, Field::IcmpTypeCode),
    (150, Field::StartSeconds),
    (151, Field::EndSeconds),
    (152, Field::StartMillis),
    (153, Field::EndMillis),
    (154, Field::StartNtp),
    (155, Field::EndNtp),
    (156, Field::StartNtp),
    (157, Field::EndNtp),
    (158, Field::StartDelta),
    (159, Field::EndDelta),
    (160, Field::BootMillis),
    (161, Field::DurationMillis),
    (162, Field::DurationMicros),
    (176, Field::IcmpType),
    (177, Field::IcmpCode),
    (178, Field::IcmpType),
    (179, Field::IcmpCode),
    (180, Field::SrcPort),
    (181, Field::DstPort),
    (182, Field::SrcPort),
    (183, Field::DstPort),
    (231, Field::InitiatorBytes),
    (232, Field::ReverseBytes),
    (239, Field::BiflowDirection),
    (243, Field::Vlan),
    (254, Field::OtherVlan),
    (298, Field::InitiatorPackets),
    (299, Field::ReversePackets),
    (302, Field::Sampler),
    (305, Field::SamplingInterval),
    (306, Field::SamplingSpace),
    (309, Field::SamplingSize),
    (310, Field::SamplingPopulation),
    (311, Field::SamplingProbability),
    (352, Field::OtherBytes),
];

/// Elements of the reverse direction (RFC 5103 §6).
const REVERSE_FIELDS: &[(u16, Field)] = &[
    (1, Field::ReverseBytes),
    (2, Field::ReversePackets),
    (6, Field::ReverseTcpFlags),
    (85, Field::ReverseTotalBytes),
    (86, Field::ReverseTotalPackets),
];

impl Field {
    /// Meaning of an element; `enterprise` is 0 for IANA's own.
    pub fn of(enterprise: u32, element: u16) -> Self {
        let table = match enterprise {
            0 => FIELDS,
            REVERSE_PEN => REVERSE_FIELDS,
            _ => &[],
        };
        match table.binary_search_by_key(&element, |(number, _)| *number) {
            Ok(place) => table.get(place).map_or(Self::Skip, |(_, field)| *field),
            Err(_) => Self::Skip,
        }
    }

    /// True for a sender's or receiver's address: a record without one is no flow.
    pub fn is_address(self) -> bool {
        matches!(self, Self::SrcV4 | Self::DstV4 | Self::SrcV6 | Self::DstV6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_for_the_binary_search() {
        for table in [FIELDS, REVERSE_FIELDS] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
        assert_eq!(Field::of(0, 8), Field::SrcV4);
        assert_eq!(Field::of(REVERSE_PEN, 1), Field::ReverseBytes);
        assert_eq!(Field::of(9, 1), Field::Skip);
        assert_eq!(Field::of(0, 65535), Field::Skip);
    }
}
