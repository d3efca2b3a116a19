//! What synchronises files and finds its like on the local network: Dropbox (LanSync as Wireshark describes
//! it), Syncthing (its "Local Discovery Protocol v4").

use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, Probe, be32, name_only};

const SYNCTHING_MAGIC: u32 = 0x2ea7_d90b;

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

pub(super) static SYNCTHING: Dissector = Dissector {
    name: "Syncthing",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x2e,
    ports: &[(L4::UDP, 21_027)],
    probe: |bytes, _| match be32(bytes, 0) {
        // Then a message whose first field is the device's identifier of 32 bytes.
        Some(SYNCTHING_MAGIC) if bytes.get(4..6).is_none_or(|head| head == [0x0a, 0x20]) => Probe::Certain,
        _ => Probe::No,
    },
    dissect: name_only,
};

// Bytes put together after the descriptions.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn dropbox() {
        let hello =
            br#"{"host_int": 1, "version": [2, 0], "displayname": "", "port": 17500, "namespaces": [7]}"#;
        assert_eq!(Run::new(udp(17_500, 17_500)).client(hello), Verdict::Decided("Dropbox"));
        assert_eq!(Run::new(udp(17_500, 17_500)).client(b"{\"version\": 1}"), Verdict::Undecided);
    }

    #[test]
    fn syncthing() {
        let hello = [&hex("2ea7d90b 0a20")[..], &[9; 32]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("Syncthing"));
        assert_eq!(Run::new(udp(50_000, 21_027)).client(&hello[1..]), Verdict::Undecided);
    }
}
