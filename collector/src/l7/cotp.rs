//! What runs over ISO transport on TCP (RFC 1006, X.224): Siemens' S7comm and S7comm-plus (Wireshark's
//! descriptions) and IEC 61850's MMS (ISO 9506 over ISO 8327 and ISO 8823).

use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static S7COMM: Dissector = Dissector {
    name: "S7Comm",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe: probe_s7,
    dissect: name_only,
};

pub(super) static S7COMM_PLUS: Dissector = Dissector {
    name: "S7CommPlus",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe: probe_s7_plus,
    dissect: name_only,
};

pub(super) static MMS: Dissector = Dissector {
    name: "ISO9506-1-MMS",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe: probe_mms,
    dissect: name_only,
};

/// What a data packet carries.
fn data(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(be16(bytes, 2)?);
    // Of what TCP cut apart the beginning is enough.
    let packet = if length <= bytes.len() { bytes.get(..length)? } else { bytes };
    let [3, 0, _, _, 2, 0xf0, 0 | 0x80, rest @ ..] = packet else { return None };
    Some(rest)
}

fn probe_s7(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        // Job, acknowledgement, the same with data, user data; two reserved bytes.
        Some([0x32, 1..=3 | 7, 0, 0, _, _, _, _, _, _, ..]) => Probe::Certain,
        _ => Probe::No,
    }
}

fn probe_s7_plus(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        Some([0x72, 1..=3 | 0xfe | 0xff, high, low, rest @ ..]) => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length <= rest.len() || bytes.len() > 1000 { Probe::Certain } else { Probe::No }
        }
        _ => Probe::No,
    }
}

fn probe_mms(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        // Connect and accept name the abstract syntax, 1.0.9506.2.
        Some(session @ [0x0d | 0x0e, ..]) if has(session, &[0x28, 0xca, 0x22, 0x02]) => Probe::Certain,
        // Give tokens, data transfer, presentation data.
        Some([1, 0, 1, 0, 0x61, _, ..]) => Probe::Certain,
        _ => Probe::No,
    }
}

// S7comm was recorded between python-snap7's client and server; the others are put together after the
// descriptions.
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

    #[test]
    fn mms() {
        let data = hex("0300001602f080 01000100 610d 300b020103a006 020104");
        assert_eq!(Run::new(tcp(50_000, 1102)).client(&data), Verdict::Decided("ISO9506-1-MMS"));
        let connect = hex("0300001a02f080 0d0d 050613 0601 28ca220201 020102 00");
        assert_eq!(Run::new(tcp(50_000, 1102)).client(&connect), Verdict::Decided("ISO9506-1-MMS"));
        assert_eq!(Run::new(tcp(50_000, 102)).client(&hex("0300000b02f080 0d0d0506")), Verdict::Undecided);
    }
}
