//! CORBA's GIOP and its forms (OMG, "CORBA/IIOP" chapter 9).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static CORBA: Dissector = Dissector {
    name: "Corba",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'G' | b'Z' | b'M'),
    ports: &[(L4::TCP, 683), (L4::TCP, 2809)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version, byte order and fragments, kind of message; over multicast the header is another one.
    match bytes {
        [b'G' | b'Z', b'I', b'O', b'P', 1, 0..=3, 0..=7, 0..=7, ..] => Probe::Certain,
        [b'M', b'I', b'O', b'P', 0x10, ..] => Probe::Certain,
        _ => Probe::No,
    }
}

// A header of the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn header() {
        let ask = hex("47494f50 0102 00 00 00000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("Corba"));
        assert_eq!(Run::new(tcp(50_000, 2809)).client(&ask[..7]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 2809)).client(b"GIOPS"), Verdict::Undecided);
    }
}
