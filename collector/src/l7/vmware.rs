//! The heartbeat of VMware's hosts to their server (UDP 902; as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static VMWARE: Dissector = Dissector {
    name: "VMware",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0xa4,
    ports: &[(L4::UDP, 902)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if bytes.len() == 66 && cx.has_port(902) { Probe::Certain } else { Probe::No }
}

// Length and first byte are real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn a_host_lives() {
        let mut beat = vec![0; 66];
        beat[0] = 0xa4;
        assert_eq!(Run::new(udp(50_000, 902)).client(&beat), Verdict::Decided("VMware"));
        assert_eq!(Run::new(udp(50_000, 902)).client(&beat[..65]), Verdict::Undecided);
    }
}
