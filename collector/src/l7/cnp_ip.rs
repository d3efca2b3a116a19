//! Control networks over IP (CNP/IP, ANSI/CEA-852 §8: LonWorks).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static CNP_IP: Dissector = Dissector {
    name: "CNP-IP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte < 8,
    ports: &[(L4::UDP, 1628), (L4::UDP, 1629), (L4::TCP, 1628), (L4::TCP, 1629)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Length of all, version 1, kind, more header, flags, vendor, session, sequence, time.
    let whole = be16(bytes, 0).is_some_and(|length| usize::from(length) == bytes.len());
    let sane = bytes.len() >= 20 && bytes.get(2) == Some(&1) && bytes.get(4) == Some(&0);
    let at_home = cx.has_port(1628) || cx.has_port(1629);
    if whole && sane && at_home { Probe::Certain } else { Probe::No }
}

// Put together after the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn packets_say_their_length() {
        let data = hex("0018 01 01 00 20 0000 00000001 00000002 00000003 01020304");
        assert_eq!(Run::new(udp(1628, 1628)).client(&data), Verdict::Decided("CNP-IP"));
        assert_eq!(Run::new(udp(1628, 1628)).client(&data[..23]), Verdict::Undecided);
    }
}
