//! Siemens' S7comm and S7comm-plus over ISO transport (Wireshark's descriptions).

use shared::model::{AppCategory, Breed, L4};

use super::cotp::data;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static S7COMM: Dissector = Dissector {
    name: "S7Comm",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe,
    dissect: name_only,
};

pub(super) static S7COMM_PLUS: Dissector = Dissector {
    name: "S7CommPlus",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe: probe_plus,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        // Job, acknowledgement, the same with data, user data; two reserved bytes.
        Some([0x32, 1..=3 | 7, 0, 0, _, _, _, _, _, _, ..]) => Probe::Certain,
        _ => Probe::No,
    }
}

fn probe_plus(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        Some([0x72, 1..=3 | 0xfe | 0xff, high, low, rest @ ..]) => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length <= rest.len() || bytes.len() > 1000 { Probe::Certain } else { Probe::No }
        }
        _ => Probe::No,
    }
}

// S7comm was recorded between python-snap7's client and server; S7comm-plus is put together after the
// description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn s7() {
        let mut run = Run::new(tcp(50_000, 1102));
        assert_eq!(run.client(&hex("0300001611e00000000100c0020100c1020100c2020101")), Verdict::Undecided);
        let setup = hex("0300001902f08032010000000100080000f0000001000101e0");
        assert_eq!(run.client(&setup), Verdict::Decided("S7Comm"));
        let answer = hex("0300001b02f080320300000001000800000000f0000001000101e0");
        assert_eq!(Run::new(tcp(50_000, 1102)).server(&answer), Verdict::Decided("S7Comm"));
        assert_eq!(Run::new(tcp(50_000, 102)).client(&setup[..16]), Verdict::Undecided);
    }

    #[test]
    fn s7_plus() {
        let hello = hex("0300000f 02f080 72 01 0004 31000004 ");
        assert_eq!(Run::new(tcp(50_000, 1102)).client(&hello), Verdict::Decided("S7CommPlus"));
        assert_eq!(
            Run::new(tcp(50_000, 102)).client(&hex("0300000f 02f080 72 09 0004 31000004")),
            Verdict::Undecided
        );
    }
}
