//! Among Us by Hazel's hello (its community's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, le32, name_only};

pub(super) static AMONG_US: Dissector = Dissector {
    name: "AmongUs",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 8,
    ports: &[(L4::UDP, 22_023)],
    probe: probe_among_us,
    dissect: name_only,
};

/// Hazel's hello: the first number, its version, the game's broadcast version.
fn probe_among_us(bytes: &[u8], _: &L7Context) -> Probe {
    let hello = bytes.starts_with(&[8]) && be16(bytes, 1) == Some(1) && bytes.get(3) == Some(&0);
    let version = le32(bytes, 4).is_some_and(|version| (50_000_000..54_000_000).contains(&version));
    if hello && version { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn among_us() {
        let hello = hex("08 0001 00 80d90203 03 616263");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("AmongUs"));
        assert_eq!(Run::new(udp(50_000, 22_023)).client(&hello[..7]), Verdict::Undecided);
    }
}
