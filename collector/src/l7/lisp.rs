//! LISP's control messages and packets (RFC 9300, RFC 9301).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const DATA_PORT: u16 = 4341;
const CONTROL_PORT: u16 = 4342;

pub(super) static LISP: Dissector = Dissector {
    name: "LISP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::UDP, DATA_PORT), (L4::UDP, CONTROL_PORT), (L4::TCP, CONTROL_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some((kind, inner)) = bytes.first().map(|byte| byte >> 4).zip(bytes.get(8)) else {
        return Probe::No;
    };
    if cx.l4 == L4::TCP {
        return reliable(bytes, cx);
    }
    let known = if cx.has_port(CONTROL_PORT) {
        // Request, reply, register, notify, acknowledgement, referral, information; or one inside.
        matches!(kind, 1..=7 if bytes.len() >= 16)
            || (kind == 8 && bytes.len() >= 24 && matches!(inner >> 4, 4 | 6))
    } else {
        // Behind eight bytes there is a packet.
        cx.has_port(DATA_PORT) && bytes.len() >= 28 && matches!(inner >> 4, 4 | 6)
    };
    if known { Probe::Certain } else { Probe::No }
}

/// Reliable transport (draft-ietf-lisp-map-server-reliable-transport): kind, length, and an end marker.
fn reliable(bytes: &[u8], cx: &L7Context) -> Probe {
    let length = super::be16(bytes, 2).map(usize::from);
    let framed = matches!(bytes, [0, 16..=32, ..])
        && length.is_some_and(|length| {
            bytes.get(length - length.min(4)..length) == Some(&[0x9f, 0xac, 0xad, 0xe9])
        });
    if framed && cx.has_port(CONTROL_PORT) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn control_and_data_on_their_ports() {
        let register = hex("30 00 01 01 0011223344556677 0001 0014");
        assert_eq!(Run::new(udp(40_000, 4342)).client(&register), Verdict::Decided("LISP"));
        assert_eq!(Run::new(udp(40_000, 4342)).client(&register[..15]), Verdict::Undecided);
        assert_eq!(Run::new(udp(40_000, 4343)).client(&register), Verdict::Undecided);
        let mut data = hex("0800000000000000 45");
        data.resize(28, 0);
        assert_eq!(Run::new(udp(40_000, 4341)).client(&data), Verdict::Decided("LISP"));
    }
}
