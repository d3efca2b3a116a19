//! KNXnet/IP (ISO 22510) over UDP and TCP.

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

/// Length of the header, version 1.0.
const START: u16 = 0x0610;

pub(super) static KNX: Dissector = Dissector {
    name: "KNXnet_IP",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 6,
    ports: &[(L4::UDP, 3671), (L4::TCP, 3671)],
    probe,
    dissect: name_only,
};

fn frame(bytes: &[u8]) -> Option<usize> {
    // Core, device management, tunnelling, routing, remote logging, diagnosis, secure.
    let known = matches!(
        be16(bytes, 2)?,
        0x0201..=0x020c | 0x0310 | 0x0311 | 0x0420..=0x0425 | 0x0530..=0x0533 | 0x0600..=0x0603 | 0x0740..=0x0743
            | 0x0950..=0x0956
    );
    let length = usize::from(be16(bytes, 4)?);
    (be16(bytes, 0)? == START && known && length > 6).then_some(length)
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match walk(bytes, frame) {
        Fit::Whole => Probe::Certain,
        Fit::Cut if cx.l4 == L4::TCP => Probe::Certain,
        _ => Probe::No,
    }
}

// A search request and a disconnection as the standard lays them out.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn frames_fill_the_payload() {
        let search = hex("06100201000e 0801 c0000201 e57a");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&search), Verdict::Decided("KNXnet_IP"));
        assert_eq!(Run::new(udp(50_000, 3671)).client(&search[..13]), Verdict::Undecided);
        let two = hex("06100423000e040102000600108706100425000e0401030006001087");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&two), Verdict::Decided("KNXnet_IP"));
        assert_eq!(
            Run::new(udp(50_000, 3671)).client(&hex("06100200000e 0801 c0000201 e57a")),
            Verdict::Undecided
        );
    }
}
