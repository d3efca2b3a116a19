//! PROFINET IO's context manager (IEC 61158-6-10): connectionless DCE RPC with interfaces of its own.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, le32, name_only};

/// Where the interface is named.
const INTERFACE: usize = 24;
/// All interfaces are DEA0000x-6C97-11D1-8271-00A02442DF7D.
const FIRST: u32 = 0xdea0_0001;
const LAST: u32 = 0xdea0_0005;
const NODE: &[u8] = &[0x82, 0x71, 0x00, 0xa0, 0x24, 0x42, 0xdf, 0x7d];

pub(super) static PROFINET_IO: Dissector = Dissector {
    name: "PROFINET_IO",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 4,
    ports: &[(L4::UDP, 34_964)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let [4, 0..=10, _, _, order, ..] = bytes else { return Probe::No };
    let word = if order & 0x10 == 0 { be32 } else { le32 };
    let interface = word(bytes, INTERFACE).is_some_and(|head| (FIRST..=LAST).contains(&head));
    let node = bytes.get(INTERFACE + 8..).is_some_and(|rest| rest.starts_with(NODE));
    if interface && node { Probe::Certain } else { Probe::No }
}

// Bytes put together after the standard.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn the_interface_in_both_byte_orders() {
        let start = |order: &str| [hex("04002000"), hex(order), hex("000000"), vec![0; 16]].concat();
        let big = [&start("00")[..], &hex("dea00001 6c97 11d1"), NODE].concat();
        let little = [&start("10")[..], &hex("0100a0de 976c d111"), NODE].concat();
        for call in [&big, &little] {
            assert_eq!(Run::new(udp(50_000, 50_001)).client(call), Verdict::Decided("PROFINET_IO"));
            assert_ne!(Run::new(udp(50_000, 34_964)).client(&call[..39]), Verdict::Decided("PROFINET_IO"));
        }
        let mixed = [&start("10")[..], &hex("dea00001 6c97 11d1"), NODE].concat();
        assert_ne!(Run::new(udp(50_000, 34_964)).client(&mixed), Verdict::Decided("PROFINET_IO"));
    }
}
