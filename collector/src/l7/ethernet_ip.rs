//! EtherNet/IP: the encapsulation of CIP and its cyclic data (ODVA's CIP Networks Library, volume 2).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, le16, le32, name_only};

const HEADER: usize = 24;

pub(super) static ETHERNET_IP: Dissector = Dissector {
    name: "EthernetIP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x04 | 0x63..=0x66 | 0x6f | 0x70 | 0x72 | 0x73),
    ports: &[(L4::TCP, 44_818), (L4::UDP, 44_818)],
    probe,
    dissect: name_only,
};

pub(super) static CIP: Dissector = Dissector {
    name: "CIP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 2,
    ports: &[(L4::UDP, 2222)],
    probe: probe_cip,
    dissect: name_only,
};

/// Length of a message: command, length, session, status, the sender's own, options.
fn message(bytes: &[u8]) -> Option<usize> {
    let known = matches!(le16(bytes, 0)?, 0x04 | 0x63..=0x66 | 0x6f | 0x70 | 0x72 | 0x73);
    let sane = matches!(le32(bytes, 8)?, 0..=3 | 0x64 | 0x65 | 0x69) && le32(bytes, 20)? == 0;
    (known && sane).then_some(usize::from(le16(bytes, 2)?) + HEADER)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match walk(bytes, message) {
        // A lone header is mostly zeros.
        Fit::Whole if bytes.len() > HEADER => Probe::Certain,
        Fit::Whole => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Two items: a sequenced address and connected data.
fn probe_cip(bytes: &[u8], _: &L7Context) -> Probe {
    let items = le16(bytes, 0) == Some(2) && le16(bytes, 2) == Some(0x8002) && le16(bytes, 4) == Some(8);
    let data = le16(bytes, 14) == Some(0x00b1);
    let fits = le16(bytes, 16).is_some_and(|length| usize::from(length) + 18 == bytes.len());
    if items && data && fits { Probe::Certain } else { Probe::No }
}

// Encapsulation recorded between cpppo's client and server; cyclic data put together after ODVA.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn sessions() {
        let register = hex("65000400000000000000000000000000000000000000000001000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&register), Verdict::Decided("EthernetIP"));
        let answer = hex("65000400c1bad42e0000000000000000000000000000000001000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&answer), Verdict::Decided("EthernetIP"));
        let list = hex("63000000 00000000 00000000 0000000000000000 00000000");
        assert_eq!(Run::new(udp(50_000, 44_818)).client(&list), Verdict::Decided("EthernetIP"));
        assert_eq!(Run::new(udp(50_000, 44_818)).client(&register[..27]), Verdict::Undecided);
    }

    #[test]
    fn cyclic_data() {
        let data = hex("0200 0280 0800 01020304 05060708 b100 0400 0100 aabb");
        assert_eq!(Run::new(udp(2222, 2222)).client(&data), Verdict::Decided("CIP"));
        assert_eq!(Run::new(udp(2222, 2222)).client(&data[..21]), Verdict::Undecided);
    }
}
