//! Whose turn it is in a conference (BFCP, RFC 8855 §5).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const HEADER: usize = 12;

/// Length of an attribute, padded: type, length, value.
fn attribute(bytes: &[u8]) -> Option<usize> {
    let [kind, length] = *bytes.first_chunk()?;
    ((1..=18).contains(&(kind >> 1)) && length >= 2).then(|| usize::from(length).next_multiple_of(4))
}

pub(super) static BFCP: Dissector = Dissector {
    name: "BFCP",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte & 0xf7, 0x20 | 0x30 | 0x40 | 0x50),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(&[first, primitive]), Some(words)) = (bytes.first_chunk(), be16(bytes, 2)) else {
        return Probe::No;
    };
    // Version 1 goes over TCP, version 2 over UDP.
    let version = if cx.l4 == L4::UDP { 2 } else { 1 };
    let whole = usize::from(words) * 4 + HEADER == bytes.len();
    if first >> 5 != version || !(1..=18).contains(&primitive) || !whole {
        return Probe::No;
    }
    let attributes = bytes.get(HEADER..).unwrap_or_default();
    match walk(attributes, attribute) {
        Fit::Whole => Probe::Certain,
        // A hello has none, and little to tell it by.
        _ if words == 0 && matches!(primitive, 11 | 12) => Probe::Maybe,
        _ => Probe::No,
    }
}

// Put together after RFC 8855; the attribute of the second has a wrong length.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn attributes_fill_the_message() {
        let request = hex("20 01 0001 00000001 0001 0002 05 04 0003");
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&request), Verdict::Decided("BFCP"));
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&request), Verdict::Undecided);
        let status = hex("50 04 0002 00000001 0001 0002 07 0a 00010203 0000");
        assert_eq!(Run::new(udp(50_000, 50_001)).server(&status), Verdict::Undecided);
        let mut hello = Run::new(udp(50_000, 50_001));
        assert_eq!(hello.client(&hex("40 0b 0000 00000001 0001 0002")), Verdict::Undecided);
        assert_eq!(hello.server(&hex("50 0c 0000 00000001 0001 0002")), Verdict::Decided("BFCP"));
    }
}
