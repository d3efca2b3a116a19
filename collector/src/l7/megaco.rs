//! Megaco, H.248, in its text form (RFC 3525).

use shared::model::{AppCategory, Breed, L4};

use super::text::starts;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static MEGACO: Dissector = Dissector {
    name: "Megaco",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'!' | b'M' | b'm'),
    ports: &[(L4::UDP, 2944), (L4::TCP, 2944)],
    probe,
    dissect: name_only,
};

/// The version, and a sender in brackets or angles.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(rest) =
        bytes.strip_prefix(b"!/").or_else(|| starts(bytes, b"MEGACO/").then(|| bytes.get(7..)).flatten())
    else {
        return Probe::No;
    };
    match rest {
        [b'1'..=b'3', b' ' | b'\r' | b'\n', b'[' | b'<' | b'\n', ..] => Probe::Certain,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn a_message_names_its_sender() {
        // After the RFC's examples.
        let message = b"!/1 [192.0.2.1]:2944 T=1{";
        assert_eq!(Run::new(udp(50_000, 12_944)).client(message), Verdict::Decided("Megaco"));
        assert_eq!(Run::new(udp(50_000, 2944)).client(b"!/4 [192.0.2.1]"), Verdict::Undecided);
    }
}
