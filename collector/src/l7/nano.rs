//! Nodes of the crypto currency Nano (docs.nano.org, "Network protocol").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static NANO: Dissector = Dissector {
    name: "NANO",
    category: AppCategory::CryptoCurrency,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == b'R',
    ports: &[(L4::TCP, 7075), (L4::UDP, 7075)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Network, the greatest version, the one in use, the least one, what it is, and bits of it.
    let &[b'R', b'A'..=b'C' | b'X', most, using, least, 2..=15, _, extensions, ..] = bytes else {
        return Probe::No;
    };
    let versions = (0x0d..=0x40).contains(&most) && least <= using && using <= most;
    if versions && extensions < 0x20 { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn nodes_say_their_versions() {
        let mut handshake = hex("5243 15 15 12 0a 0100");
        handshake.extend([0x5a; 32]);
        assert_eq!(Run::new(tcp(50_000, 7075)).client(&handshake), Verdict::Decided("NANO"));
        handshake[4] = 0x16;
        assert_eq!(Run::new(tcp(50_000, 7075)).client(&handshake), Verdict::Undecided);
    }
}
