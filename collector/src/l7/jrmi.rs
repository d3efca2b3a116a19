//! Java's remote calls, JRMP (Java Remote Method Invocation Specification §10.2).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static JRMI: Dissector = Dissector {
    name: "JRMI",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'J',
    ports: &[(L4::TCP, 1099)],
    probe,
    dissect: name_only,
};

/// Magic, version, and how it goes on.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match bytes {
        [b'J', b'R', b'M', b'I', 0, 1 | 2, 0x4b..=0x4d, ..] => Probe::Certain,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_stream_begins() {
        // Composed after the specification.
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(b"JRMI\x00\x02\x4b"), Verdict::Decided("JRMI"));
        assert_eq!(Run::new(tcp(50_000, 1099)).client(b"JRMI\x00\x02"), Verdict::Undecided);
    }
}
