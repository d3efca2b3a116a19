//! Windows Delivery Optimization between peers (Microsoft, "Delivery Optimization reference": TCP port
//! 7680): both sides greet with the protocol's name behind its length, as BitTorrent's peers do.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, Probe, name_only};

const GREETING: &[u8] = b"\x0eSwarm protocol";

pub(super) static MSDO: Dissector = Dissector {
    name: "MSDO",
    category: AppCategory::SoftwareUpdate,
    breed: Breed::Safe,
    carrier: Carrier::Tcp,
    first: |byte| byte == GREETING[0],
    ports: &[(L4::TCP, 7680)],
    probe: |bytes, _| match bytes.len() < GREETING.len() {
        true if GREETING.starts_with(bytes) => Probe::Maybe,
        _ if bytes.starts_with(GREETING) => Probe::Certain,
        _ => Probe::No,
    },
    dissect: name_only,
};

// A greeting after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn peers_greet_by_name() {
        let greeting = [&b"\x0eSwarm protocol"[..], &[0; 8], &[7; 48]].concat();
        assert_eq!(Run::new(tcp(50_000, 7681)).client(&greeting), Verdict::Decided("MSDO"));
        let mut halves = Run::new(tcp(50_000, 7681));
        assert_eq!(halves.client(&greeting[..9]), Verdict::Undecided);
        assert_eq!(halves.client(&greeting[9..]), Verdict::Decided("MSDO"));
        assert_eq!(Run::new(tcp(50_000, 7680)).client(b"\x0eSwarm protocols"), Verdict::Decided("MSDO"));
        assert_eq!(Run::new(tcp(50_000, 7680)).client(b"\x0eSwamp protocol"), Verdict::Undecided);
    }
}
