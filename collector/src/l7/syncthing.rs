//! Syncthing's search on the local network (its "Local Discovery Protocol v4").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, be32, name_only};

const MAGIC: u32 = 0x2ea7_d90b;

pub(super) static SYNCTHING: Dissector = Dissector {
    name: "Syncthing",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x2e,
    ports: &[(L4::UDP, 21_027)],
    probe: |bytes, _| match be32(bytes, 0) {
        // Then a message whose first field is the device's identifier of 32 bytes.
        Some(MAGIC) if bytes.get(4..6).is_none_or(|head| head == [0x0a, 0x20]) => Probe::Certain,
        _ => Probe::No,
    },
    dissect: name_only,
};

// An announcement put together after the document.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn syncthing() {
        let hello = [&hex("2ea7d90b 0a20")[..], &[9; 32]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("Syncthing"));
        assert_eq!(Run::new(udp(50_000, 21_027)).client(&hello[1..]), Verdict::Undecided);
    }
}
