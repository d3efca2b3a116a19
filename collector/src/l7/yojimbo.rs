//! Yojimbo and others on netcode (mas-bandwidth/netcode, STANDARD.md).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, Probe, name_only};

pub(super) static YOJIMBO: Dissector = Dissector {
    name: "Yojimbo",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[],
    probe: |bytes, _| {
        let request = bytes.get(1..).is_some_and(|rest| rest.starts_with(b"NETCODE 1.0"));
        if request { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// A request put together after the standard.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn a_request_names_its_version() {
        let request = [&[0][..], b"NETCODE 1.02\0", &[0; 20]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&request), Verdict::Decided("Yojimbo"));
    }
}
