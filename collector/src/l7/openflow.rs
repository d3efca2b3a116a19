//! OpenFlow between switches and controllers (Open Networking Foundation, "OpenFlow Switch Specification").

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static OPENFLOW: Dissector = Dissector {
    name: "OpenFlow",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 1..=6),
    ports: &[(L4::TCP, 6653), (L4::TCP, 6633)],
    probe,
    dissect: name_only,
};

const MAX_KIND: u8 = 35;

/// Version, kind, length, number.
fn message(bytes: &[u8]) -> Option<usize> {
    let [1..=6, 0..=MAX_KIND, ..] = bytes else { return None };
    be16(bytes, 2).map(usize::from).filter(|length| *length >= 8)
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let fit = walk(bytes, message);
    let element = be16(bytes, 8);
    let at_home = cx.has_port(6653) || cx.has_port(6633);
    match bytes {
        // A hello, bare or with the versions that are spoken.
        [4..=6, 0, 0, 16, ..] if fit != Fit::No && element == Some(1) => Probe::Certain,
        // TPKT and others have the same shape, so elsewhere nothing but a hello will do.
        _ if fit == Fit::Whole && at_home => Probe::Maybe,
        _ => Probe::No,
    }
}

// Hellos put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn hellos() {
        let hello = hex("04 00 0010 00000001 0001 0008 00000012");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hello), Verdict::Decided("OpenFlow"));
        let bare = hex("01 00 0008 00000001");
        assert_eq!(Run::new(tcp(50_000, 6653)).client(&bare), Verdict::Decided("OpenFlow"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&bare), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 6653)).client(&hello[..15]), Verdict::Undecided);
    }
}
