//! L2TP versions 2 and 3 over UDP (RFC 2661, RFC 3931).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const PORT: u16 = 1701;
/// Bits of the first word: control message, length present, sequence present.
const CONTROL: u16 = 0x8000;
const LENGTH: u16 = 0x4000;
const SEQUENCE: u16 = 0x0800;
const RESERVED: u16 = 0x34f0;

pub(super) static L2TP: Dissector = Dissector {
    name: "L2TP",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: super::any_byte,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(flags) = be16(bytes, 0) else {
        return Probe::No;
    };
    if flags & RESERVED != 0 || !matches!(flags & 0xf, 2 | 3) {
        return Probe::No;
    }
    let whole = be16(bytes, 2).map(usize::from) == Some(bytes.len());
    if flags & CONTROL != 0 {
        let kind = flags & (LENGTH | SEQUENCE) == LENGTH | SEQUENCE && flags & 0x0300 == 0;
        // A message kind begins the list of attributes, whose flag bits are mandatory.
        let listed =
            bytes.len() == 12 || bytes.get(12..18).is_some_and(|avp| avp.starts_with(&[0x80, 8, 0, 0, 0, 0]));
        return match (kind && whole && listed, bytes.len() == 12) {
            (true, false) => Probe::Certain,
            (true, true) => Probe::Maybe,
            _ => Probe::No,
        };
    }
    // Data counts on the port.
    let fits = flags & LENGTH == 0 || whole;
    if fits && bytes.len() > 8 && cx.has_port(PORT) { Probe::Maybe } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the specification; tshark reads it so: a connection asked for.
    const ASKED: &str = "c802 001a 0000 0000 0000 0000 8008 0000 0000 0001 8006 0000 0002";

    #[test]
    fn control_messages_are_known_anywhere_and_data_on_the_port() {
        let asked = hex(ASKED);
        assert_eq!(Run::new(udp(40_000, 11_701)).client(&asked), Verdict::Decided("L2TP"));
        for cut in 1..asked.len() {
            assert_eq!(Run::new(udp(40_000, 1701)).client(&asked[..cut]), Verdict::Undecided);
        }
        let data = hex("0002 0001 0002 ff03 c021 0101 0004");
        assert_eq!(Run::new(udp(40_000, 1701)).client(&data), Verdict::Decided("L2TP"));
        assert_eq!(Run::new(udp(40_000, 1702)).client(&data), Verdict::Undecided);
    }
}
