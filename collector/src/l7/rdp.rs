//! RDP: the connection request over TCP ([MS-RDPBCGR] §2.2.1) and the first datagrams over UDP
//! ([MS-RDPEUDP] §2.2).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, starts};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32};

const PORT: u16 = 3389;
const REQUEST: u8 = 0xe0;
const CONFIRM: u8 = 0xd0;
/// Negotiation structures are this long.
const NEGOTIATION: [u8; 2] = [8, 0];
/// First datagrams are padded to the longest that passes.
const PADDED: std::ops::RangeInclusive<usize> = 1132..=1232;

pub(super) static RDP: Dissector = Dissector {
    name: "RDP",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 3 | 0xff),
    ports: &[(L4::TCP, PORT), (L4::UDP, PORT)],
    probe: |bytes, cx| if cx.l4 == L4::UDP { datagram(bytes, cx) } else { stream(bytes, cx) },
    dissect: |bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits| {
        *status |= FlowStatus::RemoteAccessSession.bit();
        // The server refuses with a negotiation failure.
        if bytes.get(5) == Some(&CONFIRM) && bytes.get(11) == Some(&3) {
            *status |= FlowStatus::ErrorCode.bit();
        }
        Want::Next
    },
};

fn stream(bytes: &[u8], cx: &L7Context) -> Probe {
    // TPKT (RFC 1006), then a connection request or confirm of X.224.
    let &[3, 0, high, low, indicator, kind, ..] = bytes else {
        return Probe::No;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length != bytes.len() || usize::from(indicator) + 5 != length || !matches!(kind, REQUEST | CONFIRM) {
        return Probe::No;
    }
    let rest = bytes.get(11..).unwrap_or_default();
    let negotiates = rest.len() >= 8
        && matches!((kind, rest.first()), (REQUEST, Some(1)) | (CONFIRM, Some(2 | 3)))
        && rest.get(2..4) == Some(&NEGOTIATION[..]);
    let cookie = starts(rest, b"Cookie: msts") || (kind == REQUEST && contains(rest, b"mstshash="));
    match (negotiates || cookie, cx.has_port(PORT)) {
        (true, _) => Probe::Certain,
        // Old clients ask for nothing.
        (false, true) if rest.is_empty() => Probe::Certain,
        _ => Probe::No,
    }
}

fn datagram(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(acknowledged), Some(window), Some(flags)) = (be32(bytes, 0), be16(bytes, 4), be16(bytes, 6))
    else {
        return Probe::No;
    };
    // A synchronisation acknowledges nothing yet.
    let opens = acknowledged == u32::MAX && window != 0 && flags & 1 != 0 && flags & 0xe000 == 0;
    match (opens, cx.has_port(PORT) || PADDED.contains(&bytes.len())) {
        (true, true) => Probe::Certain,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Composed after the specification: cookie and negotiation, and the answer.
    const ASKED: &str =
        "0300002a25e00000000000436f6f6b69653a206d737473686173683d726f6f740d0a01000800 0b000000";
    const ANSWERED: &str = "030000130ed000001234000200080001000000";

    #[test]
    fn request_and_confirmation_on_any_port() {
        let asked = hex(ASKED);
        assert_eq!(Run::new(tcp(50_000, 13_389)).client(&asked), Verdict::Decided("RDP"));
        let mut run = Run::new(tcp(50_000, 13_389));
        assert_eq!(run.server(&hex(ANSWERED)), Verdict::Decided("RDP"));
        assert_eq!(run.status, FlowStatus::RemoteAccessSession.bit());
        for cut in 1..asked.len() {
            assert_eq!(Run::new(tcp(50_000, 13_389)).client(&asked[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn the_same_transport_without_cookie_is_somebody_elses() {
        let request = hex("03000016 11e00000000100c0010ac1020100c2020102");
        assert_eq!(Run::new(tcp(50_000, 102)).client(&request), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 3389)).client(&hex("0300000b06e00000000000")),
            Verdict::Decided("RDP")
        );
    }

    #[test]
    fn synchronisation_over_udp() {
        let mut open = hex("ffffffff 0040 0001 00000001 04d0 04d0");
        assert_eq!(Run::new(udp(50_000, 3389)).client(&open), Verdict::Decided("RDP"));
        assert_eq!(Run::new(udp(50_000, 3388)).client(&open), Verdict::Undecided);
        open.resize(1232, 0);
        assert_eq!(Run::new(udp(50_000, 3388)).client(&open), Verdict::Decided("RDP"));
    }
}
