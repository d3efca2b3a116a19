//! Dropbox on the local network (Wireshark's description of LanSync's discovery).

use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, Probe, name_only};

pub(super) static DROPBOX: Dissector = Dissector {
    name: "Dropbox",
    category: AppCategory::Cloud,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == b'{',
    ports: &[(L4::UDP, 17_500)],
    probe: |bytes, _| {
        let ours =
            has(bytes, b"\"host_int\"") && (has(bytes, b"\"namespaces\"") || has(bytes, b"\"version\""));
        if ours { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// An announcement put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn dropbox() {
        let hello =
            br#"{"host_int": 1, "version": [2, 0], "displayname": "", "port": 17500, "namespaces": [7]}"#;
        assert_eq!(Run::new(udp(17_500, 17_500)).client(hello), Verdict::Decided("Dropbox"));
        assert_eq!(Run::new(udp(17_500, 17_500)).client(b"{\"version\": 1}"), Verdict::Undecided);
    }
}
