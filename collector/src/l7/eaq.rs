//! EAQ, the measurements that Brazil's agency for telecommunications has made of its providers' networks.
//! There is no specification; the form of probe and echo is read off the wire.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, be16, be32, name_only};

const PORT: u16 = 6000;
const LENGTH: usize = 16;
/// The last word of a probe, and that of its echo.
const WORDS: [u16; 2] = [0x9000, 0x6000];

pub(super) static EAQ: Dissector = Dissector {
    name: "EAQ",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, PORT)],
    probe: |bytes, cx| {
        let frame = bytes.len() == LENGTH && be32(bytes, 0) == Some(0) && be16(bytes, 12) == Some(0);
        let known = be16(bytes, 14).is_some_and(|word| WORDS.contains(&word));
        if frame && known && cx.has_port(PORT) { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // As on the wire, with another number.
    #[test]
    fn a_probe_and_its_echo() {
        let (probe, echo) =
            (hex("00000000 00000dda 00014b08 0000 9000"), hex("00000000 00000dda 00014b08 0000 6000"));
        assert_eq!(Run::new(udp(50_000, 6000)).client(&probe), Verdict::Decided("EAQ"));
        assert_eq!(Run::new(udp(50_000, 6000)).server(&echo), Verdict::Decided("EAQ"));
        assert_eq!(Run::new(udp(50_000, 6001)).client(&probe), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 6000)).client(&probe[..15]), Verdict::Undecided);
    }
}
