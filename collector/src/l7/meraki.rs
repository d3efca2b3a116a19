//! The tunnel of Cisco Meraki's devices to their cloud (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static MERAKI: Dissector = Dissector {
    name: "MerakiCloud",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xfe,
    ports: &[(L4::UDP, 7351)],
    probe,
    dissect: name_only,
};

const MAGIC: u32 = 0xfef7_2891;

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = be16(bytes, 6).map(usize::from) == Some(bytes.len());
    if be32(bytes, 0) == Some(MAGIC) && fits { Probe::Certain } else { Probe::No }
}

// The start is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn magic_and_length() {
        let bytes = hex("fef72891 0d01 0010 0102030405060708");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&bytes), Verdict::Decided("MerakiCloud"));
        assert_eq!(Run::new(udp(50_000, 7351)).client(&bytes[..15]), Verdict::Undecided);
    }
}
