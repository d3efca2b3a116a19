//! HL7 version 2 in its minimal lower layer (HL7, "MLLP Release 1").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static HL7: Dissector = Dissector {
    name: "HL7",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0x0b,
    ports: &[(L4::TCP, 2575)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // A header segment of a message, a batch or a file, and the separator it declares.
    let header = [&b"\x0bMSH"[..], b"\x0bBHS", b"\x0bFHS"].iter().any(|start| bytes.starts_with(start));
    if header && bytes.get(4).is_some_and(u8::is_ascii_punctuation) { Probe::Certain } else { Probe::No }
}

// A message's start as the standard has it.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_header_starts() {
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"\x0bMSH|^~\\&|A|B"), Verdict::Decided("HL7"));
        assert_eq!(Run::new(tcp(50_000, 2575)).client(b"\x0bMSHA"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 2575)).client(b"\x0bMSH"), Verdict::Undecided);
    }
}
