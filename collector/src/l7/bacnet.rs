//! BACnet/IP (ANSI/ASHRAE 135, annex J).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const MARKER: u8 = 0x81;

pub(super) static BACNET: Dissector = Dissector {
    name: "BACnet",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == MARKER,
    ports: &[(L4::UDP, 47_808)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let [MARKER, function, _, _, rest @ ..] = bytes else { return Probe::No };
    if be16(bytes, 2).map(usize::from) != Some(bytes.len()) {
        return Probe::No;
    }
    // The network layer's version, which is 1, and its control byte without the reserved bits.
    let network = |rest: &[u8]| matches!(rest, [1, control, ..] if control & 0x50 == 0);
    let sane = match (function, rest.len()) {
        (9..=11, 3..) => network(rest),
        (4, 9..) => rest.get(6..).is_some_and(network),
        // Result, foreign devices.
        (0, 2) | (5, 2) => return Probe::Maybe,
        (2, 0) | (6, 0) | (8, 6) => return Probe::Maybe,
        (1 | 3, length) if length.is_multiple_of(10) => return Probe::Maybe,
        (7, length) if length.is_multiple_of(10) => return Probe::Maybe,
        _ => false,
    };
    if sane { Probe::Certain } else { Probe::No }
}

// A Who-Is of the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    /// Composed by hand after ASHRAE 135, annex J: nothing that was recorded.
    #[test]
    fn who_is() {
        let who_is = hex("810b000c0120ffff00ff1008");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&who_is), Verdict::Decided("BACnet"));
        assert_eq!(Run::new(udp(50_000, 47_808)).client(&hex("810000060000")), Verdict::Decided("BACnet"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hex("810000060000")), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 47_808)).client(&who_is[..11]), Verdict::Undecided);
        assert_eq!(
            Run::new(udp(50_000, 47_808)).client(&hex("810b000c0220ffff00ff1008")),
            Verdict::Undecided
        );
    }
}
