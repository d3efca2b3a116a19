//! FINS of Omron's controllers (Omron, "FINS Commands Reference Manual" W227, "Ethernet Units" W421).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Header of a command; its code follows.
const HEADER: usize = 10;

pub(super) static FINS: Dissector = Dissector {
    name: "FINS",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'F' | 0x80 | 0x81 | 0xc0 | 0xc1),
    ports: &[(L4::TCP, 9600), (L4::UDP, 9600)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        return if command(bytes) { Probe::Maybe } else { Probe::No };
    }
    // Length of what follows, command, error.
    let length = be32(bytes, 4).is_some_and(|length| (8..=2100).contains(&length));
    let known = be32(bytes, 8).is_none_or(|command| matches!(command, 0..=3 | 6));
    if bytes.starts_with(b"FINS") && length && known { Probe::Certain } else { Probe::No }
}

/// A command or a response: reserved byte 0, few gateways, networks up to 127, a code that exists.
fn command(bytes: &[u8]) -> bool {
    let [0x80 | 0x81 | 0xc0 | 0xc1, 0, 0..=7, to, _, _, from, ..] = bytes else { return false };
    let code = be16(bytes, HEADER).is_some_and(|code| {
        matches!(code >> 8, 0x01..=0x07 | 0x0c | 0x20..=0x23 | 0x26 | 0x27)
            && code & 0xff <= 0x50
            && code & 0xff > 0
    });
    *to <= 127 && *from <= 127 && code
}

// Bytes put together after the manuals.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn over_tcp_there_is_a_magic() {
        let hello = hex("46494e53 0000000c 00000000 00000000 00000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hello), Verdict::Decided("FINS"));
        assert_eq!(Run::new(tcp(50_000, 9600)).client(b"FINSTERNIS"), Verdict::Undecided);
    }

    #[test]
    fn datagrams_need_the_port_or_both_sides() {
        let read = hex("80000200000000630 0ef 0501 00");
        assert_eq!(Run::new(udp(50_000, 9600)).client(&read), Verdict::Decided("FINS"));
        let mut run = Run::new(udp(50_000, 9999));
        assert_eq!(run.client(&read), Verdict::Undecided);
        assert_eq!(run.server(&hex("c0000200630000000 0ef 0501 0000")), Verdict::Decided("FINS"));
        assert_eq!(Run::new(udp(50_000, 9600)).client(&read[..11]), Verdict::Undecided);
    }
}
