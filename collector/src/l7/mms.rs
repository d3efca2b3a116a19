//! IEC 61850's MMS (ISO 9506 over ISO 8327 and ISO 8823) over ISO transport.

use shared::model::{AppCategory, Breed, L4};

use super::cotp::data;
use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static MMS: Dissector = Dissector {
    name: "ISO9506-1-MMS",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 3,
    ports: &[(L4::TCP, 102)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match data(bytes) {
        // Connect and accept name the abstract syntax, 1.0.9506.2.
        Some(session @ [0x0d | 0x0e, ..]) if has(session, &[0x28, 0xca, 0x22, 0x02]) => Probe::Certain,
        // Give tokens, data transfer, presentation data.
        Some([1, 0, 1, 0, 0x61, _, ..]) => Probe::Certain,
        _ => Probe::No,
    }
}

// Put together after the standards.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn mms() {
        let data = hex("0300001602f080 01000100 610d 300b020103a006 020104");
        assert_eq!(Run::new(tcp(50_000, 1102)).client(&data), Verdict::Decided("ISO9506-1-MMS"));
        let connect = hex("0300001a02f080 0d0d 050613 0601 28ca220201 020102 00");
        assert_eq!(Run::new(tcp(50_000, 1102)).client(&connect), Verdict::Decided("ISO9506-1-MMS"));
        assert_eq!(Run::new(tcp(50_000, 102)).client(&hex("0300000b02f080 0d0d0506")), Verdict::Undecided);
    }
}
