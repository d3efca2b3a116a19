//! H.323 telephony: call signalling (H.225.0 over Q.931 in TPKT) and registration (RAS over UDP).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, be16, name_only};

const RAS_PORT: u16 = 1719;
/// The protocol's object identifier, but for its version: itu-t(0) recommendation(0) h(8) 2250 version(0).
const OBJECT: [u8; 5] = [0x00, 0x08, 0x91, 0x4a, 0x00];

pub(super) static H323: Dissector = Dissector {
    name: "H323",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::TCP, 1720), (L4::UDP, RAS_PORT), (L4::UDP, 1718)],
    probe: |bytes, cx| {
        let known = if cx.l4 == L4::UDP { registration(bytes) } else { signalling(bytes) };
        if known { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

fn signalling(bytes: &[u8]) -> bool {
    // TPKT, then Q.931: its discriminator, a call reference of two bytes, a kind of message.
    let &[3, 0, _, _, 8, 2, _, _, kind, ..] = bytes else {
        return false;
    };
    let length = be16(bytes, 2).map(usize::from);
    let whole = length.is_some_and(|length| length >= 9 && length <= bytes.len().max(1460));
    whole && matches!(kind, 0x01..=0x03 | 0x05 | 0x07 | 0x0d | 0x0f | 0x5a | 0x62 | 0x6e | 0x75 | 0x7b | 0x7d)
}

/// Requests and confirmations name the protocol near their beginning.
fn registration(bytes: &[u8]) -> bool {
    let head = bytes.get(..20).unwrap_or(bytes);
    head.windows(OBJECT.len()).any(|window| window == OBJECT)
        && bytes.first().is_some_and(|kind| kind & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    /// Composed by hand after ITU-T H.225.0 and Q.931: nothing that was recorded.
    #[test]
    fn calls_are_set_up() {
        let setup = hex("0300000c 08 02 0001 05 04 03 88");
        assert_eq!(Run::new(tcp(50_000, 11_720)).client(&setup), Verdict::Decided("H323"));
        assert_eq!(
            Run::new(tcp(50_000, 1720)).client(&hex("0300000c 08 02 0001 44 04 03 88")),
            Verdict::Undecided
        );
        assert_eq!(Run::new(tcp(50_000, 1720)).client(&hex("0300000b06e00000000000")), Verdict::Undecided);
    }

    #[test]
    fn gatekeepers_are_asked() {
        let request = hex("00 01 0000 06 0008914a0004 0000");
        assert_eq!(Run::new(udp(50_000, 1719)).client(&request), Verdict::Decided("H323"));
        assert_eq!(
            Run::new(udp(50_000, 1719)).client(&hex("00 01 0000 06 0008914b0004 0000")),
            Verdict::Undecided
        );
    }
}
