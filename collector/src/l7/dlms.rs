//! DLMS/COSEM of smart meters in its wrapper for IP (IEC 62056-4-7).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static DLMS: Dissector = Dissector {
    name: "IEC62056",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 4059), (L4::UDP, 4059)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Version, source, destination, length, then what is asked or answered.
    let fits = be16(bytes, 6).is_some_and(|length| length > 0 && usize::from(length) + 8 == bytes.len());
    let known = bytes.get(8).is_some_and(|tag| matches!(tag, 0x0f | 0x60..=0x63 | 0xc0..=0xe6));
    match be16(bytes, 0) {
        Some(1) if fits && known && cx.has_port(4059) => Probe::Certain,
        Some(1) if fits && known => Probe::Maybe,
        _ => Probe::No,
    }
}

// A request put together after the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let get = hex("0001 0001 0001 000d c001 c1 0001 0000010000ff 02 00");
        assert_eq!(Run::new(tcp(50_000, 4059)).client(&get), Verdict::Decided("IEC62056"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&get), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 4059)).client(&get[..20]), Verdict::Undecided);
    }
}
