//! Cisco's Skinny Client Control Protocol between telephones and their server (Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, any_byte, le32, name_only};

const PORT: u16 = 2000;

pub(super) static SKINNY: Dissector = Dissector {
    name: "CiscoSkinny",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: any_byte,
    ports: &[(L4::TCP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(length), Some(version), Some(message)) = (le32(bytes, 0), le32(bytes, 4), le32(bytes, 8))
    else {
        return Probe::No;
    };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8));
    // Several messages may share a segment.
    let fits = (4..4096).contains(&length) && end.is_some_and(|end| end <= bytes.len());
    let known = matches!(version, 0 | 10..=24) && (message < 0x0170 || message == 0x8000);
    if fits && known && cx.has_port(PORT) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn a_telephone_is_alive() {
        // Composed after the description.
        let keep_alive = hex("04000000 00000000 00000000");
        assert_eq!(Run::new(tcp(50_000, 2000)).client(&keep_alive), Verdict::Decided("CiscoSkinny"));
        assert_eq!(Run::new(tcp(50_000, 2001)).client(&keep_alive), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 2000)).client(&keep_alive[..11]), Verdict::Undecided);
    }
}
