//! WireGuard (its white paper, §5.4).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

pub(super) static WIREGUARD: Dissector = Dissector {
    name: "WireGuard",
    category: AppCategory::Vpn,
    breed: Breed::Safe,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 1..=4),
    ports: &[(L4::UDP, 51_820)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Three reserved bytes follow the kind.
    match (le32(bytes, 0), bytes.len()) {
        (Some(1), 148) | (Some(2), 92) | (Some(3), 64) if le32(bytes, 4) != Some(0) => Probe::Certain,
        // Receiver, a counter that no tunnel lives to see the top of, blocks of 16 and a tag.
        (Some(4), 32..)
            if bytes.len().is_multiple_of(16) && le32(bytes, 12).is_some_and(|high| high < 1 << 8) =>
        {
            Probe::Maybe
        }
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let mut message = vec![0x5a; length];
        message[..4].copy_from_slice(&[kind, 0, 0, 0]);
        message
    }

    #[test]
    fn handshakes_have_their_lengths() {
        for (kind, length) in [(1, 148), (2, 92), (3, 64)] {
            assert_eq!(
                Run::new(udp(40_000, 40_001)).client(&message(kind, length)),
                Verdict::Decided("WireGuard")
            );
            assert_eq!(Run::new(udp(40_000, 51_820)).client(&message(kind, length - 1)), Verdict::Undecided);
        }
    }

    #[test]
    fn data_needs_the_port_or_both_sides() {
        let mut data = message(4, 64);
        data[8..16].copy_from_slice(&7_u64.to_le_bytes());
        assert_eq!(Run::new(udp(40_000, 51_820)).client(&data), Verdict::Decided("WireGuard"));
        let mut run = Run::new(udp(40_000, 40_001));
        assert_eq!(run.client(&data), Verdict::Undecided);
        assert_eq!(run.server(&data), Verdict::Decided("WireGuard"));
        assert_eq!(Run::new(udp(40_000, 51_820)).client(&message(4, 64)), Verdict::Undecided);
    }
}
