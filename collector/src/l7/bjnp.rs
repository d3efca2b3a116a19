//! Canon's printers and scanners (BJNP, as CUPS' and SANE's drivers speak it).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Printers, scanners, and machines of several functions.
const MAGICS: [&[u8]; 3] = [b"BJNP", b"BJNB", b"MFNP"];

pub(super) static BJNP: Dissector = Dissector {
    name: "BJNP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'B' | b'M'),
    ports: &[(L4::UDP, 8611), (L4::UDP, 8612)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let known = MAGICS.iter().any(|magic| bytes.starts_with(magic)) && bytes.len() >= 16;
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn magic_and_a_head() {
        // Composed after the drivers.
        let printer = hex("424a4e50 01 01 0000 0001 0000 00000000");
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&printer), Verdict::Decided("BJNP"));
        assert_eq!(Run::new(udp(50_000, 8611)).client(&printer[..15]), Verdict::Undecided);
    }
}
