//! Checkmk's agent (Checkmk manual, "Monitoring agents").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, name_only};

pub(super) static CHECKMK: Dissector = Dissector {
    name: "CHECKMK",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'<',
    ports: &[(L4::TCP, 6556)],
    probe: |bytes, _| {
        let sections = bytes.starts_with(b"<<<check_mk>>>") || bytes.starts_with(b"<<<uptime>>>");
        if sections { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// A start as the manual has it.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn sections() {
        let agent = b"<<<check_mk>>>\nVersion: 2.1.0\n";
        assert_eq!(Run::new(tcp(50_000, 9999)).server(agent), Verdict::Decided("CHECKMK"));
        assert_eq!(Run::new(tcp(50_000, 6556)).server(b"<<<check"), Verdict::Undecided);
    }
}
