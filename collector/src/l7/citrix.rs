//! Citrix ICA and the Common Gateway Protocol around it, by their greetings (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static CITRIX: Dissector = Dissector {
    name: "Citrix",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x7f | 0x1a),
    ports: &[(L4::TCP, 1494), (L4::TCP, 2598)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let greets = bytes.starts_with(b"\x7f\x7fICA\0") || bytes.starts_with(b"\x1aCGP/01");
    if greets { Probe::Certain } else { Probe::No }
}

// The greetings are real.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn greetings() {
        assert_eq!(Run::new(tcp(50_000, 9999)).server(b"\x7f\x7fICA\0"), Verdict::Decided("Citrix"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(b"\x1aCGP/01\x00"), Verdict::Decided("Citrix"));
        assert_eq!(Run::new(tcp(50_000, 1494)).server(b"\x7f\x7fICA"), Verdict::Undecided);
    }
}
