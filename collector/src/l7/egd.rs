//! GE's Ethernet Global Data between controllers (GFK-2224: PDU type 13, version 1).

use shared::model::{AppCategory, Breed, L4};

use super::frames::zeros;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

const HEADER: usize = 32;

pub(super) static EGD: Dissector = Dissector {
    name: "EGD",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x0d,
    ports: &[(L4::UDP, 18_246), (L4::UDP, 7937)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let data = bytes.starts_with(&[0x0d, 1]) && bytes.len() >= HEADER && zeros(bytes, 28..HEADER);
    if data && cx.has_port(18_246) { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn data_are_produced() {
        let mut data = hex("0d01 0100 c0000201 01000000 5c2a6b65 00000000 01000000 00000000 00000000");
        data.extend([7; 16]);
        assert_eq!(Run::new(udp(50_000, 18_246)).client(&data), Verdict::Decided("EGD"));
        assert_eq!(Run::new(udp(50_000, 18_246)).client(&data[..31]), Verdict::Undecided);
    }
}
