//! Medical images: DICOM by its associations (DICOM PS3.8 §9.3).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static DICOM: Dissector = Dissector {
    name: "DICOM",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 1 | 2),
    ports: &[(L4::TCP, 11_112)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // An association asked for or accepted: length, version, and titles of sixteen letters each.
    let length = be32(bytes, 2).and_then(|length| usize::try_from(length).ok());
    let whole = length.is_some_and(|length| length >= 68 && length + 6 >= bytes.len());
    let titles =
        bytes.get(10..42).is_some_and(|titles| titles.iter().all(|letter| matches!(letter, b' '..=b'~')));
    let known = whole && titles && be16(bytes, 6) == Some(1) && bytes.get(1) == Some(&0);
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn an_association_is_asked_for() {
        // Composed after the standard.
        let mut associate = hex("01 00 000000cd 0001 0000");
        associate.extend([b' '; 32]);
        associate.resize(211, 0);
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&associate), Verdict::Decided("DICOM"));
        associate.push(0);
        assert_eq!(Run::new(tcp(50_000, 11_112)).client(&associate), Verdict::Undecided);
    }
}
