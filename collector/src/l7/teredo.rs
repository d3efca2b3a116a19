//! Teredo: IPv6 in UDP through address translation (RFC 4380).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const PORT: u16 = 3544;
const IPV6_HEADER: usize = 40;
/// Every client's address begins so.
const PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];

pub(super) static TEREDO: Dissector = Dissector {
    name: "Teredo",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0 || byte >> 4 == 6,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(packet) = packet(bytes) else {
        return Probe::No;
    };
    let length = be16(packet, 4).map(|length| usize::from(length) + IPV6_HEADER);
    let whole = packet.first().is_some_and(|byte| byte >> 4 == 6) && length == Some(packet.len());
    let own = [8, 24].iter().any(|at| packet.get(*at..).is_some_and(|address| address.starts_with(&PREFIX)));
    if whole && (own || cx.has_port(PORT)) { Probe::Certain } else { Probe::No }
}

/// The packet behind the indications of who sent it (RFC 4380 §5.1.1).
fn packet(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    if let [0, 1, client, secret, ..] = rest {
        rest = rest.get(4 + usize::from(*client) + usize::from(*secret) + 9..)?;
    }
    if rest.starts_with(&[0, 0]) {
        rest = rest.get(8..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the specification; tshark reads it so: an empty packet from a client.
    const BUBBLE: &str =
        "60000000 0000 3b ff 20010000c00002010000f0f0f0f0f0f0 ff020000000000000000000000000002";

    #[test]
    fn packets_with_and_without_indications() {
        let mut bubble = hex(BUBBLE);
        bubble.truncate(40);
        assert_eq!(Run::new(udp(40_000, 40_001)).client(&bubble), Verdict::Decided("Teredo"));
        let marked = [&hex("0001 0000 0102030405060708 00 0000 1234 c0000201")[..], &bubble].concat();
        assert_eq!(Run::new(udp(40_000, 3544)).client(&marked), Verdict::Decided("Teredo"));
        for cut in 1..bubble.len() {
            assert_eq!(Run::new(udp(40_000, 3544)).client(&bubble[..cut]), Verdict::Undecided);
        }
    }
}
